"""Listening and steering in a real browser."""

from __future__ import annotations

import base64
import json
import re
import threading

import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import (
    add_tag,
    both_sizes,
    caption_of,
    part,
    reload,
    screenshot,
    set_slider,
    try_example,
    wait_done,
)

from audiogpt.pipeline import Captioner

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser


@both_sizes
def test_upload_gives_caption_tags_and_waveform(page, size):
    part(page, "files").set_input_files(EXAMPLES[0])
    wait_done(page)
    assert len(caption_of(page).split()) >= 3
    expect(part(page, "tags").locator("li").first).to_contain_text("heard")
    expect(part(page, "wave").locator("svg")).to_have_attribute(
        "aria-label", re.compile("marked every 3 seconds")
    )
    assert part(page, "wave").locator("line.mark").count() >= 4
    screenshot(page, f"listen-{size}")


def test_a_playlist_has_artists_and_weights(page):
    part(page, "files").set_input_files(EXAMPLES[:2])
    wait_done(page)
    expect(part(page, "tracks").locator("li.track")).to_have_count(2)
    before = caption_of(page)
    page.get_by_label(f"Artist of {EXAMPLES[0].name}").fill("The <b>Night</b> Owls")
    wait_done(page)
    expect(part(page, "vector").locator("svg")).to_have_attribute(
        "aria-label", re.compile(r"The <b>Night</b> Owls 100")
    )
    set_slider(page, f"Weight of {EXAMPLES[0].name}", 0)
    wait_done(page)
    expect(part(page, "vector")).to_be_hidden()
    assert before
    screenshot(page, "playlist")
    part(page, "play").click()
    page.wait_for_function("!document.querySelector('[data-id=audio]').paused")
    page.get_by_label(f"Remove {EXAMPLES[1].name}").click()
    assert not part(page, "audio").evaluate("audio => audio.paused")  # the other plays on
    expect(part(page, "tracks").locator("li.track")).to_have_count(1)
    expect(page.get_by_label(f"Remove {EXAMPLES[0].name}")).to_be_focused()
    set_slider(page, f"Weight of {EXAMPLES[0].name}", 1)  # the only track, but not heard till then
    wait_done(page)
    expect(part(page, "vector")).to_be_visible()


def test_the_keyboard_stays_where_it_is_while_the_page_is_drawn_anew(page, monkeypatch):
    listen = Captioner.listen
    go_on = threading.Event()

    def slowly(self, *args, **options):
        go_on.wait(30)
        return listen(self, *args, **options)

    monkeypatch.setattr(Captioner, "listen", slowly)
    part(page, "files").set_input_files(EXAMPLES[0])
    artist = page.get_by_label(f"Artist of {EXAMPLES[0].name}")
    artist.press_sequentially("Clara")
    artist.press("ArrowLeft")
    go_on.set()
    wait_done(page)
    expect(artist).to_be_focused()
    page.keyboard.type("!")
    expect(artist).to_have_value("Clar!a")
    part(page, "files").set_input_files(EXAMPLES[1])
    wait_done(page)
    expect(artist).to_be_focused()
    name = page.get_by_role("button", name=EXAMPLES[0].name, exact=True)
    name.press("Enter")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-pressed", "true")
    page.locator("details.settings summary").click()
    part(page, "method").focus()
    part(page, "method").select_option("sample")
    expect(part(page, "decoding-beams")).to_have_count(0)
    expect(part(page, "method")).to_be_focused()
    for track in EXAMPLES[:2]:
        page.get_by_label(f"Remove {track.name}").press("Enter")
    expect(part(page, "files")).to_be_focused()


def test_the_passage_is_what_is_heard(page):
    try_example(page)
    part(page, "passage").locator("summary").click()
    part(page, "from").fill("6")
    part(page, "to").fill("12")
    part(page, "to").press("Enter")
    wait_done(page)
    expect(part(page, "passage-text")).to_have_text("0:06–0:12")
    label = page.locator("svg.timeline").get_attribute("aria-label")
    assert "2 segments" in label
    part(page, "from").fill("13")
    part(page, "from").press("Enter")
    expect(part(page, "error")).to_contain_text("must end")


def test_a_recording_is_captioned(page):
    part(page, "record").click()
    expect(part(page, "record")).to_have_text("Stop recording")
    page.wait_for_timeout(3500)
    part(page, "record").click()
    wait_done(page)
    expect(part(page, "tracks")).to_contain_text("recording.wav")


def test_a_double_click_opens_one_microphone_and_closes_it(page):
    page.evaluate(
        """() => { window.open = []; const ask = navigator.mediaDevices.getUserMedia.bind(
          navigator.mediaDevices); navigator.mediaDevices.getUserMedia = async (what) => {
            await new Promise((done) => setTimeout(done, 500));
            const stream = await ask(what); window.open.push(stream); return stream; }; }"""
    )
    part(page, "record").dblclick()
    expect(part(page, "record")).to_have_text("Stop recording")
    page.wait_for_timeout(3500)
    part(page, "record").dblclick()
    wait_done(page)
    states = "window.open.map((stream) => stream.getTracks()[0].readyState)"
    assert page.evaluate(states) == ["ended"]
    page.evaluate("() => { window.MediaRecorder = class { constructor() { throw new Error() } }; }")
    part(page, "record").click()
    expect(part(page, "error")).to_contain_text("microphone cannot be used")
    assert page.evaluate(states) == ["ended", "ended"]
    expect(part(page, "record")).to_have_text("Record")


@pytest.mark.parametrize(
    ("name", "content"),
    [("broken.wav", b"RIFFnot a sound at all"), ("notes.txt", b"la la la"), ("empty.ogg", b"")],
)
def test_a_bad_file_gets_a_sentence(page, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    part(page, "files").set_input_files(tmp_path / name)
    expect(part(page, "error")).to_be_visible()
    text = part(page, "error").inner_text()
    assert text.endswith(".") and "Traceback" not in text and str(tmp_path) not in text
    assert "/tmp" not in text


def test_silence_is_said(page, tmp_path):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16000 * 6, np.float32), 16000)
    part(page, "files").set_input_files(path)
    wait_done(page)
    expect(part(page, "warnings")).to_contain_text("silent")


@both_sizes
def test_moving_a_tag_changes_caption_and_chart(page, size):
    try_example(page)
    page.get_by_role("button", name="Without audio").click()  # so that the tags decide
    wait_done(page)
    for row in range(1, part(page, "tags").locator("li").count()):
        part(page, "tags").get_by_label(re.compile("^Weight")).nth(row).evaluate(
            "node => { node.value = 0; node.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
    wait_done(page)
    add_tag(page, "heavy metal")
    wait_done(page)
    caption, chart = caption_of(page), part(page, "legend").inner_text()
    set_slider(page, "Weight of the tag heavy metal", 0)
    wait_done(page)
    assert caption_of(page) != caption
    assert part(page, "legend").inner_text() != chart
    screenshot(page, f"steer-{size}")


def test_a_tag_can_be_told_earlier(page):
    for tag in ("country", "sad", "violin"):
        add_tag(page, tag)
    wait_done(page)
    expect(page.get_by_role("button", name="Tell the tag country earlier")).to_be_disabled()
    page.get_by_role("button", name="Tell the tag violin earlier").click()
    wait_done(page)
    assert part(page, "tags").locator(".name").all_inner_texts() == ["country", "violin", "sad"]
    expect(page.get_by_label("Weight of the tag violin")).to_be_focused()


def test_arrow_keys_recaption_too(page):
    try_example(page)
    tag = page.get_by_label(re.compile("^Weight of the tag")).first
    before = tag.input_value()
    tag.focus()
    page.keyboard.press("ArrowLeft")
    wait_done(page)
    assert float(tag.input_value()) < float(before)
    expect(part(page, "heard")).to_be_visible()
    part(page, "heard").click()
    wait_done(page)
    assert page.get_by_label(re.compile("^Weight of the tag")).first.input_value() == before


def test_unknown_tags_are_said_to_be_unknown_and_never_become_markup(page):
    add_tag(page, "<img src=x onerror=alert(1)>")
    expect(part(page, "tag-note")).to_contain_text("not among the tags that can be heard")
    wait_done(page)
    assert page.locator("[data-id=tags] img").count() == 0
    add_tag(page, "piano")
    expect(part(page, "tag-note")).to_have_text("")
    add_tag(page, "Piano")
    expect(part(page, "tag-note")).to_contain_text("already")


def test_suggestions_follow_what_is_typed(page):
    part(page, "tag").press_sequentially("guit")
    values = part(page, "known").locator("option").evaluate_all("all => all.map(o => o.value)")
    assert values and all("guit" in value.lower() for value in values)


def test_without_a_branch_its_share_is_nothing(page):
    try_example(page)
    page.get_by_role("button", name="Without audio").click()
    wait_done(page)
    expect(part(page, "legend")).to_contain_text(re.compile(r"audio0\s%"))
    page.get_by_role("button", name="Bring back audio").click()
    wait_done(page)
    expect(part(page, "legend")).not_to_contain_text(re.compile(r"audio0\s%"))


def test_artists_are_normalised_and_named(page):
    add_tag(page, "jazz")
    for name in ("Ada", "Bo"):
        part(page, "artist").fill(name)
        part(page, "artist").press("Enter")
    expect(part(page, "artist-note")).to_have_text("")
    part(page, "artist").fill("ada")
    part(page, "artist").press("Enter")
    expect(part(page, "artist-note")).to_contain_text("“ada” is already")
    set_slider(page, "Share of Bo", 1)
    wait_done(page)
    readouts = part(page, "artists").locator(".readout").all_inner_texts()
    assert readouts == ["50\u2009%", "50\u2009%"]
    label = part(page, "vector").locator("svg").get_attribute("aria-label")
    assert "Ada 50" in label and "Bo 50" in label
    assert part(page, "vector").locator("rect").count() == 10


def test_live_can_be_turned_off(page):
    try_example(page)
    part(page, "live").uncheck()
    before = caption_of(page)
    set_slider(page, "Strength of tags", 2)
    expect(part(page, "status")).to_contain_text("Press Caption")
    page.wait_for_timeout(400)
    assert caption_of(page) == before
    part(page, "go").click()
    wait_done(page)


def test_stop_stops_and_the_page_stays_usable(page):
    add_tag(page, "ambient")
    wait_done(page)
    page.locator("details.settings summary").click()
    part(page, "live").uncheck()
    part(page, "decoding-beams").fill("16")
    part(page, "decoding-max_tokens").fill("256")
    expect(part(page, "decoding-temperature")).to_have_count(0)
    part(page, "decoding-consensus").fill("1")  # takes long enough to be stopped
    part(page, "decoding-consensus").press("Enter")
    expect(part(page, "decoding-temperature")).to_have_count(1)  # draws have one
    part(page, "go").click()
    part(page, "stop").click()
    expect(part(page, "status")).to_have_text("Stopped.")
    page.wait_for_timeout(500)
    expect(part(page, "status")).to_have_text("Stopped.")
    part(page, "decoding-reset").click()
    part(page, "go").click()
    wait_done(page)


def test_a_caption_has_about_as_many_words_as_asked(page):
    for tag in ("rock", "electric guitar", "male vocalist"):
        add_tag(page, tag)
    wait_done(page)
    page.locator("details.settings summary").click()
    words = []
    for asked in (14, 40):
        part(page, "decoding-target_words").fill(str(asked))
        part(page, "decoding-target_words").press("Enter")
        wait_done(page)
        words.append(len(caption_of(page).split()))
    assert words[0] + 12 <= words[1]


def test_sampling_repeats_with_its_seed(page):
    add_tag(page, "folk")
    page.locator("details.settings summary").click()
    part(page, "method").select_option("sample")
    wait_done(page)
    captions = []
    for seed in (7, 8, 7):
        part(page, "seed").fill(str(seed))
        part(page, "seed").press("Enter")
        wait_done(page)
        captions.append(caption_of(page))
    assert captions[0] == captions[2] != captions[1]


def test_the_last_of_many_quick_moves_is_the_one_that_counts(page, tmp_path):
    try_example(page)
    label = page.get_by_label(re.compile("^Weight of the tag")).first.get_attribute("aria-label")
    for step in range(25):
        set_slider(page, label, step / 25)
    wait_done(page)
    page.get_by_role("tab", name="Keep").click()
    with page.expect_download() as download:
        part(page, "save-json").click()
    saved = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert saved["result"]["request"]["tags"][0]["weight"] == 24 / 25
    page.get_by_role("tab", name="Compare").click()
    assert part(page, "history").locator("li").count() <= 8  # most moves were passed over


def test_files_can_be_dropped(page):
    content = base64.b64encode(EXAMPLES[0].read_bytes()).decode()
    page.evaluate(
        """content => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], 'dropped.ogg', { type: 'audio/ogg' }));
          document.querySelector('[data-id=drop]').dispatchEvent(
            new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    page.wait_for_function("document.querySelector('.agpt').dataset.asked > 0")
    wait_done(page)
    expect(part(page, "tracks")).to_contain_text("dropped.ogg")
    assert caption_of(page)


def test_tags_say_how_surely_they_were_heard_in_this_music_alone(page):
    try_example(page)
    tag = part(page, "tags").locator("li").first
    label = tag.locator("input").get_attribute("aria-label")
    set_slider(page, label, 0.4)
    wait_done(page)
    sure = re.search(r"heard (\d+)", tag.inner_text())
    try_example(page, "heavy guitars")
    expect(tag.locator("input")).to_have_attribute("aria-label", label)
    expect(tag).not_to_contain_text(sure[0])
    try_example(page)
    expect(tag).to_contain_text(sure[0])
    page.get_by_label(re.compile("^Remove piano-waltz")).click()
    expect(tag).not_to_contain_text("heard")


def test_an_example_too_many_is_refused_as_a_file_is(page):
    try_example(page)
    kept = json.loads(page.evaluate("sessionStorage.getItem('audiogpt-tab')"))
    kept |= {"tracks": kept["tracks"] * 50, "live": False}
    page.evaluate("text => sessionStorage.setItem('audiogpt-tab', text)", json.dumps(kept))
    reload(page)
    refusal = "A playlist has at most 50 tracks: 1 file left out."
    page.get_by_role("button", name="bossa flute").click()
    expect(part(page, "error")).to_have_text(refusal)
    expect(part(page, "tracks").locator("li.track")).to_have_count(50)
    page.get_by_label(re.compile("^Remove piano-waltz")).first.click()
    part(page, "files").set_input_files(EXAMPLES[:2])
    expect(part(page, "error")).to_have_text(refusal)
    expect(part(page, "tracks").locator("li.track")).to_have_count(50)
