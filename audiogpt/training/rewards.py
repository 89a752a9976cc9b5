"""What a sampled caption is worth: CIDEr-D, faithfulness to the tags, and a whole ending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiogpt.reranking import coverage, invented
from audiogpt.training.cider import CiderD


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """CIDEr-D counts as it is (about 0.5 for a fair caption); the rest is added to it."""

    coverage: float = 0.0  # per share of the tags' words used
    invention: float = 0.0  # taken off for each instrument word that no tag names
    unfinished: float = 1.0  # taken off where the caption does not end by itself with a stop
    repetition: float = 0.5  # taken off where a word trigram comes twice


class Reward:
    """Scores captions; n-gram rarity comes from the training references."""

    def __init__(self, corpus: Sequence[str], weights: RewardWeights) -> None:
        self.cider = CiderD([text] for text in corpus)
        self.weights = weights

    def __call__(
        self,
        caption: str,
        references: Sequence[str],
        tags: Sequence[tuple[str, float]],
        *,
        finished: bool,
    ) -> float:
        """The reward of one caption."""
        weights = self.weights
        value = self.cider.score(caption, references)
        if weights.coverage and tags:
            value += weights.coverage * coverage(caption, tags)
        if weights.invention and tags:
            value -= weights.invention * invented(caption, tags)
        if not finished or not caption.rstrip("\"'").endswith((".", "!", "?")):
            value -= weights.unfinished
        words = caption.lower().split()
        grams = list(zip(words, words[1:], words[2:], strict=False))
        return value - weights.repetition * (len(set(grams)) < len(grams))
