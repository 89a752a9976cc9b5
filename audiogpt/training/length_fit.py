"""Fit a checkpoint's expectation of caption lengths (`length`) to its training captions."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from audiogpt.length import LengthModel, length_features
from audiogpt.training.sources import Sources
from audiogpt.training.views import LONGEST, draw_view

VIEWS = 6000  # drawn from the training mixture beside MusicCaps' rows
VIEW_WEIGHT = 0.1  # a drawn view counts as a tenth of a row that people wrote
FEWEST = 8  # times that a feature must occur
RIDGE = 20.0
# The ridge should hold back the many weights of words, not these few.
SCALES = {"audio": 5.0, "artists": 5.0, "log tags": 3.0, "log words": 3.0}


def fit_lengths(sources: Sources, *, seed: int = 0) -> LengthModel:
    """Ridge regression of a description's words on what its request says.

    MusicCaps' training rows come as evaluation gives them, with every aspect and the caption as
    written (or 60 words, where it has more); views of the mixture tell how long captions of a few
    tags, of clips and with artists are.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import Ridge

    features, words, weights = [], [], []
    for pair in sources.pairs.get("musiccaps", ()):
        if pair.tags:
            tags = [(tag, 1.0) for tag in pair.tags]
            features.append(length_features(tags, audio=False, artists=False))
            words.append(min(LONGEST, len(pair.description.split())))
            weights.append(1.0)
    dice = random.Random(f"{seed}-lengths")
    for _ in range(VIEWS):
        _, drawn = sources.draw(dice)
        if drawn is None:
            continue
        view = draw_view(drawn, dice, artists=sources.artists)
        features.append(
            length_features(view.tags, audio=bool(view.audio), artists=any(view.shares))
        )
        words.append(min(LONGEST, len(view.description.split())))
        weights.append(VIEW_WEIGHT)
    seen = Counter(name for some in features for name in some)
    kept = [
        {name: v * SCALES.get(name, 1.0) for name, v in some.items() if seen[name] >= FEWEST}
        for some in features
    ]
    vectorizer = DictVectorizer()
    ridge = Ridge(alpha=RIDGE).fit(
        vectorizer.fit_transform(kept), np.asarray(words, float), sample_weight=weights
    )
    named = zip(vectorizer.get_feature_names_out(), ridge.coef_, strict=True)
    return LengthModel(
        base=round(float(ridge.intercept_), 2),
        weights={str(n): round(float(w) * SCALES.get(n, 1.0), 2) for n, w in named},
    )
