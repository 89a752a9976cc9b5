"""Render mma's grooves to short clips with the words that describe them, for training.

``python scripts/render_grooves.py --folder FOLDER --clips 900`` writes ``FOLDER/*.ogg`` (mono,
16 kHz) and ``FOLDER/grooves.jsonl``, one line per clip: file, groove file, style, instruments that
really play (read back from the MIDI), tempo and mode. Split by ``groove_file`` when training. The
clips are training material and are not part of the repository.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from midi_rendering import RENDER_RATE, SOUNDFONTS, fade, render_mma, require_programs
from tqdm import tqdm

logger = logging.getLogger("render_grooves")

CLIP_RATE = 16_000  # Hz
LIBRARY = Path("/usr/share/mma/lib")
SKIPPED = re.compile(r"metronome|^none$|count|ending|intro", re.IGNORECASE)
NOT_MAIN = re.compile(r"intro|end(ing)?\d*$|fill|F[ABCD]{1,2}$|break|IntroA|_I|_F", re.IGNORECASE)

# A groove file's name tells its style: the first pattern found in it decides.
STYLES: tuple[tuple[str, str, tuple[int, int]], ...] = (
    # pattern, style, tempo range in beats per minute
    (r"techno|teamtech|rave", "techno", (125, 150)),
    (r"trance", "trance", (125, 145)),
    (r"latinhouse", "latin house", (118, 130)),
    (r"house|hous", "house", (116, 130)),
    (r"hip-?hop", "hip hop", (80, 100)),
    (r"trip", "trip hop", (75, 95)),
    (r"dnb", "drum and bass", (160, 176)),
    (r"ambient", "ambient electronic", (80, 110)),
    (r"dancepop|electricpop|dance", "dance pop", (112, 132)),
    (r"heavymetal|metal|mtl|thr$", "heavy metal", (120, 170)),
    (r"punk", "punk rock", (160, 190)),
    (r"hrk", "hard rock", (110, 145)),
    (r"digitalrock", "electronic rock", (110, 135)),
    (r"jazzrock", "jazz rock", (115, 150)),
    (r"folkrock", "folk rock", (100, 130)),
    (r"rockballad|guitarballad|slowrock", "rock ballad", (64, 90)),
    (r"rockwaltz|rock34", "rock waltz", (100, 140)),
    (r"50s|rock-128|oldie", "fifties rock and roll", (110, 160)),
    (r"60srock|60spop|bubble", "sixties pop rock", (110, 140)),
    (r"shufflerock|shuffle|popshuffle|suffle", "shuffle", (100, 140)),
    (r"poprock|8beat|16beat", "pop rock", (95, 130)),
    (r"rock|highfive", "rock", (105, 145)),
    (r"disco|dsoul|boneym", "disco", (112, 126)),
    (r"motown|60ssoul|soul", "soul", (95, 120)),
    (r"rb-ballad|mellowrb", "slow r&b", (64, 84)),
    (r"^r\+b$|^rb$|rnb|modernrb", "r&b", (85, 110)),
    (r"funk", "funk", (92, 118)),
    (r"latinfusion|lfusion", "latin fusion", (100, 130)),
    (r"fusion|fus", "jazz fusion", (95, 130)),
    (r"jazzbossa|bossa", "bossa nova", (110, 140)),
    (r"samba|quando", "samba", (100, 130)),
    (r"salsa", "salsa", (150, 190)),
    (r"mambo", "mambo", (150, 190)),
    (r"merengue", "merengue", (170, 220)),
    (r"^son$", "Cuban son", (120, 160)),
    (r"afro-cuban", "Afro-Cuban", (100, 130)),
    (r"afro", "African groove", (100, 130)),
    (r"cubanguitar", "Cuban guitar", (80, 110)),
    (r"chacha", "cha-cha", (110, 130)),
    (r"rhumba|beguine|bolero", "rumba", (90, 120)),
    (r"tango", "tango", (110, 132)),
    (r"calypso", "calypso", (130, 170)),
    (r"latinwaltz", "latin waltz", (110, 150)),
    (r"latin", "latin", (100, 140)),
    (r"mide|desert", "Middle Eastern", (90, 120)),
    (r"reggae", "reggae", (70, 92)),
    (r"ska", "ska", (120, 160)),
    (r"zydeco", "zydeco", (130, 170)),
    (r"gypsyjazz", "gypsy jazz", (160, 220)),
    (r"bebop", "bebop", (200, 250)),
    (r"dixie", "dixieland jazz", (150, 210)),
    (r"ragtime", "ragtime", (120, 170)),
    (r"charleston", "charleston", (190, 240)),
    (r"bigband|basie", "big band swing", (110, 180)),
    (r"jazzwaltz|modernjazzwaltz", "jazz waltz", (120, 170)),
    (r"westernswing|countryswing", "western swing", (110, 150)),
    (r"swing|jive|quickstep", "swing", (120, 180)),
    (r"slowjazz|mellowjazz|nitejazz|evans", "slow jazz", (64, 96)),
    (r"jazz", "jazz", (100, 160)),
    (r"slowblues|blues68|blues128|blues34|68blus", "slow blues", (60, 84)),
    (r"countryblues", "country blues", (84, 110)),
    (r"bluegrass", "bluegrass", (160, 210)),
    (r"bluefolk", "folk", (90, 120)),
    (r"boog|boggie", "boogie-woogie", (130, 170)),
    (r"blues|blus", "blues", (90, 130)),
    (r"countrywaltz", "country waltz", (96, 130)),
    (r"slowcountry|kwestballad", "slow country", (66, 92)),
    (r"country|cntr|western|hillcountry", "country", (100, 140)),
    (r"folkballad", "folk ballad", (66, 90)),
    (r"folk", "folk", (90, 125)),
    (r"hymn|spiritual", "gospel", (70, 110)),
    (r"polka|2beat", "polka", (110, 135)),
    (r"march", "march", (104, 124)),
    (r"frenchwaltz", "French waltz", (140, 190)),
    (r"vien|waltz", "waltz", (110, 180)),
    (r"foxtrot|softshoe", "foxtrot", (110, 140)),
    (r"broadway|showtune", "show tune", (100, 140)),
    (r"lullaby", "lullaby", (60, 84)),
    (r"arpeggio", "piano study", (76, 116)),
    (r"pianoballad", "piano ballad", (62, 84)),
    (r"stringballad", "orchestral ballad", (56, 76)),
    (r"ballad|bald|serenade", "ballad", (62, 86)),
    (r"twist|^twi$", "twist", (140, 170)),
    (r"strut", "funk rock", (96, 116)),
    (r"worldpop", "world pop", (90, 115)),
    (r"pop", "pop", (96, 128)),
)

PROGRESSIONS = {
    "major": ("C Am F G", "C F G C", "C G Am F", "F G C Am", "C Dm G7 C", "C Em F G7"),
    "minor": ("Am Dm E7 Am", "Am F G Am", "Dm Am E7 Am", "Am G F E7", "Am C G Em"),
}
MELODY_VOICES = {
    "Flute": 5, "Trumpet": 4, "AltoSax": 4, "Clarinet": 5, "Violin": 5, "Piano1": 5,
    "Harmonica": 5, "Vibraphone": 5, "CleanGuitar": 4, "Accordion": 5, "Trombone": 3, "Oboe": 5,
}  # fmt: skip
CHORD_TONES = {"C": "ceg", "Am": "ace", "F": "fac", "G": "gbd", "Dm": "dfa", "Em": "egb"}


@dataclass(frozen=True, kw_only=True)
class Groove:
    """One groove of the library and what its file says about its style."""

    name: str
    file: str
    style: str
    tempos: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class RenderedClip:
    """One line of ``grooves.jsonl``."""

    file: str
    groove: str
    groove_file: str
    style: str
    instruments: list[str]
    bpm: int
    mode: str
    melody: str
    soundfont: str
    seconds: float


def read_grooves(library: Path) -> list[Groove]:
    """The main grooves of every file whose name tells a style; introductions and endings not."""
    grooves = []
    for path in sorted(library.glob("*/*.mma")):
        if SKIPPED.search(path.stem):
            continue
        style = next((s for s in STYLES if re.search(s[0], path.stem, re.IGNORECASE)), None)
        if style is None:
            continue
        text = path.read_text(encoding="latin-1")
        for name in re.findall(r"(?mi)^\s*DefGroove\s+(\S+)", text):
            if not NOT_MAIN.search(name):
                source = f"{path.parent.name}/{path.stem}"
                grooves.append(Groove(name=name, file=source, style=style[1], tempos=style[2]))
    return grooves


def write_score(groove: Groove, *, bpm: int, mode: str, melody: str, dice: random.Random) -> str:
    """An mma score of about twelve seconds: a chord progression, sometimes with a melody."""
    chords = dice.choice(PROGRESSIONS[mode]).split()
    beats = 3 if "waltz" in groove.style else 4
    bars = max(4, round(12 * bpm / 60 / beats))
    lines = [f"RndSeed {dice.randrange(1, 1_000_000)}", f"Tempo {bpm}"]  # mma draws as well
    lines += [f"Transpose {dice.randint(-5, 6)}", f"Groove {groove.file}:{groove.name}"]
    if melody:
        octave = MELODY_VOICES[melody]
        lines += ["Begin Solo", f"  Voice {melody}", f"  Octave {octave}", "  Volume f", "End"]
    for bar in range(bars):
        chord = chords[bar % len(chords)]
        notes = ""
        if melody:
            tones = CHORD_TONES.get(chord.removesuffix("7"), "egb")
            notes = " {" + "".join(f"4{dice.choice(tones)};" for _ in range(beats)) + "}"
        lines.append(f"{bar + 1} {chord}{notes}")
    return "\n".join(lines) + "\n"


def render_clip(groove: Groove, *, number: int, folder: Path, seed: int) -> RenderedClip:
    """Render one clip; everything random about it follows from ``seed`` and ``number``."""
    dice = random.Random(f"{seed}-{number}-{groove.name}")
    bpm = dice.randint(*groove.tempos)
    mode = dice.choice(("major", "major", "minor"))
    melody = dice.choice(sorted(MELODY_VOICES)) if dice.random() < 0.35 else ""
    soundfont = dice.choice(sorted(SOUNDFONTS))
    score = write_score(groove, bpm=bpm, mode=mode, melody=melody, dice=dice)
    samples, instruments = render_mma(score, soundfont=soundfont, gain=dice.uniform(0.4, 0.8))
    mono = soxr.resample(samples.mean(axis=1), RENDER_RATE, CLIP_RATE)
    mono = np.asarray(mono[: 12 * CLIP_RATE], np.float32)
    peak = float(np.abs(mono).max())
    if peak < 1e-3 or not instruments:
        raise ValueError(f"The groove {groove.name} is silent.")
    mono = fade(mono[:, None] * (dice.uniform(0.5, 0.95) / peak), rate=CLIP_RATE, seconds_out=0.5)
    name = f"{number:04d}.ogg"
    soundfile.write(folder / name, mono[:, 0], CLIP_RATE, format="OGG", subtype="VORBIS")
    return RenderedClip(
        file=name, groove=groove.name, groove_file=groove.file, style=groove.style,
        instruments=instruments, bpm=bpm, mode=mode, melody=melody, soundfont=soundfont,
        seconds=round(len(mono) / CLIP_RATE, 2),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    require_programs()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    grooves = read_grooves(LIBRARY)
    random.Random(arguments.seed).shuffle(grooves)

    def clip_of(number: int) -> RenderedClip | None:
        groove = grooves[number % len(grooves)]
        try:
            return render_clip(groove, number=number, folder=arguments.folder, seed=arguments.seed)
        except (ValueError, subprocess.TimeoutExpired) as problem:
            logger.debug("%s: %s", groove.name, problem)
            return None

    written = 0
    table = arguments.folder / "grooves.jsonl"  # it appears when all clips are there
    unfinished = table.with_suffix(".part")
    # The work is done by mma and fluidsynth in processes of their own.
    cores = len(os.sched_getaffinity(0))
    with unfinished.open("w", encoding="utf-8") as lines, ThreadPoolExecutor(cores) as pool:
        numbers = range(arguments.clips)
        for clip in tqdm(pool.map(clip_of, numbers), total=len(numbers), desc="clips"):
            if clip is not None:
                lines.write(json.dumps(asdict(clip)) + "\n")
                written += 1
    unfinished.replace(table)
    logger.info(
        "%d clips written, %d grooves could not be rendered", written, arguments.clips - written
    )


if __name__ == "__main__":
    main()
