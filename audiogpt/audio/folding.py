"""Make a trained convolution network cheaper without changing what it computes.

Two exact rewritings of "convolution, ReLU, batch norm, maximum over a region":

- With batch norm ``y -> s y + t`` after ReLU, ``max(s relu(v) + t)`` over a region equals
  ``clamp(max(s v + t), low, high)`` with ``low = t`` where s > 0 and ``high = t`` where s <= 0.
  So s and t go into the convolution, and one clamp on the small pooled tensor is all that is left.
- A channel whose kernel is zero gives one constant at every position. It is removed, and what the
  next layer made of it is carried by a single channel of ones (a channel and not a bias, because
  the next convolution pads with zeros: near a border the constant counts for less).

About half of the musicnn networks' convolution channels are dead in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BATCH_NORM_EPSILON = 1e-3
# A channel counts as dead when all it can change in its own output is about float32's resolution of
# that output's usual size (1 to 8). Layers after the first have dead kernels of 1e-30, so the bound
# on their inputs hardly matters.
DEAD_EFFECT = 1e-6
LOG_MEL_BOUND = 16.0  # of a normalised log-mel, even of sound far above full scale
FEATURE_BOUND = 1024.0  # of features inside the networks, which reach some hundred

Array = np.ndarray


@dataclass(frozen=True)
class FoldedConv:
    """A convolution with its batch norm inside and dead channels taken out.

    kernel: float32 ``(out, in, ...)``; bias, low, high: float32 ``(out,)``. ``live`` are the
    original numbers of the output channels; where ``has_ones``, one more channel, equal to 1
    everywhere, follows them. ``constants`` are the values ``(original out,)`` of the dead
    channels, zero where alive.
    """

    kernel: Array
    bias: Array
    low: Array
    high: Array
    live: Array
    has_ones: bool
    constants: Array


def batch_norm_affine(
    gamma: Array, beta: Array, mean: Array, variance: Array
) -> tuple[Array, Array]:
    """Return (s, t), float64, such that the trained batch norm is ``y -> s y + t``."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + BATCH_NORM_EPSILON)
    return scale, beta.astype(np.float64) - mean.astype(np.float64) * scale


def fold_conv(
    kernel: Array,
    bias: Array,
    scale: Array,
    shift: Array,
    *,
    prune: bool,
    ones: bool,
    input_bound: float = FEATURE_BOUND,
) -> FoldedConv:
    """Fold ``conv -> ReLU -> (s, t) -> maximum`` into "convolution, maximum, clamp".

    Args:
        kernel: ``(out, in, ...)``; bias, scale, shift: ``(out,)``.
        prune: take dead channels out.
        ones: append the channel of ones where a dead channel's constant is not zero.
        input_bound: no input is larger in magnitude.
    """
    kernel, bias = kernel.astype(np.float64), bias.astype(np.float64)
    reach = np.abs(kernel).reshape(len(kernel), -1).sum(1) * np.abs(scale) * input_bound  # (out,)
    dead = (reach < DEAD_EFFECT) if prune else np.zeros(len(kernel), bool)
    live = np.flatnonzero(~dead)
    constants = np.where(dead, scale * np.maximum(bias, 0.0) + shift, 0.0)
    has_ones = bool(ones and np.any(constants != 0))
    folded = kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))
    low = np.where(scale > 0, shift, -np.inf)
    high = np.where(scale > 0, np.inf, shift)
    parts = [folded[live], (bias * scale + shift)[live], low[live], high[live]]
    if has_ones:
        extra = [np.zeros((1, *kernel.shape[1:])), np.ones(1), np.ones(1), np.ones(1)]
        parts = [np.concatenate(pair) for pair in zip(parts, extra, strict=True)]
    weight, offset, low, high = (np.ascontiguousarray(p, dtype=np.float32) for p in parts)
    return FoldedConv(weight, offset, low, high, live, has_ones, constants)


def narrow_inputs(kernel: Array, before: FoldedConv) -> Array:
    """Return ``kernel`` ``(out, in, ...)`` for the inputs that ``before`` still gives."""
    kept = kernel[:, before.live].astype(np.float64)
    if not before.has_ones:
        return kept
    carried = np.einsum("oi...,i->o...", kernel.astype(np.float64), before.constants)
    return np.concatenate([kept, carried[:, None]], axis=1)
