"""MusicCaps (Agostinelli et al., 2023): aspect lists and captions, no audio.

Rows with `is_audioset_eval` True are the test set and never enter training in any form. A fixed cut
of the other rows is kept for choosing checkpoints.
"""

from __future__ import annotations

import ast
import csv
import hashlib
from pathlib import Path

from audiogpt.training.pairs import Pair, clean_text, split_sentences

VALIDATION_ROWS = 150
SPLITS = ("train", "validation", "test")


def read_musiccaps(path: str | Path, split: str) -> list[Pair]:
    """Rows of one split in the file's order; raises ValueError for a wrong split, file or row.

    Training rows are cleaned; test and validation rows keep the reference as written.
    """
    if split not in SPLITS:
        raise ValueError(f"The split must be one of {', '.join(SPLITS)}, not {split!r}.")
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as MusicCaps' CSV: {error}.") from error
    needed = {"ytid", "aspect_list", "caption", "is_audioset_eval"}
    if not rows or needed - rows[0].keys():
        raise ValueError(f"{path} is not MusicCaps' CSV: it needs columns {', '.join(needed)}.")
    if wrong := {row["is_audioset_eval"] for row in rows} - {"True", "False"}:
        raise ValueError(f"{path}: is_audioset_eval must be True or False, not {min(wrong)!r}.")
    chosen = [row for row in rows if (row["is_audioset_eval"] == "True") == (split == "test")]
    if split != "test":
        by_hash = sorted(row["ytid"] for row in chosen)
        by_hash.sort(key=lambda ytid: hashlib.sha256(ytid.encode()).hexdigest())
        held = set(by_hash[:VALIDATION_ROWS])
        chosen = [row for row in chosen if (row["ytid"] in held) == (split == "validation")]
    return [_pair(row, clean=split == "train") for row in chosen]


def _pair(row: dict[str, str], *, clean: bool) -> Pair:
    tags = tuple(dict.fromkeys(_tag(tag) for tag in _aspects(row)))
    caption = row["caption"]
    return Pair(
        key=row["ytid"],
        source="musiccaps",
        sentences=split_sentences(clean_text(caption)) if clean else (caption,),
        tags=tuple(tag for tag in tags if tag),
        group=row.get("author_id", ""),
        reference=caption,
    )


def _aspects(row: dict[str, str]) -> list[str]:
    """A row's aspect list; ValueError, naming the row, where it is none."""
    try:
        listed = ast.literal_eval(row["aspect_list"])
    except (SyntaxError, ValueError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
        raise ValueError(
            f"The aspect_list of {row['ytid']} must be a list of texts such as ['rock', 'piano'], "
            f"not {row['aspect_list']!r}."
        )
    return listed


def _tag(text: str) -> str:
    return " ".join(text.replace("’", "'").replace("‘", "'").lower().split()).strip(" .,;")
