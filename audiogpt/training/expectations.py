"""What a language teacher expects at each token of a schedule's captions, computed once and kept.

The teacher is ten times the size of the model that learns: asked anew in every batch it would take
most of the time. A schedule that begins anew after some batches (`distinct`) asks it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from audiogpt.training.files import replacing
from audiogpt.training.views import View

if TYPE_CHECKING:
    from audiogpt.training.language_model import LanguageTeacher

EXPECTED_FILE = "expected.safetensors"
ASKED = "asked"  # the file's metadata: a fingerprint
LIKELIEST = 20  # tokens kept for each place
BATCH = 32  # views that the teacher reads at once


class Expected(NamedTuple):
    """For each of the T tokens of a description and its end, the K likeliest ones."""

    tokens: Tensor  # int64 (T, K)
    probabilities: Tensor  # float32 (T, K)


class Expectations:
    """What is expected of each item of a schedule; nothing of those that nobody was asked about."""

    def __init__(self, places: Tensor, tokens: Tensor, probabilities: Tensor) -> None:
        """places int64 (items + 1,): where each item's rows begin in the other two (rows, K)."""
        self.places, self.tokens, self.probabilities = places, tokens, probabilities

    def of(self, item: int) -> Expected | None:
        """What is expected of an item."""
        first, last = int(self.places[item]), int(self.places[item + 1])
        if first == last:
            return None
        return Expected(self.tokens[first:last].long(), self.probabilities[first:last].float())

    def save(self, path: Path, *, asked: str = "") -> None:
        """Keep them, with the fingerprint of what was asked of whom."""
        parts = {"places": self.places, "tokens": self.tokens, "probabilities": self.probabilities}
        with replacing(path) as part:
            save_file(parts, part, {ASKED: asked})

    @classmethod
    def load(cls, path: Path) -> Expectations:
        parts = load_file(path)
        return cls(parts["places"], parts["tokens"], parts["probabilities"])


def fingerprint(view_of: Callable[[int], View | None], count: int, teacher: str) -> str:
    """What decides the answers: the teacher, by its files' digest, and all that it is asked about.

    The views themselves are looked at, for seed, data, sizes and the program all decide them.
    """
    digest = hashlib.sha256(f"{teacher} {LIKELIEST}\n".encode())
    for item in range(count):
        if (view := view_of(item)) is not None:
            digest.update(f"{item} {view.tags!r} {view.description!r}\n".encode())
    return digest.hexdigest()


def are_kept(path: Path, asked: str) -> bool:
    """Whether a file holds the answers to what has this fingerprint."""
    if not path.is_file():
        return False
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get(ASKED) == asked


def expect(
    view_of: Callable[[int], View | None], count: int, teacher: LanguageTeacher
) -> Expectations:
    """Ask a teacher about `count` items; `view_of` gives an item's view, None where it knows
    nothing of its kind."""
    views = ((item, view_of(item)) for item in range(count))
    asked = [(item, view) for item, view in views if view is not None]
    asked.sort(key=lambda pair: _size(pair[1]))  # so that little is padded
    found: dict[int, Expected] = {}
    for first in tqdm(range(0, len(asked), BATCH), desc="what the language teacher expects"):
        items, batch = zip(*asked[first : first + BATCH], strict=True)
        found |= dict(zip(items, teacher.expect(batch, count=LIKELIEST), strict=True))
    return _joined(found, count)


def _size(view: View) -> int:
    return len(view.description) + sum(len(tag) for tag, _ in view.tags)


def _joined(found: dict[int, Expected], count: int) -> Expectations:
    lengths = [len(found[item][0]) if item in found else 0 for item in range(count)]
    places = torch.tensor([0, *lengths]).cumsum(0)
    ordered: Sequence[Expected] = [found[item] for item in sorted(found)]
    empty = torch.zeros(0, LIKELIEST)
    tokens = torch.cat([empty.int(), *(tokens.int() for tokens, _ in ordered)])
    probabilities = torch.cat([empty.half(), *(values.half() for _, values in ordered)])
    return Expectations(places, tokens, probabilities)
