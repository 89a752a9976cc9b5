"""From annotated items and their features to examples of the published trainer."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audiogpt.config import BranchConfig
from audiogpt.rows import tag_token_ids
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import Item, formatted, is_playlists
from audiogpt.training.dataset import Example
from audiogpt.training.features import FeatureFile
from audiogpt.training.options import PublishedOptions

logger = logging.getLogger(__name__)

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


def branches(
    options: PublishedOptions,
    items: Sequence[Item],
    *,
    n_embd: int,
    tag_table: TagTable | None = None,
) -> tuple[tuple[BranchConfig, ...], str | None]:
    """The branches with their widths, read from the features file, and the audio embedding that
    the file says it holds.

    Tags that neither the file nor a table has numbers for are read as text, by a model of width
    `n_embd`.
    """
    names = branch_names(options)
    stored = [name for name in names if name != "artists"]
    made = {"artists": BranchConfig(name="artists", width=N_SHARES)}
    if not stored:
        return tuple(made[name] for name in names), None
    with FeatureFile(options.features_path, stored, tag_table=tag_table) as features:
        told = "tags" in stored and tag_table is None and any(item.tags for item in items)
        if told and not features.has("tags", items):
            made["tags"] = BranchConfig.text("tags", n_embd)
            features.branches = tuple(name for name in stored if name != "tags")
        for name, width in features.widths(items).items():
            made[name] = BranchConfig(name=name, width=width)
        return tuple(made[name] for name in names), features.embedding


def read_tag_table(path: Path) -> TagTable:
    """A checkpoint's table of tag vectors, or the published file; ValueError if it is neither."""
    if not path.exists():
        raise ValueError(f"There is no tag table at {path}.")
    return TagTable.load(path) if path.is_dir() else TagTable.from_published(path)


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
    tag_table: TagTable | None = None,
) -> list[tuple[Example, Item]]:
    """One example per caption, with the item it belongs to; features are read once per item."""
    stored = [b.name for b in branches if b.name != "artists" and b.rows == "features"]
    reads_text = any(branch.rows == "text" for branch in branches)
    pairs = []
    with FeatureFile(features_path, stored, tag_table=tag_table) as features:
        for item in items:
            rows = features.rows(item)
            phrases = [tag_token_ids(tokenizer, tag) for tag in item.tags] if reads_text else []
            tags = tuple((tuple(phrase), 1.0) for phrase in phrases)
            if any(branch.name == "artists" for branch in branches) and item.artists:
                rows["artists"] = item.artists.vector()[None]  # (1, 10)
            _check_widths(rows, branches, item)
            for caption in item.captions:
                text = formatted(caption, formatting)
                ids = [tokenizer.bos_id, *tokenizer.encode(text)[: longest - 2], tokenizer.eos_id]
                pairs.append((Example(tokens=tuple(ids), features=rows, tags=tags), item))
        if absent := features.absent_tracks:
            logger.warning(
                "%d tracks of these playlists are not in %s, such as %s.",
                *(len(absent), features_path, min(absent)),
            )
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
