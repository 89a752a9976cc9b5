"""The musicnn networks in PyTorch: the VGG embedding and the musicnn taggers.

Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", 2019,
and the published code's ``models.py``. Weights are folded while loading (see ``folding.py``), so
the modules hold what is left to compute, not the trained layout. Inference only.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from audiogpt.audio.folding import (
    FEATURE_BOUND,
    LOG_MEL_BOUND,
    FoldedConv,
    batch_norm_affine,
    fold_conv,
    narrow_inputs,
)
from audiogpt.audio.musicnn_weights import NetworkName, batch_norm, load_weights

Weights = dict[str, np.ndarray]
VGG_WIDTH = 256  # two time steps of 128 channels
POOLED_WIDTH = 512 + 1052  # maxima and means over time of what lives in the MSD and MTT taggers
N_TAGS = 50


class ConvMaxClamp(nn.Module):
    """A folded convolution's tensors, and the clamp that ends it after the maximum is taken.

    Kernels and features of two dimensions lie channels last: on CPUs the convolutions run a third
    faster so, and the maxima several times.
    """

    kernel: Tensor
    bias: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, folded: FoldedConv) -> None:
        super().__init__()
        kernel = torch.from_numpy(folded.kernel)
        if kernel.ndim == 4:
            kernel = kernel.contiguous(memory_format=torch.channels_last)
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", torch.from_numpy(folded.bias))
        for name in ("low", "high"):
            limit = torch.from_numpy(getattr(folded, name))
            self.register_buffer(name, limit.view(-1, *[1] * (kernel.ndim - 2)))

    def clamp(self, values: Tensor) -> Tensor:
        """Finish pooled values ``(N, out, ...)`` in place."""
        return torch.clamp_(values, self.low, self.high)


class MusicnnVGG(nn.Module):
    """The MSD-trained VGG up to pool5: five blocks of convolution 3x3 and max pooling."""

    # Sizes and strides of the pools after the first, time by mel. The first has size (4, 1) and
    # stride (2, 2): every second mel bin is never read, so the first convolution leaves it out.
    POOLS: ClassVar = ((2, 2), (2, 2), (2, 2), (4, 4))
    dense: Tensor
    dense_bias: Tensor

    def __init__(self, weights: Weights, *, prune: bool = True) -> None:
        super().__init__()
        self.scale, self.shift = _input_affine(weights)
        self.blocks = nn.ModuleList()
        before: FoldedConv | None = None
        for number in range(1, 6):
            kernel = weights[f"{number}CNN/kernel"].transpose(3, 2, 0, 1)  # (out, in, time, mel)
            kernel = kernel if before is None else narrow_inputs(kernel, before)
            affine = batch_norm_affine(*batch_norm(weights, number))
            inner = prune and number < 5  # the last block's channels are the embedding
            bias = weights[f"{number}CNN/bias"]
            bound = LOG_MEL_BOUND if before is None else FEATURE_BOUND
            before = fold_conv(kernel, bias, *affine, prune=inner, ones=inner, input_bound=bound)
            self.blocks.append(ConvMaxClamp(before))
        self.register_buffer("dense", torch.from_numpy(weights["dense/kernel"]))  # (256, 50)
        self.register_buffer("dense_bias", torch.from_numpy(weights["dense/bias"]))  # (50,)

    def forward(self, logmel: Tensor) -> Tensor:
        """Map log-mels ``(N, 187, 96)`` to the embedding ``(N, 256)``: two steps of 128."""
        x = _as_image(logmel * self.scale + self.shift)  # (N, 1, 187, 96)
        first, *others = _layers(self.blocks)
        x = functional.conv2d(x, first.kernel, first.bias, stride=(1, 2), padding=1)
        x = first.clamp(_max_4_by_2(x))  # (N, C, 92, 48)
        for block, size in zip(others, self.POOLS, strict=True):
            x = functional.conv2d(x, block.kernel, block.bias, padding=1)
            x = block.clamp(functional.max_pool2d(x, size))
        return x.squeeze(3).transpose(1, 2).flatten(1)  # (N, 128, 2, 1) -> (N, 256)

    def logits(self, embedding: Tensor) -> Tensor:
        """Map embeddings ``(N, 256)`` to tag logits ``(N, 50)``."""
        return embedding @ self.dense + self.dense_bias


class Musicnn(nn.Module):
    """The musicnn tagger: timbral and temporal filters, a middle of three layers, pooled tags."""

    TIMBRAL: ClassVar = (0, 1)  # numbers of the convolutions
    TEMPORAL: ClassVar = (2, 3, 4)
    MIDDLE: ClassVar = (5, 6, 7)
    dense: Tensor
    dense_bias: Tensor
    penultimate_scale: Tensor
    penultimate_shift: Tensor
    last: Tensor
    last_bias: Tensor
    pooled_scale: Tensor
    pooled_shift: Tensor

    def __init__(self, weights: Weights, *, prune: bool = True) -> None:
        super().__init__()
        self.scale, self.shift = _input_affine(weights)
        fronts = []
        self.front = nn.ModuleList()
        for number in (*self.TIMBRAL, *self.TEMPORAL):
            kernel = weights[_conv(number)].transpose(3, 2, 0, 1)  # (out, 1, time, mel)
            folded = _fold(weights, number, kernel, prune=prune)
            fronts.append(folded)
            self.front.append(ConvMaxClamp(folded))
        joined = _join(fronts)
        self.front_ones = bool(joined.has_ones)
        self.middle = nn.ModuleList()
        for number in self.MIDDLE:
            kernel = weights[_conv(number)][:, :, 0].transpose(2, 1, 0)  # (64, in, 7)
            if number == self.MIDDLE[0]:
                kernel = narrow_inputs(kernel, joined)
            # Residual connections follow, so a dead channel here is not dead further on.
            self.middle.append(ConvMaxClamp(_fold(weights, number, kernel, prune=False)))
        self._build_back(weights, joined)

    def _build_back(self, weights: Weights, joined: FoldedConv) -> None:
        """Fold both batch norms of the back end, and the dead channels, into its dense layers."""
        dense, bias = (weights[f"dense/{part}"].astype(np.float64) for part in ("kernel", "bias"))
        norm = batch_norm(weights, 9)
        scale, shift = batch_norm_affine(*norm)
        # The same norm without its trained gain and bias: how the features lie in its own data.
        deviation, offset = batch_norm_affine(
            np.ones_like(norm[0]), np.zeros_like(norm[1]), *norm[2:]
        )
        bias = bias + shift @ dense
        pairs = (dense * scale[:, None]).reshape(-1, 2, dense.shape[1])  # (753, [max, mean], 200)
        n_front = len(joined.constants)
        bias = bias + joined.constants @ pairs[:n_front].sum(1)
        kept = np.concatenate([joined.live, np.arange(n_front, len(pairs))])
        places = (2 * kept[None] + np.array([[0], [1]])).ravel()  # of maxima, then of means
        pooled = pairs[kept].transpose(1, 0, 2).reshape(-1, dense.shape[1])  # maxima, then means
        out_scale, out_shift = batch_norm_affine(*batch_norm(weights, 10))
        last = weights["dense_1/kernel"].astype(np.float64)  # (200, 50)
        last_bias = weights["dense_1/bias"] + out_shift @ last
        for name, values in {
            "dense": pooled,
            "dense_bias": bias,
            "pooled_scale": deviation[places],
            "pooled_shift": offset[places],
            "penultimate_scale": out_scale,
            "penultimate_shift": out_shift,
            "last": last * out_scale[:, None],
            "last_bias": last_bias,
        }.items():
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def forward(self, logmel: Tensor) -> Tensor:
        """Map log-mels ``(N, 187, 96)`` to tag logits ``(N, 50)``."""
        return self.logits(self.pooled(logmel))

    def logits(self, pooled: Tensor) -> Tensor:
        """Map pooled features ``(N, P)`` to tag logits ``(N, 50)``."""
        return self._hidden(pooled) @ self.last + self.last_bias

    def penultimate(self, logmel: Tensor) -> Tensor:
        """Map log-mels ``(N, 187, 96)`` to the 200 features before the last layer."""
        hidden = self._hidden(self.pooled(logmel))
        return hidden * self.penultimate_scale + self.penultimate_shift

    def standardised(self, pooled: Tensor) -> Tensor:
        """Pooled features ``(N, P)`` by their mean and deviation in the tagger's training data."""
        return pooled * self.pooled_scale + self.pooled_shift

    def _hidden(self, pooled: Tensor) -> Tensor:
        """The first dense layer with its ReLU, ``(N, 200)``."""
        return torch.relu(pooled @ self.dense + self.dense_bias)

    def pooled(self, logmel: Tensor) -> Tensor:
        """Map log-mels ``(N, 187, 96)`` to what the dense layers read, ``(N, P)``: the maxima over
        time of all channels that are not constant, then their means."""
        x = _as_image(logmel * self.scale + self.shift)  # (N, 1, 187, 96)
        parts = []
        for layer in _layers(self.front):
            span = layer.kernel.shape[2]
            padded = _as_image(functional.pad(x[:, 0], (0, 0, (span - 1) // 2, span // 2)))
            y = functional.conv2d(padded, layer.kernel, layer.bias)  # (N, out, 187, mel left)
            highest = functional.max_pool2d(y, (1, y.shape[3]))  # (N, out, 187, 1)
            parts.append(layer.clamp(highest)[..., 0])  # (N, out, 187)
        if self.front_ones:
            parts.append(torch.ones_like(parts[0][:, :1]))
        front = torch.cat(parts, 1)  # (N, live [+ 1], 187)
        a = self._middle(0, front)  # (N, 64, 187)
        b = self._middle(1, a) + a
        c = self._middle(2, b) + b
        live = front[:, :-1] if self.front_ones else front
        features = torch.cat([live, a, b, c], 1)  # (N, live + 192, 187)
        return torch.cat([features.amax(2), features.mean(2)], 1)

    def _middle(self, index: int, x: Tensor) -> Tensor:
        layer = _layers(self.middle)[index]
        return layer.clamp(functional.conv1d(x, layer.kernel, layer.bias, padding=3))


def pooled_rows(
    taggers: tuple[Musicnn, Musicnn], pooled: tuple[Tensor, Tensor], *, bound: float = 4.0
) -> Tensor:
    """Both taggers' pooled features, standardised and kept within `bound`: (N, POOLED_WIDTH)."""
    rows = [tagger.standardised(part) for tagger, part in zip(taggers, pooled, strict=True)]
    return torch.cat(rows, 1).clamp(-bound, bound)


def load_taggers(device: str | torch.device = "cpu") -> tuple[Musicnn, Musicnn]:
    """The MSD and the MTT tagger. ValueError where their weights are missing or damaged."""
    msd, mtt = (load_network(name, device) for name in ("MSD_musicnn", "MTT_musicnn"))
    assert isinstance(msd, Musicnn) and isinstance(mtt, Musicnn)
    return msd, mtt


def load_network(name: NetworkName, device: str | torch.device = "cpu") -> nn.Module:
    """Return a ready network: MusicnnVGG for "MSD_vgg", else Musicnn.

    Raises:
        ValueError: its weights are missing or damaged.
    """
    weights = load_weights(name)
    network: nn.Module = MusicnnVGG(weights) if name == "MSD_vgg" else Musicnn(weights)
    return network.to(device).eval()


def _as_image(x: Tensor) -> Tensor:
    """Add the channel axis to ``(N, time, mel)``, by its strides clearly channels last."""
    return x.contiguous().unsqueeze(3).permute(0, 3, 1, 2)  # (N, 1, time, mel)


def _max_4_by_2(x: Tensor) -> Tensor:
    """``max_pool2d(x, (4, 1), (2, 1))`` of ``(N, C, 187, W)``, seven times as fast on a CPU."""
    pairs = torch.maximum(x[:, :, 0:-1:2], x[:, :, 1::2])  # (N, C, 93, W)
    return torch.maximum(pairs[:, :, :-1], pairs[:, :, 1:])  # (N, C, 92, W)


def _layers(modules: nn.ModuleList) -> list[ConvMaxClamp]:
    """The same modules, for the type checker."""
    return list(modules)  # type: ignore[arg-type]


def _conv(number: int, part: str = "kernel") -> str:
    return "conv2d" + (f"_{number}" if number else "") + f"/{part}"


def _fold(weights: Weights, number: int, kernel: np.ndarray, *, prune: bool) -> FoldedConv:
    affine = batch_norm_affine(*batch_norm(weights, number + 1))
    bias, bound = weights[_conv(number, "bias")], LOG_MEL_BOUND if prune else FEATURE_BOUND
    return fold_conv(kernel, bias, *affine, prune=prune, ones=False, input_bound=bound)


def _join(parts: list[FoldedConv]) -> FoldedConv:
    """Channel bookkeeping of several convolutions side by side, as if they were one."""
    constants = np.concatenate([part.constants for part in parts])
    offsets = np.cumsum([0, *(len(part.constants) for part in parts)])
    live = np.concatenate([p.live + o for p, o in zip(parts, offsets, strict=False)])
    nothing = np.zeros(0, np.float32)
    has_ones = bool(np.any(constants != 0))
    return FoldedConv(nothing, nothing, nothing, nothing, live, has_ones, constants)


def _input_affine(weights: Weights) -> tuple[float, float]:
    """The batch norm of the one input channel as (s, t)."""
    scale, shift = batch_norm_affine(*batch_norm(weights, 0))
    return float(scale[0]), float(shift[0])
