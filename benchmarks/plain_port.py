"""A plain PyTorch port of the musicnn networks and OpenL3, to measure against.

What one writes first: layers as published, batch norms apart, every channel kept, the default
memory layout. It shares nothing with the program's networks but the weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-3
Weights = dict[str, np.ndarray]


def _conv(weights: Weights, name: str, *, padding: int = 0) -> nn.Conv2d:
    kernel = torch.from_numpy(weights[f"{name}/kernel"]).permute(3, 2, 0, 1).contiguous()
    conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]), padding=padding)
    conv.weight.data = kernel
    conv.bias = nn.Parameter(torch.from_numpy(weights[f"{name}/bias"]))
    return conv


def _norm(weights: Weights, number: int, *, flat: bool = False) -> nn.Module:
    name = "batch_normalization" + (f"_{number}" if number else "")
    gamma = torch.from_numpy(weights[f"{name}/gamma"])
    norm = (nn.BatchNorm1d if flat else nn.BatchNorm2d)(len(gamma), eps=EPSILON)
    norm.weight.data, norm.bias.data = gamma, torch.from_numpy(weights[f"{name}/beta"])
    norm.running_mean = torch.from_numpy(weights[f"{name}/moving_mean"])
    norm.running_var = torch.from_numpy(weights[f"{name}/moving_variance"])
    return norm


def _dense(weights: Weights, name: str) -> nn.Linear:
    kernel = torch.from_numpy(weights[f"{name}/kernel"].T.copy())
    dense = nn.Linear(kernel.shape[1], kernel.shape[0])
    dense.weight.data, dense.bias.data = kernel, torch.from_numpy(weights[f"{name}/bias"])
    return dense


class PlainVGG(nn.Module):
    """Log-mels (N, 187, 96) to the embedding (N, 256)."""

    POOLS = (((4, 1), 2), (2, 2), (2, 2), (2, 2), (4, 4))

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.first = _norm(weights, 0)
        self.convs = nn.ModuleList(_conv(weights, f"{i}CNN", padding=1) for i in range(1, 6))
        self.norms = nn.ModuleList(_norm(weights, i) for i in range(1, 6))

    def forward(self, logmel: Tensor) -> Tensor:
        x = self.first(logmel[:, None])
        for conv, norm, (kernel, stride) in zip(self.convs, self.norms, self.POOLS, strict=True):
            x = functional.max_pool2d(norm(torch.relu(conv(x))), kernel, stride)
        return x.permute(0, 2, 3, 1).flatten(1)


class PlainMusicnn(nn.Module):
    """Log-mels (N, 187, 96) to tag logits (N, 50)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        names = ["conv2d"] + [f"conv2d_{i}" for i in range(1, 8)]
        self.first = _norm(weights, 0)
        self.convs = nn.ModuleList(_conv(weights, name) for name in names)
        self.norms = nn.ModuleList(_norm(weights, i) for i in range(1, 9))
        self.norm9 = _norm(weights, 9, flat=True)
        self.norm10 = _norm(weights, 10, flat=True)
        self.dense, self.last = _dense(weights, "dense"), _dense(weights, "dense_1")

    def _layer(self, i: int, x: Tensor) -> Tensor:
        return self.norms[i](torch.relu(self.convs[i](x)))

    def forward(self, logmel: Tensor) -> Tensor:
        x = self.first(logmel[:, None])
        parts = [self._layer(i, functional.pad(x, (0, 0, 3, 3))) for i in (0, 1)]
        for i, span in ((2, 128), (3, 64), (4, 32)):
            padding = (0, 0, (span - 1) // 2, span // 2)
            parts.append(self._layer(i, functional.pad(x, padding)))
        front = torch.cat([part.amax(3) for part in parts], 1).transpose(1, 2)  # (N, 187, 561)
        levels = [front]
        for i in (5, 6, 7):
            y = self._layer(i, functional.pad(levels[-1][:, None], (0, 0, 3, 3)))
            y = y[..., 0].transpose(1, 2)  # (N, 187, 64)
            levels.append(y if i == 5 else y + levels[-1])
        features = torch.cat(levels, 2)  # (N, 187, 753)
        pooled = torch.stack([features.amax(1), features.mean(1)], 2).flatten(1)
        return self.last(self.norm10(torch.relu(self.dense(self.norm9(pooled)))))


class PlainOpenL3(nn.Module):
    """Mel spectrograms (N, 256, 199) to embeddings (N, 512)."""

    def __init__(self, batch_norms: tuple, convolutions: tuple) -> None:
        super().__init__()
        weights: Weights = {}
        for i, (norm, (kernel, bias)) in enumerate(zip(batch_norms, convolutions, strict=True)):
            weights |= {f"{i}/kernel": kernel, f"{i}/bias": bias}
            prefix = "batch_normalization" + (f"_{i}" if i else "")
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            weights |= {f"{prefix}/{p}": v for p, v in zip(parts, norm, strict=True)}
        self.convs = nn.ModuleList(_conv(weights, str(i), padding=1) for i in range(8))
        self.norms = nn.ModuleList(_norm(weights, i) for i in range(8))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.norms[0](mel[:, None])
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i + 1 < len(self.norms):
                x = torch.relu(self.norms[i + 1](x))
            if i in (1, 3, 5):
                x = functional.max_pool2d(x, 2)
        return functional.max_pool2d(x, (32, 24)).flatten(1)
