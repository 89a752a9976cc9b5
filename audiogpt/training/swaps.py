"""Captions with a word exchanged in text and tags alike: another mood, style or instrument.

Two and a half thousand captions are soon known by heart. A caption whose "mellow piano" has become
a "cheerful flute", in its tags too, can only be written by reading the tags.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from audiogpt.training.pairs import Pair, mend_articles
from audiogpt.words import fold, word_set

_MOODS = word_set(
    """happy sad mellow calm calming relaxing energetic passionate emotional groovy exciting
    romantic cheerful joyful easygoing soulful lively youthful intense spirited sentimental
    addictive enthusiastic vibrant melancholic aggressive soothing suspenseful hypnotic playful
    eerie dramatic engaging epic dreamy spiritual mysterious inspiring ominous scary sensual
    nostalgic uplifting gentle captivating futuristic pensive ethereal sinister haunting poignant
    heartfelt catchy pleasant bouncy reflective peaceful upbeat meditative heroic tender hopeful"""
)
_STYLES = word_set(
    """rock pop jazz blues folk country metal punk techno house trance disco funk soul reggae gospel
    hip-hop electronic ambient bluegrass swing salsa flamenco classical opera"""
)
_INSTRUMENTS = word_set(
    """piano violin cello trumpet trombone saxophone flute clarinet harp accordion harmonica banjo
    mandolin ukulele sitar harpsichord marimba xylophone fiddle organ keyboard"""
)
_CLASSES = (_MOODS, _STYLES, _INSTRUMENTS)
# Beside these a word is a part of a name ("pop rock", "piano roll", "pipe organ").
_BOUND = (
    word_set("pipe church mouth hammond hard soft indie alternative deep free progressive")
    | _STYLES
    | _INSTRUMENTS
)
# These speak of any sound ("ambient noise", "electronic drums") unless a word for music follows.
_OF_SOUNDS = word_set("electronic ambient classical")
_MUSIC = word_set("song music piece track tune composition style genre instrumental")
_JOINED = _STYLES | word_set("roll western rhythm")  # "rock and roll" is one name

_WORD = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")


@dataclass(frozen=True)
class Swaps:
    """How often the words of each class stand in captions; drawn from when one is exchanged."""

    counts: tuple[Mapping[str, int], ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Swaps:
        """Count the words of some captions."""
        said = Counter(
            fold(word) for pair in pairs for word in _WORD.findall(pair.description.lower())
        )
        return cls(tuple({w: said[w] for w in sorted(words) if said[w]} for words in _CLASSES))

    def draw(self, pair: Pair, dice: random.Random, *, chance: float = 0.5) -> Pair:
        """The pair with each exchangeable word exchanged with that chance.

        A word can be exchanged where a tag and the text have it, and no part of a longer name. New
        words are drawn by their frequency to the power 0.5, and never repeat one that is there.
        """
        text, tags = " ".join(pair.sentences), " , ".join(pair.tags)
        present = {fold(word) for word in _WORD.findall(f"{text} {tags}".lower())}
        free = _free_words(text) & _free_words(tags)
        exchanged: dict[str, str] = {}
        for counts in self.counts:
            for old in sorted(free & counts.keys()):
                if dice.random() >= chance:
                    continue
                others = [word for word in counts if word not in present]
                if others:
                    weights = [counts[word] ** 0.5 for word in others]
                    exchanged[old] = dice.choices(others, weights)[0]
                    present.add(exchanged[old])
        if not exchanged:
            return pair
        return replace(
            pair,
            sentences=tuple(mend_articles(_exchange(s, exchanged)) for s in pair.sentences),
            tags=tuple(dict.fromkeys(_exchange(tag, exchanged) for tag in pair.tags)),
        )


def _free_words(text: str) -> set[str]:
    """Folded words that nowhere in the text stand beside a word that they may belong to."""
    words = re.findall(r"[a-z]+(?:-[a-z]+)*|[,.;!?]", text.lower())
    folded = [fold(word) for word in words]
    bound: set[str] = set()
    for first, second in pairwise(folded):
        if first in _BOUND:
            bound.add(second)
        if second in _BOUND and second not in _INSTRUMENTS and first not in _MOODS:
            bound.add(first)
        if first in _OF_SOUNDS and second.isalpha() and second not in _MUSIC:
            bound.add(first)
    for first, second in pairwise(word for word in folded if word != "and"):
        if first in _JOINED and second in _JOINED:
            bound |= {first, second}
    return set(folded) - bound


def _exchange(text: str, exchanged: Mapping[str, str]) -> str:
    """The text with words exchanged; capitals and plurals are kept."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        base = fold(word.lower())
        if base not in exchanged:
            return word
        new = exchanged[base]
        if base != word.lower():  # a plural
            new += "es" if new.endswith(("s", "x")) else "s"
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return _WORD.sub(other, text)
