"""Cut sound into the equal windows that a network reads, from memory or from a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Windows:
    """Window i covers samples ``[i * hop - before, i * hop - before + length)``.

    Samples outside the sound are zeros. ``needed`` is the number of real samples, from ``i * hop``
    on, that window i must have to exist; ``at_least`` windows are given for any sound at all.
    """

    length: int
    hop: int
    before: int = 0
    needed: int = 1
    at_least: int = 0

    def count(self, n: int) -> int:
        """Number of windows of a sound of ``n`` samples (0 if there are none)."""
        return max(self.at_least, (n - self.needed) // self.hop + 1) if n > 0 else 0

    def batches(
        self, blocks: Iterable[np.ndarray], batch_size: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of the first window, windows float32 ``(b, length)``), b <= batch_size.

        ``blocks`` are consecutive pieces ``(n,)`` of one sound; at most one batch and one block
        are held at a time.
        """
        first = 0  # index of the next window to give out
        held = np.zeros(self.before, np.float32)  # samples from the next window's start on
        received = 0
        between = 0  # samples still to come before it, where windows lie apart
        for block in blocks:
            received += len(block)
            skipped, between = block[between:], max(0, between - len(block))
            held = np.concatenate([held, np.asarray(skipped, np.float32)])
            ready = (len(held) - self.length) // self.hop + 1
            while ready >= batch_size and self.count(received) >= first + batch_size:
                yield first, self._view(held, batch_size)
                first += batch_size
                between = max(0, batch_size * self.hop - len(held))
                held = held[batch_size * self.hop :]
                ready -= batch_size
        left = self.count(received) - first
        while left > 0:
            b = min(left, batch_size)
            span = (b - 1) * self.hop + self.length
            piece = held[:span]
            if len(piece) < span:
                piece = np.concatenate([piece, np.zeros(span - len(piece), np.float32)])
            yield first, self._view(piece, b)
            first += b
            left -= b
            held = held[b * self.hop :]

    def _view(self, held: np.ndarray, b: int) -> np.ndarray:
        """The first ``b`` windows of ``held`` without a copy, ``(b, length)``."""
        views = np.lib.stride_tricks.sliding_window_view(held, self.length)
        return views[: (b - 1) * self.hop + 1 : self.hop]
