"""Artists: shares in, names out. Names never enter the model.

The artist branch sees only how the shares are distributed, in decreasing order (PlayNTell, section
4.1). In training, names in captions become the tokens artist0, artist1, ... by rank; after
decoding, each such token becomes the name at that rank again.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from audiogpt.playntell.english import preprocess

logger = logging.getLogger(__name__)

N_SHARES = 10
NEUTRAL_NAME = "another artist"
# A whole artist token in running text: not "artist1" within "artist10", "artists" or "myartist1".
WHOLE_TOKEN = re.compile(r"(?<![^\W_])artist(\d{1,3})(?![^\W_])", re.IGNORECASE)


@dataclass(frozen=True)
class RankedArtists:
    """Artists by decreasing share; `shares` sum to 1 over all of them, before any cut."""

    names: tuple[str, ...]
    shares: tuple[float, ...]

    def vector(self) -> np.ndarray:
        """The row of the artist branch: the ten largest shares, zero-padded, (10,) float32.

        As published, the shares are not normalised again after the cut to ten.
        """
        row = np.zeros(N_SHARES, dtype=np.float32)
        row[: min(N_SHARES, len(self.shares))] = self.shares[:N_SHARES]
        return row

    def __bool__(self) -> bool:
        return bool(self.names)


def rank_artists(artists: Iterable[tuple[str, float]]) -> RankedArtists:
    """Normalise (name, share) pairs and sort them by decreasing share; ties keep their order.

    The same name given twice (ignoring case and surrounding space) counts once with the sum of its
    shares. A share of 0 is as if the artist were absent. Raises ValueError for a negative or
    endless share.
    """
    totals: dict[str, float] = {}
    names: dict[str, str] = {}
    for name, share in artists:
        if not math.isfinite(share) or share < 0:
            raise ValueError(f"The share of {name!r} must be a number of at least 0, not {share}.")
        shown = " ".join(name.split())
        if share and shown:
            names.setdefault(shown.casefold(), shown)
            totals[shown.casefold()] = totals.get(shown.casefold(), 0.0) + share
    whole = math.fsum(totals.values())
    ordered = sorted(totals.items(), key=lambda item: -item[1])  # stable: ties keep their order
    return RankedArtists(
        tuple(names[key] for key, _ in ordered), tuple(share / whole for _, share in ordered)
    )


def rank_track_artists(artists: Iterable[str]) -> RankedArtists:
    """Shares of tracks per artist, from one name per track, as the published code counts them.

    Names count as equal only if they are spelled alike; ties keep the order of first appearance.
    """
    counts = Counter(artists).most_common()
    whole = sum(count for _, count in counts)
    return RankedArtists(
        tuple(name for name, _ in counts), tuple(count / whole for _, count in counts)
    )


def artist_token(rank: int) -> str:
    """The token that stands for the artist at a rank, from 0."""
    return f"artist{rank}"


TOKENS = tuple(map(artist_token, range(N_SHARES)))  # in the place of names, where none may matter


def mask_artists(caption: str, names: Sequence[str]) -> str:
    """Replace artist names in a training caption by their tokens.

    Whole names only ("Air" is not in "Airport"), ignoring case, the longest name first ("Guns N'
    Roses" before "Guns"), in one pass, so that a token is never searched for names. Only the first
    ten names have tokens; others stay as they are.
    """
    rank_of: dict[str, int] = {}
    spelled: set[str] = set()
    for rank, name in enumerate(names[:N_SHARES]):
        if name.strip():
            folded = " ".join(name.casefold().split())
            rank_of.setdefault(folded, rank)
            spelled |= {folded, " ".join(name.split())}  # "Heißkalt" folds to "heisskalt"
    if not rank_of:
        return caption
    longest_first = sorted(spelled, key=lambda name: (-len(name), name))
    choices = "|".join(r"\s+".join(map(re.escape, name.split())) for name in longest_first)
    # Not \b: a name may begin or end with a character that is no letter, as in "P!nk" and "Ke$ha".
    pattern = re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)

    def token(match: re.Match[str]) -> str:
        rank = rank_of.get(" ".join(match.group().casefold().split()))
        return match.group() if rank is None else artist_token(rank)

    return pattern.sub(token, caption)


def name_at(rank: int, names: Sequence[str], missing: list[int] | None = None) -> str:
    """The name at a rank; where there is none, a neutral word, and the rank joins `missing`."""
    if 0 <= rank < len(names):
        return names[rank]
    if missing is not None and rank not in missing:
        missing.append(rank)
    return NEUTRAL_NAME


def unmask_artists(text: str, names: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """Replace whole artist tokens in `text` by names; returns the text and ranks without a name."""
    missing: list[int] = []
    text = WHOLE_TOKEN.sub(lambda match: name_at(int(match[1]), names, missing), text)
    if missing:
        logger.info("The caption mentions artists without a name: ranks %s.", missing)
    return text, tuple(missing)


def unmask_artists_as_published(text: str, names: Sequence[str]) -> str:
    """Replace artist tokens as the published code does, mistakes included.

    Names are lower-cased and stripped of punctuation; the token of rank 1 is replaced inside that
    of rank 10 as well, and a rank without a name stays as it is.
    """
    for rank, name in enumerate(names):
        text = text.replace(artist_token(rank), preprocess(name))
    return text
