"""How long a caption should be: what such requests usually get, and a term of the search for it.

The likeliest caption under a language model is shorter than the captions that it learned from, and
a penalty on all short ones pads those that ought to be short. So a checkpoint may say how long its
training captions were for requests like this one (`LengthModel`, lengths.json), and beam search
gains up to `Decoding.length` for ending near that, or four times as much near
`Decoding.target_words`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from audiogpt.request import Decoding
from audiogpt.words import all_words

LENGTHS_FILE = "lengths.json"
TOLERANCE = 6.0  # words: CIDEr-D's own, within which captions still count as equally long
ASKED = 4.0  # how much more a length that was asked for counts than one that is only usual
MOST_WORDS = 256  # of the tables; longer captions gain as those

WeightedTags = Sequence[tuple[str, float]]


class Audible(TypedDict):
    """What a model hears of a request: its tags, and whether it has sound and artists."""

    tags: WeightedTags
    audio: bool
    artists: bool


def length_features(tags: WeightedTags) -> dict[str, float]:
    """What a request's length is expected from: its tags, their words, how many there are.

    A tag's features have its weight, so that weight 0 is exactly as if it were absent.
    """
    features: dict[str, float] = {}
    count = words = longest = 0.0
    for text, weight in tags:
        if weight <= 0:
            continue
        said = all_words(text)
        for name in (f"tag {' '.join(said)}", *(f"word {word}" for word in said)):
            features[name] = max(weight, features.get(name, 0.0))
        count, words = count + weight, words + weight * len(said)
        longest = max(longest, weight * len(said))
    features |= {
        "log tags": math.log1p(count),
        "log words": math.log1p(words),
        "words per tag": words / count if count else 0.0,
        "longest tag": longest,
    }
    return features


def with_unknown(features: Mapping[str, float], known: Container[str]) -> dict[str, float]:
    """The features that are known, and how many of the tags and of their words are not: rare words
    come in longer captions."""
    kept = {name: value for name, value in features.items() if name in known}
    for kind in ("tag", "word"):
        values = {n: value for n, value in features.items() if n.startswith(f"{kind} ")}
        unknown = sum(value for name, value in values.items() if name not in known)
        kept[f"log unknown {kind}s"] = math.log1p(unknown)
        kept[f"unknown {kind}s"] = unknown / sum(values.values()) if values else 0.0
    return kept


@dataclass(frozen=True)
class LengthModel:
    """Expected lengths as a mixture over the styles that the training captions are written in.

    The people who wrote MusicCaps differ in how they list tags and in how much they write. So the
    features of a request tell its style (logits), and within each style how many words a
    description has (mean and standard deviation). S styles, F features.
    """

    styles: tuple[str, ...]
    features: Mapping[str, int]  # their places in the tables
    logits: np.ndarray  # (F + 1, S); the last row is the constant
    means: np.ndarray  # (F + 1, S), in words
    deviations: np.ndarray  # (S,), in words
    clips: np.ndarray  # bool (S,): styles of captions of audio, the others are of text alone
    artists: float = 0.0  # words that artists add

    def mixture(
        self, tags: WeightedTags, *, audio: bool, artists: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability and mean words of each style: (S,), (S,)."""
        logits, means = self.logits[-1].copy(), self.means[-1].copy()
        for name, value in with_unknown(length_features(tags), self.features).items():
            place = self.features.get(name)
            if place is not None:  # tables from before `with_unknown` lack its features
                logits += value * self.logits[place]
                means += value * self.means[place]
        fitting = self.clips == audio
        if fitting.any():
            logits[~fitting] = -np.inf
        p = np.exp(logits - logits.max())
        return p / p.sum(), means + self.artists * artists

    def gains(
        self, tags: WeightedTags, *, audio: bool, artists: bool, more_words: float = 0.0
    ) -> np.ndarray:
        """How near to the expected one, or that and `more_words`, each length from 0 words on is:
        (257,), at most 1.

        It is the expectation of exp(-d² / 2 TOLERANCE²), d being how many words a caption is too
        long or too short, scaled so that the best length has 1.
        """
        p, means = self.mixture(tags, audio=audio, artists=artists)
        variance = TOLERANCE**2 + self.deviations**2
        off = np.arange(MOST_WORDS + 1)[:, None] - (means + more_words)  # (257, S)
        gains = (p / np.sqrt(variance) * np.exp(-0.5 * off**2 / variance)).sum(1)
        return gains / max(gains.max(), 1e-12)

    def expected(self, tags: WeightedTags, *, audio: bool, artists: bool) -> float:
        """The number of words with the highest gain."""
        return float(self.gains(tags, audio=audio, artists=artists).argmax())

    @classmethod
    def load(cls, folder: Path) -> LengthModel | None:
        """The folder's lengths.json, if it has one; ValueError where it is not of that form."""
        path = folder / LENGTHS_FILE
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            styles, rows = data["styles"], data["features"]
            logits = [row["logits"] for row in (*rows.values(), data["base"])]
            means = [row["words"] for row in (*rows.values(), data["base"])]
            model = cls(
                styles=tuple(str(style["name"]) for style in styles),
                features={str(name): place for place, name in enumerate(rows)},
                logits=np.array(logits, float),
                means=np.array(means, float),
                deviations=np.array([style["deviation"] for style in styles], float),
                clips=np.array([bool(style["clips"]) for style in styles]),
                artists=float(data["artists"]),
            )
        except (
            *(ValueError, KeyError, TypeError, AttributeError),
            *(OverflowError, RecursionError),
        ) as error:
            raise ValueError(f"{path} does not hold lengths of captions: {error!r}.") from None
        shape, S = (len(rows) + 1, len(styles)), len(styles)
        tables = (model.logits, model.means, model.deviations)
        if not S or model.logits.shape != shape or model.means.shape != shape:
            raise ValueError(f"{path} needs a number for each style in every row.")
        if not all(np.isfinite(table).all() for table in (*tables, model.artists)):
            raise ValueError(f"{path} holds numbers that are not finite.")
        return model

    def save(self, folder: Path) -> None:
        """Write lengths.json, a line per feature."""

        def row(place: int) -> str:
            return json.dumps(
                {"logits": self.logits[place].tolist(), "words": self.means[place].tolist()}
            )

        styles = [
            {"name": name, "deviation": float(deviation), "clips": bool(clip)}
            for name, deviation, clip in zip(self.styles, self.deviations, self.clips, strict=True)
        ]
        lines = [
            f"{json.dumps(name, ensure_ascii=False)}: {row(i)}" for name, i in self.features.items()
        ]
        text = (
            f'{{"styles": {json.dumps(styles)},\n"artists": {self.artists},\n"base": {row(-1)},\n'
            '"features": {\n' + ",\n".join(lines) + "\n}}\n"
        )
        (folder / LENGTHS_FILE).write_text(text, encoding="utf-8")


def expected_words(lengths: LengthModel | None, audible: Audible) -> float | None:
    """The most probable number of words, where a checkpoint says anything of lengths."""
    return None if lengths is None else lengths.expected(**audible)


def length_gains(
    decoding: Decoding,
    lengths: LengthModel | None,
    tags: WeightedTags,
    *,
    audio: bool,
    artists: bool,
    more_words: float = 0.0,
) -> np.ndarray | None:
    """What a hypothesis gains for each number of words (257,), from what is asked for or else what
    is expected and `more_words`; None where neither is known, or the search does not ask."""
    if not decoding.length or decoding.method != "beam":
        return None
    if decoding.target_words:
        off = np.arange(MOST_WORDS + 1) - decoding.target_words
        return ASKED * decoding.length * np.exp(-0.5 * (off / TOLERANCE) ** 2)
    if lengths is None:
        return None
    return decoding.length * lengths.gains(
        tags, audio=audio, artists=artists, more_words=more_words
    )


class LengthTerm:
    """The gains of hypotheses of B items for the words that they have."""

    def __init__(
        self, gains: Sequence[np.ndarray | None], *, device: torch.device | str = "cpu"
    ) -> None:
        """`gains`: per item those of `length_gains`; None: nothing."""
        rows = [np.zeros(MOST_WORDS + 1) if row is None else row for row in gains]
        self.gains = torch.tensor(np.stack(rows), dtype=torch.float32, device=device)  # (B, 257)
        self.best = self.gains.flip(1).cummax(1).values.flip(1)

    def ended(self, words: Tensor) -> Tensor:
        """The gain of hypotheses that end with `words` (B, K)."""
        return self.gains.gather(1, words.clamp(max=MOST_WORDS))

    def open(self, words: Tensor) -> Tensor:
        """The most that hypotheses with `words` (B, K) so far may still gain."""
        return self.best.gather(1, words.clamp(max=MOST_WORDS))
