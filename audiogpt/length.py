"""How long a caption should be: what such requests usually get, and a term of the search for it.

The likeliest caption under a language model is shorter than the captions that it learned from, and
a penalty on all short ones pads those that ought to be short. So a checkpoint may say how many
words its training captions had for requests like this one (`LengthModel`, lengths.json): a sum over
the words of the tags, which a reader can check. Beam search then gains `Decoding.length` times a
bell curve around that number, or around `Decoding.target_words`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audiogpt.request import Decoding
from audiogpt.words import all_words

LENGTHS_FILE = "lengths.json"
SPREAD = 10.0  # words: half the bell's width, as exact as the expectation is
SHORTEST = 8  # words of the shortest whole caption

WeightedTags = Sequence[tuple[str, float]]


def length_features(tags: WeightedTags, *, audio: bool, artists: bool) -> dict[str, float]:
    """What a request's length is expected from: its tags, their words, how many there are.

    A tag's features have its weight, so that weight 0 is exactly as if it were absent.
    """
    features = {"audio": float(audio), "artists": float(artists)}
    count = words = 0.0
    for text, weight in tags:
        if weight <= 0:
            continue
        said = all_words(text)
        for name in (f"tag {' '.join(said)}", *(f"word {word}" for word in said)):
            features[name] = max(weight, features.get(name, 0.0))
        count, words = count + weight, words + weight * len(said)
    features["log tags"], features["log words"] = math.log1p(count), math.log1p(words)
    return features


@dataclass(frozen=True)
class LengthModel:
    """Expected words of a description: `base` plus the sum of the features times their weights."""

    base: float
    weights: Mapping[str, float]

    def expected(self, tags: WeightedTags, *, audio: bool, artists: bool) -> float:
        """Words that a request with these tags usually gets, at least 8."""
        features = length_features(tags, audio=audio, artists=artists)
        total = sum(self.weights.get(name, 0.0) * value for name, value in features.items())
        return max(float(SHORTEST), self.base + total)

    @classmethod
    def load(cls, folder: Path) -> LengthModel | None:
        """The folder's lengths.json, if it has one; ValueError where it is not of that form."""
        path = folder / LENGTHS_FILE
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            weights = {str(name): float(value) for name, value in data["weights"].items()}
            base = float(data["base"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} does not hold lengths of captions: {error!r}.") from None
        if not all(map(math.isfinite, (base, *weights.values()))):
            raise ValueError(f"{path} holds numbers that are not finite.")
        return cls(base, weights)

    def save(self, folder: Path) -> None:
        """Write lengths.json, features in order of their weight."""
        ordered = sorted(self.weights.items(), key=lambda item: (-item[1], item[0]))
        data = {"base": round(self.base, 2), "weights": {k: round(v, 2) for k, v in ordered}}
        text = json.dumps(data, indent=0, ensure_ascii=False) + "\n"
        (folder / LENGTHS_FILE).write_text(text, encoding="utf-8")


def target_words(
    decoding: Decoding,
    lengths: LengthModel | None,
    tags: WeightedTags,
    *,
    audio: bool,
    artists: bool,
) -> float | None:
    """The words that the search aims at: what is asked for, else what is expected; None: any."""
    if not decoding.length or decoding.method != "beam":
        return None
    if decoding.target_words:
        return float(decoding.target_words)
    if lengths is None:
        return None
    expected = lengths.expected(tags, audio=audio, artists=artists)
    return min(expected, float(decoding.max_words)) if decoding.max_words else expected


def bell(words: float, target: float | None) -> float:
    """1 at the target, falling towards 0 on both sides; 0 without a target."""
    return 0.0 if target is None else math.exp(-0.5 * ((words - target) / SPREAD) ** 2)


class LengthTerm:
    """What hypotheses of B items gain for the words that they have: weight * bell(words)."""

    def __init__(
        self,
        targets: Sequence[float | None],
        weight: float,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        known = [weight if target is not None else 0.0 for target in targets]
        self.weight = torch.tensor(known, device=device)[:, None]  # (B, 1)
        self.target = torch.tensor([target or 0.0 for target in targets], device=device)[:, None]

    def ended(self, words: Tensor) -> Tensor:
        """The gain of hypotheses that end with `words` (B, K)."""
        return self.weight * torch.exp(-0.5 * ((words - self.target) / SPREAD) ** 2)

    def open(self, words: Tensor) -> Tensor:
        """The most that hypotheses with `words` (B, K) so far may still gain."""
        return self.ended(torch.maximum(words, self.target))
