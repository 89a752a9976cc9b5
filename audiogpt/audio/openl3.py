"""OpenL3 as an audio embedding (Cramer et al., "Look, listen, and learn more", ICASSP 2019)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from audiogpt.audio.embedded import EmbeddedAudio, checked_mono
from audiogpt.audio.errors import AudioError
from audiogpt.audio.openl3_frontend import (
    REPRESENTATIONS,
    SAMPLE_RATE,
    WINDOW,
    FrontEndName,
    OpenL3FrontEnd,
    Representation,
)
from audiogpt.audio.openl3_network import WIDTHS, OpenL3Network, OpenL3Weights, Width
from audiogpt.audio.openl3_weights import find_weights, read_weights
from audiogpt.audio.windows import Windows

Content = Literal["music", "env"]
CONTENTS = ("music", "env")
CAPTION_HOP_SECONDS = 1.0  # one row per second; ten times cheaper than the official default
PARITY_HOP_SECONDS = 0.1  # the openl3 package's default
CPU_BATCH, DEVICE_BATCH = 1, 16  # windows at once; measured, see benchmarks/README.md
NAMES = tuple(
    f"openl3-{content}-{representation}-{width}"
    for content in CONTENTS
    for representation in REPRESENTATIONS
    for width in WIDTHS
)


class OpenL3Embedding:
    """One row per window of 1 s.

    The official code resamples with resampy, ours with soxr: on a sweep to 20 kHz at 44.1 kHz that
    changes the rows by 1 % (relative L2). From samples at 48 kHz the rows agree to 1e-5.

    With ``center`` (the official default) row i is about the second around ``i * hop_seconds``:
    half a second of silence is put in front. Silence also fills the last window.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        weights: OpenL3Weights,
        *,
        content: Content = "music",
        representation: Representation = "mel256",
        width: Width = 512,
        front_end: FrontEndName = "original",
        hop_seconds: float = CAPTION_HOP_SECONDS,
        center: bool = True,
        device: str | torch.device = "cpu",
    ) -> None:
        hop = int(hop_seconds * SAMPLE_RATE)
        if hop < 1:
            raise ValueError(f"The hop must be longer than 0 s, not {hop_seconds} s.")
        self.name = f"openl3-{content}-{representation}-{width}"
        self.width = int(width)
        self.device = torch.device(device)
        self.batch_size = CPU_BATCH if self.device.type == "cpu" else DEVICE_BATCH
        before = WINDOW // 2 if center else 0
        # Zeros are added up to a whole hop, so a window exists as soon as the one before it did
        # not reach the end of the sound.
        self.windows = Windows(WINDOW, hop, before, WINDOW - before - hop + 1, at_least=1)
        self._front_end = OpenL3FrontEnd(representation, front_end).to(self.device)
        network = OpenL3Network(weights, representation=representation, width=width)
        self._network = network.to(self.device).eval()

    def embed(self, samples: np.ndarray) -> EmbeddedAudio:
        """Embed mono float32 ``(n,)`` at 48 kHz.

        Raises:
            AudioError: there are no samples.
        """
        return EmbeddedAudio.joined(list(self.embed_blocks([checked_mono(samples)])))

    def embed_blocks(self, blocks: Iterable[np.ndarray]) -> Iterator[EmbeddedAudio]:
        """Embed consecutive pieces ``(n,)`` of one sound; parts of up to ``batch_size`` rows."""
        silent = True
        for first, windows in self.windows.batches(blocks, self.batch_size):
            silent = False
            with torch.inference_mode():
                tensor = torch.from_numpy(windows.copy()).to(self.device)  # (b, 48000)
                rows = self._network(self._front_end(tensor))  # (b, width)
            yield EmbeddedAudio(rows.cpu().numpy(), self._times(first, len(rows)))
        if silent:
            raise AudioError("There is no sound to listen to: its length is zero.")

    def _times(self, first: int, count: int) -> np.ndarray:
        """Seconds ``[start, end)`` that each window covers, ``(count, 2)``, from 0 on."""
        starts = np.arange(first, first + count) * self.windows.hop - self.windows.before
        edges = np.stack([np.maximum(starts, 0), starts + WINDOW], axis=1)
        return (edges / SAMPLE_RATE).astype(np.float32)


def load_openl3(
    name: str,
    *,
    weights: Path | None = None,
    front_end: FrontEndName = "original",
    hop_seconds: float = CAPTION_HOP_SECONDS,
    center: bool = True,
    device: str | torch.device = "cpu",
) -> OpenL3Embedding:
    """Return the embedding called, for example, "openl3-music-mel256-512".

    Args:
        weights: an official weight file or a folder of them; see ``find_weights`` for the rest.
        front_end: "original" is what the weights were trained with; "kapre" and "librosa" agree
            with the openl3 package 0.4.
        hop_seconds: 1.0 for captions, 0.1 as the openl3 package.

    Raises:
        ValueError: the name is not one of ``NAMES``, or the weights cannot be had.
    """
    match = re.fullmatch(r"openl3-(\w+)-(\w+)-(\d+)", name)
    if match is None or name not in NAMES:
        raise ValueError(
            f"There is no embedding called {name!r}: choose one of {', '.join(NAMES)}."
        )
    content, representation = cast(Content, match[1]), cast(Representation, match[2])
    found = find_weights(content, representation, path=weights)
    return OpenL3Embedding(
        read_weights(found),
        content=content,
        representation=representation,
        width=cast(Width, int(match[3])),
        front_end=front_end,
        hop_seconds=hop_seconds,
        center=center,
        device=device,
    )
