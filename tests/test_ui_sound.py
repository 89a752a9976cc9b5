"""Takes from the microphone, and what is known of a track of which only passages were heard."""

from __future__ import annotations

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import part, reload, wait_done

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
UNREADABLE = """() => {
  const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
  media.getUserMedia = (what) => { window.askedFor = what; return ask(what); };
  AudioContext.prototype.decodeAudioData = () => Promise.reject(new Error("too much memory"));
}"""
# The largest peak between two moments (s), out of the drawing: half its height there.
LOUDEST = """([from, to]) => {
  const svg = document.querySelector('[data-id=wave] svg');
  const long = Number(document.querySelector('[data-id=seek]').max);
  const strokes = [...svg.querySelector('.wave-line').getAttribute('d')
    .matchAll(/M([\\d.]+) ([\\d.]+)V([\\d.]+)/g)];
  return Math.max(...strokes.map(([, x, low, high]) => [x / 800 * long, (high - low) / 2])
    .filter(([at]) => at > from && at < to).map(([, half]) => half));
}"""


def choose_passage(page, start: int, end: int) -> None:
    part(page, "from").fill(str(start))
    part(page, "to").fill(str(end))
    part(page, "to").press("Enter")
    wait_done(page)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.3, "was too short to use"), (2.3, "could not read this recording")]
)
def test_a_take_that_cannot_be_read_says_why_and_is_asked_for_as_it_sounds(page, seconds, words):
    page.evaluate(UNREADABLE)
    button = part(page, "record")
    button.press("Enter")
    expect(button).to_have_text("Stop recording")
    page.wait_for_timeout(1000 * seconds)
    button.press("Enter")
    expect(part(page, "error")).to_contain_text(words)
    expect(part(page, "status")).to_have_text("")
    assert set(page.evaluate("window.askedFor.audio").values()) == {False}
    expect(button).to_have_text("Record")


def test_passages_heard_first_are_no_whole_track(page):
    part(page, "files").set_input_files(EXAMPLES[0])
    wait_done(page)
    long = float(part(page, "seek").get_attribute("max"))
    assert long > 12
    part(page, "passage").locator("summary").click()
    choose_passage(page, 2, 5)
    # As where the browser cannot tell how long a track is.
    page.add_init_script(
        "Object.defineProperty(HTMLMediaElement.prototype, 'duration', { get: () => NaN })"
    )
    page.evaluate(
        """() => { const kept = JSON.parse(sessionStorage.getItem('audiogpt-tab'));
          kept.tracks[0].seconds = 0;
          sessionStorage.setItem('audiogpt-tab', JSON.stringify(kept)); }"""
    )
    reload(page)
    wait_done(page)
    part(page, "passage").locator("summary").click()
    assert float(part(page, "seek").get_attribute("max")) == pytest.approx(5, abs=0.1)
    assert page.evaluate(LOUDEST, [0, 1.8]) < 1 < page.evaluate(LOUDEST, [2, 5])
    choose_passage(page, 7, 11)
    expect(part(page, "error")).to_be_hidden()
    expect(part(page, "passage-text")).to_have_text("0:07–0:11")
    assert float(part(page, "seek").get_attribute("max")) == pytest.approx(11, abs=0.1)
    heard = [page.evaluate(LOUDEST, span) for span in ([0, 1.8], [2, 5], [5.2, 6.8], [7, 11])]
    assert heard[0] < 1 < heard[1] and heard[2] < 1 < heard[3]
    reload(page)  # what is kept of it says so, too
    wait_done(page)
    part(page, "passage").locator("summary").click()
    part(page, "whole").click()
    wait_done(page)
    assert float(part(page, "seek").get_attribute("max")) == pytest.approx(long, abs=0.1)
    part(page, "from").fill("60")
    part(page, "from").press("Enter")
    expect(part(page, "error")).to_contain_text("starts after the end of the track")
