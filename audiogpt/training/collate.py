"""Batches: padded tokens and labels, and the rows of every branch as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiogpt.config import AudioGPTConfig
from audiogpt.context import FeatureRows, Rows, TextRows
from audiogpt.controls import control_features
from audiogpt.training.dataset import Example

IGNORED = -100  # a label that the loss leaves out

RowTensors = Mapping[str, Mapping[str, Tensor]]


class Collator:
    """Turn examples into `tokens` (B, T), `labels` (B, T), `rows` by branch, for a model with
    controls `controls` (B, F), and where a language teacher was asked `expected`: `tokens` and
    `probabilities` (B, T, K) of the labels' places, probabilities being 0 where it was not.

    A branch without rows in the whole batch is still present, with one column of weight 0, so that
    every batch has the same keys.
    """

    def __init__(self, config: AudioGPTConfig) -> None:
        self.config = config

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        length = max(len(example.tokens) for example in examples) - 1
        tokens = torch.full((len(examples), length), self.config.pad_token_id)  # (B, T)
        labels = torch.full((len(examples), length), IGNORED)  # (B, T)
        for i, example in enumerate(examples):
            ids = torch.tensor(example.tokens)
            tokens[i, : len(ids) - 1] = ids[:-1]
            labels[i, : len(ids) - 1] = ids[1:]
        batch = {"tokens": tokens, "labels": labels, "rows": self.rows(examples)}
        if self.config.controls:
            batch["controls"] = self.controls(examples)
        if any(example.expected is not None for example in examples):
            batch["expected"] = _pad_expected(examples, length)
        return batch

    def controls(self, examples: Sequence[Example]) -> Tensor:
        """The control features of the examples: (B, F), F being 0 without controls."""
        return control_features(self.config.controls, [example.controls for example in examples])

    def rows(self, examples: Sequence[Example]) -> dict[str, dict[str, Tensor]]:
        """Row tensors of every branch."""
        rows: dict[str, dict[str, Tensor]] = {}
        for branch in self.config.branches:
            if branch.rows == "text":
                made = TextRows.from_phrases([example.tags for example in examples])
                if made.ids.shape[1] == 0:
                    made = TextRows(*(part.new_zeros(len(examples), 1) for part in made))
                rows[branch.name] = made._asdict()
                continue
            arrays = [_features(example, branch.name) for example in examples]
            rows[branch.name] = _pad_features(arrays, branch.width)
            if branch.name == "audio":
                rows["audio"]["weights"] *= torch.tensor(
                    [example.audio_weight for example in examples]
                )[:, None]
        return rows


def _features(example: Example, name: str) -> np.ndarray | None:
    if example.features is not None:
        return example.features.get(name)
    if name == "audio":
        return example.audio
    if name == "artists" and example.shares:
        return np.asarray([example.shares], np.float32)  # (1, 10)
    return None


def _pad_expected(examples: Sequence[Example], length: int) -> dict[str, Tensor]:
    count = max(len(e.expected.tokens[0]) for e in examples if e.expected is not None)
    tokens = torch.zeros(len(examples), length, count, dtype=torch.long)
    probabilities = torch.zeros(len(examples), length, count)
    for i, example in enumerate(examples):
        if example.expected is not None:
            first = example.expected_at - 1  # the label of a place is the token after it
            places = slice(first, first + len(example.expected.tokens))
            tokens[i, places], probabilities[i, places] = example.expected
    return {"tokens": tokens, "probabilities": probabilities}


def _pad_features(arrays: Sequence[np.ndarray | None], width: int) -> dict[str, Tensor]:
    longest = max([1, *(len(array) for array in arrays if array is not None)])
    values = torch.zeros(len(arrays), longest, width)  # (B, R, width)
    weights = torch.zeros(len(arrays), longest)  # (B, R)
    for i, array in enumerate(arrays):
        if array is not None:
            values[i, : len(array)] = torch.from_numpy(np.ascontiguousarray(array))
            weights[i, : len(array)] = 1.0
    return {"values": values, "weights": weights}


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch, or its row tensors, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    return {name: to_device(part, device) for name, part in batch.items()}


def as_rows(tensors: RowTensors) -> dict[str, Rows]:
    """The model's row types from plain tensors."""
    return {
        name: TextRows(**parts) if "ids" in parts else FeatureRows(**parts)
        for name, parts in tensors.items()
    }
