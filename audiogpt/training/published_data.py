"""From annotated items and their features to examples of the published trainer."""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from audiogpt.config import BranchConfig
from audiogpt.rows import tag_token_ids
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import Item, formatted, is_playlists
from audiogpt.training.dataset import Example
from audiogpt.training.features import FeatureFile
from audiogpt.training.options import PublishedOptions
from audiogpt.training.plain_text import spoken

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
        embedding = features.embedding if "audio" in names else None
        return tuple(made[name] for name in names), embedding


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


def usable(items: Sequence[Item], formatting: str, split: str) -> list[Item]:
    """The items with the captions that say anything in this formatting ("title_only" of a caption
    without a title says nothing); ValueError if a split has none."""
    kept, dropped = [], 0
    for item in items:
        captions = tuple(c for c in item.captions if spoken(formatted(c, formatting)))
        dropped += len(item.captions) - len(captions)
        if captions:
            kept.append(replace(item, captions=captions))
    if items and not kept:
        raise ValueError(
            f"No {split} caption says anything with --formatting {formatting}: captions read "
            "'<title> … <description> …' for what needs a title or a description."
        )
    if dropped:
        logger.warning("%d empty %s captions are left out (%s).", dropped, split, formatting)
    return kept


class ItemExamples(Sequence[Example]):
    """One example per caption, in the order of the items; `item` tells whose it is.

    Rows are read from the features file when an example is asked for, by each process for itself,
    so that memory holds the texts only.
    """

    def __init__(
        self,
        items: Sequence[Item],
        branches: Sequence[BranchConfig],
        features_path: Path,
        *,
        tokenizer: CaptionTokenizer,
        formatting: str,
        longest: int,
        tag_table: TagTable | None = None,
        split: str = "train",
    ) -> None:
        """Raises ValueError where a branch has nothing for any item, and warns where it lacks some.

        Captions of more than `longest` tokens are cut, and then do not teach where to end.
        """
        self.branches, self.features_path, self.tag_table = branches, features_path, tag_table
        self.stored = [b.name for b in branches if b.name != "artists" and b.rows == "features"]
        self.tokenizer = tokenizer
        self.reads_text = any(branch.rows == "text" for branch in branches)
        self.texts = [
            (item, formatted(caption, formatting)) for item in items for caption in item.captions
        ]
        self.tokens, cut = [], 0
        for _, text in self.texts:
            ids = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
            cut += len(ids) > longest
            self.tokens.append(tuple(ids[:longest]))
        if cut:
            logger.warning(
                "%d of %d %s captions are cut at %d tokens: raise --longest to learn their ends.",
                *(cut, len(self.tokens), split, longest),
            )
        self._open: tuple[int, FeatureFile] | None = None
        self._check(items, split)

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return replace(self.inputs(self.item(index)), tokens=self.tokens[index])

    def item(self, index: int) -> Item:
        """The item of an example."""
        return self.texts[index][0]

    def inputs(self, item: Item) -> Example:
        """An item's rows without a text."""
        rows = self._file.rows(item)
        if any(branch.name == "artists" for branch in self.branches) and item.artists:
            rows["artists"] = item.artists.vector()[None]  # (1, 10)
        for branch in self.branches:
            if branch.name in rows and rows[branch.name].shape[1] != branch.width:
                raise ValueError(
                    f"{item.key}: {branch.name} rows have width {rows[branch.name].shape[1]}, "
                    f"others {branch.width}."
                )
        tags = item.tags if self.reads_text else ()
        phrases = (tuple(tag_token_ids(self.tokenizer, tag)) for tag in tags)
        return Example(tokens=(), features=rows, tags=tuple((phrase, 1.0) for phrase in phrases))

    @property
    def _file(self) -> FeatureFile:
        """The features, opened once in each process: an HDF5 handle does not survive a fork."""
        if self._open is None or self._open[0] != os.getpid():
            file = FeatureFile(self.features_path, self.stored, tag_table=self.tag_table)
            self._open = os.getpid(), file
        return self._open[1]

    def _check(self, items: Sequence[Item], split: str) -> None:
        lacking: Counter[str] = Counter()
        absent: list[str] = []
        for item in items:
            lacking.update(set(self.stored) - set(self._file.known(item)))
            lacking["names of tags"] += self.reads_text and not item.tags
            absent += self._file.absent_tracks(item)
        for branch, count in lacking.items():
            if count == len(items) and branch in self.stored:
                raise ValueError(
                    f"{self.features_path} has nothing of {branch} for any {split} item: check "
                    "that it names its datasets as the annotations name the items."
                )
            if count:
                logger.warning("%d of %d %s items have no %s.", count, len(items), split, branch)
        if absent:
            logger.warning(
                "%d tracks of %s playlists are not in %s, such as %s.",
                *(len(absent), split, self.features_path, absent[0]),
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


def references(item: Item, formatting: str) -> tuple[str, ...]:
    """The item's captions as plain texts, to score against."""
    return tuple(spoken(formatted(caption, formatting)) for caption in item.captions)
