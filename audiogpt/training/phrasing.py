"""How a tag stands in a sentence: its article, its number, and capitals for names of peoples."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiogpt.words import word_set

PEOPLES = word_set(
    "indian arabic spanish african chinese japanese turkish irish mexican christian celtic latin "
    "hindustani english french italian russian american"
)
_MASS = word_set(
    "percussion brass music drumming singing rapping strumming scratching clapping humming bass "
    "accompaniment guitar piano strings beatboxing reverb shouting talking speaking speech"
)
_DETERMINERS = word_set("a an the no some various multiple two three several layered")
_PROPER = re.compile(rf"\b({'|'.join(sorted(PEOPLES | {'christmas'}))})\b")


def article(phrase: str) -> str:
    """The phrase with `a` or `an` before it."""
    first = phrase.lstrip("\"'").lower()
    if first.startswith(("80", "8 ", "8-", "18")):
        return f"an {phrase}"
    vowel = first[:1] in "aeio" or first.startswith(("um", "un", "up", "ur", "r&b", "rnb", "edm"))
    exception = first.startswith(("one", "eu", "uni", "uku"))
    return f"an {phrase}" if vowel and not exception else f"a {phrase}"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """`x`, `x and y`, `x, y and z`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def noun(tag: str) -> str:
    """A sounding thing with an article where the tag is a countable singular."""
    words = tag.split()
    if is_plural(tag) or words[0] in _DETERMINERS or (words[-1] in _MASS and len(words) == 1):
        return tag
    return article(tag)


def is_plural(tag: str) -> bool:
    last = tag.split()[-1]
    return last.endswith("s") and not last.endswith("ss")


def verb(things: Sequence[str], plural: str) -> str:
    """`strings carry`, `a flute carries`, `a flute and drums carry`: the things and what they do.

    The first word of `plural` is the verb as many do it; more may follow.
    """
    if len(things) > 1 or is_plural(things[0]):
        return f"{listed(things)} {plural}"
    first, _, rest = plural.partition(" ")
    if first in ("are", "have"):
        first = {"are": "is", "have": "has"}[first]
    elif first.endswith("y") and first[-2:-1] not in "aeou":
        first = f"{first[:-1]}ies"
    else:
        first = f"{first}s"
    return " ".join([listed(things), first, *([rest] if rest else [])])


def there(things: Sequence[str]) -> str:
    """`there is a flute and drums`, `there are drums and a flute`."""
    return f"there {'are' if is_plural(things[0]) else 'is'} {listed(things)}"


def sentence(text: str) -> str:
    """Capital first letter, capitals for names of peoples, and a full stop."""
    text = _PROPER.sub(lambda name: name[0].capitalize(), text)
    return text[:1].upper() + text[1:] + "."
