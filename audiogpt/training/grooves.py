"""Clips rendered by `scripts/render_grooves.py`: styles and instruments known exactly."""

from __future__ import annotations

import random
from pathlib import Path

from audiogpt.training.incompetech import read_rows, tempo_word
from audiogpt.training.pairs import Pair

HELD_OUT_SHARE = 0.12
FIELDS = {
    "file": "a text",
    "groove_file": "a text",
    "style": "a text",
    "instruments": "a list of texts",
    "bpm": "a number",
}


def read_grooves(folder: str | Path, split: str) -> list[Pair]:
    """Clips of one split (`train` or `test`), split by groove file; ValueError without them
    or for a row that is none."""
    path = Path(folder) / "grooves.jsonl"
    if split not in ("train", "test"):
        raise ValueError(f"The split must be train or test, not {split!r}.")
    if not path.is_file():
        raise ValueError(f"{folder} has no grooves.jsonl; scripts/render_grooves.py writes it.")
    pairs = []
    for clip in read_rows(path, FIELDS):
        held = random.Random(clip["groove_file"]).random() < HELD_OUT_SHARE
        if held == (split == "train"):
            continue
        instruments = tuple(clip["instruments"][:7])
        tempo = tempo_word(clip["bpm"])
        tags = dict.fromkeys([clip["style"], *instruments, tempo])
        pairs.append(
            Pair(
                key=clip["file"],
                source="grooves",
                sentences=(),
                tags=tuple(tag for tag in tags if tag),
                audio=(clip["file"],),
                style=clip["style"],
                instruments=instruments,
                bpm=clip["bpm"],
                group=clip["groove_file"],
            )
        )
    return pairs
