"""Order beam hypotheses by what they say of the tags: coverage as a decoding term, exactly.

The score of a hypothesis is its log-probability over length ** length_penalty, plus `coverage`
times the share of the tags' content words that it uses (words count with their tags' weights) and
half as much for the share of the longer tags that it tells whole, minus `invention` for each of its
faults: instrument words that no tag names, words that a tag rules out ("no percussion"), content
words that a sentence says again, and longer tags that another sentence tells again; tags of one
word that another sentence tells again give back what they earned. Then plus `length` for as many
words as expected, and plus `consensus` for likeness to draws. All 0 leave the beam's own order.
`guidance` and `length` steer the search by the same score, as far as an unfinished text
shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from audiogpt.request import Decoding
from audiogpt.words import (
    INSTRUMENTS,
    all_words,
    content_words,
    denied_words,
    instrument_words,
    split_by_denial,
)

TOGETHER = 0.5
"""What the share of the tags told whole is worth, against that of their words."""


def coverage(text: str, tags: Sequence[tuple[str, float]]) -> float:
    """Weighted share in [0, 1] of the tags' content words that the text uses.

    Words that the tags rule out count where the text denies them, too.
    """
    weights = word_weights(tags)
    said = set(all_words(text))
    if denied := _denied(tags):
        ruled_out, _ = _said_of(denied, text)
        said -= denied - ruled_out
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in said) / total if total else 1.0


def word_weights(tags: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The content words of all tags, each with the greatest weight of the tags that have it.

    In the order of the tags, so that sums over them are the same in every process.
    """
    weights: dict[str, float] = {}
    for tag, weight in tags:
        for word in sorted(content_words(tag)):
            weights[word] = max(weights.get(word, 0.0), weight)
    return weights


def single_words(tags: Sequence[tuple[str, float]]) -> set[str]:
    """The words of tags that have one content word, which no other tag has.

    Without instruments, which people name again in further sentences twice as often as other things
    (MusicCaps' training rows: 10 % against 5 %), and without what the tags rule out.
    """
    wanted = [content_words(tag) for tag, weight in tags if weight > 0]
    times = Counter(word for words in wanted for word in words)
    single = {word for words in wanted for word in words if len(words) == 1 and times[word] == 1}
    return single - INSTRUMENTS - _denied(tags)


def retold(text: str, tags: Sequence[tuple[str, float]]) -> float:
    """Weighted share of the tags' content words that are single and told by a second sentence, and
    as much again for each further one: "This techno track is loud. It has touches of techno."
    """
    weights, single = word_weights(tags), single_words(tags)
    total = sum(weights.values())
    if not total:
        return 0.0
    sentences = [set(all_words(sentence)) for sentence in _sentences(text)]
    times = {word: sum(word in words for words in sentences) for word in single}
    return sum(weights[word] * max(0, times[word] - 1) for word in sorted(single)) / total


def together(text: str, tags: Sequence[tuple[str, float]]) -> float:
    """Weighted share in [0, 1] of the tags of two content words or more that one sentence tells
    whole: of a soft piano and a loud bass, not "a loud piano and a soft bass. A bass".

    Tags that rule something out do not count, nor does anything where there are none: 0.
    """
    phrases = phrase_weights(tags)
    total = sum(phrases.values())
    if not total:
        return 0.0
    sentences = [set(all_words(sentence)) for sentence in _sentences(text)]
    told = (w for phrase, w in phrases.items() if any(phrase <= words for words in sentences))
    return sum(told) / total


def phrase_weights(tags: Sequence[tuple[str, float]]) -> dict[frozenset[str], float]:
    """The content words of each tag that has two or more and rules nothing out, with its weight."""
    denied = _denied(tags)
    phrases: dict[frozenset[str], float] = {}
    for tag, weight in tags:
        phrase = frozenset(content_words(tag))
        if weight > 0 and len(phrase) > 1 and not phrase & denied:
            phrases[phrase] = max(weight, phrases.get(phrase, 0.0))
    return phrases


def invented(text: str, tags: Sequence[tuple[str, float]]) -> int:
    """Number of distinct instrument words in the text that no tag of positive weight names."""
    given = {word for tag, weight in tags if weight > 0 for word in all_words(tag)}
    return len(instrument_words(text) - given)


def contradicted(text: str, tags: Sequence[tuple[str, float]]) -> int:
    """Number of distinct words that the tags rule out and a sentence says without denying them."""
    return len(_said_of(_denied(tags), text)[1])


def _denied(tags: Sequence[tuple[str, float]]) -> set[str]:
    return denied_words(tag for tag, weight in tags if weight > 0)


def _said_of(words: set[str], text: str) -> tuple[set[str], set[str]]:
    """Those of the words that the text denies, and those that it affirms."""
    denied: set[str] = set()
    affirmed: set[str] = set()
    if words:
        for sentence in _sentences(text):
            after, before = split_by_denial(sentence)
            denied |= words & after
            affirmed |= words & before
    return denied, affirmed


def repeated(text: str, tags: Sequence[tuple[str, float]] = ()) -> int:
    """Number of times that a sentence says a content word again, as in "a synth and a synth".

    A word of several tags ("electric guitar", "acoustic guitar") may come as often as they do.
    """
    allowed = Counter(word for tag, weight in tags if weight > 0 for word in content_words(tag))
    count = 0
    for sentence in _sentences(text):
        wanted = content_words(sentence)
        said = Counter(word for word in all_words(sentence) if word in wanted)
        count += sum(max(0, times - max(1, allowed[word])) for word, times in said.items())
    return count


def told_again(text: str, tags: Sequence[tuple[str, float]]) -> int:
    """Number of times that a sentence tells a tag of two content words or more that another has
    told: "The tempo is slow. It is played at a slow tempo."

    What several tags say may come as often as they do. The search cannot see it coming: which tag
    a sentence tells shows only at its end.
    """
    wanted = [content_words(tag) for tag, weight in tags if weight > 0]
    sentences = [content_words(sentence) for sentence in _sentences(text)]
    count = 0
    for tag in {frozenset(words) for words in wanted if len(words) > 1}:
        told, allowed = (sum(tag <= words for words in some) for some in (sentences, wanted))
        count += max(0, told - allowed)
    return count


def _sentences(text: str) -> list[str]:
    return re.split(r"[.!?]", text)


def repeats_words(text: str, n: int) -> bool:
    """Whether the text says any `n` words twice, whatever their case and plural (0: never)."""
    words = all_words(text)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)] if n else []
    return len(set(grams)) < len(grams)


def payment(text: str, tags: Sequence[tuple[str, float]], decoding: Decoding) -> float:
    """What a text is paid beyond its normalised log-probability."""
    faults = sum(count(text, tags) for count in (invented, contradicted, repeated, told_again))
    used = coverage(text, tags) - retold(text, tags) + TOGETHER * together(text, tags)
    return decoding.coverage * used - decoding.invention * faults


def rerank(
    texts: Sequence[str],
    sums: Sequence[float],
    lengths: Sequence[int],
    tags: Sequence[tuple[str, float]],
    decoding: Decoding,
    gains: np.ndarray | None = None,
    agreements: np.ndarray | None = None,
) -> tuple[list[int], list[float]]:
    """Indices of the hypotheses, best first, and the scores that rank them, in the given order.

    `sums` are log-probabilities, `lengths` numbers of tokens. Without a tag of positive weight, or
    with `coverage` and `invention` both 0, nothing is paid for words; without `gains` (`length`)
    nothing for length, without `agreements` (`consensus`) nothing for consensus. Texts that say
    `no_repeat_ngram` words twice all the same, in a spelling that the search did not foresee, come
    last.
    """
    tags = [(text, weight) for text, weight in tags if weight > 0]
    pays = bool(tags) and bool(decoding.coverage or decoding.invention)
    scores = [
        total / max(1, length) ** decoding.length_penalty
        + (payment(text, tags, decoding) if pays else 0.0)
        + (0.0 if gains is None else float(gains[min(len(text.split()), len(gains) - 1)]))
        for text, total, length in zip(texts, sums, lengths, strict=True)
    ]
    if agreements is not None:
        more = (decoding.consensus * agreements).tolist()
        scores = [score + gain for score, gain in zip(scores, more, strict=True)]
    again = [repeats_words(text, decoding.no_repeat_ngram) for text in texts]
    return sorted(range(len(texts)), key=lambda index: (again[index], -scores[index])), scores
