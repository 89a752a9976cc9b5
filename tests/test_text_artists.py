"""Artists: shares to a vector, names to tokens and back, whole names and whole tokens only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiogpt.artists import (
    NEUTRAL_NAME,
    mask_artists,
    rank_artists,
    rank_track_artists,
    unmask_artists,
    unmask_artists_as_published,
)

NAMES = [f"name {letter}" for letter in "abcdefghijkl"]


def test_shares_are_normalised_sorted_and_padded() -> None:
    ranked = rank_artists([("B", 1), ("A", 3)])
    assert ranked.names == ("A", "B")
    np.testing.assert_allclose(ranked.vector(), [0.75, 0.25, *[0] * 8])
    assert ranked.vector().dtype == np.float32


def test_the_cut_to_ten_is_not_normalised_again() -> None:
    ranked = rank_artists([(name, 1) for name in NAMES])
    assert len(ranked.names) == 12
    np.testing.assert_allclose(ranked.vector(), [1 / 12] * 10)


def test_ties_keep_their_order_and_zero_shares_are_absent() -> None:
    ranked = rank_artists([("X", 1), ("gone", 0), ("A", 1), ("B", 2)])
    assert ranked.names == ("B", "X", "A")


def test_the_same_name_counts_once() -> None:
    assert rank_artists([("Air", 1), (" air ", 2), ("Moby", 2)]).names == ("Air", "Moby")


def test_no_artists_are_an_empty_branch() -> None:
    assert not rank_artists([]) and not rank_artists([("A", 0), ("  ", 3)])


@pytest.mark.parametrize("share", [-1, float("nan"), float("inf")])
def test_shares_that_mean_nothing_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of 'A'"):
        rank_artists([("A", share)])


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 9)), max_size=20))
def test_vectors_are_decreasing_shares(artists: list[tuple[str, float]]) -> None:
    vector = rank_artists(artists).vector()
    assert vector.shape == (10,) and (np.diff(vector) <= 0).all()
    assert vector.sum() <= 1 + 1e-6


def test_track_counts_as_published() -> None:
    ranked = rank_track_artists(["B", "A", "a", "A", "B", "C"])
    assert ranked.names == ("B", "A", "a", "C")  # ties by first appearance, spelling counts
    np.testing.assert_allclose(ranked.vector()[:4], [2 / 6, 2 / 6, 1 / 6, 1 / 6])


def test_whole_names_are_masked_longest_first() -> None:
    names = ["Guns", "Guns N' Roses", "Air"]
    text = "Guns N' Roses, guns and Air at the Airport; AIR."
    assert mask_artists(text, names) == "artist1, artist0 and artist2 at the Airport; artist2."


@pytest.mark.parametrize(
    "name", ["P!nk", "Ke$ha", "!!!", "AC/DC", "Beyoncé", "M+A", "will.i.am", "Heißkalt"]
)
def test_names_with_odd_characters_are_masked(name: str) -> None:
    assert mask_artists(f"songs of {name} only", [name]) == "songs of artist0 only"


def test_a_token_is_never_searched_for_names() -> None:
    assert mask_artists("Prince and Artist", ["Prince", "Artist"]) == "artist0 and artist1"


def test_names_beyond_the_tenth_have_no_token() -> None:
    assert mask_artists("name k", NAMES) == "name k"
    assert mask_artists("name j", NAMES) == "artist9"


def test_masking_nothing() -> None:
    assert mask_artists("a song", []) == "a song" == mask_artists("a song", ["", " "])


def test_whole_tokens_are_unmasked() -> None:
    text, missing = unmask_artists("artist1, artist10 and artist11 by artists", NAMES)
    assert text == "name b, name k and name l by artists"
    assert missing == ()


def test_ranks_without_a_name_are_neutral_and_reported() -> None:
    text, missing = unmask_artists("artist0 and artist7 and artist7", ["Air"])
    assert text == f"Air and {NEUTRAL_NAME} and {NEUTRAL_NAME}"
    assert missing == (7,)


def test_names_are_not_unmasked_again() -> None:
    assert unmask_artists("artist0", ["artist1", "Air"])[0] == "artist1"


@pytest.mark.parametrize("names", [["Air", "Guns N' Roses"], ["Moby", "Air France", "Air"]])
def test_masking_and_unmasking_is_the_identity(names: list[str]) -> None:
    text = f"Best of {' and '.join(reversed(names))}."
    assert unmask_artists(mask_artists(text, names), names)[0] == text


def test_the_published_replacement_keeps_its_mistake() -> None:
    text = unmask_artists_as_published("artist10 and artist1 and artist9", ["A", "AC/DC"])
    assert text == "ac / dc0 and ac / dc and artist9"
