"""The result of embedding a sound, and the check on what goes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EmbeddedAudio:
    """Rows float32 ``(S, width)`` and the seconds ``[start, end)`` of each, float32 ``(S, 2)``."""

    rows: np.ndarray
    times: np.ndarray

    @staticmethod
    def joined(parts: list[EmbeddedAudio]) -> EmbeddedAudio:
        """One result from consecutive parts."""
        rows = np.concatenate([part.rows for part in parts])
        return EmbeddedAudio(rows, np.concatenate([part.times for part in parts]))


def checked_mono(samples: np.ndarray) -> np.ndarray:
    """Return ``samples`` as float32 ``(n,)``; ValueError for any other shape."""
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"Samples must be mono, shape (n,), but have shape {samples.shape}.")
    return samples
