"""Comparing, keeping and bringing back, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import time

import pytest
from conftest import EXAMPLES
from playwright.sync_api import expect
from ui_browser import (
    add_tag,
    both_sizes,
    caption_of,
    open_page,
    part,
    reload,
    screenshot,
    set_slider,
    try_example,
    wait_done,
)

from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionResult
from audiogpt.ui.uploads import EXPIRED

pytest_plugins = ("ui_browser",)
pytestmark = pytest.mark.browser


def saved(page, name: str):
    with page.expect_download() as download:
        part(page, name).click()
    return download.value.path(), download.value.suggested_filename


@both_sizes
def test_a_stays_while_b_changes(page, size):
    try_example(page)
    pinned = caption_of(page)
    part(page, "pin").click()
    page.get_by_role("button", name="Without audio").click()
    wait_done(page)
    assert caption_of(page) != pinned
    sides = page.locator("article.side")
    expect(sides).to_have_count(2)
    words = sides.first.locator(".side-word").all_inner_texts()
    assert " ".join(word.strip() for word in words) == pinned
    assert sides.nth(1).locator("mark").count() >= 1
    expect(page.locator(".why")).to_contain_text("strength of audio: 1 → 0")
    expect(sides.first.locator(".totals")).to_contain_text("audio")
    screenshot(page, f"compare-{size}")
    page.get_by_role("button", name="Unpin A").click()
    expect(sides).to_have_count(0)


def test_order_artists_and_tracks_are_named_as_changes(page):
    try_example(page)
    part(page, "pin").click()
    expect(page.locator(".why")).to_contain_text("Changed from A to B: nothing yet")
    page.get_by_label("Artist of piano-waltz.ogg").fill("Clara")
    wait_done(page)
    expect(page.locator(".why")).to_contain_text("B: the tracks’ artists")
    page.get_by_label(re.compile("^Tell the tag .* earlier")).nth(1).click()
    wait_done(page)
    expect(page.locator(".why")).to_contain_text("B: the order of the tags; the tracks’ artists")
    entries = part(page, "history").locator("li")
    expect(entries).to_have_count(3)
    entries.nth(1).get_by_role("button", name="Restore").click()
    expect(page.get_by_label("Artist of piano-waltz.ogg")).to_have_value("Clara")
    entries.last.get_by_role("button", name="Restore").click()
    expect(page.get_by_label("Artist of piano-waltz.ogg")).to_have_value("")


def test_settings_are_named_as_their_fields_and_to_their_steps(page):
    add_tag(page, "jazz")
    wait_done(page)
    part(page, "pin").click()
    page.locator("details.settings summary").click()
    before = float(part(page, "decoding-invention").input_value())
    for name, value in (("invention", before + 0.005), ("target_words", 30)):
        part(page, f"decoding-{name}").fill(str(round(value, 3)))
        part(page, f"decoding-{name}").press("Enter")
        wait_done(page)
    expect(page.locator(".why")).to_contain_text(
        f"penalty (invented or said again): {before:g} → {round(before + 0.005, 3):g}"
    )
    expect(page.locator(".why")).to_contain_text("words aimed at: 0 → 30")
    part(page, "method").select_option("sample")
    wait_done(page)
    expect(page.locator(".why")).to_contain_text("method: beam search → sampling")


def test_history_restores_words_and_settings(page):
    add_tag(page, "jazz")
    wait_done(page)
    first = caption_of(page)
    add_tag(page, "drums")
    wait_done(page)
    set_slider(page, "Strength of tags", 0.5)
    wait_done(page)
    page.get_by_role("tab", name="Compare").click()
    entries = part(page, "history").locator("li")
    expect(entries).to_have_count(3)
    entries.last.get_by_role("button", name="Restore").click()
    assert caption_of(page) == first
    expect(part(page, "tags").locator("li")).to_have_count(1)
    assert page.get_by_label("Strength of tags").input_value() == "1"
    expect(part(page, "status")).to_have_text("Restored.")


def test_json_comes_back_to_the_same_caption(page):
    try_example(page)
    set_slider(page, "Strength of tags", 1.5)
    wait_done(page)
    caption = caption_of(page)
    page.get_by_role("tab", name="Keep").click()
    path, name = saved(page, "save-json")
    assert name.endswith(".json")
    content = path.read_text(encoding="utf-8")
    result = CaptionResult.from_dict(json.loads(content)["result"])
    assert result.trace is not None and result.checkpoint_sha256 and result.versions["torch"]
    assert result.request.strength("tags") == 1.5 and "/" not in result.request.tracks[0].name
    assert "/tmp" not in content
    screenshot(page, "keep-desktop")

    set_slider(page, "Strength of tags", 0)
    wait_done(page)
    part(page, "load").set_input_files(path)
    expect(part(page, "load-note")).to_contain_text("the same caption")
    assert caption_of(page) == caption
    assert page.get_by_label("Strength of tags").input_value() == "1.5"

    other = open_page()  # another visitor has no audio, but sees it all as it was saved
    other.get_by_role("tab", name="Keep").click()
    part(other, "load").set_input_files(path)
    expect(part(other, "load-note")).to_contain_text("add piano-waltz.ogg")
    assert caption_of(other) == caption
    expect(other.locator("svg.heat")).to_have_count(3)
    other.context.close()


def test_a_loaded_caption_is_compared_with_its_own_run_alone(page, monkeypatch):
    add_tag(page, "jazz")
    wait_done(page)
    page.get_by_role("tab", name="Keep").click()
    path, _ = saved(page, "save-json")
    stream = Captioner.stream

    def slowly(self, request, **options):
        time.sleep(1)
        yield from stream(self, request, **options)

    monkeypatch.setattr(Captioner, "stream", slowly)
    note = part(page, "load-note")
    for end in ("stop", "slider"):
        part(page, "load").set_input_files(path)
        expect(note).to_contain_text("making it again")
        if end == "stop":
            part(page, "stop").click()
            expect(note).to_have_text("Loaded as it was saved.")
        set_slider(page, "Strength of tags", 0)
        wait_done(page)
        expect(note).to_have_text("Loaded as it was saved.")


def test_a_saved_caption_plays_its_own_audio_alone(page, tmp_path):
    try_example(page)
    expect(page.locator(".plays button")).to_have_count(3)
    page.get_by_role("tab", name="Keep").click()
    path, _ = saved(page, "save-json")
    content = json.loads(path.read_text(encoding="utf-8"))
    trace = content["result"]["trace"]
    for token in range(len(trace["drop"])):  # much artists in each word, likelier without
        trace["drop"][token] = [0.0, 0.0, -1.0]
        for layer in trace["shares"]:
            layer[token] = [0.2, 0.1, 0.1, 0.6]
    (tmp_path / "edited.json").write_text(json.dumps(content), encoding="utf-8")
    page.get_by_role("button", name="bossa flute").click()  # takes the place of the first example
    wait_done(page)
    part(page, "load").set_input_files(tmp_path / "edited.json")
    expect(part(page, "load-note")).to_contain_text("add piano-waltz.ogg")
    page.get_by_role("tab", name="See why").click()
    expect(page.locator(".plays button")).to_have_count(0)
    page.locator("svg.timeline").click()
    assert part(page, "audio").evaluate("audio => audio.paused")
    part(page, "description").locator("button.word").nth(2).click()
    expect(page.locator("p.disagree")).to_have_text(
        "≠ The layers mixed in much of “artists”, yet no branch’s removal makes this word clearly"
        " less likely; without artists it would be likelier."
    )


@pytest.mark.parametrize("text", ["no json", "{}", '{"kind": "audiogpt-caption", "result": {}}'])
def test_a_foreign_file_is_refused_in_a_sentence(page, tmp_path, text):
    (tmp_path / "foreign.json").write_text(text)
    page.get_by_role("tab", name="Keep").click()
    part(page, "load").set_input_files(tmp_path / "foreign.json")
    expect(part(page, "error")).to_have_text("This file is not a caption that this page saved.")


def test_csv_and_pictures(page):
    try_example(page)
    page.get_by_role("tab", name="Keep").click()
    path, _ = saved(page, "save-csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["word"].lstrip("'") for row in rows] == caption_of(page).split()
    for row in rows:
        parts = ("context", "audio", "tags", "artists")
        assert sum(float(row[f"share_{part}"]) for part in parts) == pytest.approx(1, abs=1e-3)
    for kind in ("strip", "layers", "time"):
        path, name = saved(page, f"save-{kind}")
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG") and name.endswith(f"{kind}.png")
        width, height = (int.from_bytes(data[i : i + 4]) for i in (16, 20))
        assert width >= 800 and height >= 200
        # a drawing with its bars is larger than an empty sheet of that size
        assert len(data) > 6000


@both_sizes
def test_a_link_restores_the_settings(page, size):
    add_tag(page, "blues & <i>soul</i>")
    part(page, "artist").fill("Ünï Ködé")
    part(page, "artist").press("Enter")
    set_slider(page, "Strength of artists", 0.5)
    wait_done(page)
    caption = caption_of(page)
    page.get_by_role("tab", name="Keep").click()
    part(page, "copy-link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "example" not in link and re.search(r"#s=[\w-]+$", link)
    other = open_page(size, suffix=link[link.index("#") :])
    wait_done(other)
    assert caption_of(other) == caption
    expect(part(other, "tags")).to_contain_text("blues & <i>soul</i>")
    expect(part(other, "artists")).to_contain_text("Ünï Ködé")
    assert other.get_by_label("Strength of artists").input_value() == "0.5"
    entered = link[link.index("#") :]
    set_slider(other, "Strength of artists", 2)
    wait_done(other)
    other.evaluate("location.hash = ''")
    other.evaluate("hash => { location.hash = hash; }", entered)  # as if opened in the same tab
    expect(other.get_by_label("Strength of artists")).to_have_value("0.5")
    wait_done(other)
    assert caption_of(other) == caption
    other.context.close()


def test_a_damaged_link_starts_afresh_with_a_sentence(page):
    other = open_page(suffix="#s=AAAA")
    expect(part(other, "error")).to_contain_text("could not be read")
    other.context.close()


def test_a_page_loaded_anew_holds_what_it_held(page):
    part(page, "files").set_input_files(EXAMPLES[0])
    wait_done(page)
    page.get_by_label(f"Artist of {EXAMPLES[0].name}").fill("Clara")
    part(page, "passage").locator("summary").click()
    part(page, "to").fill("9")
    part(page, "to").press("Enter")
    wait_done(page)
    add_tag(page, "sad")
    set_slider(page, "Strength of tags", 0.5)
    wait_done(page)
    caption, tags = caption_of(page), part(page, "tags").inner_text()
    reload(page)
    wait_done(page)
    assert caption_of(page) == caption and part(page, "tags").inner_text() == tags
    expect(page.get_by_label(f"Artist of {EXAMPLES[0].name}")).to_have_value("Clara")
    expect(part(page, "passage-text")).to_have_text("0:00–0:09")
    assert page.get_by_label("Strength of tags").input_value() == "0.5"

    change = "text => sessionStorage.setItem('audiogpt-tab', text)"
    kept = json.loads(page.evaluate("sessionStorage.getItem('audiogpt-tab')"))
    for name in (kept["tracks"][0]["file"] + "x", "/etc/passwd"):  # by now deleted; never uploaded
        kept["tracks"][0]["file"] = name
        page.evaluate(change, json.dumps(kept))
        reload(page)
        expect(part(page, "error")).to_have_text(EXAMPLES[0].name + EXPIRED)
    for broken in ("{", '{"v": 1, "settings": {"tags": 3}, "tracks": [null, {"file": 1}]}'):
        page.evaluate(change, broken)
        reload(page)
        expect(part(page, "status")).to_have_text("Add music or a tag to begin.")


def test_a_link_counts_until_its_page_is_loaded_anew(page):
    add_tag(page, "jazz")
    wait_done(page)
    page.get_by_role("tab", name="Keep").click()
    link = part(page, "link").input_value()
    set_slider(page, "Strength of tags", 0.5)
    wait_done(page)
    reload(page, link)
    wait_done(page)
    assert page.get_by_label("Strength of tags").input_value() == "1"
    set_slider(page, "Strength of tags", 0.25)
    wait_done(page)
    reload(page)
    wait_done(page)
    assert page.get_by_label("Strength of tags").input_value() == "0.25"
    part(page, "live").uncheck()
    reload(page)
    expect(part(page, "status")).to_have_text("Press Caption to go on.")
    assert caption_of(page) == ""


def test_a_page_loaded_anew_holds_its_history_and_what_was_pinned(page):
    add_tag(page, "jazz")
    wait_done(page)
    first = caption_of(page)
    part(page, "pin").click()
    totals = page.locator("article.side .totals").first.inner_text()
    try_example(page)
    reload(page)
    wait_done(page)
    page.get_by_role("tab", name="Compare").click()
    sides = page.locator("article.side")
    expect(sides).to_have_count(2)
    words = sides.first.locator(".side-word").all_inner_texts()
    assert " ".join(word.strip() for word in words) == first
    assert sides.first.locator(".totals").inner_text() == totals
    expect(page.locator(".why")).to_contain_text("Changed from A to B: the audio")
    entries = part(page, "history").locator("li")
    expect(entries).to_have_count(2)  # the caption made again is the one that was there
    entries.last.get_by_role("button", name="Restore").click()
    assert caption_of(page) == first
    page.get_by_role("tab", name="See why").click()
    expect(page.locator(".why")).to_contain_text("press Caption for its reasons")
    part(page, "go").click()
    wait_done(page)
    assert caption_of(page) == first
    expect(page.locator(".why .layers").first).to_be_visible()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Unpin A").click()
    for broken in ("{", '{"v": 1, "entries": [null], "pinned": {"result": 3}}'):
        page.evaluate("text => sessionStorage.setItem('audiogpt-history', text)", broken)
        reload(page)
        page.get_by_role("tab", name="Compare").click()
        expect(sides).to_have_count(0)
        wait_done(page)


def test_a_playlist_loaded_anew_knows_how_long_its_tracks_are(page):
    part(page, "files").set_input_files(EXAMPLES[:2])
    wait_done(page)
    first, second = (page.get_by_role("button", name=e.name, exact=True) for e in EXAMPLES[:2])
    second.click()
    part(page, "passage").locator("summary").click()
    part(page, "from").fill("3")
    part(page, "to").fill("9")
    part(page, "to").press("Enter")
    wait_done(page)
    lengths = part(page, "tracks").locator(".length").all_inner_texts()
    part(page, "live").uncheck()
    reload(page)
    second.click()  # not heard yet, but its length and passage are known
    expect(part(page, "passage-text")).to_have_text("0:03–0:09")
    assert float(part(page, "seek").get_attribute("max")) > 10
    first.click()
    part(page, "go").click()
    wait_done(page)
    assert part(page, "tracks").locator(".length").all_inner_texts() == lengths


def test_music_stops_for_what_is_brought_back_and_its_tags_follow_it(page):
    add_tag(page, "jazz")
    wait_done(page)
    page.get_by_role("tab", name="Keep").click()
    path, _ = saved(page, "save-json")
    page.get_by_label("Remove the tag jazz").click()
    try_example(page)
    tags = part(page, "tags").inner_text()
    try_example(page, "bossa flute")
    part(page, "play").click()
    expect(part(page, "play")).to_have_attribute("aria-label", "Pause")
    page.get_by_role("tab", name="Compare").click()
    part(page, "history").locator("li").nth(1).get_by_role("button", name="Restore").click()
    expect(part(page, "history").locator("li").nth(1).locator("button").first).to_be_focused()
    assert part(page, "tags").inner_text() == tags
    expect(part(page, "play")).to_have_attribute("aria-label", "Play")
    try_example(page, "heavy guitars")
    assert part(page, "tags").inner_text() != tags
    part(page, "play").click()
    part(page, "load").set_input_files(path)
    expect(part(page, "load-note")).to_contain_text("the same caption")
    assert part(page, "audio").evaluate("audio => audio.paused")
