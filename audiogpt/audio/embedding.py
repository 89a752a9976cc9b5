"""Audio embeddings behind one interface: sound in, rows with their times out.

A checkpoint's configuration names the embedding that it was trained with; ``load_embedding`` makes
it from that name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from audiogpt.audio.embedded import EmbeddedAudio, checked_mono
from audiogpt.audio.loading import Progress, Source, iter_mono
from audiogpt.audio.musicnn import (
    POOLED_WIDTH,
    VGG_WIDTH,
    load_network,
    load_taggers,
    pooled_rows,
)
from audiogpt.audio.musicnn_logmel import (
    PATCHES,
    SAMPLE_RATE,
    LogMel,
    at_least_one_patch,
    patch_batch_size,
    patch_times,
)
from audiogpt.audio.openl3 import NAMES as OPENL3_NAMES
from audiogpt.audio.openl3 import load_openl3

__all__ = [
    "EMBEDDING_NAMES",
    "MUSICNN_POOLED",
    "MUSICNN_VGG",
    "WIDTHS",
    "AudioEmbedding",
    "EmbeddedAudio",
    "MusicnnPooledEmbedding",
    "MusicnnVGGEmbedding",
    "embed_file",
    "load_embedding",
    "track_row",
]

MUSICNN_VGG, MUSICNN_POOLED = "musicnn-vgg", "musicnn-pooled"
EMBEDDING_NAMES = (MUSICNN_VGG, MUSICNN_POOLED, *OPENL3_NAMES)
TRACK_ROWS = 10  # patches of about 3 s in the 30 s clips that PlayNTell was trained on


class AudioEmbedding(Protocol):
    """What every embedding offers; ``sample_rate`` in Hz, ``width`` numbers per row."""

    name: str
    sample_rate: int
    width: int

    def embed(self, samples: np.ndarray) -> EmbeddedAudio:
        """Embed mono float32 ``(n,)`` at ``sample_rate``. AudioError if n is 0."""
        ...

    def embed_blocks(self, blocks: Iterable[np.ndarray]) -> Iterator[EmbeddedAudio]:
        """Embed consecutive pieces ``(n,)`` of one sound, a batch at a time, in bounded memory."""
        ...


class _PatchEmbedding(ABC):
    """What the musicnn networks' embeddings share: rows for patches of 2.992 s without overlap.

    Sound after the last whole patch is dropped, as the original does; a clip shorter than one
    patch is repeated until it fills one.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, *, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.batch_size = patch_batch_size(self.device)
        self._logmel = LogMel().to(self.device)

    def embed(self, samples: np.ndarray) -> EmbeddedAudio:
        """Embed mono float32 ``(n,)`` at 16 kHz; rows ``(max(1, PATCHES.count(n)), width)``.

        Raises:
            AudioError: there are no samples.
        """
        return EmbeddedAudio.joined(list(self.embed_blocks([checked_mono(samples)])))

    def embed_blocks(self, blocks: Iterable[np.ndarray]) -> Iterator[EmbeddedAudio]:
        """Embed consecutive pieces ``(n,)`` of one sound; parts of up to ``batch_size`` rows."""
        for first, patches in PATCHES.batches(at_least_one_patch(blocks), self.batch_size):
            with torch.inference_mode():
                tensor = torch.from_numpy(patches.copy()).to(self.device)  # (b, 48128)
                rows = self._rows(self._logmel(tensor))  # (b, width)
            yield EmbeddedAudio(rows.cpu().numpy(), patch_times(first, len(rows)))

    @abstractmethod
    def _rows(self, logmel: torch.Tensor) -> torch.Tensor:
        """Log-mels (b, 187, 96) -> rows (b, width)."""


class MusicnnVGGEmbedding(_PatchEmbedding):
    """The MSD-trained VGG's pool5: 256 numbers for each patch, as PlayNTell has them."""

    name = MUSICNN_VGG
    width = VGG_WIDTH

    def __init__(self, *, device: str | torch.device = "cpu") -> None:
        super().__init__(device=device)
        self._network = load_network("MSD_vgg", self.device)

    def _rows(self, logmel: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self._network(logmel)
        return rows


class MusicnnPooledEmbedding(_PatchEmbedding):
    """What the two taggers read their tags from: 1,564 numbers for each patch (`pooled_rows`).

    Linear probes tell genre, moods and instruments of unheard albums from it better than from the
    VGG's pool5 (benchmarks/README.md), and whoever runs the taggers has it already.
    """

    name = MUSICNN_POOLED
    width = POOLED_WIDTH

    def __init__(self, *, device: str | torch.device = "cpu") -> None:
        super().__init__(device=device)
        self._taggers = load_taggers(self.device)

    def _rows(self, logmel: torch.Tensor) -> torch.Tensor:
        msd, mtt = self._taggers
        return pooled_rows(self._taggers, (msd.pooled(logmel), mtt.pooled(logmel)))


WIDTHS = {MUSICNN_VGG: VGG_WIDTH, MUSICNN_POOLED: POOLED_WIDTH}
"""Of the embeddings whose networks ship with the program."""


def load_embedding(
    name: str, *, weights: Path | None = None, device: str | torch.device = "cpu"
) -> AudioEmbedding:
    """Return the embedding with this name: "musicnn-pooled", "openl3-music-mel256-512", ...

    Args:
        weights: a file or folder with OpenL3's weights; musicnn's ship with the program.

    Raises:
        ValueError: the name is unknown, or the weights cannot be had; the text says what to do.
    """
    if name == MUSICNN_VGG:
        return MusicnnVGGEmbedding(device=device)
    if name == MUSICNN_POOLED:
        return MusicnnPooledEmbedding(device=device)
    if name in OPENL3_NAMES:
        return load_openl3(name, weights=weights, device=device)
    known = ", ".join(EMBEDDING_NAMES)
    raise ValueError(f"There is no embedding called {name!r}: choose one of {known}.")


def embed_file(
    source: Source,
    embedding: AudioEmbedding,
    *,
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress | None = None,
) -> EmbeddedAudio:
    """Embed a file of any length in bounded memory.

    Args:
        source: path or seekable binary file.
        start, duration: seconds; the part to embed. Times in the result count from ``start``.
        progress: called with the share done, in [0, 1].

    Raises:
        AudioError: the file cannot be read.
    """
    blocks = iter_mono(
        source, embedding.sample_rate, start=start, duration=duration, progress=progress
    )
    return EmbeddedAudio.joined(list(embedding.embed_blocks(blocks)))


def track_row(rows: np.ndarray) -> np.ndarray:
    """Return PlayNTell's one row per track ``(width,)``: the mean over the first 30 s.

    ``rows`` are a musicnn embedding's ``(S, width)`` from the start of the track.
    """
    return rows[:TRACK_ROWS].mean(axis=0)
