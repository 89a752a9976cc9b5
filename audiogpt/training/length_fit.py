"""Fit a checkpoint's expectation of caption lengths (`length`) to its training captions."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from typing import NamedTuple

import numpy as np

from audiogpt.length import LengthModel, length_features, with_unknown
from audiogpt.training.artist_sentences import artist_sentence, draw_shares
from audiogpt.training.sources import Sources
from audiogpt.training.views import draw_view

VIEWS = 2500  # drawn of what is not MusicCaps'
FEWEST = 6  # items in which a feature must occur
SMALLEST = 20  # items of a style
FOLDS = 4
SOFTNESS = 0.5  # of the logistic regression: larger fits closer
RIDGE = 25.0


class Item(NamedTuple):
    """A training caption: what is known before it is written, its style, and its words."""

    features: dict[str, float]
    style: str
    clip: bool
    words: int


def fit_lengths(sources: Sources, *, seed: int = 0) -> LengthModel:
    """Logistic regression of the style and, within each, ridge regression of the words.

    A style is one of MusicCaps' writers, whose rows come as evaluation gives them, with every
    aspect and the caption as written; or the composed captions of text, or those of clips.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    dice = random.Random(f"{seed}-lengths")
    artists = statistics.fmean(
        len(artist_sentence(draw_shares(dice), dice).split()) for _ in range(500)
    )
    items = [*_rows(sources), *_views(sources, dice)]
    sizes = Counter(item.style for item in items)
    items = [item for item in items if sizes[item.style] >= min(SMALLEST, max(sizes.values()))]
    seen = Counter(name for item in items for name in item.features)
    vectorizer = DictVectorizer()
    known = {name for name, count in seen.items() if count >= FEWEST}
    X = vectorizer.fit_transform([with_unknown(item.features, known) for item in items])  # (N, F)
    words = np.array([item.words for item in items], float)
    labels = np.array([item.style for item in items])
    styles = sorted(set(labels))
    logits = np.zeros((X.shape[1] + 1, len(styles)))
    if len(styles) > 1:
        chosen = LogisticRegression(C=SOFTNESS, max_iter=1000).fit(X, labels)
        coefficients, constants = chosen.coef_, chosen.intercept_
        if len(styles) == 2:  # scikit-learn gives the second one's alone
            coefficients, constants = (
                np.vstack([-coefficients, coefficients]) / 2,
                (np.array([-constants[0], constants[0]]) / 2),
            )
        logits = np.vstack([coefficients.T, constants])
    fitted = [_fit_words(X[labels == style], words[labels == style]) for style in styles]
    clips = {item.style: item.clip for item in items}
    return LengthModel(
        styles=tuple(str(style) for style in styles),
        features={str(n): i for i, n in enumerate(vectorizer.get_feature_names_out())},
        logits=logits.round(2),
        means=np.stack([means for means, _ in fitted], axis=1).round(2),
        deviations=np.array([round(deviation, 2) for _, deviation in fitted]),
        clips=np.array([clips[style] for style in styles]),
        artists=round(artists, 2),
    )


def _rows(sources: Sources) -> list[Item]:
    return [
        Item(
            length_features([(tag, 1.0) for tag in pair.tags]),
            f"writer {pair.group}".strip(),
            False,
            len(pair.description.split()),
        )
        for pair in sources.pairs.get("musiccaps", ())
        if pair.tags
    ]


def _views(sources: Sources, dice: random.Random) -> list[Item]:
    """Views of the sources that are not MusicCaps'."""
    names = ("composed", "notes", "clips", "grooves")
    others = [name for name in names if name in sources.mixture and sources.pairs.get(name)]
    items = []
    for _ in range(VIEWS if others else 0):
        name = dice.choices(others, [sources.mixture[name] for name in others])[0]
        view = draw_view(dice.choice(sources.pairs[name]), dice, artists=False)
        clip = bool(view.audio)
        style = "clip" if clip else "composed"
        items.append(Item(length_features(view.tags), style, clip, len(view.description.split())))
    return items


def _fit_words(X: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights of the features and the constant (F + 1,), and the deviation on unseen captions."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, cross_val_predict

    ridge = Ridge(alpha=RIDGE)
    folds = KFold(min(FOLDS, len(words)), shuffle=True, random_state=0)
    missed = words - cross_val_predict(ridge, X, words, cv=folds)
    ridge.fit(X, words)
    return np.append(ridge.coef_, ridge.intercept_), float(np.sqrt((missed**2).mean()))
