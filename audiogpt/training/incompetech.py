"""Kevin MacLeod's incompetech tracks (CC BY 3.0): facts, cleaned descriptions and short clips.

The descriptions are a composer's notes: many sentences are jokes, house-keeping or advice. Only
sentences about the music stay. One album is held out: its tracks, their excerpts and every
catalogue row of the same pieces enter training in no form but the two numbers of the curve in
`audiogpt/audio/tag_confidence.py`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from audiogpt.training.pairs import Pair, clean_text, split_sentences
from audiogpt.training.tag_kinds import GENRES, MOODS
from audiogpt.words import INSTRUMENTS, all_words, word_set

HELD_OUT_ALBUM = "Disco Ultralounge"
SPLITS = ("train", "test")

_KINDS: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a text or null": lambda value: value is None or isinstance(value, str),
    "a number": lambda value: _is_number(value),
    "a number or null": lambda value: value is None or _is_number(value),
    "a list of texts": lambda value: (
        isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    ),
    'a list of {"file": …} or null': lambda value: (
        value is None
        or (
            isinstance(value, list)
            and all(isinstance(c, dict) and isinstance(c.get("file"), str) for c in value)
        )
    ),
}
"""What a field of a row may have to be, as refusals say it."""

_CATALOGUE = {
    "title": "a text",
    "genre": "a text",
    "feel": "a text or null",
    "instruments": "a text or null",
    "bpm": "a number or null",
    "description": "a text",
    "album": "a text or null",
    "clips": 'a list of {"file": …} or null',
}
_TRACKS = {**_CATALOGUE, "album": "a text"}

_GENRES = {"Unclassifiable": "", "Stings": "", "Urban": "urban", "Modern": "modern"}
_FEELS = {"grooving": "groovy", "calm": "calming"}
_INSTRUMENTS = {
    "ep": "electric piano",
    "kit": "drum kit",
    "brushed kit": "brushed drum kit",
    "vibes": "vibraphone",
    "vibe": "vibraphone",
    "glock": "glockenspiel",
    "tympani": "timpani",
    "tymp": "timpani",
    "clav": "clavinet",
    "basses": "double basses",
    "synth": "synth",
    "sax": "saxophone",
    "saxes": "saxophones",
    "bari sax": "baritone saxophone",
    "tenor sax": "tenor saxophone",
    "alto sax": "alto saxophone",
    "didge": "didgeridoo",
    "orchestral - full": "full orchestra",
    "pizz strings": "pizzicato strings",
    "voice": "voices",
    "kit and percussion": "drums",
}
_UNUSABLE_INSTRUMENT = re.compile(r"orchestral - |small ensemble|misc|\d|\.|feel|^and$|^none$")
_HOUSEKEEPING = re.compile(
    r"\b(you|your|you're|you'll|you've|i|i'm|i've|i'd|my|me|we|we're|us|our|http|www|download|"
    r"uncompressed|version|versions|available|sheet|bonus|here|loop|loops|looping|loopable|wrote|"
    r"written|composed|film|movie|check|wav|consultant|project|projects|podcast|minute|minutes|"
    r"second|seconds|secs|halfway|listen|listener|guys|hey|yeah|okay|ok|umm?|um|warning|note|files?|"
    r"editor|website|site|iphone|license|recorded|recording|yamaha|named|sister|series|variant|"
    r"theme for|of [36]|see also|called|mp3|bpm|beats per|instruments:|feel:|download|goddamn|crap|"
    r"requested|someone|somebody|people|stuff|thingy|cat|cats|dog|bear|vampire|gnomes?|monkey|beer|"
    r"butt|zombies?|puppet|lemonade|tutorial|short|sketch|laziest)\b|[?$%@#*]|\d:\d\d|!.*!|\.\.",
    re.IGNORECASE,
)
_MUSIC_WORDS = word_set(
    """piece melody rhythm beat groove chord harmony harmonic tempo staccato legato arpeggio
    arpeggiated drone pad lead solo duet trio ensemble orchestral orchestra drum kit
    percussive vocal voice chant chorus waltz march ballad theme bassline line feel upbeat
    slow fast mid-tempo driving relaxed crescendo finale build swell texture reverb delay
    distortion tone minor major key scale ostinato pizzicato tremolo horn synth 8bit
    ambient tense tension suspense mood atmosphere light heavy soft pulsing bouncy funky
    chill lounge spooky creepy playful comedic cartoonish circus ragtime tribal"""
)


def read_incompetech(folder: str | Path, split: str) -> list[Pair]:
    """Tracks with audio first, then, for training, catalogue rows without audio.

    `folder` holds `tracks.jsonl` and `catalogue.jsonl`; `Pair.audio` names files in its `audio`
    folder. The test split is the held-out album. Raises ValueError for a wrong split, file or row.
    """
    if split not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {split!r}.")
    folder = Path(folder)
    try:
        tracks = read_rows(folder / "tracks.jsonl", _TRACKS)
        catalogue = read_rows(folder / "catalogue.jsonl", _CATALOGUE)
    except OSError as error:
        raise ValueError(f"{folder} has no readable tracks.jsonl and catalogue.jsonl.") from error
    held = [row for row in tracks if row["album"] == HELD_OUT_ALBUM]
    if split == "test":
        return [_pair(row) for row in held]
    held_titles = {_base_title(row["title"]) for row in held}
    known = {row["title"] for row in tracks}
    pairs = [_pair(row) for row in tracks if _base_title(row["title"]) not in held_titles]
    for row in catalogue:
        if row["title"] in known or _base_title(row["title"]) in held_titles:
            continue
        pair = _pair(row)
        if len(pair.description.split()) >= 5:
            pairs.append(pair)
    return pairs


def clean_description(text: str) -> tuple[str, ...]:
    """The sentences of a description that are about the music."""
    kept = []
    text = re.sub(r"([a-z])(This piece of music is|You can|A full)", r"\1. \2", text)
    for part in split_sentences(clean_text(text)):
        words = all_words(part)
        musical = set(words) & (_MUSIC_WORDS | INSTRUMENTS | GENRES | MOODS)
        part = re.sub(r"\bEP\b", "electric piano", part)
        part = re.sub(r"\bKit\b", "The drum kit", part)
        if 4 <= len(words) <= 40 and musical and not _HOUSEKEEPING.search(part):
            kept.append(part.replace("!", "."))
    return tuple(kept[:4])


def tempo_word(bpm: float) -> str:
    """`slow`, `medium` or `fast` tempo; empty where the tempo is unknown."""
    if bpm <= 0:
        return ""
    return "slow tempo" if bpm < 84 else "medium tempo" if bpm < 122 else "fast tempo"


def _pair(row: dict[str, Any]) -> Pair:
    genre = _GENRES.get(row["genre"], row["genre"].lower())
    feels = [_FEELS.get(feel, feel) for feel in _listed(row.get("feel"))]
    instruments = [_INSTRUMENTS.get(name, name) for name in _listed(row.get("instruments"))]
    instruments = [name for name in instruments if not _UNUSABLE_INSTRUMENT.search(name)]
    instruments = [name for name in instruments if len(name.split()) <= 3]
    tempo = tempo_word(row.get("bpm") or 0)
    tags = dict.fromkeys(tag for tag in [genre, *feels, *instruments, tempo] if tag)
    return Pair(
        key=row["title"],
        source="incompetech",
        sentences=clean_description(row["description"]),
        tags=tuple(tags),
        title=_clean_title(row["title"]),
        audio=tuple(clip["file"] for clip in row.get("clips") or ()),
        style=genre,
        moods=tuple(dict.fromkeys(feels)),
        instruments=tuple(dict.fromkeys(instruments)),
        bpm=int(row.get("bpm") or 0),
        group=row.get("album") or "",
        reference=row["description"],
    )


def _listed(text: str | None) -> list[str]:
    parts = re.split(r",| and |/", (text or "").lower())
    return [" ".join(part.split()).strip(" .") for part in parts if part.strip(" .")]


def _clean_title(title: str) -> str:
    plain = " ".join(re.sub(r"\(.*?\)|\bv\d+$|- Part \d+|\d+$|\bNo\. ", " ", title).split())
    plain = plain.rstrip(" -.:")
    words = plain.split()
    return plain if 2 <= len(words) <= 8 and plain.isascii() else ""


def _base_title(title: str) -> str:
    plain = re.split(r" - |\(|\bv\d", title.lower())[0]
    return " ".join(word for word in plain.split() if not word.isdigit()).strip()


def read_rows(path: Path, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """The objects of a `.jsonl` file, whose `fields` are each of one of `_KINDS`; ValueError,
    naming file and line, for a line that is none. A field that is absent counts as null."""
    rows = []
    with path.open("rb") as lines:  # json decodes each, so that a wrong byte has its line too
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}, is not JSON: {error}.") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}, must be an object, not {row!r:.60}.")
            for name, kind in fields.items():
                if not _KINDS[kind](row.get(name)):
                    raise ValueError(
                        f"{path}, line {number}: {name} must be {kind}, not {row.get(name)!r:.60}."
                    )
            rows.append(row)
    return rows


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
