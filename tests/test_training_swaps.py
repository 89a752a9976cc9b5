"""More texts from few: words exchanged in captions and tags alike."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from audiogpt.training.pairs import Pair
from audiogpt.training.swaps import Swaps
from audiogpt.training.tag_kinds import kind_of
from audiogpt.words import content_words, share_mentioned


def _pair(text: str, *tags: str, **more) -> Pair:
    return Pair(key="x", source="musiccaps", sentences=(text,), tags=tags, **more)


CORPUS = [
    _pair(
        "A mellow piano plays a sad jazz melody with violins.", "mellow piano", "jazz", "violins"
    ),
    _pair("An eerie organ and a cheerful flute in a rock song.", "eerie organ", "rock", "flute"),
    _pair("An energetic techno track with trumpet and harp.", "energetic", "techno", "trumpet"),
    _pair("It sounds romantic, passionate and gentle, a folk song.", "romantic", "folk", "gentle"),
]
SWAPS = Swaps.of(CORPUS)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(0, 10_000))
def test_text_and_tags_are_exchanged_alike(index: int, seed: int) -> None:
    pair = CORPUS[index]
    other = SWAPS.draw(pair, random.Random(seed), chance=1.0)
    assert other != pair
    assert [kind_of(tag) for tag in other.tags] == [kind_of(tag) for tag in pair.tags]
    told = [share_mentioned(tag, content_words(pair.description)) for tag in pair.tags]
    again = [share_mentioned(tag, content_words(other.description)) for tag in other.tags]
    assert told == again
    assert " a e" not in other.description
    assert " an c" not in other.description
    assert len(other.description.split()) == len(pair.description.split())


def test_plurals_capitals_and_names_of_several_words_stay_whole() -> None:
    changed = {SWAPS.draw(CORPUS[0], random.Random(n), chance=1.0).description for n in range(30)}
    assert all(
        text.split()[-1] in {"organs.", "flutes.", "trumpets.", "harps."} for text in changed
    )
    bound = _pair("A pop rock song with a rock organ.", "pop rock", "rock organ")
    assert SWAPS.draw(bound, random.Random(0), chance=1.0) == bound
    for text, tags in (
        ("Ambient room noises and electronic drum beats.", ("ambient noises", "electronic beats")),
        ("A rock and roll song.", ("rock and roll",)),
        ("It is country and western, rhythm and blues.", ("country", "blues")),
    ):
        name = _pair(text, *tags)
        assert SWAPS.draw(name, random.Random(0), chance=1.0) == name
    ambient = _pair("An ambient track.", "ambient")
    assert SWAPS.draw(ambient, random.Random(0), chance=1.0) == ambient  # not in those
    known = Swaps.of([*CORPUS, ambient])
    assert known.draw(ambient, random.Random(0), chance=1.0) != ambient
    untold = _pair("A slow song.", "jazz")
    assert SWAPS.draw(untold, random.Random(0), chance=1.0) == untold
