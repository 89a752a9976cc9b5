"""Captions of parts say which track and which settings they are of."""

from __future__ import annotations

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import add_tag, part, reload, set_slider, try_example, wait_done

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser


def caption_parts(page) -> None:
    page.get_by_role("tab", name="Through the song").click()
    part(page, "segment-seconds").select_option("60")
    part(page, "segments-go").click()
    expect(part(page, "segments").locator("li").first).to_be_visible()
    expect(part(page, "segments-go")).to_have_text("Caption each part")


def test_parts_of_several_tracks_name_them(page):
    part(page, "files").set_input_files(EXAMPLES[:2])
    wait_done(page)
    caption_parts(page)
    names = [example.name for example in EXAMPLES[:2]]
    for name in names:
        page.get_by_role("button", name=f"Play {name} from 0:00").wait_for()
    page.get_by_role("button", name="Copy list").click()
    expect(part(page, "announce")).to_have_text("Copied.")
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert [line.split("  ")[0] for line in lines] == names


def test_parts_made_with_other_settings_are_said_to_be(page):
    try_example(page)
    part(page, "live").uncheck()
    caption_parts(page)
    stale = part(page, "parts-stale")
    add_tag(page, "opera")  # each part takes the tags heard in it
    expect(stale).to_have_count(0)
    set_slider(page, "Strength of tags", 0.5)
    expect(stale).to_be_visible()
    reload(page)
    page.get_by_role("tab", name="Through the song").click()
    expect(stale).to_be_visible()
    set_slider(page, "Strength of tags", 1)
    expect(stale).to_have_count(0)
    page.get_by_label("Artist of piano-waltz.ogg").fill("Clara")
    expect(stale).to_be_visible()
    part(page, "segments-go").click()
    expect(part(page, "segments-go")).to_have_text("Caption each part")
    expect(stale).to_have_count(0)
