"""The OpenL3 audio network in PyTorch (Cramer et al., ICASSP 2019): eight convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from audiogpt.audio.folding import batch_norm_affine
from audiogpt.audio.openl3_frontend import Representation

Width = Literal[512, 6144]
WIDTHS = (512, 6144)
CHANNELS = (1, 64, 64, 128, 128, 256, 256, 512, 512)
POOL_AFTER = (1, 3, 5)  # numbers of the convolutions that a 2x2 pool follows
KERNEL = 3

Array = np.ndarray


@dataclass(frozen=True)
class OpenL3Weights:
    """Trained arrays in the order of the network.

    ``batch_norms``: eight of (gamma, beta, moving mean, moving variance), each ``(channels,)``;
    number i stands before convolution i. ``convolutions``: eight of (kernel ``(3, 3, in, out)``,
    bias ``(out,)``).
    """

    batch_norms: tuple[tuple[Array, Array, Array, Array], ...]
    convolutions: tuple[tuple[Array, Array], ...]

    def __post_init__(self) -> None:
        layers = len(CHANNELS) - 1
        if len(self.batch_norms) != layers or len(self.convolutions) != layers:
            raise ValueError(
                f"OpenL3 has {layers} batch norms and {layers} convolutions, but these weights "
                f"have {len(self.batch_norms)} and {len(self.convolutions)}."
            )
        for i in range(layers):
            inner, outer = CHANNELS[i], CHANNELS[i + 1]
            kernel, bias = self.convolutions[i]
            _check(f"kernel of convolution {i}", kernel, (KERNEL, KERNEL, inner, outer))
            _check(f"bias of convolution {i}", bias, (outer,))
            for part in self.batch_norms[i]:
                _check(f"batch norm {i}", part, (inner,))


class OpenL3Network(nn.Module):
    """Spectrograms in, embeddings of 512 or 6144 numbers out; batch norms are folded."""

    def __init__(
        self, weights: OpenL3Weights, *, representation: Representation, width: Width
    ) -> None:
        super().__init__()
        if width not in WIDTHS:
            raise ValueError(f"OpenL3 embeddings are 512 or 6144 wide, not {width}.")
        if width == 512:
            self.last_pool = (16, 24) if representation == "mel128" else (32, 24)
        else:
            self.last_pool = (4, 8) if representation == "mel128" else (8, 8)
        first_scale, first_shift = batch_norm_affine(*weights.batch_norms[0])
        self.scale, self.shift = float(first_scale[0]), float(first_shift[0])
        self.convolutions = nn.ModuleList()
        for i, (kernel, bias) in enumerate(weights.convolutions):
            scale, shift = np.ones(1), np.zeros(1)
            if i + 1 < len(weights.batch_norms):
                scale, shift = batch_norm_affine(*weights.batch_norms[i + 1])
            conv = nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], KERNEL, padding=1)
            folded = kernel.astype(np.float64) * scale  # (3, 3, in, out)
            # Channels last: the layout that CPU convolutions and poolings are fastest in.
            conv.weight.data = torch.from_numpy(
                np.ascontiguousarray(folded.transpose(3, 2, 0, 1), dtype=np.float32)
            ).contiguous(memory_format=torch.channels_last)
            conv.bias = nn.Parameter(torch.from_numpy((bias * scale + shift).astype(np.float32)))
            self.convolutions.append(conv)
        self.requires_grad_(False)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Map ``(N, F, T)`` decibels to ``(N, width)``, in (frequency, time, channel) order."""
        x = spectrograms * self.scale + self.shift  # (N, F, T)
        x = x.unsqueeze(3).permute(0, 3, 1, 2)  # (N, 1, F, T), by its strides channels last
        last = len(self.convolutions) - 1
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if i < last:
                x = functional.relu_(x)
            if i in POOL_AFTER:
                x = functional.max_pool2d(x, 2)
        x = functional.max_pool2d(x, self.last_pool)  # (N, 512, 1, 1) or (N, 512, 4, 3)
        return x.permute(0, 2, 3, 1).flatten(1)


def _check(what: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"OpenL3's {what} has shape {array.shape}, but needs {shape}.")
