"""Triangular mel filter banks (Slaney's and HTK's scales), as librosa defines them."""

from __future__ import annotations

from typing import Literal

import numpy as np

Scale = Literal["slaney", "htk"]

# Slaney's scale: linear to 1 kHz, then logarithmic (Auditory Toolbox, 1998).
LINEAR_HZ_PER_MEL = 200.0 / 3
BREAK_HZ = 1000.0
BREAK_MEL = BREAK_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0


def mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, *, f_max: float, scale: Scale = "slaney"
) -> np.ndarray:
    """Return the filter bank, float32 ``(n_mels, n_fft // 2 + 1)``, from 0 Hz to ``f_max`` Hz.

    Each triangle has area 2 / (its width in Hz) ("Slaney norm").
    """
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)  # (F,) Hz
    top = _hz_to_mel(np.array(f_max), scale)
    edges = _mel_to_hz(np.linspace(0, top, n_mels + 2), scale)  # (n_mels + 2,) Hz
    widths = np.diff(edges)
    ramps = edges[:, None] - bins[None, :]  # (n_mels + 2, F)
    lower = -ramps[:-2] / widths[:-1, None]
    upper = ramps[2:] / widths[1:, None]
    filters = np.maximum(0, np.minimum(lower, upper))  # (n_mels, F)
    filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


def _hz_to_mel(hz: np.ndarray, scale: Scale) -> np.ndarray:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    logarithmic = BREAK_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.where(hz >= BREAK_HZ, logarithmic, hz / LINEAR_HZ_PER_MEL)


def _mel_to_hz(mel: np.ndarray, scale: Scale) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    logarithmic = BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL))
    return np.where(mel >= BREAK_MEL, logarithmic, mel * LINEAR_HZ_PER_MEL)
