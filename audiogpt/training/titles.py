"""Titles of two to eight words composed from a row's tags, for sources that have none."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from audiogpt.training.compose import beats_last, heaviest_first
from audiogpt.training.tag_kinds import CALM, by_kind, kind_of
from audiogpt.words import all_words, word_set

SMALL_WORDS = word_set("a an and at by for from in of on or the to with")
_FORMS = {
    "genre": ("Tune", "Session", "Mood", "Piece", "Song", "Groove"),
    "instrument": ("Melody", "Piece", "Tune", "Study", "Song"),
    "mood": ("Tune", "Song", "Piece", "Moment", "Melody"),
}
# What a piece of some character may be called beside that: names, not claims.
_CHARACTERS = (
    (
        word_set(
            """dark eerie ominous sinister scary suspenseful mysterious haunting spooky grim creepy
            unnerving tense"""
        ),
        ("Shadows", "Dusk", "Midnight", "Riddle"),
    ),
    (
        word_set("sad melancholic melancholy sentimental poignant nostalgic wistful lonely"),
        ("Farewell", "Memories", "Longing", "Autumn"),
    ),
    (
        CALM,
        ("Reverie", "Daydream", "Drift", "Stillness", "Twilight"),
    ),
    (
        word_set(
            "happy cheerful joyful fun playful bouncy bright humorous youthful lively festive merry"
        ),
        ("Holiday", "Sunshine", "Parade", "Stroll"),
    ),
    (
        word_set(
            """fast energetic uptempo upbeat intense aggressive exciting loud driving powerful party
            techno trance punk metal edm house dance danceable"""
        ),
        ("Rush", "Run", "Chase", "Spark", "Ignition"),
    ),
)
_COMPLETE = word_set(
    "song music ballad waltz melody melodies tune march lullaby anthem solo groove soundtrack "
    "band orchestra beat beats performance recording chords riff rhythm accompaniment performance"
)


def title_case(text: str) -> str:
    """Capitals as in titles; small words stay small inside; R&B and DJ stay as they are."""
    words = text.split()
    cased = []
    for index, word in enumerate(words):
        if word in ("r&b", "dj", "edm", "rnb"):
            cased.append(word.upper())
        elif word in SMALL_WORDS and 0 < index < len(words) - 1:
            cased.append(word)
        else:
            cased.append("-".join(part[:1].upper() + part[1:] for part in word.split("-")))
    return " ".join(cased)


def compose_title(
    tags: Sequence[str], dice: random.Random, weights: Mapping[str, float] | None = None
) -> str:
    """A title from the mood, genre and instruments of most weight; neutral where nothing fits."""
    kinds = by_kind(tag for tag in tags if len(tag.split()) <= 3)
    for kind in kinds.values():
        heaviest_first(kind, dice, weights)
    mood, genre, other = ("".join(kinds[kind][:1]) for kind in ("mood", "genre", "other"))
    instruments = [_core(tag) for tag in beats_last(kinds["instrument"])]
    instrument = "".join(instruments[:1])
    choices: list[tuple[str, ...]] = []
    if mood and genre and instrument:
        choices += [(mood, genre, "with", instrument), (mood, instrument, genre)]
    if mood and genre:
        choices += [(mood, genre, _form(genre, tags, dice))] * 2
    if mood and instrument:
        choices += [(mood, instrument, _form(instrument, tags, dice))] * 2
    if genre and instrument:
        choices += [(genre, "with", instrument), (instrument, genre, _form(genre, tags, dice))]
    if len(instruments) >= 2 and instruments[0] != instruments[1]:
        choices.append((instruments[0], "and", instruments[1]))
    if not choices:
        seed = genre or instrument or mood or other or _first(tags)
        choices = [(seed, _form(seed, tags, dice))] if seed else [("untitled", "piece")]
    words = " ".join(part for part in dice.choice(choices) if part).replace("/", " ").split()
    once = [word for index, word in enumerate(words) if word not in words[:index]]
    if once[-1] in SMALL_WORDS:
        once.pop()
    if len(once) < 2:
        once.append("piece")
    return title_case(" ".join(once[:8]))


def _first(tags: Sequence[str]) -> str:
    return " ".join(tags[0].split()[:4]) if tags else ""


def _core(tag: str) -> str:
    words = [word for word in tag.split() if word not in ("a", "an", "the", "no")]
    return " ".join(words[-2:])


def _form(seed: str, tags: Sequence[str], dice: random.Random) -> str:
    if all_words(seed)[-1:] and all_words(seed)[-1] in _COMPLETE:
        return ""
    words = {word for tag in tags for word in all_words(tag)}
    names = [names for character, names in _CHARACTERS if words & character]
    if names and dice.random() < 0.7:
        return dice.choice(names[0]).lower()
    return dice.choice(_FORMS.get(kind_of(seed), ("Piece", "Tune", "Song"))).lower()
