"""The training set as a fixed schedule: example i is the same in every run with the same seed.

Examples come in blocks sorted by length, so that a batch is padded little, with the order of the
batches within a block shuffled. The schedule depends only on its seed and the index, so a resumed
run sees exactly what an unbroken one sees, on any number of workers. It may begin anew after some
batches, so that a slow teacher needs to be asked about these alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch.utils.data import Dataset

from audiogpt.controls import TOLD, Controls
from audiogpt.reranking import coverage
from audiogpt.rows import tag_token_ids
from audiogpt.tokenizer import DESCRIPTION, CaptionTokenizer
from audiogpt.training.expectations import Expectations, Expected
from audiogpt.training.options import BATCHES_PER_BLOCK
from audiogpt.training.sources import Sources
from audiogpt.training.views import View, artists_only_view, draw_view

FEATURE_DROPOUT = 0.5  # of the audio features in training
CONTROL_DROPOUT = 0.15  # of each control in training
WRITTEN = ("musiccaps", "recombined")  # sources of captions that a language teacher has read


@dataclass(frozen=True, kw_only=True)
class Example:
    """Token ids with start and end, and the rows of each branch (None where it is absent)."""

    tokens: tuple[int, ...]
    tags: tuple[tuple[tuple[int, ...], float], ...] = ()
    audio: np.ndarray | None = None  # float32 (S, width)
    audio_weight: float = 1.0
    shares: tuple[float, ...] = ()
    features: Mapping[str, np.ndarray] | None = None  # further branches: float32 (R, width)
    controls: Controls = field(default_factory=dict)
    expected: Expected | None = None  # by a language teacher, of the tokens from `expected_at` on
    expected_at: int = 0


def make_example(
    view: View,
    tokenizer: CaptionTokenizer,
    embeddings: Mapping[str, np.ndarray],
    *,
    dice: random.Random | None = None,
    longest: int = 160,
) -> Example:
    """Tokenise a view. With `dice`, a random passage of the clip is used, else all of it."""
    ids = [tokenizer.bos_id, *tokenizer.encode(view.caption), tokenizer.eos_id]
    rows = embeddings[view.audio] if view.audio else None  # (S, width)
    if rows is not None and dice is not None and len(rows) > 1 and dice.random() < 0.5:
        count = dice.randint(1, len(rows))
        first = dice.randint(0, len(rows) - count)
        rows = rows[first : first + count]
    if rows is not None and dice is not None:
        # The same features vanish in all segments: few clips must not be known by heart.
        kept = np.array([dice.random() >= FEATURE_DROPOUT for _ in range(rows.shape[1])])
        rows = (rows * kept / (1 - FEATURE_DROPOUT)).astype(np.float32)
    controls = text_controls(view)
    if dice is not None:
        controls = {n: v for n, v in controls.items() if dice.random() >= CONTROL_DROPOUT}
    weight = 1.0
    if rows is not None and dice is not None and dice.random() < 0.1:
        weight = round(dice.uniform(0.3, 1.0), 2)
    return Example(
        tokens=tuple(ids[:longest]),
        tags=tuple((tuple(tag_token_ids(tokenizer, tag)), weight) for tag, weight in view.tags),
        audio=rows,
        audio_weight=weight,
        shares=view.shares,
        controls=controls,
    )


def text_controls(view: View) -> dict[str, float]:
    """What a view's description has of what can be asked for; nothing where it is empty.

    Coverage counts the tags of more than `TOLD`, alike: what a low weight asks for is told by it.
    """
    if not view.description:
        return {}
    controls = {"words": float(len(view.description.split()))}
    tags = [(tag, 1.0) for tag, weight in view.tags if weight > TOLD]
    if tags:
        controls["coverage"] = coverage(view.description, tags)
    return controls


class ScheduledViews(Dataset[Example]):
    """`length` examples drawn from sources by a fixed schedule."""

    def __init__(
        self,
        sources: Sources,
        tokenizer: CaptionTokenizer,
        embeddings: Mapping[str, np.ndarray],
        *,
        length: int,
        batch_size: int,
        seed: int,
        longest: int = 160,
        distinct_batches: int = 0,
    ) -> None:
        """`length` counts examples; the schedule begins anew after `distinct_batches` (0: never), a
        multiple of `BATCHES_PER_BLOCK`."""
        self.sources, self.tokenizer, self.embeddings = sources, tokenizer, embeddings
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.longest = longest
        self.distinct = distinct_batches * batch_size  # examples
        self.expectations: Expectations | None = None
        self._block: tuple[int, list[Example]] = (-1, [])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.length:
            raise IndexError(index)
        if self.distinct:
            index %= self.distinct
        size = self.batch_size * BATCHES_PER_BLOCK
        number, offset = divmod(index, size)
        if self._block[0] != number:
            self._block = (number, self._make_block(number, size))
        return self._block[1][offset]

    def _make_block(self, number: int, size: int) -> list[Example]:
        examples = [self._make(number * size + offset) for offset in range(size)]
        examples.sort(key=lambda example: len(example.tokens))
        batches = [examples[i : i + self.batch_size] for i in range(0, size, self.batch_size)]
        random.Random(f"{self.seed}-block-{number}").shuffle(batches)
        return [example for batch in batches for example in batch]

    def captions(self, count: int) -> list[str]:
        """The texts of the first examples of the schedule."""
        return [self._draw(i)[1].caption for i in range(count)]

    def written_view(self, index: int) -> View | None:
        """The view of an example if its text is a caption that people wrote, or made of such."""
        source, view, _ = self._draw(index)
        return view if source in WRITTEN and not view.shares else None

    def _draw(self, index: int) -> tuple[str, View, random.Random]:
        """The source and view of an example, and the dice for all else about it."""
        dice, sources = random.Random(f"{self.seed}-{index}"), self.sources
        name, pair = sources.draw(dice)
        if pair is None:
            return name, artists_only_view(dice), dice
        view = draw_view(pair, dice, artists=sources.artists, always_artists=sources.always_artists)
        return name, view, dice

    def _make(self, index: int) -> Example:
        _, view, dice = self._draw(index)
        example = make_example(
            view, self.tokenizer, self.embeddings, dice=dice, longest=self.longest
        )
        expected = self.expectations.of(index) if self.expectations else None
        if expected is None:
            return example
        at = example.tokens.index(self.tokenizer.tokenizer.token_to_id(DESCRIPTION)) + 1
        kept = len(example.tokens) - at  # long captions are cut
        cut = Expected(expected.tokens[:kept], expected.probabilities[:kept])
        return replace(example, expected=cut, expected_at=at)


class FixedExamples(Dataset[Example]):
    """A list of examples, for validation."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]
