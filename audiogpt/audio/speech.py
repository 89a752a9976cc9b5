"""Tell talking from music, so that the page can say that tags about music may not fit.

Speech comes in syllables, about four a second, with gaps between them (Scheirer & Slaney,
"Construction and evaluation of a robust multifeature speech/music discriminator", ICASSP 1997).
Percussive music has that rhythm too, so a passage counts as speech only if the taggers also hear a
voice and no instrument. Measured on 253 instrumental excerpts (the album that training holds out
among them; none called speech) and on four synthetic voices with and without noise (all called
speech); rap without a beat, or singing without accompaniment in a speech-like rhythm, may be called
speech.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audiogpt.audio.musicnn_logmel import COMPRESSION, HOP_LENGTH, SAMPLE_RATE
from audiogpt.audio.tag_vocabulary import LABELS

FRAMES_PER_SECOND = SAMPLE_RATE / HOP_LENGTH  # 62.5
WINDOW_FRAMES = 124  # 2 s
BANDS = 12  # groups of mels
SYLLABLES_HZ = (2.5, 6.5)
SLOWEST_HZ = 0.5
QUIET_SHARE = 0.5  # a frame is quiet below this share of its window's mean amplitude

MIN_QUIET = 0.25  # share of quiet frames
MIN_SYLLABLES = 0.40  # share of the modulation that is syllabic
MIN_DEPTH = 0.75  # depth of that modulation
MIN_VOICE, MAX_INSTRUMENT = 0.15, 0.30  # confidences
VOICES = [LABELS.index(t) for t in ("singing", "male vocal", "female vocal")]
INSTRUMENTS = [
    LABELS.index(t)
    for t in ("piano", "strings", "guitar", "drums", "violin", "flute", "harp", "cello")
]


class SpeechMeter:
    """Collects the rhythm of loudness from log-mels and judges it at the end."""

    def __init__(self) -> None:
        self._measures: list[np.ndarray] = []

    def add(self, logmel: Tensor) -> None:
        """Take in patches of log-mels ``(b, frames, 96)``."""
        exact = logmel.cpu().double()  # on the CPU: Apple's GPUs have no float64
        power = (10.0**exact - 1.0) / COMPRESSION
        windows = power.unfold(1, WINDOW_FRAMES, WINDOW_FRAMES // 2)  # (b, n, 96, 124)
        bands = windows.unflatten(2, (BANDS, -1)).sum(3).sqrt()  # (b, n, 12, 124)
        self._measures.append(_rhythm(bands.flatten(0, 1)).numpy())

    def is_speech(self, confidence: np.ndarray) -> bool:
        """Judge all that was added, with the passage's tag confidences ``(n_tags,)``."""
        quiet, syllables, depth = np.concatenate(self._measures).mean(axis=0)
        talks = quiet > MIN_QUIET and syllables > MIN_SYLLABLES and depth > MIN_DEPTH
        voice = confidence[VOICES].max() > MIN_VOICE
        return bool(talks and voice and confidence[INSTRUMENTS].max() < MAX_INSTRUMENT)


def _rhythm(bands: Tensor) -> Tensor:
    """Map amplitudes ``(n, bands, time)`` to (quiet share, syllable share, depth) ``(n, 3)``."""
    mean = bands.mean(2)  # (n, bands)
    total = bands.square().sum(1).sqrt()  # (n, time)
    quiet = (total < QUIET_SHARE * total.mean(1, keepdim=True)).double().mean(1)  # (n,)
    taper = torch.hann_window(bands.shape[2], dtype=bands.dtype, device=bands.device)
    spectrum = torch.fft.rfft((bands - mean[..., None]) * taper, dim=2).abs().square()
    hertz = torch.fft.rfftfreq(bands.shape[2], 1 / FRAMES_PER_SECOND, device=bands.device)
    syllabic = spectrum[..., (hertz >= SYLLABLES_HZ[0]) & (hertz <= SYLLABLES_HZ[1])].sum(2)
    moving = spectrum[..., hertz >= SLOWEST_HZ].sum(2)
    tiny = 1e-12
    weight = mean.square() / (mean.square().sum(1, keepdim=True) + tiny)  # loud bands count
    share = (syllabic / (moving + tiny) * weight).sum(1)
    depth = (syllabic.sqrt() / (mean * bands.shape[2] / 4 + tiny) * weight).sum(1)
    return torch.stack([quiet, share, depth], 1)
