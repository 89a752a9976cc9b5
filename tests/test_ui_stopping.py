"""What is no longer wanted ends: Stop, removed tracks, parts begun anew; in a real browser.

The slow halves of the pipeline are replaced, so that there is time to stop them and to see whether
the server did.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import add_tag, caption_of, part, set_slider, try_example, wait_done

from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionResult, SegmentCaption

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
EVERY = 0.4  # s between two parts
MANY = 200
UNEXPLAINED = (  # a whole caption without its bars
    "document.querySelector('[data-id=hero] button.word')"
    " && !document.querySelector('[data-id=hero] .bar > span')"
)


@pytest.fixture
def parts_made(monkeypatch) -> Iterator[list[int]]:
    """Every part that the server captions, slowly and without end; the list grows meanwhile."""
    made: list[int] = []

    def segments(self, request, *, seconds=30.0):
        for index in range(MANY):
            time.sleep(EVERY)
            made.append(index)
            yield SegmentCaption(
                track=0,
                start=6.0 * index,
                end=6.0 * index + 6,
                title="",
                description=f"No. {index}.",
            )

    monkeypatch.setattr(Captioner, "segments", segments)
    yield made
    ends(made)  # nothing of one test may run on into the next


def ends(made: list[int]) -> None:
    """Wait until no more parts come."""
    for _ in range(20):
        before = len(made)
        time.sleep(4 * EVERY)
        if len(made) == before:
            return
    raise AssertionError(f"The server goes on: {len(made)} parts by now.")


def start_parts(page) -> None:
    page.get_by_role("tab", name="Through the song").click()
    part(page, "segments-go").click()
    expect(part(page, "segments").locator("li").nth(1)).to_be_visible()


def test_stop_stops_the_captions_of_parts(page, parts_made):
    try_example(page)
    expect(part(page, "stop")).to_be_disabled()
    start_parts(page)
    expect(part(page, "stop")).to_be_enabled(timeout=2000)
    set_slider(page, "Strength of tags", 0.5)
    wait_done(page)
    expect(part(page, "stop")).to_be_enabled()  # the caption is at rest, the parts are not
    part(page, "stop").click()
    expect(part(page, "status")).to_have_text("Stopped.")
    expect(part(page, "stop")).to_be_disabled()
    expect(part(page, "segments-go")).to_have_text("Caption each part")
    ends(parts_made)
    assert part(page, "segments").locator("li").count() >= 2  # what was made stays
    assert caption_of(page)


@pytest.mark.parametrize("way", ["remove", "add", "passage", "restore", "load"])
def test_parts_of_other_tracks_are_not_captioned_on(page, parts_made, way):
    try_example(page)
    if way == "load":
        page.get_by_role("tab", name="Keep").click()
        with page.expect_download() as download:
            part(page, "save-json").click()
        saved = download.value.path()
    start_parts(page)
    if way == "remove":
        page.get_by_label(re.compile("^Remove piano-waltz")).click()
    elif way == "add":
        page.get_by_role("button", name="bossa flute").click()
        wait_done(page)
    elif way == "passage":
        part(page, "passage").locator("summary").click()
        part(page, "to").fill("9")
        part(page, "to").press("Enter")
        wait_done(page)
    elif way == "load":
        part(page, "load").set_input_files(saved)
        wait_done(page)
    else:
        page.get_by_role("tab", name="Compare").click()
        page.get_by_role("button", name="Restore").first.click()
    ends(parts_made)
    expect(part(page, "segments").locator("li")).to_have_count(0)
    expect(part(page, "stop")).to_be_disabled()


def test_parts_begun_anew_come_although_a_slider_moves(page, parts_made):
    try_example(page)
    start_parts(page)
    page.evaluate(  # all before the next part, which is when the first run notices
        """async () => {
          const soon = () => new Promise((done) => setTimeout(done, 30));
          document.querySelector('[data-id=stop]').click();
          await soon();
          document.querySelector('[data-id=segments-go]').click();
          await soon();
          const slider = document.querySelector('[aria-label="Strength of tags"]');
          slider.value = 0.5;
          slider.dispatchEvent(new Event('input', { bubbles: true }));
        }"""
    )
    expect(part(page, "segments").locator("li").nth(3)).to_be_visible()
    wait_done(page)
    part(page, "stop").click()
    ends(parts_made)


def test_a_track_that_is_removed_while_it_is_heard_stays_away(page, monkeypatch):
    stopped = []
    listen = Captioner.listen

    def slowly(self, track, *, progress: Callable[[float], None] | None = None):
        try:
            for step in range(20):
                time.sleep(0.2)
                if progress is not None:
                    progress(step / 20)
        except Exception as error:
            stopped.append(type(error).__name__)
            raise
        return listen(self, track)

    monkeypatch.setattr(Captioner, "listen", slowly)
    page.get_by_role("button", name="piano waltz").click()
    expect(part(page, "status")).to_have_text(re.compile(r"Listening… \d+"))
    page.get_by_label(re.compile("^Remove piano-waltz")).click()
    expect(part(page, "status")).to_have_text("Add music or a tag to begin.")
    page.wait_for_timeout(6000)  # the whole track would have been heard by now
    expect(part(page, "status")).to_have_text("Add music or a tag to begin.")
    assert caption_of(page) == ""
    assert stopped == ["StopListening"]


def test_stop_before_the_reasons_leaves_no_other_captions_reasons(page, monkeypatch):
    add_tag(page, "rock")
    wait_done(page)
    go_on = threading.Event()
    stream = Captioner.stream

    def slowly(self, request, **options):
        for item in stream(self, request, **options):
            if isinstance(item, CaptionResult) and item.trace is not None:
                go_on.wait(120)
            yield item

    monkeypatch.setattr(Captioner, "stream", slowly)
    part(page, "live").uncheck()
    add_tag(page, "jazz piano")
    part(page, "go").click()
    page.wait_for_function(UNEXPLAINED)
    page.get_by_role("tab", name="Keep").click()
    part(page, "save-csv").click()  # shown as they were, but the caption is another by now
    expect(part(page, "status")).to_have_text("Working out why…")
    part(page, "pin").click()
    go_on.set()
    wait_done(page)
    expect(page.locator("article.side").first.locator(".totals")).to_be_visible()
    go_on.clear()
    add_tag(page, "violin")
    part(page, "go").click()
    page.wait_for_function(UNEXPLAINED)
    part(page, "stop").click()
    page.get_by_role("tab", name="See why").click()
    why = page.locator("#agpt-panel-why")
    expect(why).to_have_text("Stopped before the reasons were worked out.")
    page.get_by_role("tab", name="Keep").click()
    expect(part(page, "save-csv")).to_be_disabled()
    go_on.set()


def test_stop_stops_an_upload(page):
    add_tag(page, "rock")
    wait_done(page)
    before = caption_of(page)
    held, stopped = [], []  # on its way until Stop was pressed, however slow the machine
    page.route("**/upload**", lambda r: r.continue_() if stopped else held.append(r))
    part(page, "files").set_input_files(EXAMPLES[:2])
    expect(part(page, "status")).to_have_text("Uploading…")
    expect(part(page, "stop")).to_be_enabled()
    part(page, "stop").click()
    expect(part(page, "status")).to_have_text("Stopped.")
    assert held
    stopped.append(True)
    for route in held:
        route.continue_()
    page.wait_for_timeout(3000)
    expect(part(page, "status")).to_have_text("Stopped.")
    expect(part(page, "tracks").locator("li")).to_have_count(0)
    assert caption_of(page) == before
    expect(part(page, "stop")).to_be_disabled()


def test_an_error_leaves_nothing_false_behind(page, tmp_path):
    (tmp_path / "bad.mp3").write_bytes(b"hello world" * 5000)
    part(page, "files").set_input_files(tmp_path / "bad.mp3")
    expect(part(page, "error")).to_be_visible()
    expect(part(page, "wave")).to_have_text("not heard yet")
    page.get_by_label("Remove bad.mp3").click()
    expect(part(page, "error")).to_be_hidden()
    add_tag(page, "rock")
    wait_done(page)
    before = caption_of(page)
    page.evaluate(
        """() => { const take = window.audiogptAnswer; window.audiogptAnswer = (kind, text) => {
          if (!text) return;
          const { run } = JSON.parse(text);
          take(kind, JSON.stringify({ run, partial: { title: 'Half a', description: 'one' } }));
          window.audiogptAnswer = () => {};
          window.fail = () => take(kind, JSON.stringify({ run, error: 'No.', done: true }));
        }; }"""
    )
    page.wait_for_timeout(600)
    add_tag(page, "jazz")
    page.wait_for_function("() => Boolean(window.fail)")
    page.evaluate("window.fail()")
    expect(part(page, "error")).to_have_text("No.")
    assert caption_of(page) == before
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Restore").first.click()
    expect(part(page, "error")).to_be_hidden()
    part(page, "live").uncheck()
    page.get_by_label("Remove the tag rock").click()
    expect(part(page, "status")).to_have_text("Add music or a tag to begin.")
    assert caption_of(page) == ""


def test_a_server_that_does_not_answer_is_told_of(page_of_its_own, monkeypatch):
    page = page_of_its_own
    full = '{"detail": "Queue is full. Max size is 32 and current size is 32."}'
    page.route(
        "**/queue/join**",
        lambda route: route.fulfill(status=503, content_type="application/json", body=full),
    )
    add_tag(page, "rock")
    expect(part(page, "error")).to_contain_text("has not answered: press Caption")
    expect(part(page, "stop")).to_be_disabled()
    page.unroute("**/queue/join**")
    part(page, "go").click()
    wait_done(page)
    expect(part(page, "error")).to_be_hidden()

    go_on = threading.Event()
    stream = Captioner.stream

    def slowly(self, request, **options):
        go_on.wait(60)
        yield from stream(self, request, **options)

    monkeypatch.setattr(Captioner, "stream", slowly)
    page.clock.install()
    add_tag(page, "jazz")
    page.wait_for_timeout(500)
    page.clock.fast_forward(21_000)
    page.wait_for_timeout(1500)
    expect(part(page, "status")).to_have_text("Writing…")  # the server is there, and busy
    page.route("**/component_server**", lambda route: route.abort())
    page.clock.fast_forward(21_000)
    expect(part(page, "error")).to_contain_text("has not answered: press Caption")
    go_on.set()
    page.unroute("**/component_server**")
    page.problems.clear()  # the refused requests
