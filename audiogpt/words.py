"""The words that captions are compared by: content words, instrument words, mentions.

These definitions make the two faithfulness measures of the evaluation: *tag words used* (of the
distinct content words of a row's tags, the share found in the caption) and *instruments supported*
(of the instrument words in the captions, the share that also stands among the row's tag words).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a text that lists them."""
    return frozenset(text.split())


FUNCTION_WORDS = word_set(
    """a an and are as at be been being but by can could do does for from had has have he her
    his how i if in into is it its itself like may might more most much no nor not of
    off on one or other our out over own s she so some such than that the their them
    then there these they this those through to too under up us was we were what when
    where which while who whose will with within without would you your"""
)
WEAK_WORDS = word_set("song music sound low high medium very")
NEGATIONS = word_set(
    """no not without never neither nor none lack lacking absence absent devoid
    isn't aren't wasn't doesn't don't"""
)
"""Words that deny what follows them in a tag or a sentence.

What "non" denies is the next word alone, which becomes another by it ("non-stop"): so it is none.
"""

INSTRUMENTS = word_set(
    "guitar piano bass drum violin cello viola trumpet trombone saxophone flute clarinet oboe "
    "bassoon tuba horn harp organ keyboard synth synthesizer synthesiser accordion harmonica banjo "
    "mandolin ukulele sitar tabla harpsichord xylophone marimba vibraphone glockenspiel tambourine "
    "shaker conga bongo cymbal timpani fiddle bagpipe didgeridoo choir percussion string brass "
    "bell theremin"
)

_WORD = re.compile(r"(?:[^\W_]|&)+(?:'[^\W\d_]+)?")  # letters and digits of any script
_UNFOLDED = word_set("bass brass blues jazz bus class gas plus various series news chaos")


# A search folds the words of every hypothesis at every step, most of them again and again.
@lru_cache(maxsize=4096)
def fold(word: str) -> str:
    """Fold a plural into its singular: drums -> drum, bodies -> body; bass stays bass."""
    if len(word) < 4 or word in _UNFOLDED or word.endswith(("ss", "us", "is", "'s")):
        return word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word.removesuffix("s")


def plain_tag(text: str) -> str:
    """A tag as models read it: lower case, with single spaces."""
    return " ".join(text.lower().split())


def all_words(text: str) -> list[str]:
    """Lower-case words of a text in order, plurals folded; hyphens separate words. In languages
    that do not part words by spaces, runs of letters."""
    return list(_all_words(text))


# Each hypothesis is compared with the same tags, and its sentences are read by several counts.
@lru_cache(maxsize=1024)
def _all_words(text: str) -> tuple[str, ...]:
    return tuple(fold(word) for word in _WORD.findall(text.lower().replace("’", "'")))


def content_words(text: str) -> set[str]:
    """Distinct folded words of a text without function words and a few that say nothing."""
    return {w for w in all_words(text) if w not in FUNCTION_WORDS and w not in WEAK_WORDS}


def instrument_words(text: str) -> set[str]:
    """Distinct instrument words of a text."""
    return {word for word in all_words(text) if word in INSTRUMENTS}


def denied_words(tags: Iterable[str]) -> set[str]:
    """Content words that tags rule out ("no percussion") and none gives."""
    denied: set[str] = set()
    given: set[str] = set()
    for tag in tags:
        ruled_out, affirmed = split_by_denial(tag)
        wanted = content_words(tag)
        denied |= ruled_out & wanted
        given |= affirmed & wanted
    return denied - given - NEGATIONS


def split_by_denial(sentence: str) -> tuple[set[str], set[str]]:
    """The words of a sentence or a tag that come after a negation, and those that come before."""
    after: set[str] = set()
    before: set[str] = set()
    words = before
    for word in all_words(sentence):
        if word in NEGATIONS:
            words = after
        words.add(word)
    return after, before


def share_mentioned(tag: str, words: set[str]) -> float:
    """Share of a tag's content words found among `words`; 1 for a tag without content words."""
    wanted = content_words(tag)
    return len(wanted & words) / len(wanted) if wanted else 1.0


def tag_words_used(tags: Iterable[str], caption: str) -> float | None:
    """Share of the distinct content words of all tags found in the caption; None without any."""
    wanted = set().union(*(content_words(tag) for tag in tags))
    return len(wanted & set(all_words(caption))) / len(wanted) if wanted else None


def instruments_supported(tags: Iterable[str], caption: str) -> tuple[int, int]:
    """(supported, named): instrument words of the caption, and how many the tags have too."""
    named = instrument_words(caption)
    given = set().union(*(set(all_words(tag)) for tag in tags))
    return len(named & given), len(named)
