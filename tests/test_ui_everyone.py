"""Accessible, legible and private: for everyone, at every size, in light and dark."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from ui_browser import (
    ROOT,
    SIZES,
    add_tag,
    both_sizes,
    browser,
    open_page,
    part,
    reload,
    screenshot,
    server,
    try_example,
    wait_done,
)

from audiogpt.ui.memory import MAX_RESULTS
from audiogpt.ui.page import launch_options

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser
AXE = ROOT / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("theme", ["light", "dark"])
@both_sizes
def test_axe_finds_nothing_serious(size, theme):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --prefix build/npm axe-core")
    page = open_page(size, suffix=f"?__theme={theme}")
    try_example(page)
    part(page, "artist").fill("Ada")
    part(page, "artist").press("Enter")
    wait_done(page)
    part(page, "pin").click()
    page.add_script_tag(path=AXE)
    found = []
    for tab in ("Compare", "Other captions", "Through the song", "Keep", "See why"):
        page.get_by_role("tab", name=tab).click()
        if tab == "See why":
            part(page, "description").locator("button.word").first.click()
            part(page, "detail").wait_for()
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(1700 if tab == "Compare" else 100)  # let highlights fade
        report = page.evaluate("axe.run('.agpt', { resultTypes: ['violations'] })")
        assert len(report["passes"]) > 10  # the rules did look at something
        found += [
            (tab, violation["id"], violation["nodes"][0]["html"][:200], len(violation["nodes"]))
            for violation in report["violations"]
            if violation["impact"] in SERIOUS
        ]
    screenshot(page, f"everyone-{theme}-{size}")
    page.context.close()
    assert found == []


@both_sizes
def test_nothing_is_wider_than_the_page(page, size):
    try_example(page)
    part(page, "description").locator("button.word").first.click()
    for tab in ("Compare", "Other captions", "Through the song", "Keep", "See why"):
        page.get_by_role("tab", name=tab).click()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, tab


def test_everything_is_reached_by_keyboard(page):
    add_tag(page, "soul")
    wait_done(page)
    page.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(70):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                """() => { const node = document.activeElement;
                return node.dataset.id || node.getAttribute('aria-label') || node.textContent; }"""
            )
        )
    wanted = {"files", "record", "theme", "tag", "artist", "go", "live", "copy", "mode-gates"}
    assert wanted <= seen
    assert {"Weight of the tag soul", "Strength of audio", "See why"} <= seen
    word = part(page, "description").locator("button.word").first.get_attribute("aria-label")
    assert word in seen


def test_pictures_have_alternative_text(page):
    try_example(page)
    part(page, "description").locator("button.word").first.click()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('.agpt svg')].filter(node =>
          node.getAttribute('aria-hidden') !== 'true' && !node.getAttribute('aria-label')).length"""
    )
    assert unnamed == 0
    assert page.locator(".agpt svg[role=img]").count() >= 5


def test_a_finished_caption_is_announced_once(page):
    add_tag(page, "opera")
    wait_done(page)
    expect(part(page, "announce")).to_contain_text("Caption: ")


def test_colours_are_those_of_the_legend(page):
    try_example(page)
    colours = page.locator("[data-id=legend] .swatch").evaluate_all(
        "all => all.map(node => getComputedStyle(node).backgroundColor)"
    )
    assert colours == [
        "rgb(187, 187, 187)",
        "rgb(0, 114, 178)",
        "rgb(230, 159, 0)",
        "rgb(136, 34, 85)",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_themes_keep_what_only_a_colour_tells(scheme):
    width, height = SIZES["desktop"]
    context = browser().new_context(
        viewport={"width": width, "height": height}, forced_colors="active", color_scheme=scheme
    )
    page = context.new_page()
    page.goto(server())
    page.wait_for_selector(".agpt[data-ready=yes]")
    try_example(page)
    part(page, "description").locator("button.word").nth(2).click()
    part(page, "detail").wait_for()
    bars = (
        page.locator("[data-id=hero] .bar")
        .first.locator("span")
        .evaluate_all("all => all.map(node => getComputedStyle(node).backgroundColor)")
    )
    assert len(set(bars)) == 4
    style = "(node, name) => getComputedStyle(node)[name]"
    ink = page.locator("h1").evaluate(
        "node => { node.style.background = 'CanvasText';"
        " return getComputedStyle(node).backgroundColor; }"
    )
    assert part(page, "go").evaluate(style, "backgroundColor") == ink
    mode = part(page, "mode-shares").evaluate(style, "backgroundColor")
    assert mode != part(page, "mode-gates").evaluate(style, "backgroundColor")
    live = part(page, "live").evaluate(style, "backgroundColor")
    part(page, "live").uncheck()
    assert live != part(page, "live").evaluate(style, "backgroundColor")
    chosen = part(page, "description").locator("button.word").nth(2)
    assert chosen.evaluate(style, "outlineStyle") == "solid"
    screenshot(page, f"contrast-{scheme}")
    context.close()


def test_the_theme_button_switches_and_a_reload_keeps_its_choice(page):
    body, dark = page.locator("body"), re.compile(r"\bdark\b")
    for dark_now in (True, False):
        part(page, "theme").click()
        for _ in ("clicked", "loaded anew"):
            (expect(body).to_have_class if dark_now else expect(body).not_to_have_class)(dark)
            reload(page)


def test_the_privacy_note_is_on_the_page_and_nothing_is_fetched_elsewhere(page):
    expect(page.locator("p.privacy")).to_contain_text("at most a day")
    expect(page.locator("p.privacy")).to_contain_text("until newer ones take their place")
    hosts = page.evaluate(
        "performance.getEntriesByType('resource').map(entry => new URL(entry.name).hostname)"
    )
    assert set(hosts) <= {"127.0.0.1", "localhost"}


def test_the_server_holds_the_answers_of_few_visits():
    assert launch_options()["state_session_capacity"] <= MAX_RESULTS
