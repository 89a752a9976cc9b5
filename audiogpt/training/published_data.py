"""From annotated items and their features to examples of the published trainer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audiogpt.config import BranchConfig
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import Item, formatted, is_playlists
from audiogpt.training.dataset import Example
from audiogpt.training.features import FeatureFile
from audiogpt.training.options import PublishedOptions

N_SHARES = 10
FEATURES = {"audio": "audio", "tags": "tags", "artist": "artists"}
"""Parts of `playlist_feature` and the branches they name."""


def branch_names(options: PublishedOptions) -> list[str]:
    """`image` for COCO annotations, else the branches that `playlist_feature` lists."""
    if not is_playlists(options.annotation_folder):
        return ["image"]
    parts = options.playlist_feature.split("_")
    if len(set(parts)) != len(parts) or not set(parts) <= FEATURES.keys():
        raise ValueError(
            f"playlist_feature is {options.playlist_feature!r}; it takes different ones of "
            f"{', '.join(FEATURES)}, joined by '_'."
        )
    return [FEATURES[part] for part in parts]


def branches(options: PublishedOptions, items: Sequence[Item]) -> tuple[BranchConfig, ...]:
    """The branches with their widths, read from the features file."""
    names = branch_names(options)
    stored = [name for name in names if name != "artists"]
    with FeatureFile(options.features_path, stored) as features:
        widths = dict(features.widths(item.key for item in items)) if stored else {}
    widths["artists"] = N_SHARES
    return tuple(BranchConfig(name=name, width=widths[name]) for name in names)


def sampled(items: Sequence[Item], options: PublishedOptions) -> list[Item]:
    """All training items, or with `split_train_data` the share `train_percentage` of them, drawn
    by the seed (at least one)."""
    if not options.split_train_data:
        return list(items)
    count = max(1, round(len(items) * options.train_percentage))
    kept = sorted(random.Random(options.random_seed).sample(range(len(items)), count))
    return [items[index] for index in kept]


def item_examples(
    items: Sequence[Item],
    branches: Sequence[BranchConfig],
    features_path: Path,
    *,
    tokenizer: CaptionTokenizer,
    formatting: str,
    longest: int,
) -> list[tuple[Example, Item]]:
    """One example per caption, with the item it belongs to; features are read once per item."""
    stored = [branch.name for branch in branches if branch.name != "artists"]
    pairs = []
    with FeatureFile(features_path, stored) as features:
        for item in items:
            rows = features.rows(item.key)
            if any(branch.name == "artists" for branch in branches) and item.artists:
                rows["artists"] = item.artists.vector()[None]  # (1, 10)
            _check_widths(rows, branches, item)
            for caption in item.captions:
                text = formatted(caption, formatting)
                ids = [tokenizer.bos_id, *tokenizer.encode(text)[: longest - 2], tokenizer.eos_id]
                pairs.append((Example(tokens=tuple(ids), features=rows), item))
    return pairs


def references(item: Item, formatting: str) -> tuple[str, ...]:
    """The item's captions as they are trained on, to score against."""
    return tuple(formatted(caption, formatting) for caption in item.captions)


def without_text(example: Example) -> Example:
    """The inputs alone."""
    return replace(example, tokens=())


def _check_widths(
    rows: dict[str, np.ndarray], branches: Sequence[BranchConfig], item: Item
) -> None:
    for branch in branches:
        if branch.name in rows and rows[branch.name].shape[1] != branch.width:
            raise ValueError(
                f"{item.key}: {branch.name} rows have width {rows[branch.name].shape[1]}, "
                f"others {branch.width}."
            )
