"""What is no longer wanted ends: Stop, removed tracks, parts begun anew; in a real browser.

The slow halves of the pipeline are replaced, so that there is time to stop them and to see whether
the server did.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect
from ui_browser import caption_of, part, set_slider, try_example, wait_done

from audiogpt.pipeline import Captioner
from audiogpt.request import SegmentCaption

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
EVERY = 0.4  # s between two parts
MANY = 200


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
