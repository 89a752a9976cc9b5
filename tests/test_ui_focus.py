"""The keyboard keeps its place: focus is never lost, thrown far away, or under the caption."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from ui_browser import add_tag, part, set_slider, try_example, wait_done

from audiogpt.ui.memory import Memory

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
# What holds the focus, and whether the caption covers it from elsewhere.
FOCUSED = """() => {
  const node = document.activeElement, read = document.querySelector('.read');
  const own = node.getBoundingClientRect(), over = read.getBoundingClientRect();
  const covered = !read.contains(node) && own.top < over.bottom && own.bottom > over.top
    && own.left < over.right && own.right > over.left;
  return [node.dataset.id || node.getAttribute('aria-label') || node.textContent, covered];
}"""


def open_word(page, index: int = 2):
    word = part(page, "description").locator("button.word").nth(index)
    word.click()
    part(page, "detail").wait_for()
    return word


def test_shapley_values_of_a_forgotten_caption_can_be_asked_for_again(page, monkeypatch):
    try_example(page)
    open_word(page)
    button, error = part(page, "shapley"), part(page, "error")

    def forgotten(self, key):
        raise ValueError("The server no longer remembers this caption: caption it again.")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "recall", forgotten)
        for _ in range(2):
            button.focus()
            button.press("Enter")
            expect(error).to_contain_text("no longer remembers")
            expect(button).to_have_text("Exact Shapley values")
            expect(button).to_be_enabled()
            assert page.evaluate("document.querySelector('.why').contains(document.activeElement)")
            page.evaluate("document.querySelector('[data-id=error]').hidden = true")
    button.press("Enter")
    expect(part(page, "detail").locator("table.branches thead")).to_contain_text("Shapley")
    assert page.evaluate("document.querySelector('.why').contains(document.activeElement)")


def test_buttons_that_go_pass_the_focus_on(page):
    part(page, "live").uncheck()
    try_example(page)
    set_slider(page, "Strength of tags", 0.5)
    part(page, "go").click()
    part(page, "stop").focus()
    part(page, "stop").press("Enter")
    expect(part(page, "go")).to_be_focused()
    add_tag(page, "opera")
    part(page, "heard").press("Enter")
    expect(part(page, "tags-title")).to_be_focused()
    wait_done(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Weight of the tag")


def test_removing_a_row_leads_to_the_next_one(page):
    for tag in ("jazz", "soul", "opera"):
        add_tag(page, tag)
    for name in ("Ada", "Bo"):
        part(page, "artist").fill(name)
        part(page, "artist").press("Enter")
    for removed, then in (("soul", "opera"), ("opera", "jazz")):
        page.get_by_label(f"Remove the tag {removed}").press("Enter")
        expect(page.get_by_label(f"Remove the tag {then}")).to_be_focused()
    page.get_by_label("Remove the tag jazz").press("Enter")
    expect(part(page, "tag")).to_be_focused()
    page.get_by_label("Remove Ada").press("Enter")
    expect(page.get_by_label("Remove Bo")).to_be_focused()
    page.get_by_label("Remove Bo").press("Enter")
    expect(part(page, "artist")).to_be_focused()


def test_picking_a_word_in_the_layers_leaves_them_where_they_are(page):
    page.set_viewport_size({"width": 390, "height": 844})
    try_example(page)
    layers = page.get_by_role("region", name="Layers by words")
    layers.evaluate("node => { node.scrollLeft = 60; }")
    layers.locator("svg.heat").first.click(position={"x": 200, "y": 8})
    part(page, "detail").wait_for()
    assert layers.evaluate("node => node.scrollLeft") == 60


def test_the_caption_never_covers_what_the_keyboard_comes_to(page):
    try_example(page)
    word = open_word(page)
    page.evaluate("scrollTo(0, 700)")
    before = page.evaluate("scrollY")
    word.click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("scrollY") == before  # its own words are in view as they are
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_text(re.compile("^Every word and segment")).focus()
    covered = []
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        name, hidden = page.evaluate(FOCUSED)
        covered += [name] if hidden else []
    assert covered == []
