"""How much of a track's facts linear probes read from an audio embedding, on albums unheard.

``python -m benchmarks.audio_probe --incompetech FOLDER`` embeds the clips, leaves one album out at
a time, fits ridge regressions from the mean row of a clip to the words of its genre, moods and
instruments, and prints per embedding: the mean area under the ROC curve within albums, and the
reciprocal rank of a clip's own facts among those of the album over chance, by the cosine of the
standardised predictions. 0.5 and 1 would be chance. The held-out album stays out of it. With
``--grooves FOLDER`` the same for rendered grooves, fitted on those for training and tried on the
others.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from audiogpt.training.embeddings import embed_clips
from audiogpt.training.grooves import read_grooves
from audiogpt.training.incompetech import read_incompetech
from audiogpt.training.pairs import Pair
from audiogpt.words import content_words

FEWEST = 4  # tracks that a word must describe
FEWEST_HERE = 2  # tracks of an album with, and without, a word whose curve counts
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)  # over the mean energy of a row


def facts(pair: Pair) -> set[str]:
    """Content words of genre, moods and instruments."""
    return set().union(*(content_words(f) for f in (pair.style, *pair.moods, *pair.instruments)))


def probe(pairs: Sequence[Pair], rows: np.ndarray, penalty: float) -> tuple[float, float]:
    """(area under the curve, reciprocal rank over chance) of tracks' rows (N, width), each album
    predicted from the others."""
    told = _told(pairs, pairs)
    albums = np.array([pair.group for pair in pairs])
    areas, ranks = [], []
    for album in sorted(set(albums)):
        inside = albums == album
        here, rank = _predicted(told, rows, inside, penalty)
        areas += here
        ranks.append(rank)
    return float(np.mean(areas)), float(np.mean(ranks))


def probe_split(
    train: Sequence[Pair], test: Sequence[Pair], rows: np.ndarray, penalty: float
) -> tuple[float, float]:
    """The same of `test`, predicted from `train`; rows (N, width) of both, in that order."""
    inside = np.arange(len(rows)) >= len(train)
    areas, rank = _predicted(_told(train, [*train, *test]), rows, inside, penalty)
    return float(np.mean(areas)), rank


def _told(train: Sequence[Pair], pairs: Sequence[Pair]) -> np.ndarray:
    """(N, W): which of the commoner words of `train` the facts of `pairs` have."""
    counts = Counter(word for pair in train for word in facts(pair))
    words = sorted(word for word, count in counts.items() if count >= FEWEST)
    return np.array([[word in facts(pair) for word in words] for pair in pairs], float)


def _predicted(
    told: np.ndarray, rows: np.ndarray, inside: np.ndarray, penalty: float
) -> tuple[list[float], float]:
    """Areas under the curve, by word, and reciprocal rank over chance of the tracks `inside` (N,),
    predicted from the others."""
    scaler = StandardScaler().fit(rows[~inside])
    x = scaler.transform(rows).clip(-4, 4)
    mean = told[~inside].mean(0)
    deviation = np.sqrt((mean * (1 - mean)).clip(1e-3))
    z = (told - mean) / deviation
    energy = (x[~inside] ** 2).sum(1).mean()
    fitted = Ridge(alpha=penalty * energy).fit(x[~inside], z[~inside])
    predicted = fitted.predict(x[inside])  # (n, W)
    areas = []
    for column in range(told.shape[1]):
        here = told[inside, column]
        if FEWEST_HERE <= here.sum() <= len(here) - FEWEST_HERE:
            areas.append(roc_auc_score(here, predicted[:, column]))
    sets, own = np.unique(told[inside], axis=0, return_inverse=True)
    candidates = (sets - mean) / deviation
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    scores = predicted @ candidates.T  # (n, sets)
    rank = 1 + (scores > scores[np.arange(len(scores)), own.ravel()][:, None]).sum(1)
    return areas, float((1 / rank).mean() / np.mean(1 / np.arange(1, len(sets) + 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--incompetech", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, help="folder of scripts/render_grooves.py")
    parser.add_argument("--embeddings", nargs="*", default=["musicnn-vgg", "musicnn-pooled"])
    options = parser.parse_args()
    pairs = [pair for pair in read_incompetech(options.incompetech, "train") if pair.audio]
    clips = [options.incompetech / "audio" / clip for pair in pairs for clip in pair.audio]
    train, test = (
        [read_grooves(options.grooves, split) for split in ("train", "test")]
        if options.grooves
        else ([], [])
    )
    print("| embedding | width | penalty | area under the curve | reciprocal rank over chance |")
    print("|---|---|---|---|---|")
    for name in options.embeddings:
        embedded = embed_clips(clips, name=name)
        rows = np.stack(
            [np.mean([embedded[clip].mean(0) for clip in pair.audio], 0) for pair in pairs]
        )
        for penalty in PENALTIES:
            area, rank = probe(pairs, rows, penalty)
            print(f"| {name} | {rows.shape[1]} | {penalty:g} | {area:.3f} | {rank:.2f} |")
        if options.grooves:
            grooves = [*train, *test]
            embedded = embed_clips((options.grooves / p.audio[0] for p in grooves), name=name)
            rows = np.stack([embedded[pair.audio[0]].mean(0) for pair in grooves])
            for penalty in PENALTIES:
                area, rank = probe_split(train, test, rows, penalty)
                print(
                    f"| {name}, grooves | {rows.shape[1]} | {penalty:g} | {area:.3f} | {rank:.2f} |"
                )


if __name__ == "__main__":
    main()
