"""Render text to sound: Musical MIDI Accompaniment (mma) writes the MIDI, fluidsynth plays it.

Both programs, and the two General MIDI soundfonts, are packages of Debian:
``apt-get install mma fluidsynth fluid-soundfont-gm timgm6mb-soundfont``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

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
    score: str, *, soundfont: str = "fluid", gain: float = 0.6, arguments: Sequence[str] = ()
) -> np.ndarray:
    """Play an mma score.

    Args:
        score: text of an ``.mma`` file.
        soundfont: a key of :data:`SOUNDFONTS`.
        gain: fluidsynth's master gain.
        arguments: further options for mma.

    Returns:
        float32 ``(n, 2)`` samples at :data:`RENDER_RATE`.

    Raises:
        ValueError: if mma or fluidsynth refuses the score.
    """
    with tempfile.TemporaryDirectory(prefix="render-") as folder:
        source, midi, wave = (Path(folder) / name for name in ("s.mma", "s.mid", "s.wav"))
        source.write_text(score, encoding="latin-1")
        _run(["mma", *arguments, "-f", str(midi), str(source)], folder, midi)
        _run(
            ["fluidsynth", "-ni", "-q", "-g", str(gain), "-r", str(RENDER_RATE), "-F", str(wave)]
            + [str(SOUNDFONTS[soundfont]), str(midi)],
            folder,
            wave,
        )
        samples, _ = soundfile.read(wave, dtype="float32", always_2d=True)
    return samples


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
