"""What every data source is read into: a text with the tags, audio and facts that go with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One training or evaluation item.

    `sentences` are the description. `tags` are in the source's order. `audio` names the embedded
    clips (a clip is drawn at each visit), none for text-only sources. `moods`, `instruments` and
    `style` are facts from which descriptions can be composed; `heard` are the tagger's tags with
    confidences by clip; `reference` is the untouched text.
    """

    key: str
    source: str
    sentences: tuple[str, ...]
    tags: tuple[str, ...]
    title: str = ""
    audio: tuple[str, ...] = ()
    style: str = ""
    moods: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    bpm: int = 0
    group: str = ""
    reference: str = ""
    heard: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return " ".join(self.sentences)


_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'A-Z0-9(])")


def split_sentences(text: str) -> tuple[str, ...]:
    """Cut a text at sentence ends."""
    return tuple(part.strip() for part in _SENTENCE_END.split(text.strip()) if part.strip())


_ARTICLES = (
    (re.compile(r"\b([Aa]) (?!one|once|eu)(?=(?:[aeio]|u[mpr]|un(?!i))\w)"), r"\1n "),
    (re.compile(r"\b([Aa])n (?!hour|honest|honou?r|heir)(?=[b-df-hj-np-tv-z]\w)"), r"\1 "),
)
_FIXES = (
    (re.compile(r"[‘’]"), "'"),
    (re.compile(r"[“”]"), '"'),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+([.,;:!?])"), r"\1"),
    (re.compile(r"([,;])(?=[A-Za-z])"), r"\1 "),
    (re.compile(r"([a-z)])\.(?=[A-Z])"), r"\1. "),
    (re.compile(r"\.{2,}"), "."),
    (re.compile(r",\s*(?=[.,])"), ""),
    (re.compile(r"\b(\w+) \1\b(?=[^-])", re.IGNORECASE), r"\1"),
    (re.compile(r"\bkeybiard\b"), "keyboard"),
    (re.compile(r"\bacordion\b"), "accordion"),
    (re.compile(r"\bempahtic\b"), "emphatic"),
    *_ARTICLES,
)


def mend_articles(text: str) -> str:
    """The text with "a" and "an" as the words after them want."""
    for pattern, replacement in _ARTICLES:
        text = pattern.sub(replacement, text)
    return text


def clean_text(text: str) -> str:
    """Mend spacing, quotes, doubled words, a few misspellings and articles; end with a stop."""
    for pattern, replacement in _FIXES:
        text = pattern.sub(replacement, text)
    text = text.strip(" ,;")
    if text and text[-1] not in ".!?\"'":
        text += "."
    # Capital letters at the beginning of sentences.
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)
