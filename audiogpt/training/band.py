"""Who plays what: instrument tags sorted by what such instruments mostly do in a piece."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from audiogpt.training.phrasing import noun

_BEAT = re.compile(r"\b(beats?|rhythms?)$")
_RHYTHM = re.compile(
    r"\b(drums?|drumming|drummers?|percussions?|kicks?|snares?|hi hats?|hats?|cymbals?|toms?|"
    r"shakers?|tambourines?|congas?|bongos?|claps?|rimshots?|cowbells?|tablas?|djembes?|timpani|"
    r"maracas|guiro|claves|cajon|kit|castanets|woodblocks?|triangle)\b"
)
_BASS = re.compile(r"\b(bass|basses|bassline|e-bass|808|tuba)\b")
_LEAD = re.compile(r"\b(melody|melodies|lead|leads|solo|solos|riffs?|licks?)\b")
_HARMONY = re.compile(
    r"\b(strings|pads?|organs?|chords?|accompaniment|harmony|orchestra|orchestral|ensemble|"
    r"section|background|backing|drones?|brass|horns|sustained|rhythm guitar|strumm\w+|"
    r"arpeggio\w*|arpeggiated)\b"
)


@dataclass
class Band:
    """Instrument tags, with articles, in the order given within each part."""

    lead: list[str] = field(default_factory=list)
    harmony: list[str] = field(default_factory=list)
    bass: list[str] = field(default_factory=list)
    rhythm: list[str] = field(default_factory=list)
    beat: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tags: Sequence[str]) -> Band:
        """Where nothing is there to lead, the first of the others does; a rhythm never."""
        band = cls()
        for tag in tags:
            part = part_of(tag)
            getattr(band, part).append(tag if part == "absent" else noun(tag))
        for others in (band.harmony, band.bass):
            if not band.lead and others:
                band.lead.append(others.pop(0))
        return band

    def take(self, *parts: str) -> list[str]:
        """The things of these parts, which are then no longer to be told."""
        taken = [thing for part in parts for thing in getattr(self, part)]
        for part in parts:
            setattr(self, part, [])
        return taken


def part_of(tag: str) -> str:
    """One of the parts of `Band`."""
    if tag.startswith("no "):
        return "absent"
    if _BEAT.search(tag):
        return "beat"
    if _LEAD.search(tag):
        return "lead"
    for name, pattern in (("rhythm", _RHYTHM), ("bass", _BASS), ("harmony", _HARMONY)):
        if pattern.search(tag):
            return name
    return "lead"
