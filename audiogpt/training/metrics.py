"""Caption metrics: BLEU, METEOR 1.5, ROUGE-L, CIDEr-D by pycocoevalcap, and our own counts.

pycocoevalcap 1.2 is a development dependency (`pip install --no-deps pycocoevalcap==1.2`); its word
splitter and METEOR run on Java. A prediction is scored against one reference.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiogpt.reranking import contradicted, phrase_weights, repeats_words, together
from audiogpt.words import all_words, denied_words, instruments_supported, tag_words_used

OVERLAP = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Corpus scores in percent (CIDEr times 100), and the scores of each caption."""

    corpus: Mapping[str, float]
    each: Mapping[str, np.ndarray]


def overlap_scores(predictions: Sequence[str], references: Sequence[str]) -> Overlap:
    """Score predictions against one reference each; ValueError where Java or the package lacks, and
    where METEOR's program ends before its time, as where memory is short."""
    if len(predictions) != len(references) or not predictions:
        raise ValueError("Scoring needs as many predictions as references, and at least one.")
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    except ImportError as error:
        raise ValueError(
            "Scoring needs pycocoevalcap: `pip install --no-deps pycocoevalcap==1.2`."
        ) from error
    try:
        tokenizer = PTBTokenizer()
        truth = tokenizer.tokenize(_numbered(references))
        mine = tokenizer.tokenize(_numbered(predictions))
    except (FileNotFoundError, OSError) as error:
        raise ValueError(
            "Scoring needs Java (for instance `apt-get install default-jre-headless`)."
        ) from error
    corpus: dict[str, float] = {}
    each: dict[str, np.ndarray] = {}
    bleu, bleus = Bleu(4).compute_score(truth, mine, verbose=0)
    for n in range(4):
        corpus[f"BLEU-{n + 1}"] = 100 * bleu[n]
        each[f"BLEU-{n + 1}"] = 100 * np.asarray(bleus[n])
    scorers: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("METEOR", _meteor_scores),
        ("ROUGE-L", Rouge().compute_score),
        ("CIDEr", Cider().compute_score),
    )
    for name, compute_score in scorers:
        score, scores = compute_score(truth, mine)
        corpus[name] = 100 * float(score)
        each[name] = 100 * np.asarray(scores, float)
    return Overlap(corpus={name: corpus[name] for name in OVERLAP}, each=each)


@functools.cache
def _meteor() -> Any:
    """METEOR's Java program, which reads its tables for seconds: one serves a whole process."""
    from pycocoevalcap.meteor.meteor import Meteor

    return Meteor()


def _meteor_scores(truth: Mapping[int, Any], mine: Mapping[int, Any]) -> tuple[float, list[float]]:
    meteor = _meteor()
    try:
        return meteor.compute_score(truth, mine)
    except (OSError, ValueError) as error:  # it takes no more, or says nothing where numbers come
        _meteor.cache_clear()
        meteor.lock.release()  # which its own end would wait for
        with contextlib.suppress(OSError):  # and would meet what could not be written
            meteor.meteor_p.stdin.close()
        raise ValueError(
            "METEOR's Java program ended before it had scored all: it needs about 2 GB of memory."
        ) from error


def faithfulness(predictions: Sequence[str], tags: Sequence[Sequence[str]]) -> dict[str, float]:
    """In percent: tag words used and instruments supported (definitions: `words`); of the tags of
    several words the share that a sentence tells whole, averaged over rows; and of the words that
    tags rule out the share that the caption does not say all the same. Measures that nothing is
    counted for are nan."""
    used, whole, supported, named, denied, said = [], [], 0, 0, 0, 0
    for prediction, given in zip(predictions, tags, strict=True):
        if (share := tag_words_used(given, prediction)) is not None:
            used.append(share)
        right, all_of_them = instruments_supported(given, prediction)
        supported, named = supported + right, named + all_of_them
        even = [(tag, 1.0) for tag in given]
        if phrase_weights(even):
            whole.append(together(prediction, even))
        denied, said = denied + len(denied_words(given)), said + contradicted(prediction, even)
    return {
        "tag words used": 100 * statistics.fmean(used) if used else float("nan"),
        "instruments supported": 100 * supported / named if named else float("nan"),
        "tags told whole": 100 * statistics.fmean(whole) if whole else float("nan"),
        "denials kept": 100 * (1 - said / denied) if denied else float("nan"),
    }


def form(predictions: Sequence[str], known: Collection[str]) -> dict[str, float]:
    """Diversity and form: percent of captions whose words are not those of a text in `known` (the
    training captions), percent distinct, vocabulary, mean words, percent of 8 to 60 words, percent
    that end with a stop, and percent with a word trigram twice."""
    words = [all_words(text) for text in predictions]
    seen = {tuple(all_words(text)) for text in known}
    share = 100 / len(predictions)
    return {
        "novel": share * sum(tuple(said) not in seen for said in words),
        "distinct": share * len(set(predictions)),
        "vocabulary": float(len({word for text in words for word in text})),
        "words": statistics.fmean(len(text.split()) for text in predictions),
        "of 8 to 60 words": share * sum(8 <= len(text.split()) <= 60 for text in predictions),
        "whole sentences": share
        * sum(text.rstrip("\"'").endswith((".", "!", "?")) for text in predictions),
        "repeated trigrams": share * sum(repeats_words(text, 3) for text in predictions),
    }


def paired_bootstrap(
    mine: np.ndarray, other: np.ndarray, *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean difference of paired scores (n,), with its 95 % interval (Koehn, 2004)."""
    if mine.shape != other.shape or mine.ndim != 1:
        raise ValueError("The paired bootstrap needs two lists of scores of the same items.")
    difference = mine - other
    generator = np.random.default_rng(seed)
    means = np.array(
        [
            difference[generator.integers(0, len(difference), len(difference))].mean()
            for _ in range(draws)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)


def _numbered(texts: Sequence[str]) -> dict[int, list[dict[str, str]]]:
    return {i: [{"caption": " ".join(text.split()) or "."}] for i, text in enumerate(texts)}
