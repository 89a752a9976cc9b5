"""Sentences about artists for training: their wording follows the distribution of shares.

Artists appear as the tokens artist0, artist1, … in decreasing order of share. No source at hand
has artists with text, so the sentences are composed: one dominating artist, a few who lead, an even
mix of a few, and many artists read differently, and names may stand in the title.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

ARTIST_ROWS = 10
NEARLY_ALL = 0.92  # share from which the others go unnamed, so that it reads much like being alone
EVEN = 1.5  # times the least share that the greatest of an even mix may be
LEADING = 0.6  # times the greatest share, from which an artist leads together with its artist
NAMED = 4  # artists of an even mix who are all named; more who lead are many


def draw_shares(dice: random.Random) -> tuple[float, ...]:
    """Ten shares, sorted decreasing, zero beyond the drawn number of artists.

    They sum to 1, or to less where there are more artists, of whom the model sees the ten greatest
    shares. Equal ones are common, for so are those of tracks by different artists.
    """
    count = dice.choice((1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8, 10, 15, 30))
    spread = dice.choice((0.0, 0.0, 0.3, 0.8, 1.5, 3.0))
    raw = [dice.lognormvariate(0, spread) if spread else 1.0 for _ in range(count)]
    if count > 1 and dice.random() < 0.25:
        raw[0] = sum(raw) * dice.uniform(2, 12)
    total = sum(raw)
    shares = sorted((value / total for value in raw), reverse=True)[:ARTIST_ROWS]
    return tuple(shares + [0.0] * (ARTIST_ROWS - len(shares)))


def name_list(ranks: Sequence[int], last: str = "and") -> str:
    """`artist0, artist1 and artist2`."""
    names = [f"artist{rank}" for rank in ranks]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def artist_sentence(shares: Sequence[float], dice: random.Random) -> str:
    """One sentence in keeping with the shares (decreasing)."""
    count = sum(share > 0 for share in shares)
    top = shares[0]
    if count == 1:
        return dice.choice(
            (
                "It is all by artist0.",
                "Every track here is by artist0.",
                "This is artist0 from beginning to end.",
                "The music is by artist0 alone.",
            )
        )
    if top >= NEARLY_ALL:
        return dice.choice(
            (
                "It is nearly all by artist0.",
                "Nearly every track here is by artist0.",
                "This is artist0 almost from beginning to end.",
            )
        )
    second = min(count, dice.choice((2, 2, 3)))
    others = name_list(range(1, second))
    if top >= 0.6:
        return dice.choice(
            (
                f"It is mostly by artist0, with a little of {others}.",
                f"artist0 dominates, with {others} in the margins.",
                f"artist0 stands at the centre, joined now and then by {others}.",
                f"This is artist0 above all, and some {others} besides.",
            )
        )
    leaders = sum(share >= LEADING * top for share in shares)
    if leaders > NAMED:  # whoever is named shares it with others
        some = ", ".join(f"artist{rank}" for rank in range(dice.choice((2, 3))))
        return dice.choice(
            (
                f"It is a mix of {some} and others.",
                f"{some} and others share it.",
                f"{some} and others take turns.",
            )
        )
    if top < EVEN * shares[count - 1]:
        all_of_them = name_list(range(count))
        return dice.choice(
            (
                f"It is an even mix of {all_of_them}.",
                f"{all_of_them} share it equally.",
                f"{all_of_them} take turns in equal measure.",
            )
        )
    if leaders >= 2:
        lead = name_list(range(min(leaders, 3)))
        return dice.choice(
            (f"{lead} lead the selection.", f"It leans on {lead}.", f"It is led by {lead}.")
        )
    return dice.choice(
        (
            f"artist0 leads, followed by {others}.",
            f"It leans on artist0, with {others} behind.",
            f"There is more of artist0 than of {others}.",
        )
    )


def artist_title(title: str, shares: Sequence[float], dice: random.Random) -> str:
    """The title with artists in it, where their number and the title's length allow that."""
    count = sum(share > 0 for share in shares)
    if len(title.split()) > 5:
        return title
    if count == 1 or shares[0] >= 0.6:
        forms = [f"{title} with artist0", f"artist0: {title}", f"{title} by artist0"]
        if count > 1:
            forms = [f"{title} with artist0", f"artist0 and More: {title}"]
        return dice.choice(forms)
    if count == 2:
        return f"{title} with artist0 and artist1"
    return title


def artists_only_title(shares: Sequence[float], dice: random.Random) -> str:
    """A title for a playlist of which nothing but the artists is known."""
    count = sum(share > 0 for share in shares)
    if count == 1:
        return dice.choice(("All About artist0", "Nothing but artist0", "artist0 in Focus"))
    if shares[0] >= 0.6:
        return dice.choice(("artist0 and Friends", "Mostly artist0", "artist0 and a Few Others"))
    few = range(min(count, dice.choice((2, 3))))
    shown = name_list(few)
    if count > len(few):
        return dice.choice((f"{', '.join(shown.split(' and '))} and Others", f"A Mix with {shown}"))
    return dice.choice((f"A Mix of {shown}", f"{shown} Together", f"Between {shown}"))
