"""Choose among beam hypotheses by what they say of the tags: coverage as a decoding term.

The score of a hypothesis is its log-probability per token, plus `coverage` times the share of the
tags' content words that it uses, minus `invention` times the number of its faults: instrument words
that no tag names, and content words that a sentence says twice. Both weights 0 leave the beam's own
order. Tags count with their weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiogpt.request import Decoding
from audiogpt.words import all_words, content_words, instrument_words


def coverage(text: str, tags: Sequence[tuple[str, float]]) -> float:
    """Weighted share in [0, 1] of the tags' content words that the text uses."""
    weights: dict[str, float] = {}
    for tag, weight in tags:
        for word in content_words(tag):
            weights[word] = max(weights.get(word, 0.0), weight)
    said = set(all_words(text))
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in said) / total if total else 1.0


def invented(text: str, tags: Sequence[tuple[str, float]]) -> int:
    """Number of distinct instrument words in the text that no tag of positive weight names."""
    given = {word for tag, weight in tags if weight > 0 for word in all_words(tag)}
    return len(instrument_words(text) - given)


def repeated(text: str) -> int:
    """Number of times that a sentence says a content word again, as in "a synth and a synth"."""
    count = 0
    for sentence in re.split(r"[.!?]", text):
        said = [word for word in all_words(sentence) if word in content_words(sentence)]
        count += len(said) - len(set(said))
    return count


def rerank(
    texts: Sequence[str],
    scores: Sequence[float],
    tags: Sequence[tuple[str, float]],
    decoding: Decoding,
) -> tuple[list[int], list[float]]:
    """Indices of the hypotheses, best first, and the totals that rank them, in the given order.

    `scores` are log-probabilities per token. With `decoding.coverage` and `decoding.invention` both
    0, or without a tag of positive weight, order and scores stay as they came.
    """
    order = list(range(len(texts)))
    tags = [(text, weight) for text, weight in tags if weight > 0]
    if not tags or not (decoding.coverage or decoding.invention):
        return order, list(scores)
    totals = [
        score
        + decoding.coverage * coverage(text, tags)
        - decoding.invention * (invented(text, tags) + repeated(text))
        for text, score in zip(texts, scores, strict=True)
    ]
    return sorted(order, key=lambda index: -totals[index]), totals
