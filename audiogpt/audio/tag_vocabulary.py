"""The product's tags, and how the two taggers' labels make them.

The taggers speak two annotators' vocabularies: listeners' words from Last.fm (MSD) and players'
words from the TagATune game (MTT). Each product tag names the labels that mean it in either.
Texts are those that people write in captions, so the language model has met them. Labels that
describe neither the sound nor the mood ("favourite" kinds such as "catchy", "sexy", or MTT's
"solo") are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

# fmt: off
MSD_LABELS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists",
    "classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill",
    "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country",
    "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock",
    "60s", "rnb", "indie pop", "sad", "House", "happy",
)
MTT_LABELS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice",
    "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)
# fmt: on


@dataclass(frozen=True)
class ProductTag:
    """One tag of the product and the labels that mean it in each tagger's vocabulary."""

    text: str
    msd: tuple[str, ...] = ()
    mtt: tuple[str, ...] = ()


VOCABULARY: tuple[ProductTag, ...] = (
    # genres
    ProductTag("rock", ("rock",), ("rock",)),
    ProductTag("pop", ("pop",), ("pop",)),
    ProductTag("alternative rock", ("alternative", "alternative rock")),
    ProductTag("indie", ("indie", "indie rock", "indie pop")),
    ProductTag("classic rock", ("classic rock",)),
    ProductTag("hard rock", ("hard rock",)),
    ProductTag("progressive rock", ("Progressive rock",)),
    ProductTag("metal", ("metal", "heavy metal"), ("metal",)),
    ProductTag("punk", ("punk",)),
    ProductTag("electronic music", ("electronic", "electronica", "electro"), ("electronic",)),
    ProductTag("techno", (), ("techno",)),
    ProductTag("house", ("House",)),
    ProductTag("dance music", ("dance",), ("dance",)),
    ProductTag("ambient", ("ambient",), ("ambient",)),
    ProductTag("new age", (), ("new age",)),
    ProductTag("chillout", ("chillout", "chill")),
    ProductTag("jazz", ("jazz",)),
    ProductTag("blues", ("blues",)),
    ProductTag("soul", ("soul",)),
    ProductTag("r&b", ("rnb",)),
    ProductTag("funk", ("funk",)),
    ProductTag("hip-hop", ("Hip-Hop",)),
    ProductTag("country", ("country",), ("country",)),
    ProductTag("folk", ("folk",)),
    ProductTag("classical", (), ("classical", "classic")),
    ProductTag("opera", (), ("opera",)),
    ProductTag("indian music", (), ("indian",)),
    ProductTag("easy listening", ("easy listening",)),
    ProductTag("experimental", ("experimental",), ("weird",)),
    ProductTag("oldies", ("oldies", "60s")),
    ProductTag("70s", ("70s",)),
    ProductTag("80s", ("80s",)),
    ProductTag("90s", ("90s",)),
    # voices
    ProductTag(
        "female vocal",
        ("female vocalists", "female vocalist"),
        ("female", "woman", "female vocal", "female voice"),
    ),
    ProductTag("male vocal", ("male vocalists",), ("male", "man", "male vocal", "male voice")),
    ProductTag("singing", (), ("vocal", "vocals", "singing", "voice")),
    ProductTag("choir", (), ("choir", "choral")),
    ProductTag("instrumental", ("instrumental",), ("no vocals", "no vocal", "no voice")),
    # instruments and sound
    ProductTag("guitar", ("guitar",), ("guitar",)),
    ProductTag("acoustic", ("acoustic",)),
    ProductTag("piano", (), ("piano",)),
    ProductTag("strings", (), ("strings",)),
    ProductTag("violin", (), ("violin",)),
    ProductTag("cello", (), ("cello",)),
    ProductTag("flute", (), ("flute",)),
    ProductTag("harp", (), ("harp",)),
    ProductTag("harpsichord", (), ("harpsichord",)),
    ProductTag("sitar", (), ("sitar",)),
    ProductTag("synth", (), ("synth",)),
    ProductTag("drums", (), ("drums",)),
    ProductTag("steady beat", (), ("beat", "beats")),
    # tempo, level and mood
    ProductTag("slow tempo", (), ("slow",)),
    ProductTag("fast tempo", (), ("fast",)),
    ProductTag("loud", (), ("loud",)),
    ProductTag("quiet", (), ("quiet",)),
    ProductTag("soft", (), ("soft",)),
    ProductTag("mellow", ("Mellow",)),
    ProductTag("beautiful", ("beautiful",)),
    ProductTag("sad", ("sad",)),
    ProductTag("happy", ("happy",)),
    ProductTag("party", ("party",)),
)
LABELS = tuple(tag.text for tag in VOCABULARY)


@cache
def membership(source: tuple[str, ...], *, msd: bool) -> np.ndarray:
    """Return which labels of ``source`` mean which product tag, float32 ``(50, n_tags)`` of 0/1."""
    table = np.zeros((len(source), len(VOCABULARY)), np.float32)
    for column, tag in enumerate(VOCABULARY):
        for label in tag.msd if msd else tag.mtt:
            table[source.index(label), column] = 1.0
    table.setflags(write=False)  # cached: shared by all callers
    return table


# Tags that cannot both be true of one passage: only the one heard more surely is suggested.
CONTRARY = (
    (frozenset({"instrumental"}), frozenset({"singing", "female vocal", "male vocal", "choir"})),
    (frozenset({"slow tempo"}), frozenset({"fast tempo"})),
    (frozenset({"loud"}), frozenset({"quiet", "soft"})),
    (frozenset({"sad"}), frozenset({"happy", "party"})),
)


def contradicts(tag: str, others: Iterable[str]) -> bool:
    """Whether `tag` cannot be true beside one of `others`."""
    given = set(others)
    return any(
        (tag in one and given & other) or (tag in other and given & one) for one, other in CONTRARY
    )
