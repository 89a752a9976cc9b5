"""AudioGPT: a GPT-2 decoder with one gated cross-attention per branch.

Sources: PlayNTell (Gabbolini, Hennequin and Epure, EMNLP 2022, section 4), VisualGPT (Chen et al.,
2021) for the self-resurrecting activation unit (SRAU) and the meshed fusion. Embeddings and
blocks carry GPT-2's names, so its pretrained weights load by name.

Letters in shape comments: B items, K beams per item, N = B * K sequences, T tokens, D = n_embd,
H heads, d = D / H, M branches, R rows (columns of the attention, see `Context`), V vocabulary.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiogpt.config import (
    PLACE_FEATURES,
    TEXT_ROW_POSITIONS,
    AudioGPTConfig,
    BranchConfig,
)
from audiogpt.context import Context, FeatureRows, Rows, TextRows
from audiogpt.controls import control_width
from audiogpt.layers import Block, BlockRecord, Branch, Cache, matmul_bias


def place_features(rows: TextRows) -> Tensor:
    """The place of each row's phrase among the present ones, (B, R, 16): sines and cosines.

    The place belongs to the row like its text does: the rows stay a set, in any order of columns,
    and a phrase of weight 0 has no place, as if it were absent.
    """
    heads = (rows.position == 0) & (rows.weights > 0)  # (B, R): one per phrase that is present
    before = rows.phrase[:, None, :] < rows.phrase[:, :, None]  # (B, R, R)
    place = (before & heads[:, None]).sum(-1, keepdim=True)  # (B, R, 1)
    # Wave lengths from 4 phrases, which parts neighbours, to 80, longer than any list.
    steps = torch.linspace(math.log(4.0), math.log(80.0), PLACE_FEATURES // 2, device=place.device)
    angles = place * (2 * math.pi / steps.exp())  # (B, R, 8)
    # As large as a fresh token embedding, so that the place does not drown the words.
    return 0.1 * torch.cat([angles.sin(), angles.cos()], dim=-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities (..., V), in float32 also of a model in half precision: they are summed
    over a caption."""
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


class Decoder(nn.Module):
    """GPT-2's transformer under GPT-2's names."""

    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_eps)


class AudioGPT(nn.Module):
    """The captioner: `encode` rows into a `Context` once, then call with tokens.

    A fresh one is initialised like GPT-2; `from_pretrained` and `from_gpt2` load one.
    """

    def __init__(self, config: AudioGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.branches = nn.ModuleDict({b.name: Branch(config, b) for b in config.branches})
        self.transformer = Decoder(config)
        self.controls: nn.Parameter | None = None
        if config.controls:
            self.controls = nn.Parameter(torch.empty(control_width(config.controls), config.n_embd))
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, device: str = "cpu") -> AudioGPT:
        """See `audiogpt.checkpoints.from_pretrained`."""
        from audiogpt.checkpoints import from_pretrained

        return from_pretrained(name, device=device)

    @classmethod
    def from_gpt2(
        cls,
        source: str | os.PathLike[str] = "gpt2",
        *,
        branches: Sequence[BranchConfig] = (),
        **options: Any,
    ) -> AudioGPT:
        """See `audiogpt.gpt2.from_gpt2`."""
        from audiogpt.gpt2 import from_gpt2

        return from_gpt2(source, branches=branches, **options)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """See `audiogpt.checkpoints.save_pretrained`."""
        from audiogpt.checkpoints import save_pretrained

        return save_pretrained(self, folder)

    @property
    def device(self) -> torch.device:
        return self.transformer.wte.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.wte.weight.dtype

    def reset_parameters(self) -> None:
        """GPT-2's initialisation; SRAU starts with alpha about 0.73, so that the text leads."""
        for place, module in self.named_modules():
            kind = place.rpartition(".")[2]  # branches may be called anything
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    nn.init.constant_(parameter, 1.0 if kind == "srau" else 0.0)
                elif isinstance(module, nn.LayerNorm):
                    nn.init.ones_(parameter)
                else:
                    scale = 1 / math.sqrt(2 * self.config.n_layer) if kind == "c_proj" else 1.0
                    nn.init.normal_(parameter, std=0.02 * scale)

    def text_rows(self, rows: TextRows, *, ordered: bool = False) -> FeatureRows:
        """[token embedding ; mean of the phrase's ; one-hot position ; place, where `ordered`]:
        (B, R, 2 D + 4), or (B, R, 2 D + 20)."""
        embedded = self.transformer.wte(rows.ids)  # (B, R, D)
        same = (rows.phrase[:, :, None] == rows.phrase[:, None]).to(embedded)  # (B, R, R)
        same = same * (rows.weights > 0)[:, None]
        mean = same @ embedded / same.sum(-1, keepdim=True).clamp(min=1)
        position = rows.position.clamp(max=TEXT_ROW_POSITIONS - 1)
        onehot = F.one_hot(position, TEXT_ROW_POSITIONS).to(embedded)
        parts = [embedded, mean, onehot]
        if ordered:
            parts.append(place_features(rows).to(embedded))
        return FeatureRows(torch.cat(parts, dim=-1), rows.weights)

    def encode(
        self,
        rows: Mapping[str, Rows],
        *,
        strengths: Tensor | None = None,
        padded_rows: int | Tensor | None = None,
        controls: Tensor | None = None,
    ) -> Context:
        """Project rows and compute every layer's cross-attention keys and values.

        `rows` maps branch names to rows; a branch that is missing contributes exactly nothing.
        `strengths` (B, M) are the branches' lambdas, 1 by default. With `published_padding`,
        every branch is padded to `padded_rows` (an int, or one per item), by default the longest
        branch of the item. `controls` (B, F) are `control_features`; a model without controls
        leaves them aside. Raises ValueError for unknown branches and wrong shapes.
        """
        config, M = self.config, len(self.config.branches)
        if unknown := sorted(set(rows) - set(config.branch_names)):
            raise ValueError(f"The model has no branch called {', '.join(unknown)}.")
        batches = {part.weights.shape[0] for part in rows.values()}
        if len(batches) > 1:
            raise ValueError(f"All branches need the same number of items, not {sorted(batches)}.")
        B = batches.pop() if batches else (1 if strengths is None else len(strengths))
        R = max((part.weights.shape[1] for part in rows.values()), default=0)
        precise = torch.promote_types(self.dtype, torch.float32)
        real = torch.zeros(M, B, R, device=self.device, dtype=precise)
        encoded: list[Tensor] = []
        for m, branch in enumerate(config.branches):
            given = rows.get(branch.name)
            if isinstance(given, TextRows):
                given = self.text_rows(given, ordered=branch.ordered)
            if given is None:
                encoded.append(real.new_zeros(B, R, config.n_embd, dtype=self.dtype))
                continue
            if given.values.shape != (*given.weights.shape, branch.width):
                raise ValueError(
                    f"Branch {branch.name} takes rows of width {branch.width}, but was given shape "
                    f"{tuple(given.values.shape)} with weights {tuple(given.weights.shape)}."
                )
            n = given.weights.shape[1]
            real[m, :, :n] = given.weights
            e = self.branches[branch.name](given.values, given.weights)
            encoded.append(F.pad(e, (0, 0, 0, R - n)))  # (B, R, D)
        columns = torch.stack(encoded) if M else real.new_zeros(0, B, R, config.n_embd)
        if config.published_padding and M:
            columns, real = self._append_padding(columns, real, padded_rows)
        present = (real > 0).any(-1)[..., None, None].to(columns)  # (M, B, 1, 1)
        if config.null_rows:
            real = F.pad(real, (0, 1), value=1.0)
        else:  # an all-masked softmax is undefined; `present` silences what it gives
            real = torch.where(present[..., 0] > 0, real, 1.0)
        blocks = cast(Iterable[Block], self.transformer.h if M else ())
        keys_values = [block.cross_attn.keys_values(block.ln_1(columns)) for block in blocks]
        lambdas = columns.new_ones(M, B) if strengths is None else strengths.to(columns).T
        return Context(
            keys=tuple(k for k, _ in keys_values),
            values=tuple(v for _, v in keys_values),
            bias=real.log()[:, :, None, None].to(columns),
            present=present,
            strengths=lambdas[:, :, None, None],
            n_rows=tuple(
                rows[name].weights.shape[1] if name in rows else 0 for name in config.branch_names
            ),
            controls=self._control_rows(controls, B),
        )

    def told(self, context: Context, controls: Tensor | None) -> Context:
        """The same context, with other `controls` (B, F)."""
        return replace(context, controls=self._control_rows(controls, context.batch))

    def _control_rows(self, controls: Tensor | None, items: int) -> Tensor | None:
        """What the controls (B, F) add to the token embeddings: (B, D)."""
        if controls is None or self.controls is None:
            return None
        if controls.shape != (items, len(self.controls)):
            raise ValueError(
                f"The model takes {len(self.controls)} numbers of controls for each of {items} "
                f"items, but was given shape {tuple(controls.shape)}."
            )
        return controls.to(self.controls) @ self.controls

    def _append_padding(
        self, columns: Tensor, real: Tensor, total: int | Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One column for all zero-padded rows: n equal rows weigh as one of weight n.

        The released model's mask never fires (see docs/playntell.md), and rows have no positions,
        so this equals attending to each padded row, to rounding.
        """
        B = real.shape[1]
        count = (real > 0).sum(-1)  # (M, B)
        longest = count.max(0).values if total is None else torch.as_tensor(total).to(count)
        padding = (longest - count).clamp(min=0).to(real)
        padding[count == 0] = 0  # a branch without rows contributes nothing: no padding either
        zero = []
        for branch in self.config.branches:
            row = columns.new_zeros(B, 1, branch.width)
            zero.append(self.branches[branch.name](row, row[..., 0]))
        return torch.cat([columns, torch.stack(zero)], 2), torch.cat([real, padding[..., None]], 2)

    def forward(
        self,
        tokens: Tensor,
        context: Context,
        *,
        cache: Cache | None = None,
        records: list[BlockRecord] | None = None,
        last_only: bool = False,
    ) -> Tensor:
        """Tokens (N, T) -> logits (N, T, V), where N is a multiple K of the context's batch.

        The output at position t predicts token t + 1. With a `cache`, tokens continue what it
        holds. `records` receives one `BlockRecord` per layer; `last_only` computes the logits of
        the last position alone (N, 1, V).
        """
        N, T = tokens.shape
        past = cache.length if cache is not None else 0
        if past + T > self.config.n_positions:
            raise ValueError(f"The model reads at most {self.config.n_positions} tokens.")
        transformer = self.transformer
        pads = None
        if self.config.published_padding:
            pads = tokens == self.config.pad_token_id  # (N, T)
        bias = self._causal_bias(N, T, past, pads, cache)
        positions = torch.arange(past, past + T, device=tokens.device)
        x = transformer.wte(tokens) + transformer.wpe(positions)  # (N, T, D)
        if context.controls is not None:
            x = x + context.controls.repeat_interleave(N // context.batch, 0)[:, None]
        x = transformer.drop(x)
        for layer, block in enumerate(transformer.h):
            x = block(x, context, bias, cache, layer, records)
            if pads is not None:
                x = x.masked_fill(pads[..., None], 0.0)
                if records is not None:
                    records[-1] = records[-1]._replace(output=x)
        if cache is not None:
            cache.length += T
        x = transformer.ln_f(x[:, -1:] if last_only else x)
        logits = matmul_bias(x.flatten(0, 1), transformer.wte.weight.T, None)
        return logits.view(N, -1, logits.shape[-1])

    def _causal_bias(
        self, N: int, T: int, past: int, pads: Tensor | None, cache: Cache | None
    ) -> Tensor | None:
        """-inf above the diagonal, and for released checkpoints at pad tokens; None if all 0."""
        if T == 1 and pads is None:
            return None
        future = torch.ones(T, past + T, dtype=torch.bool, device=self.device).triu(past + 1)
        if pads is not None:
            if cache is not None:
                cache.pads[:, past : past + T] = pads
                pads = cache.pads[:, : past + T]
            future = future | pads[:, None, None]  # (N, 1, T, past + T)
        bias = torch.zeros(future.shape, device=self.device, dtype=self.dtype)
        # Finite, so that a sequence that begins with a pad token stays free of NaN; a half, so that
        # it stays finite in half precision, too, when logits are added.
        return bias.masked_fill(future, torch.finfo(bias.dtype).min / 2)
