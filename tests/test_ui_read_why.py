"""Reading a caption and seeing why, in a real browser."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect
from ui_browser import (
    add_tag,
    both_sizes,
    caption_of,
    part,
    screenshot,
    set_slider,
    try_example,
    wait_done,
)

from audiogpt.pipeline import Captioner

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser


def test_words_stream_in(page):
    page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
          const node = document.querySelector('[data-id=description]');
          if (node.querySelector('span.word')) window.seen.add(node.textContent.length);
        }).observe(document.querySelector('[data-id=description]'), { childList: true }); }"""
    )
    page.locator("details.settings summary").click()
    part(page, "decoding-beams").fill("12")  # slow enough for words to be seen on their way
    part(page, "decoding-beams").press("Enter")
    page.get_by_role("button", name="bossa flute").click()
    wait_done(page)
    assert len(page.evaluate("[...window.seen]")) >= 2


@both_sizes
def test_nothing_jumps_while_recaptioning(page, size):
    try_example(page)
    page.evaluate(
        """() => { window.tops = []; const why = document.querySelector('.why');
          const look = () => { window.tops.push(Math.round(why.getBoundingClientRect().top
            + scrollY)); window.looking = requestAnimationFrame(look); }; look(); }"""
    )
    page.get_by_role("button", name="Without tags").click()
    wait_done(page)
    tops = page.evaluate("window.tops")
    assert max(tops) - min(tops) <= 60  # one more line at the most, never a collapse


def test_alternatives_short_form_and_copy(page):
    try_example(page)
    page.get_by_role("tab", name="Other captions").click()
    others = page.locator("ol.others li")
    assert others.count() >= 2
    scores = [float(re.search(r"score (-?[\d.]+)", text)[1]) for text in others.all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    screenshot(page, "others-desktop")
    caption = caption_of(page)
    part(page, "copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.replace("\n", " ") == caption
    part(page, "short-form").click()
    expect(part(page, "short")).to_be_visible()
    expect(part(page, "description")).to_be_hidden()
    part(page, "copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == part(page, "short").inner_text()


@both_sizes
def test_every_part_of_the_song_is_captioned(page, size):
    try_example(page)
    page.get_by_role("tab", name="Through the song").click()
    part(page, "segment-seconds").select_option("6")
    part(page, "segments-go").click()
    rows = part(page, "segments").locator("li")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("0:00–0:06")
    expect(part(page, "segments-go")).to_be_enabled()
    expect(page.locator("p.whole")).to_contain_text("The whole:")
    rows.nth(1).get_by_role("button").click()
    page.wait_for_function("document.querySelector('[data-id=audio]').currentTime >= 6")
    screenshot(page, f"through-{size}")


def test_what_happens_to_parts_is_told_to_a_screen_reader(page, monkeypatch):
    try_example(page)
    page.get_by_role("tab", name="Through the song").click()
    start, told = part(page, "segments-go"), part(page, "announce")
    start.click()
    expect(told).to_have_text(re.compile(r"^[12] parts? captioned\.$"))

    def refused(self, *args, **options):
        raise ValueError("These parts are too many.")

    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "segments", refused)
        start.click()
        expect(told).to_have_text("These parts are too many.")
    page.route("**/queue/join**", lambda route: route.fulfill(status=503, body="{}"))
    start.click()
    expect(told).to_have_text("The server has not answered: try again.")
    expect(page.locator("#agpt-panel-through p.error")).to_have_text(told.inner_text())
    page.problems.clear()  # the refused request


def test_a_status_is_told_once_and_how_far_it_is_is_only_shown(page, monkeypatch):
    listen = Captioner.listen

    def slowly(self, track, *, progress=None):
        for step in range(8):
            time.sleep(0.3)
            if progress is not None:
                progress(step / 8)
        return listen(self, track)

    monkeypatch.setattr(Captioner, "listen", slowly)
    page.evaluate(
        """() => { window.told = []; window.shown = new Set();
          const status = document.querySelector('[data-id=status]');
          new MutationObserver(() => window.told.push(status.firstChild.nodeValue))
            .observe(status, { childList: true, characterData: true });
          new MutationObserver(() => window.shown.add(status.textContent))
            .observe(status, { childList: true, subtree: true }); }"""
    )
    try_example(page)
    told, shown = page.evaluate("[window.told, [...window.shown]]")
    assert told[0] == "Listening…" and told[-1].startswith("Done in")
    assert len(told) == len(set(told))
    assert len([text for text in shown if re.match(r"Listening… \d+", text)]) >= 2
    assert page.locator("[data-id=status] > :not([aria-hidden=true])").count() == 0


def test_the_chosen_word_stays_the_same_of_its_equals(page):
    try_example(page)
    buttons = part(page, "description").locator("button.word")

    def places(text: str) -> list[int]:
        words = [word.replace("≠", "") for word in buttons.locator(".text").all_inner_texts()]
        return [place for place, word in enumerate(words) if word == text]

    text = next(text for text in ("a", "and", "the", "with") if len(places(text)) > 1)
    buttons.nth(places(text)[1]).click()
    for strength in (0.95, 0.9):
        set_slider(page, "Strength of artists", strength)
        wait_done(page)
        now = places(text)
        chosen = buttons.nth(now[min(1, len(now) - 1)])
        expect(chosen).to_have_attribute("aria-pressed", "true")
        expect(page.locator('[data-id=hero] button[aria-pressed="true"]')).to_have_count(1)


@both_sizes
def test_a_word_opens_its_numbers(page, size):
    try_example(page)
    word = part(page, "description").locator("button.word").nth(2)
    assert re.search(r"context .*%, audio .*%, tags .*%, artists", word.get_attribute("aria-label"))
    word.click()
    expect(word).to_have_attribute("aria-pressed", "true")
    detail = part(page, "detail")
    expect(detail).to_contain_text("probability")
    rows = detail.locator("table.branches tbody tr")
    expect(rows).to_have_count(4)
    widths = word.locator(".bar > span").evaluate_all(
        "all => all.map(s => parseFloat(s.style.width))"
    )
    assert sum(widths) == pytest.approx(100, abs=0.1)
    probabilities = detail.locator(".candidates .number").all_inner_texts()
    assert len(probabilities) >= 5
    likely = page.evaluate(
        """() => [...document.querySelectorAll('[data-id=hero] button.word')].map((word) => {
          word.click();
          return document.querySelector('[data-id=detail] .candidates').textContent; }).join(' ')"""
    )
    assert "<|" not in likely
    word.click()
    part(page, "shapley").click()
    expect(detail.locator("table.branches thead")).to_contain_text("Shapley")
    detail.get_by_text("Numbers per layer").click()
    expect(detail.locator("details table tbody tr").nth(1)).to_be_visible()
    layers = page.get_by_role("region", name="Numbers per layer")
    assert layers.evaluate("node => node.scrollWidth <= node.clientWidth")
    gates = layers.locator("tbody").nth(1).locator("tr")
    expect(gates.first).to_have_text("gates (the context’s is α)")
    assert layers.locator("tbody").first.locator("tr").count() == gates.count()
    screenshot(page, f"why-{size}")


def test_words_are_walked_with_the_arrow_keys(page):
    try_example(page)
    first = part(page, "description").locator("button.word").first
    first.focus()
    page.keyboard.press("ArrowRight")
    second = part(page, "description").locator("button.word").nth(1)
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(part(page, "detail")).to_be_visible()
    page.keyboard.press("End")
    expect(part(page, "description").locator("button.word").last).to_be_focused()


def test_layers_and_modes(page):
    try_example(page)
    words = page.locator('[data-id="hero"] button.word').count()
    layers = page.locator("svg.heat").first.locator("rect[fill-opacity]").count() / words
    assert layers == int(layers) >= 2
    expect(page.locator("svg.heat")).to_have_count(3)
    shares = part(page, "legend").inner_text()
    part(page, "mode-gates").click()
    expect(page.locator("svg.heat")).to_have_count(4)  # the context's gate too
    expect(page.locator("svg.heat").first).to_have_attribute("aria-label", re.compile("^Gate of"))
    assert part(page, "legend").inner_text() != shares
    screenshot(page, "gates-desktop")
    page.locator("svg.heat").nth(1).click(position={"x": 26 + 20, "y": 8})
    expect(part(page, "detail")).to_be_visible()


def test_the_time_line_plays_where_it_is_clicked(page):
    try_example(page)
    part(page, "description").locator("button.word").first.click()
    line = page.locator("svg.timeline")
    expect(line).to_have_attribute("aria-label", re.compile("Attention over .* for “"))
    line.click(position={"x": line.bounding_box()["width"] * 0.5, "y": 20})
    page.wait_for_function("document.querySelector('[data-id=audio]').currentTime >= 6")
    part(page, "audio").evaluate("audio => audio.pause()")
    expect(page.locator("line.uniform")).to_have_count(1)


def test_the_darkest_cell_is_the_largest_share_of_attention(page):
    try_example(page)
    page.get_by_text("Every word and segment").click()
    matrix = page.locator("svg.matrix")
    expect(matrix.locator("rect[fill-opacity]").first).to_be_visible()
    opacities = matrix.locator("rect[fill-opacity]").evaluate_all(
        "all => all.map(node => Number(node.getAttribute('fill-opacity')))"
    )
    label = matrix.get_attribute("aria-label")
    uniform, darkest = (int(found) for found in re.findall(r"(\d+)\u2009%", label))
    scale = max(1.5 * uniform, darkest)  # so that what is nearly uniform looks so
    assert max(opacities) * scale == pytest.approx(darkest, abs=1)
    expect(page.locator(".why")).to_contain_text(f"Darkest: {darkest}\u2009%")


def test_the_honest_line_is_always_there(page):
    add_tag(page, "calm")
    wait_done(page)
    expect(page.locator("p.honest")).to_contain_text("not proof of why")
    expect(page.locator(".why")).to_contain_text("No audio was used")


def test_the_caption_stays_in_view_on_a_desktop(page):
    try_example(page)
    page.mouse.move(900, 700)
    page.mouse.wheel(0, 600)
    page.wait_for_function("scrollY > 400")
    expect(part(page, "description")).to_be_in_viewport()
