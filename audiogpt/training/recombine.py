"""More text pairs from the training rows: sentences of two captions of one writer put together.

Writers of MusicCaps have habits (what a caption opens with, in which order it goes on), so
sentences of one writer fit each other. The tags are those that the new text mentions.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from audiogpt.reranking import repeats_words
from audiogpt.training.pairs import Pair
from audiogpt.words import all_words, content_words, share_mentioned, word_set

CANDIDATES = 12  # rows among which the one with the most words in common is taken
CONTRARY = (
    (word_set("male man"), word_set("female woman")),
    (word_set("instrumental"), word_set("vocal voice singer sing singing rap rapper")),
    (word_set("slow"), word_set("fast uptempo")),
    (word_set("solo"), word_set("accompanied accompaniment")),
    (word_set("sad melancholic"), word_set("happy cheerful joyful")),
)


def recombine(pairs: Sequence[Pair], count: int, dice: random.Random) -> list[Pair]:
    """`count` new pairs from those of at least two sentences; none where no writer has two."""
    writers: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if len(pair.sentences) > 1 and pair.group:
            writers[pair.group].append(pair)
    usable = [pair for pair in pairs if len(writers.get(pair.group, ())) > 1]
    made: list[Pair] = []
    attempts = 0
    while usable and len(made) < count and attempts < 20 * count:
        attempts += 1
        first = dice.choice(usable)
        others = dice.sample(writers[first.group], min(CANDIDATES, len(writers[first.group])))
        second = max(
            (other for other in others if other.key != first.key),
            key=lambda other: len(_tag_words(first) & _tag_words(other)),
            default=None,
        )
        if second is not None and (joined := _join(first, second, dice)) is not None:
            made.append(joined)
    return made


def _tag_words(pair: Pair) -> set[str]:
    return set().union(*(content_words(tag) for tag in pair.tags))


def _join(first: Pair, second: Pair, dice: random.Random) -> Pair | None:
    """The opening of the first, then sentences of both in the order of their places."""
    places = [
        (index / len(pair.sentences), which, sentence)
        for which, pair in enumerate((first, second))
        for index, sentence in enumerate(pair.sentences)
        if index
    ]
    total = round((len(first.sentences) + len(second.sentences)) / 2) - 1
    chosen = sorted(dice.sample(places, min(len(places), max(1, total))))
    if not any(which for _, which, _ in chosen):
        return None
    sentences = (first.sentences[0], *(sentence for _, _, sentence in chosen))
    text = " ".join(sentences)
    words = set(all_words(text))
    if repeats_words(text, 3):
        return None
    if any(one & words and other & words for one, other in CONTRARY):
        return None
    placed = [
        (index / len(pair.tags), which, tag)
        for which, pair in enumerate((first, second))
        for index, tag in enumerate(pair.tags)
    ]
    tags = dict.fromkeys(tag for _, _, tag in sorted(placed))  # in the order of their places, too
    told = tuple(tag for tag in tags if share_mentioned(tag, words) >= 0.6 and content_words(tag))
    if len(told) < 2:
        return None
    key = f"{first.key}+{second.key}"
    return replace(first, key=key, source="recombined", sentences=sentences, tags=told)
