"""Captions that a model wrote for clips: what they begin with, which are kept, and their file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiogpt.reranking import coverage, invented, repeated
from audiogpt.training.compose import article
from audiogpt.training.pairs import Pair, split_sentences
from audiogpt.training.tag_kinds import kind_of
from audiogpt.words import all_words, word_set

LEAST_TOLD = 0.75  # share of the facts' words
# What nobody knows of a clip that comes with facts about styles, moods and instruments.
UNKNOWN = word_set(
    """vocal vocalist voice sing singing singer rapper rap lyric male female man woman audience
    crowd microphone amateur cheering recording quality noisy mono background tutorial"""
)


@dataclass(frozen=True, kw_only=True)
class Voiced:
    """One caption with the input that it was written for."""

    clip: str
    tags: tuple[tuple[str, float], ...]
    facts: tuple[str, ...]
    description: str


def openings(facts: Sequence[str]) -> list[str]:
    """First words of captions, in the manner of several writers, that tell some of the facts."""
    kinds = {kind: [fact for fact in facts if kind_of(fact) == kind] for kind in ("genre", "tempo")}
    found = []
    if kinds["genre"]:
        style = kinds["genre"][0].removesuffix(" music")
        found += [
            f"This is {article(f'{style} music piece')}. There is",
            f"This {style} song features",
            f"The {style} song features",
        ]
    if kinds["tempo"]:
        tempo = re.sub(r" ?tempo", "", kinds["tempo"][0])
        found += [
            f"The song is {tempo} tempo with",
            f"This music is instrumental. The tempo is {tempo} with",
        ]
    return found


def is_sound(voiced: Voiced) -> bool:
    """Whether the caption tells most facts, invents no instrument, and claims nothing unknown."""
    facts = [(fact, 1.0) for fact in voiced.facts]
    known = {word for fact in voiced.facts for word in all_words(fact)}
    return (
        coverage(voiced.description, facts) >= LEAST_TOLD
        and not invented(voiced.description, facts)
        and not repeated(voiced.description, facts)
        and not (UNKNOWN - known) & set(all_words(voiced.description))
    )


def save_voiced(voiced: Sequence[Voiced], path: Path) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(vars(v)) + "\n" for v in voiced), encoding="utf-8")


def read_voiced(path: Path) -> list[Pair]:
    """Read what `save_voiced` wrote, as pairs; ValueError if the file is missing."""
    if not path.is_file():
        raise ValueError(f"There is no {path}; make it with `python -m audiogpt voice-clips`.")
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        pairs.append(
            Pair(
                key=entry["clip"],
                source="voiced",
                sentences=split_sentences(entry["description"]),
                tags=tuple(entry["facts"]),
                audio=(entry["clip"],),
                heard={entry["clip"]: [(tag, weight) for tag, weight in entry["tags"]]},
            )
        )
    return pairs
