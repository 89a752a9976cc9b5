"""What the decoder attends to: the rows a caller gives, and the keys and values made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class FeatureRows(NamedTuple):
    """Rows of a `features` branch: values (B, R, width), weights (B, R) in [0, 1]; 0 = absent."""

    values: Tensor
    weights: Tensor


class TextRows(NamedTuple):
    """Rows of a `text` branch, one per token: ids, index of its phrase, position in it (B, R)."""

    ids: Tensor
    phrase: Tensor
    position: Tensor
    weights: Tensor

    @classmethod
    def from_phrases(
        cls, items: Sequence[Sequence[tuple[Sequence[int], float]]], *, device: str = "cpu"
    ) -> TextRows:
        """Build from one list of (token ids, weight) phrases per item, padded with weight 0."""
        length = max((sum(len(ids) for ids, _ in item) for item in items), default=0)
        table = torch.zeros(3, len(items), length, dtype=torch.long)
        weights = torch.zeros(len(items), length)
        for b, item in enumerate(items):
            row = 0
            for index, (ids, weight) in enumerate(item):
                for position, token in enumerate(ids):
                    table[:, b, row] = torch.tensor([token, index, position])
                    weights[b, row] = weight
                    row += 1
        table, weights = table.to(device), weights.to(device)
        return cls(table[0], table[1], table[2], weights)


Rows = FeatureRows | TextRows


@dataclass(frozen=True)
class Context:
    """Keys and values of every branch, computed once per request.

    Columns of the attention: the rows of each branch padded to the longest (R), then, where the
    model has them, one column for all zero-padded rows (published_padding) and the null row.
    """

    keys: tuple[Tensor, ...]  # per layer (M, B, H, R, d)
    values: tuple[Tensor, ...]  # per layer (M, B, H, R, d)
    bias: Tensor  # (M, B, 1, 1, R): log of the row weights, -inf where there is no row
    present: Tensor  # (M, B, 1, 1): 1 where the branch has any row, else 0
    strengths: Tensor  # (M, B, 1, 1): lambda
    n_rows: tuple[int, ...]  # real columns per branch
    controls: Tensor | None = None  # (B, D): added to every token's embedding

    @property
    def batch(self) -> int:
        return self.bias.shape[1]

    def restricted(self, coalitions: Tensor) -> Context:
        """This one item C times, item i with only the branches where `coalitions` (C, M) is 1."""
        C = len(coalitions)
        return dataclasses.replace(
            self,
            keys=tuple(k.expand(-1, C, -1, -1, -1) for k in self.keys),
            values=tuple(v.expand(-1, C, -1, -1, -1) for v in self.values),
            bias=self.bias.expand(-1, C, -1, -1, -1),
            present=self.present * coalitions.T[:, :, None, None].to(self.present),
            strengths=self.strengths.expand(-1, C, -1, -1),
            controls=None if self.controls is None else self.controls.expand(C, -1),
        )
