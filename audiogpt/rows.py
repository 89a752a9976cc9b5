"""From a request to the rows of each branch, for one caption or a batch of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from audiogpt.config import AudioGPTConfig
from audiogpt.context import FeatureRows, Rows, TextRows
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.words import plain_tag

MAX_TAG_TOKENS = 16


@dataclass(frozen=True)
class ItemRows:
    """The rows of one item. A branch that is in neither mapping contributes exactly nothing.

    `labels` name a branch's rows for people; `groups` say which label each model row belongs to
    (a tag of several tokens has several rows).
    """

    features: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    phrases: Mapping[str, Sequence[tuple[Sequence[int], float]]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def groups(self, branch: str) -> list[int]:
        """The index of the label for each row that the model sees."""
        if branch in self.phrases:
            return [i for i, (ids, _) in enumerate(self.phrases[branch]) for _ in ids]
        return list(range(len(self.features[branch][0]))) if branch in self.features else []


def tag_token_ids(tokenizer: CaptionTokenizer, text: str) -> list[int]:
    """Token ids of a tag as it stands inside a sentence: lower case, after a space.

    The same in training and at run time, so that a caption can copy the tag's tokens.
    """
    return tokenizer.encode(" " + plain_tag(text))[:MAX_TAG_TOKENS]


def collate(
    config: AudioGPTConfig, items: Sequence[ItemRows], *, device: str | torch.device = "cpu"
) -> dict[str, Rows]:
    """Stack the rows of several items, padded with weight 0; branches nobody uses are left out."""
    rows: dict[str, Rows] = {}
    for branch in config.branches:
        if branch.rows == "text":
            phrases = [item.phrases.get(branch.name, ()) for item in items]
            if any(phrases):
                rows[branch.name] = TextRows.from_phrases(phrases, device=str(device))
            continue
        given = [item.features.get(branch.name) for item in items]
        if all(entry is None for entry in given):
            continue
        longest = max(len(entry[0]) for entry in given if entry is not None)
        values = torch.zeros(len(items), longest, branch.width)
        weights = torch.zeros(len(items), longest)
        for b, entry in enumerate(given):
            if entry is not None:
                n = len(entry[0])
                values[b, :n] = torch.from_numpy(np.asarray(entry[0], np.float32))
                weights[b, :n] = torch.from_numpy(np.asarray(entry[1], np.float32))
        rows[branch.name] = FeatureRows(values.to(device), weights.to(device))
    return rows
