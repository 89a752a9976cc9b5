"""What comes back to the page: by going back, by loading it anew, from a saved caption's file."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import (
    add_tag,
    caption_of,
    leave,
    open_page,
    part,
    reload,
    set_slider,
    try_example,
    wait_done,
)

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser


def saved_json(page):
    page.get_by_role("tab", name="Keep").click()
    with page.expect_download() as download:
        part(page, "save-json").click()
    return download.value.path()


def test_going_back_to_a_linked_page_keeps_what_was_done_there(page):
    add_tag(page, "jazz")
    wait_done(page)
    page.get_by_role("tab", name="Keep").click()
    link = part(page, "link").input_value()
    reload(page, link)
    wait_done(page)
    set_slider(page, "Strength of tags", 0.25)
    wait_done(page)
    leave(page)
    page.go_back()
    page.wait_for_selector(".agpt[data-ready=yes]")
    assert page.get_by_label("Strength of tags").input_value() == "0.25"
    reload(page, link)  # opened anew, the link counts again
    assert page.get_by_label("Strength of tags").input_value() == "1"


def test_captions_of_parts_come_back_with_their_tracks_alone(page):
    try_example(page)
    part(page, "live").uncheck()
    page.get_by_role("tab", name="Through the song").click()
    part(page, "segment-seconds").select_option("6")
    part(page, "segments-go").click()
    rows = part(page, "segments").locator("li")
    expect(part(page, "announce")).to_have_text("3 parts captioned.")
    parts = rows.all_inner_texts()
    reload(page)
    page.get_by_role("tab", name="Through the song").click()
    assert rows.all_inner_texts() == parts
    expect(part(page, "segment-seconds")).to_have_value("6")
    rows.nth(1).get_by_role("button").click()
    page.wait_for_function("document.querySelector('[data-id=audio]').currentTime >= 6")

    kept = json.loads(page.evaluate("sessionStorage.getItem('audiogpt-parts')"))
    others = [kept | {"passages": ["example:other.ogg 0 "]}, kept | {"list": [{"track": 7}]}, 3]
    for other in others:
        change = "text => sessionStorage.setItem('audiogpt-parts', text)"
        page.evaluate(change, json.dumps(other))
        reload(page)
        expect(rows).to_have_count(0)
    page.evaluate(change, json.dumps(kept))
    reload(page)
    expect(rows).to_have_count(3)
    part(page, "passage").locator("summary").click()
    part(page, "to").fill("9")
    part(page, "to").press("Enter")
    part(page, "whole").click()
    reload(page)
    expect(rows).to_have_count(0)  # forgotten with the passage, though it is the same again


def test_a_saved_playlist_is_made_again_once_its_audio_is_there(page, tmp_path):
    part(page, "files").set_input_files(EXAMPLES[:2])
    wait_done(page)
    first, second = (example.name for example in EXAMPLES[:2])
    page.get_by_label(f"Artist of {first}").fill("Clara")
    set_slider(page, f"Weight of {second}", 0.5)
    part(page, "passage").locator("summary").click()
    part(page, "from").fill("3")
    part(page, "to").fill("9")
    part(page, "to").press("Enter")
    wait_done(page)
    for _ in range(part(page, "tags").locator("li").count()):
        page.get_by_label(re.compile("^Remove the tag")).first.click()
    wait_done(page)
    caption, path = caption_of(page), saved_json(page)

    other = open_page()
    try_example(other, "piano waltz")
    tags = part(other, "tags")
    expect(tags.locator("li").first).to_be_visible()
    part(other, "load").set_input_files(path)
    note, tracks = part(other, "load-note"), part(other, "tracks").locator("li.track")
    expect(note).to_have_text(f"Loaded as it was saved. To make it again, add {first}, {second}.")
    expect(tracks).to_have_count(0)
    renamed = tmp_path / "under-another-name.ogg"
    shutil.copy(EXAMPLES[1], renamed)
    part(other, "files").set_input_files(renamed)
    expect(note).to_have_text(f"Loaded as it was saved. To make it again, add {first}.")
    expect(other.get_by_label(f"Weight of {renamed.name}")).to_have_value("0.5")
    wait_done(other)
    expect(tags.locator("li")).to_have_count(0)
    other.get_by_label(f"Remove {renamed.name}").click()
    expect(note).to_have_text(f"Loaded as it was saved. To make it again, add {first}, {second}.")
    part(other, "files").set_input_files(renamed)
    expect(note).to_have_text(f"Loaded as it was saved. To make it again, add {first}.")
    wait_done(other)
    part(other, "files").set_input_files(EXAMPLES[0])
    expect(note).to_have_text("Loaded and made again: the same caption.")
    assert caption_of(other) == caption
    assert tracks.locator(".track-name").all_inner_texts() == [first, renamed.name]
    expect(other.get_by_label(f"Artist of {first}")).to_have_value("Clara")
    expect(part(other, "passage-text")).to_have_text("0:03–0:09")
    expect(part(other, "from")).to_have_value("3")

    other.get_by_label(f"Remove {first}").click()
    wait_done(other)
    part(other, "load").set_input_files(path)
    expect(note).to_have_text(f"Loaded as it was saved. To make it again, add {first}.")
    set_slider(other, f"Weight of {second}", 0.75)  # then it is another caption
    part(other, "files").set_input_files(EXAMPLES[0])
    expect(note).to_have_text("Loaded as it was saved.")
    other.context.close()


def test_what_is_added_or_changed_besides_is_no_longer_the_saved_caption(page, tmp_path):
    try_example(page)
    path = saved_json(page)
    page.get_by_label(re.compile("^Remove piano-waltz")).click()
    note = part(page, "load-note")
    missing = "Loaded as it was saved. To make it again, add piano-waltz.ogg."
    waltz = next(example for example in EXAMPLES if example.name == "piano-waltz.ogg")

    part(page, "load").set_input_files(path)
    expect(note).to_have_text(missing)
    page.get_by_role("button", name="bossa flute").click()
    wait_done(page)
    expect(note).to_have_text(missing)
    part(page, "files").set_input_files(waltz)
    wait_done(page)
    expect(note).to_have_text("Loaded as it was saved.")
    expect(part(page, "tracks").locator("li.track")).to_have_count(2)  # nothing is taken away

    for _ in range(2):
        page.get_by_label(re.compile("^Remove .*ogg$")).first.click()
    part(page, "load").set_input_files(path)
    expect(note).to_have_text(missing)
    set_slider(page, "Strength of tags", 0.5)
    try_example(page)
    expect(note).to_have_text("Loaded as it was saved.")

    page.get_by_label(re.compile("^Remove .*ogg$")).click()
    part(page, "load").set_input_files(path)
    shutil.copy(EXAMPLES[0], tmp_path / waltz.name)
    part(page, "files").set_input_files(tmp_path / waltz.name)
    expect(note).to_contain_text("the audio of that name is other audio")
