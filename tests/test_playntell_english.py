"""Splitting lower-case English: rules one by one, and against what spaCy gave."""

from __future__ import annotations

import json

import pytest
from playntell_recipe import COPIES

from audiogpt.playntell.english import preprocess, split_words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("guns n' roses", ["guns", "n", "'", "roses"]),
        ("earth, wind & fire", ["earth", ",", "wind", "&", "fire"]),
        ("jay-z", ["jay", "-", "z"]),
        ("blink-182", ["blink-182"]),
        ("ac/dc", ["ac", "/", "dc"]),
        ("p!nk ke$ha m+a", ["p!nk", "ke$ha", "m+a"]),
        ("the notorious b.i.g.", ["the", "notorious", "b.i.g", "."]),
        ("will.i.am", ["will.i.am"]),
        ("mr. x vs. y", ["mr", ".", "x", "vs.", "y"]),
        ("don't dont can't cannot", ["do", "n't", "do", "nt", "ca", "n't", "can", "not"]),
        ("it's its we're were", ["it", "'s", "its", "we", "'re", "were"]),
        ("don’t it’s", ["do", "n’t", "it", "’s"]),
        ("y'all gonna c'mon", ["y'", "all", "gon", "na", "c'm", "on"]),
        ("8pm 10a.m. 13pm", ["8", "pm", "10", "a.m.", "13pm"]),
        ("5km 120bpm $5 5$", ["5", "km", "120bpm", "$", "5", "5", "$"]),
        ('(hello) [x] "q"', ["(", "hello", ")", "[", "x", "]", '"', "q", '"']),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("http://a.bc/d-e a-b", ["http://a.bc/d-e", "a", "-", "b"]),
        (":) cool:) <3 (x)", [":)", "cool", ":)", "<3", "(", "x", ")"]),
        ("a b c. d.", ["a", "b", "c.", "d."]),
        ("café–bar “quote”", ["café", "–", "bar", "“", "quote", "”"]),
        ("日本,東京", ["日本", ",", "東京"]),
        ("m83™ ☆", ["m83", "™", "☆"]),
        ("a  b", ["a", " ", "b"]),
        ("", []),
    ],
)
def test_rules(text: str, tokens: list[str]) -> None:
    assert split_words(text) == tokens


def test_preparing_drops_case_punctuation_and_tabs() -> None:
    assert preprocess("  Earth, Wind & Fire! ") == "earth wind & fire"
    assert preprocess("a\tb\t\tc") == "a b c"
    assert preprocess("...") == ""


def test_capitals_are_refused() -> None:
    with pytest.raises(ValueError, match="lower-case"):
        split_words("Hello")


def test_recorded_splits_of_spacy() -> None:
    """spaCy 3.8.18's tokens of artist names, every special word, and random concatenations."""
    cases = json.loads((COPIES / "english.json").read_text(encoding="utf-8"))
    assert len(cases) > 2000
    for text, tokens in cases:
        assert split_words(text) == tokens, text
