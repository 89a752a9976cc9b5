"""Texts and inputs of training say the same: who shares the music, which tags are told."""

from __future__ import annotations

import random
import re

import pytest

from audiogpt.training.artist_sentences import artist_sentence, artists_only_title, draw_shares
from audiogpt.training.pairs import Pair, mend_articles
from audiogpt.training.views import draw_view
from audiogpt.words import all_words, content_words

EQUALLY = re.compile("even mix|equally|equal measure")


def test_an_even_mix_names_all_who_share_it_or_says_that_they_are_many() -> None:
    dice = random.Random(0)
    even = many = 0
    for _ in range(3000):
        shares = draw_shares(dice)
        text, title = artist_sentence(shares, dice), artists_only_title(shares, dice)
        named, count = len(set(re.findall(r"artist\d", text))), sum(share > 0 for share in shares)
        if EQUALLY.search(text):
            even += 1
            assert shares[0] < 1.5 * shares[count - 1], (shares, text)
            assert named == count, (shares, text)
        leading = sum(share > 0.6 * shares[0] for share in shares)
        if leading > 4:
            many += 1
        assert (leading > 4) == ("and others" in text), (shares, text)
        if "Together" in title or title.startswith("A Mix of"):
            assert len(set(re.findall(r"artist\d", title))) == count, (shares, title)
    assert even > 300 and many > 300


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("an sad song, an saxophone, an hypnotic beat", "a sad song, a saxophone, a hypnotic beat"),
        ("A upbeat tune, a uplifting one", "An upbeat tune, an uplifting one"),
        (
            "a unique ukulele, a European, an hour, an SSL desk, a one-man band",
            "a unique ukulele, a European, an hour, an SSL desk, a one-man band",
        ),
    ],
)
def test_articles_fit_the_words_after_them(text: str, mended: str) -> None:
    assert mend_articles(text) == mended


def test_instruments_in_compounds_are_given_too() -> None:
    pair = Pair(
        key="x",
        source="recombined",
        sentences=("An e-bass and a violin/viola duo play (with a flute) a calm song.",),
        tags=("calm",),
    )
    dice, given = random.Random(1), []
    for _ in range(100):
        view = draw_view(pair, dice)
        given.append({word for tag, _ in view.tags for word in all_words(tag)})
    for instrument in ("bass", "violin", "viola", "flute"):
        assert sum(instrument in words for words in given) > 70


def test_tags_that_are_given_with_a_clip_are_told_beside_the_composer_s_words() -> None:
    pair = Pair(
        key="x",
        source="incompetech",
        sentences=("Almost like a club in the old town.", "A long walk through a quiet park."),
        tags=("electronica", "groovy", "synth", "drum kit", "bass", "flute"),
        audio=("a.ogg",),
        style="electronica",
        moods=("groovy", "bouncy"),
        instruments=("synth", "drum kit", "bass", "flute"),
    )
    dice, noted = random.Random(2), 0
    for _ in range(600):
        view = draw_view(pair, dice)
        told = content_words(view.description)
        noted += "walk" in told and bool(view.tags)
        for tag, weight in view.tags:
            assert weight <= 0.35 or content_words(tag) & told, view
    assert noted > 10
