"""Check real OpenL3 weights against the openl3 project's own regression files.

The project's ``tests/data`` folder has ``audio/chirp_44k.wav`` and, under ``regression``,
``chirp_44k.npz`` (the original front end), ``chirp_44k_kapre.npz`` and ``chirp_44k_librosa.npz``:
``embedding`` ``(16, 6144)`` of mel256 music, centred, hop 0.1 s.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from audiogpt.audio.loading import load_audio, resample_mono
from audiogpt.audio.openl3 import PARITY_HOP_SECONDS, OpenL3Embedding
from audiogpt.audio.openl3_frontend import FRONT_ENDS, SAMPLE_RATE, FrontEndName
from audiogpt.audio.openl3_network import Width
from audiogpt.audio.openl3_weights import find_weights, read_weights

WIDTH: Width = 6144
# The references were resampled with resampy, which is used here where it is installed; soxr, used
# otherwise, differs near the top of the band, where decibels magnify small differences.
TOLERANCE_SAME_RESAMPLER = 1e-3
TOLERANCE_OTHER_RESAMPLER = 5e-2


@dataclass(frozen=True)
class Comparison:
    """Relative L2 error of one front end against its regression file, and what is allowed."""

    front_end: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error < self.tolerance


def verify_openl3(data: Path, *, weights: Path | None = None) -> list[Comparison]:
    """Compare with every regression file found under ``data``.

    Args:
        data: the ``tests/data`` folder of a clone of the openl3 project.
        weights: as for ``find_weights``.

    Raises:
        ValueError: the files are not there, or the weights cannot be had.
    """
    sound = data / "audio" / "chirp_44k.wav"
    files = {name: _regression_file(data, name) for name in FRONT_ENDS}
    found = {name: path for name, path in files.items() if path.is_file()}
    if not sound.is_file() or not found:
        raise ValueError(
            f"{data} has no audio/chirp_44k.wav with regression/chirp_44k*.npz: give the "
            "tests/data folder of https://github.com/marl/openl3."
        )
    samples, tolerance = _resampled(sound)
    arrays = read_weights(find_weights("music", "mel256", path=weights))
    results = []
    for name, path in found.items():
        with np.load(path) as file:
            expected = file["embedding"]
        embedding = OpenL3Embedding(
            arrays,
            width=WIDTH,
            front_end=cast(FrontEndName, name),
            hop_seconds=PARITY_HOP_SECONDS,
        )
        rows = embedding.embed(samples).rows
        if rows.shape != expected.shape:
            raise ValueError(f"{path.name} has shape {expected.shape}, ours is {rows.shape}.")
        error = float(np.linalg.norm(rows - expected) / np.linalg.norm(expected))
        results.append(Comparison(name, error, tolerance))
    return results


def _regression_file(data: Path, front_end: str) -> Path:
    suffix = "" if front_end == "original" else f"_{front_end}"
    return data / "regression" / f"chirp_44k{suffix}.npz"


def _resampled(sound: Path) -> tuple[np.ndarray, float]:
    """Samples ``(n,)`` at 48 kHz, and the tolerance that the resampler allows."""
    waveform = load_audio(sound)
    if importlib.util.find_spec("resampy") is None:
        return resample_mono(waveform, SAMPLE_RATE), TOLERANCE_OTHER_RESAMPLER
    mono = waveform.samples.mean(axis=0)
    resampy = importlib.import_module("resampy")
    samples = resampy.resample(mono, waveform.sample_rate, SAMPLE_RATE, filter="kaiser_best")
    return samples.astype(np.float32), TOLERANCE_SAME_RESAMPLER
