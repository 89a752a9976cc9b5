"""Room on every screen: nothing is cut off or covered, and what opens or changes is in view."""

from __future__ import annotations

import re
import shutil

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import both_sizes, part, set_slider, try_example, wait_done

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
phone = pytest.mark.parametrize("size", ["phone"])
# What ends to the right of its card, where nothing scrolls sideways.
CUT_OFF = """() => [...document.querySelectorAll('.agpt .card')].flatMap(card => {
  const right = card.getBoundingClientRect().right;
  return [...card.querySelectorAll('*')]
    .filter(node => node.checkVisibility() && !node.closest('.tabs, .scroll, .sr, option, svg *'))
    .filter(node => node.getBoundingClientRect().right > right)
    .map(node => node.outerHTML.slice(0, 120));
})"""


@both_sizes
def test_long_names_stay_within_their_cards(page, size, tmp_path):
    files = [tmp_path / f"{'a_name_without_any_space_' * 6}{number}.ogg" for number in range(2)]
    for file, example in zip(files, EXAMPLES, strict=False):
        shutil.copy(example, file)
    part(page, "files").set_input_files(files)
    page.get_by_label(f"Artist of {files[0].name}").fill("Na" * 50)
    wait_done(page)
    page.get_by_role("tab", name="Through the song").click()
    part(page, "segments-go").click()
    expect(part(page, "segments").locator("li").nth(1)).to_be_visible()
    assert page.evaluate(CUT_OFF) == []


def test_the_page_is_as_wide_empty_as_full(page):
    left = "document.querySelector('.agpt').getBoundingClientRect().left"
    before = page.evaluate(left)
    try_example(page)
    assert page.evaluate(left) == before


@phone
def test_what_opens_comes_into_view(page, size):
    try_example(page)
    word = part(page, "description").locator("button.word").first
    word.click()
    expect(part(page, "detail").locator("h3")).to_be_in_viewport()
    word.scroll_into_view_if_needed()
    part(page, "pin").click()
    expect(page.get_by_role("article", name="Caption A")).to_be_in_viewport()


@phone
def test_the_caption_is_seen_while_a_slider_far_below_moves(page, size):
    try_example(page)
    page.get_by_label("Strength of artists").scroll_into_view_if_needed()
    expect(part(page, "description")).not_to_be_in_viewport()
    expect(part(page, "peek")).to_be_visible()
    before = part(page, "peek-text").inner_text()
    set_slider(page, "Strength of tags", 0)
    wait_done(page)
    expect(part(page, "peek-text")).not_to_have_text(before)
    expect(part(page, "peek-status")).to_have_text(re.compile("^Done in"))
    part(page, "peek").click()
    expect(part(page, "title")).to_be_in_viewport()
    expect(part(page, "peek")).to_be_hidden()


@phone
def test_why_a_file_was_refused_is_in_view(page, size, tmp_path):
    (tmp_path / "notes.mp3").write_bytes(b"la la la")
    part(page, "files").set_input_files(tmp_path / "notes.mp3")
    expect(part(page, "error")).to_be_in_viewport()


@phone
def test_fingers_find_what_they_meet(page, size):
    try_example(page)
    sizes = page.locator(".agpt").evaluate(
        """root => [...root.querySelectorAll('button, select, summary, .slider input, .add input')]
          .filter(node => node.checkVisibility())
          .map(node => [node.textContent, node.getBoundingClientRect().height])"""
    )
    assert len(sizes) > 30
    assert [found for found in sizes if found[1] < 44] == []


def test_a_long_caption_covers_nothing(page):
    try_example(page)
    read = page.locator(".read")
    assert read.evaluate("node => getComputedStyle(node).position") == "sticky"
    page.locator("details.settings summary").click()
    part(page, "decoding-min_words").fill("60")
    part(page, "decoding-min_words").press("Enter")
    wait_done(page)
    page.set_viewport_size({"width": 1000, "height": 760})
    page.wait_for_function("getComputedStyle(document.querySelector('.read')).position == 'static'")
    page.get_by_label("Strength of artists").scroll_into_view_if_needed()
    page.mouse.wheel(0, 900)
    expect(part(page, "peek")).to_be_visible()


def test_changed_words_are_marked_longer_than_their_reasons_take(page):
    try_example(page)
    set_slider(page, "Strength of tags", 0)
    wait_done(page)  # with the reasons, which come a moment after the words
    assert page.locator("button.word.fresh").count() > 0


def test_there_is_nothing_to_caption_yet(page):
    expect(part(page, "go")).to_be_disabled()
    try_example(page)
    expect(part(page, "go")).to_be_enabled()
    page.get_by_label(re.compile("^Remove .*ogg$")).click()
    expect(part(page, "go")).to_be_disabled()
