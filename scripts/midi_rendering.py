"""Render text to sound: Musical MIDI Accompaniment (mma) writes the MIDI, fluidsynth plays it.

Both programs, and the two General MIDI soundfonts, are packages of Debian:
``apt-get install mma fluidsynth fluid-soundfont-gm timgm6mb-soundfont``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from general_midi import DRUM_NAMES, PROGRAM_NAMES

SOUNDFONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),  # MIT
    "tim": Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),  # GPL-2
}
"""Two soundfonts, so that nothing trained on the sound learns one timbre only."""

RENDER_RATE = 44_100  # Hz


def require_programs() -> None:
    """Raise ``ValueError`` when mma, fluidsynth or a soundfont is missing."""
    missing = [name for name in ("mma", "fluidsynth") if shutil.which(name) is None]
    missing += [str(path) for path in SOUNDFONTS.values() if not path.exists()]
    if missing:
        raise ValueError(
            f"Rendering needs {', '.join(missing)}; run `apt-get install mma fluidsynth "
            "fluid-soundfont-gm timgm6mb-soundfont`."
        )


def render_mma(
    score: str, *, soundfont: str = "fluid", gain: float = 0.6
) -> tuple[np.ndarray, list[str]]:
    """Play an mma score.

    Args:
        score: text of an ``.mma`` file.
        soundfont: a key of :data:`SOUNDFONTS`.
        gain: fluidsynth's master gain.

    Returns:
        float32 ``(n, 2)`` samples at :data:`RENDER_RATE`, and the names of the instruments that
        play in them, most notes first.

    Raises:
        ValueError: if mma or fluidsynth refuses the score.
    """
    with tempfile.TemporaryDirectory(prefix="render-") as folder:
        source, midi, wave = (Path(folder) / name for name in ("s.mma", "s.mid", "s.wav"))
        source.write_text(score, encoding="latin-1")
        _run(["mma", "-f", str(midi), str(source)], folder, midi)
        play = ["fluidsynth", "-ni", "-q", "-g", str(gain), "-r", str(RENDER_RATE), "-F", str(wave)]
        _run([*play, str(SOUNDFONTS[soundfont]), str(midi)], folder, wave)
        samples, _ = soundfile.read(wave, dtype="float32", always_2d=True)  # (n, 2)
        return samples, instruments_played(midi.read_bytes())


def instruments_played(midi: bytes) -> list[str]:
    """Names of the General MIDI instruments with notes in a MIDI file, most notes first."""
    notes: Counter[str] = Counter()
    position = 14  # the header chunk
    while position + 8 <= len(midi):
        length = int.from_bytes(midi[position + 4 : position + 8], "big")
        if midi[position : position + 4] == b"MTrk":
            _count_notes(midi[position + 8 : position + 8 + length], notes)
        position += 8 + length
    return [name for name, count in notes.most_common() if count >= 2]


def _count_notes(track: bytes, notes: Counter[str]) -> None:
    position, status = 0, 0
    programs = [0] * 16
    while position < len(track):
        while track[position] & 0x80:  # delta time
            position += 1
        position += 1
        if track[position] & 0x80:
            status = track[position]
            position += 1
        kind, channel = status & 0xF0, status & 0x0F
        if kind == 0xF0:
            position += status == 0xFF  # the type of a meta event
            size = 0
            while track[position] & 0x80:
                size = (size << 7) | (track[position] & 0x7F)
                position += 1
            size = (size << 7) | track[position]
            position += 1 + size
            continue
        if kind == 0xC0:
            programs[channel] = track[position]
        if kind == 0x90 and track[position + 1] > 0:
            if channel == 9:
                notes[DRUM_NAMES.get(track[position], "percussion")] += 1
            else:
                notes[PROGRAM_NAMES[programs[channel]]] += 1
        position += 1 if kind in (0xC0, 0xD0) else 2


def _run(command: list[str], folder: str, product: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode or not product.exists():
        said = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"{command[0]} could not render the score: {said[0]}")


def fade(
    samples: np.ndarray, *, rate: int, seconds_out: float, seconds_in: float = 0.02
) -> np.ndarray:
    """Fade both ends of ``(n, channels)`` samples linearly."""
    envelope = np.ones(len(samples), np.float32)
    rise, fall = int(rate * seconds_in), int(rate * seconds_out)
    envelope[:rise] = np.linspace(0.0, 1.0, rise, dtype=np.float32)
    envelope[-fall:] *= np.linspace(1.0, 0.0, fall, dtype=np.float32)
    return samples * envelope[:, None]
