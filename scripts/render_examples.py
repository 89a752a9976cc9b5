"""Write the demo's example clips, ``assets/examples/*.ogg``, from the scores below.

Run from the repository root: ``python scripts/render_examples.py``. The melodies and chord
progressions are this project's own; mma's grooves accompany them and the FluidR3 soundfont
plays them. The result depends only on the versions of mma and fluidsynth.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from midi_rendering import RENDER_RATE, fade, render_mma, require_programs

logger = logging.getLogger("render_examples")

EXAMPLE_RATE = 32_000  # Hz: enough for the ear, and half the bytes of 48 kHz
PEAK = 0.89  # full scale is 1


@dataclass(frozen=True, kw_only=True)
class Example:
    """One clip: its file name, its score, and the seconds kept."""

    name: str
    seconds: float
    score: str


BOSSA = """
Tempo 132
Groove BossaNova1SusPlus
Begin Solo
  Voice Flute
  Octave 5
  Volume ff
  Articulate 95
End
1 Dm9 {4.f;8e;4d;a;}
2 G13 {4.b;8a;4g;8f;8d;}
3 CM7 {2e;4g;8e;8c;}
4 Am7 {1e;}
5 Dm9 {4.f;8g;4a;8c+;8a;}
6 G7b9 {4.g#;8f;4d;8b-;8d;}
7 CM7 {2.e;4g;}
8 C6 {1c;}
"""

ROCK = """
Tempo 138
Groove HeavyMetal
Begin Solo
  Voice OverdriveGuitar
  Octave 4
  Volume f
  Articulate 100
End
1 E5 {4e;8g;8e;4a;8g;8e;}
2 G5 {4b;8a;8g;2e;}
3 A5 {8a;8a;8b;8c+;4b;8a;8g;}
4 D5 {2a;4g;4f#;}
5 E5 {4e+;8d+;8b;4d+;8b;8a;}
6 G5 {4b;8a;8g;2b;}
7 C5 {8e+;8d+;8c+;8b;4c+;8b;8a;}
8 D5 {4a;8b;8a;4f#;4d;}
9 E5 {1e;}
10 z
"""

WALTZ = """
Tempo 92
Groove ArpeggioWaltzSus
Begin Solo
  Voice Piano1
  Octave 5
  Volume ff
  Articulate 100
End
1 Am {2a;4e;}
2 Dm {2f;4d;}
3 G7 {4d;4g;4b;}
4 CM7 {2.e;}
5 FM7 {2c+;4a;}
6 Bm7b5 {4b;4a;4f;}
7 E7 {4g#;4b;4d+;}
8 Am {2.c+;}
9 Am {2.a;}
10 z
"""

EXAMPLES = (
    Example(name="bossa-flute", seconds=15.5, score=BOSSA),
    Example(name="heavy-guitars", seconds=16.5, score=ROCK),
    Example(name="piano-waltz", seconds=19.5, score=WALTZ),
)


def render(example: Example) -> np.ndarray:
    """Return the clip as float32 ``(n, 2)`` samples at :data:`EXAMPLE_RATE`, peak-normalised."""
    samples, _ = render_mma(example.score)  # (n, 2)
    samples = np.asarray(soxr.resample(samples, RENDER_RATE, EXAMPLE_RATE), np.float32)
    samples = samples[: int(example.seconds * EXAMPLE_RATE)]
    samples = fade(samples, rate=EXAMPLE_RATE, seconds_out=1.5)
    return samples * (PEAK / np.abs(samples).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("assets/examples"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    require_programs()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        samples = render(example)
        path = arguments.folder / f"{example.name}.ogg"
        soundfile.write(path, samples, EXAMPLE_RATE, format="OGG", subtype="VORBIS")
        logger.info(
            "%s: %.1f s, %d kB", path, len(samples) / EXAMPLE_RATE, path.stat().st_size >> 10
        )


if __name__ == "__main__":
    main()
