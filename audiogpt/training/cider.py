"""CIDEr-D (Vedantam et al., 2015) over plain words, in Python alone.

The evaluation tables use pycocoevalcap, which needs Java to cut words. This is the same measure
over simple words, quick enough for choosing checkpoints during training and as a reward.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

LONGEST_NGRAM = 4
SIGMA = 6.0  # words, of the penalty on the difference in length

Vector = tuple[list[dict[tuple[str, ...], float]], list[float], int]


def simple_words(text: str) -> list[str]:
    """Lower-case words of any script without punctuation; in languages that do not part words by
    spaces, runs of letters."""
    return re.findall(r"(?:[^\W_]|&)+(?:['-][^\W_]+)*", text.lower())


class CiderD:
    """Scores captions against references; n-gram weights come from the reference corpus."""

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        """`corpus`: the references of each document."""
        self.documents: Counter[tuple[str, ...]] = Counter()
        count = 0
        for references in corpus:
            count += 1
            self.documents.update({gram for text in references for gram in _ngrams(text)})
        if not count:
            raise ValueError("CIDEr needs a corpus of at least one document.")
        self.log_count = math.log(count)

    def score(self, caption: str, references: Sequence[str]) -> float:
        """CIDEr-D of one caption, on pycocoevalcap's scale (times 10)."""
        vector = self._vector(caption)
        scores = [self._similarity(vector, self._vector(text)) for text in references]
        return 10.0 * float(np.mean(scores))

    def _vector(self, text: str) -> Vector:
        grams = _ngrams(text)
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST_NGRAM)]
        for gram, count in grams.items():
            rarity = self.log_count - math.log(max(1.0, self.documents[gram]))
            weights[len(gram) - 1][gram] = count * rarity
        norms = [math.sqrt(sum(w * w for w in level.values())) for level in weights]
        return weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2)

    @staticmethod
    def _similarity(caption: Vector, reference: Vector) -> float:
        total = 0.0
        for mine, theirs, norm, other in zip(
            caption[0], reference[0], caption[1], reference[1], strict=True
        ):
            if norm and other:
                dot = sum(min(w, theirs[g]) * theirs[g] for g, w in mine.items() if g in theirs)
                total += dot / (norm * other)
        penalty = math.exp(-((caption[2] - reference[2]) ** 2) / (2 * SIGMA**2))
        return penalty * total / LONGEST_NGRAM


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = simple_words(text)
    return Counter(
        tuple(words[i : i + n])
        for n in range(1, LONGEST_NGRAM + 1)
        for i in range(len(words) - n + 1)
    )
