"""The layers of AudioGPT: self-attention, per-branch cross-attention, fusion and SRAU.

Self-attention and MLP follow GPT-2 in names and layouts, so that its weights load by name; the
fusion of the branches is PlayNTell's (Gabbolini, Hennequin and Epure, EMNLP 2022, Eq. 3) with
VisualGPT's self-resurrecting activation unit (SRAU; Chen et al., 2021).

Letters in shape comments: B items, K beams per item, N = B * K sequences, T tokens, D = n_embd,
H heads, d = D / H, M branches, R rows (columns of the attention, see `Context`), V vocabulary.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.context import Context


class BlockRecord(NamedTuple):
    """What one block did, for the trace (DESIGN section 4). `gate` is all ones without a gate."""

    alpha: Tensor  # (N, T, D), or (M, N, T, D) for meshed
    gate: Tensor  # (M, N, T, D)
    attention: Tensor  # (M, N, T, R), mean over heads
    parts: Tensor  # (1 + M, N, T, D): context, then one per branch; they sum to `mixed`
    mixed: Tensor  # (N, T, D): a'
    output: Tensor  # (N, T, D): y


class Cache:
    """Preallocated self-attention keys and values of all layers, for N sequences of `length`."""

    def __init__(
        self,
        config: AudioGPTConfig,
        sequences: int,
        length: int,
        device: torch.device | str,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is the model's."""
        shape = (
            config.n_layer,
            2,
            sequences,
            config.n_head,
            length,
            config.n_embd // config.n_head,
        )
        self.store = torch.empty(shape, device=device, dtype=dtype)
        self.pads = torch.zeros(sequences, length, dtype=torch.bool, device=device)
        self.length = 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (N, H, T, d) of one layer; returns all of its keys and values so far."""
        end = self.length + k.shape[2]
        self.store[layer, 0, :, :, self.length : end] = k
        self.store[layer, 1, :, :, self.length : end] = v
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]

    def reorder(self, index: Tensor) -> None:
        """Keep the sequences named by `index` (N',), in that order."""
        before, shape = self.store, list(self.store.shape)
        rows = torch.arange(len(index), device=index.device)
        if len(index) != shape[2]:
            shape[2] = len(index)
            self.store = self.store.new_empty(shape)
        else:  # about half of the beams stay in their places
            rows = rows[index != rows]
        source = index[rows]
        # One layer's keys or values at a time: they fit in a processor's cache.
        for new, old in zip(self.store.flatten(0, 1), before.flatten(0, 1), strict=True):
            kept = old[..., : self.length, :].index_select(0, source)
            new[..., : self.length, :].index_copy_(0, rows, kept)
        self.pads = self.pads.index_select(0, index)


# With up to this many rows a CPU multiplies W x^T, W stored row by row, about twice as fast as
# x W: beam search is bound by reading weights (benchmarks/README.md).
FEW_ROWS = 5


def matmul_bias(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W + b for x (..., L, in), W (..., in, out) and b (..., 1, out)."""
    if x.shape[-2] > FEW_ROWS or weight.stride(-2) != 1 or weight.device.type != "cpu":
        return _product(x, weight, bias)
    return _product(weight.mT, x.mT, None if bias is None else bias.mT).mT.contiguous()


def _product(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return torch.matmul(a, b)
    return torch.addmm(bias, a, b) if a.ndim == 2 else torch.baddbmm(bias, a, b)


def store_for_few_rows(module: nn.Module) -> None:
    """Lay out the weights of a model for `matmul_bias`; shapes and values stay as they are."""
    for layer in module.modules():
        if isinstance(layer, Conv1D | PerBranch):
            layer.weight.data = layer.weight.data.mT.contiguous().mT


class Conv1D(nn.Module):
    """y = x W + b with W of shape (in, out), as GPT-2 has it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        out = matmul_bias(x.reshape(-1, x.shape[-1]), self.weight, self.bias[None])
        return out.view(*x.shape[:-1], -1)


class PerBranch(nn.Module):
    """One linear map per branch, stacked: (M, L, in) or a shared (1, L, in) -> (M, L, out)."""

    def __init__(self, n_branches: int, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_branches, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_branches, 1, n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return matmul_bias(x.expand(len(self.weight), -1, -1), self.weight, self.bias)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float = 0.0):
    """Scaled dot-product attention that also returns its weights; bias is added to the logits."""
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = torch.softmax(logits if bias is None else logits + bias, dim=-1)
    return F.dropout(weights, dropout, training=dropout > 0) @ v, weights


class SelfAttention(nn.Module):
    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        self.n_head, self.dropout = config.n_head, config.dropout
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, bias: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        N, T, D = x.shape
        qkv = self.c_attn(x).view(N, T, 3, self.n_head, D // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, H, T, d)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        out, _ = attend(q, k, v, bias, self.dropout if self.training else 0.0)
        return self.c_proj(out.transpose(1, 2).reshape(N, T, D))


class CrossAttention(nn.Module):
    """The attention of all branches: each has its own queries, keys, values and output."""

    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        M, D = len(config.branches), config.n_embd
        self.n_head, self.dropout = config.n_head, config.dropout
        self.q_proj = PerBranch(M, D, D)
        self.k_proj = PerBranch(M, D, D)
        self.v_proj = PerBranch(M, D, D)
        self.c_proj = PerBranch(M, D, D, bias=not config.null_rows)
        self.null_key = nn.Parameter(torch.zeros(M, D)) if config.null_rows else None

    def heads(self, x: Tensor, batch: int) -> Tensor:
        """(M, B * L, D) -> (M, B, H, L, d)"""
        return x.view(len(x), batch, -1, self.n_head, x.shape[-1] // self.n_head).transpose(2, 3)

    def keys_values(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised rows (M, B, R, D) -> keys and values (M, B, H, R [+ 1], d)."""
        M, B, R, D = rows.shape
        flat = rows.reshape(M, B * R, D)
        k, v = self.heads(self.k_proj(flat), B), self.heads(self.v_proj(flat), B)
        if self.null_key is not None:  # an attention sink: a learned key with a value of zero
            null = self.heads(self.null_key[:, None].expand(M, B, D), B)
            k, v = torch.cat([k, null], dim=3), torch.cat([v, torch.zeros_like(null)], dim=3)
        return k, v

    def forward(self, x: Tensor, context: Context, layer: int) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> c (M, N, T, D), 0 for empty branches, and weights (M, B, H, K * T, R)."""
        N, T, D = x.shape
        M, B = len(context.keys[layer]), context.batch
        q = self.heads(self.q_proj(x.view(1, N * T, D)), B)  # beams stand side by side as queries
        dropout = self.dropout if self.training else 0.0
        out, weights = attend(q, context.keys[layer], context.values[layer], context.bias, dropout)
        c = self.c_proj(out.transpose(2, 3).reshape(M, N * T, D))
        return (c.view(M, B, -1, D) * context.present).view(M, N, T, D), weights


class MLP(nn.Module):
    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """A pre-norm GPT-2 block with cross-attention and SRAU between attention and MLP."""

    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        M, D = len(config.branches), config.n_embd
        self.config = config
        self.ln_1 = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.attn = SelfAttention(config)
        if M:
            self.cross_attn = CrossAttention(config)
            if config.fusion == "gated":
                self.branch_gate = PerBranch(M, 2 * D, D)
            if config.srau:
                self.srau = PerBranch(M if config.fusion == "meshed" else 1, 2 * D, D)
        self.ln_2 = nn.LayerNorm(D, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        context: Context,
        bias: Tensor | None,
        cache: Cache | None,
        layer: int,
        records: list[BlockRecord] | None,
    ) -> Tensor:
        a = x + self.drop(self.attn(self.ln_1(x), bias, cache, layer))  # (N, T, D)
        if not self.config.branches:
            return a + self.drop(self.mlp(self.ln_2(a)))
        c, weights = self.cross_attn(self.ln_1(a), context, layer)  # (M, N, T, D)
        c = self.drop(c)
        alpha, gate, language, branches = self.fuse(a, c, context)
        mixed = language + branches.sum(0)
        y = mixed + self.drop(self.mlp(self.ln_2(mixed)))
        if records is not None:
            # A branch without rows attends to nothing: its softmax had to run over something.
            attention = (weights.mean(2) * context.present).view(*c.shape[:-1], -1)
            parts = torch.cat([language[None], branches])
            records.append(BlockRecord(alpha, gate, attention, parts, mixed, y))
        return y

    def fuse(self, a: Tensor, c: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, g, the context's part of a' (N, T, D) and the branches' (M, N, T, D)."""
        M, N = c.shape[:2]
        fusion, tau = self.config.fusion, self.config.tau
        strengths = context.strengths.repeat_interleave(N // context.batch, dim=1)  # (M, N, 1, 1)
        gate = torch.ones_like(c)
        if fusion == "gated":
            gate = torch.sigmoid(self.branch_gate(self.pair(a, c))).view_as(c)
        branches = strengths * gate * c if fusion == "gated" else strengths * c
        scale = 1 / math.sqrt(M) if fusion == "meshed" else 1.0
        if not self.config.srau:
            language = a * M * scale if fusion == "meshed" else a
            return torch.ones_like(a), gate, language, scale * branches
        if fusion == "meshed":  # a gate per branch
            alpha = torch.sigmoid(self.srau(self.pair(a, c))).view_as(c)
        else:
            alpha = torch.sigmoid(self.srau(self.pair(a, branches.sum(0, keepdim=True)))).view_as(a)
        kept = torch.where(alpha > tau, alpha, 0.0)
        let_in = torch.where(alpha < 1 - tau, 1 - alpha, 0.0)
        if fusion == "meshed":
            kept = scale * kept.sum(0)
        return alpha, gate, kept * a, scale * let_in * branches

    @staticmethod
    def pair(a: Tensor, c: Tensor) -> Tensor:
        """[a ; c] for a (N, T, D) and c (M, N, T, D): (M, N * T, 2 D)"""
        return torch.cat([a.expand_as(c), c], dim=-1).view(len(c), -1, 2 * a.shape[-1])


class EncoderLayer(nn.Module):
    """Pre-norm self-attention over the rows of one branch; weights act as in cross-attention."""

    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_eps)
        self.attn = SelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.drop(self.attn(self.ln_1(x), bias, None, 0))  # (B, R, D)
        return x + self.drop(self.mlp(self.ln_2(x)))


class Branch(nn.Module):
    """e = LayerNorm(Dropout(GELU(X W + b))), then `encoder_layer` self-attention layers."""

    def __init__(self, config: AudioGPTConfig, branch: BranchConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(branch.width, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.layer_norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_eps)
        self.h = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layer))
        if config.encoder_layer:
            self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Rows (B, R, width) and weights (B, R) -> (B, R, D)"""
        e = self.layer_norm(self.drop(F.gelu(self.fc(x), approximate="tanh")))
        if len(self.h):
            # An item without rows must not divide by zero; what it computes is never used.
            weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)
            bias = weights.log()[:, None, None].to(e)
            for layer in self.h:
                e = layer(e, bias)
            e = self.ln_f(e)
        return e
