"""More texts from few: words exchanged in captions and tags alike, captions written for clips."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from audiogpt.training.pairs import Pair
from audiogpt.training.swaps import Swaps
from audiogpt.training.tag_kinds import kind_of
from audiogpt.training.views import draw_view
from audiogpt.training.voiced import Voiced, is_sound, openings, read_voiced, save_voiced
from audiogpt.training.voicing import voice
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
    untold = _pair("A slow song.", "jazz")
    assert SWAPS.draw(untold, random.Random(0), chance=1.0) == untold


def test_captions_for_clips_begin_with_their_facts() -> None:
    facts = ("drums", "techno", "fast tempo", "synth")
    begun = openings(facts)
    assert "This is a techno music piece. There is" in begun
    assert "This music is instrumental. The tempo is fast with" in begun
    assert openings(("drums", "synth")) == []


def _voiced(text: str) -> Voiced:
    facts = ("drums", "techno", "fast tempo")
    return Voiced(clip="c.ogg", tags=(("techno", 0.8),), facts=facts, description=text)


def test_only_what_is_known_may_be_told() -> None:
    assert is_sound(_voiced("This is a techno piece. The drums play at a fast tempo."))
    for wrong in (
        "This is a techno piece.",  # drums and tempo are not told
        "This is a techno piece. The drums and a guitar play at a fast tempo.",
        "This is a techno piece. The drums play at a fast tempo. A woman sings.",
        "This is a techno piece. The drums and drums play at a fast tempo.",
    ):
        assert not is_sound(_voiced(wrong))


def test_clips_are_voiced_kept_and_drawn_as_views(tmp_path: Path) -> None:
    clips = [
        Pair(
            key=f"{n}.ogg",
            source="grooves",
            sentences=(),
            tags=("techno", "synth", "drums", "fast tempo"),
            audio=(f"{n}.ogg",),
            style="techno",
            instruments=("synth", "drums"),
            heard={f"{n}.ogg": [("techno", 0.9), ("fast", 0.6)]},
        )
        for n in range(4)
    ]
    written = list(voice(clips, ROOT / "checkpoints" / "audiogpt-small", draws=2, seed=1))
    assert written
    assert all(is_sound(each) for each in written)
    save_voiced(written, tmp_path / "voiced.jsonl")
    pairs = read_voiced(tmp_path / "voiced.jsonl")
    assert len(pairs) == len(written)
    view = draw_view(pairs[0], random.Random(0), artists=False)
    assert view.audio == written[0].clip
    assert view.tags == written[0].tags
    assert view.description == written[0].description
    with pytest.raises(ValueError, match="voice-clips"):
        read_voiced(tmp_path / "none.jsonl")
