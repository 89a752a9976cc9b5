"""Consensus: of several hypotheses, the one that other captions of the same request agree with.

The likeliest caption is often an unusual one. So the search is repeated for captions that are
shorter and longer than expected, and each hypothesis is compared with captions drawn from the
model: it gains `Decoding.consensus` times its mean likeness to them. This is minimum Bayes risk
decoding (Kumar and Byrne, 2004) with draws in the place of references (Eikema and Aziz, 2022), as
Devlin et al. (2015) chose captions among those of similar pictures. It takes several times as long
as the search alone, so it is off unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiogpt.asking import Asking
from audiogpt.context import Context
from audiogpt.decoding import Hypotheses, Steering, decode
from audiogpt.model import AudioGPT, log_softmax
from audiogpt.request import Decoding
from audiogpt.words import all_words

OTHER_WORDS = (-8, 8)  # than expected: people differ from that by ten (the model card)
DRAWS = 32
ROUND = 16  # draws made together, the most hypotheses that one search keeps
RECALL = 0.85  # of the harmonic mean of matched words, as METEOR 1.5 weighs it for English
BETA = 1.2  # of ROUGE-L's F, as captions are scored
IN_ORDER = 0.5  # of likeness, what ROUGE-L decides: chosen on held-out training rows

Read = Callable[[Sequence[int]], str]


Compared = tuple[Hypotheses, list[Hypotheses]]


def compare(
    model: AudioGPT,
    context: Context,
    asking: Asking,
    found: Hypotheses,
    *,
    seeds: Sequence[int],
) -> Compared:
    """What `comparing` comes to."""
    steps = comparing(model, context, asking, found, seeds=seeds)
    return next(compared for compared in steps if compared is not None)


def comparing(
    model: AudioGPT,
    context: Context,
    asking: Asking,
    found: Hypotheses,
    *,
    seeds: Sequence[int],
) -> Iterator[Compared | None]:
    """What a search `found` and what it finds for other lengths, and draws to compare them with;
    before that None after each step, so that a caller may stop.

    A length that is asked for stays the only one, and so does the usual one where nothing is known
    of lengths. Without `Decoding.consensus`, and for draws, all stays as it was found, and there is
    nothing to compare it with.
    """
    decoding = asking.decoding
    if not decoding.consensus or decoding.method != "beam":
        yield found, []
        return
    parts, draws = [found], []
    if asking.lengths is not None and not decoding.target_words:
        for more in searches(model, context, asking):
            if more.done:
                parts.append(more)
            yield None
    for drawn in drawing(model, context, decoding, seeds=seeds, forbidden=asking.forbidden):
        if drawn.done:
            draws.append(drawn)
        yield None
    yield joined(parts), draws


def searches(model: AudioGPT, context: Context, asking: Asking) -> Iterator[Hypotheses]:
    """The steps of searches with half as many beams, told and steered to write `OTHER_WORDS` more.

    The log-probabilities of what they come to are those under `context`, whatever they were told.
    """
    narrow = replace(asking.decoding, beams=max(1, asking.decoding.beams // 2))
    for more_words in OTHER_WORDS:
        told = model.told(context, asking.told(more_words))
        for more in decode(model, told, narrow, steering=asking.steering(more_words)):
            if more.done:
                more = replace(more, log_probabilities=log_probabilities(model, context, more))
            yield more


def joined(parts: Sequence[Hypotheses]) -> Hypotheses:
    """The hypotheses of several searches for the same items, after one another."""
    length = max(part.tokens.shape[-1] for part in parts)

    def padded(values: Tensor) -> Tensor:
        return F.pad(values, (0, length - values.shape[-1]))

    return Hypotheses(
        tokens=torch.cat([padded(part.tokens) for part in parts], 1),
        log_probabilities=torch.cat([padded(part.log_probabilities) for part in parts], 1),
        scores=torch.cat([part.scores for part in parts], 1),
        finished=torch.cat([part.finished for part in parts], 1),
        done=True,
    )


@torch.inference_mode()
def log_probabilities(model: AudioGPT, context: Context, found: Hypotheses) -> Tensor:
    """Log-probability of each token of the hypotheses, 0 after the end: float32 (B, K, T)."""
    bos, eos = model.config.bos_token_id, model.config.eos_token_id
    rows = []
    for tokens in found.tokens.unbind(1):  # (B, T), one hypothesis of each item at a time
        inputs = torch.cat([torch.full_like(tokens[:, :1], bos), tokens[:, :-1]], 1)
        log_p = log_softmax(model(inputs, context))
        rows.append(log_p.gather(-1, tokens[..., None])[..., 0])
    ends = (found.tokens == eos).long()
    return torch.where(ends.cumsum(-1) - ends > 0, 0.0, torch.stack(rows, 1))


def drawing(
    model: AudioGPT,
    context: Context,
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    forbidden: Sequence[Sequence[int]] = (),
) -> Iterator[Hypotheses]:
    """The steps of `DRAWS` captions per item, in rounds, as the model writes them by itself: no
    limit but `max_tokens`.

    `temperature` and `top_p` are the settings'; one seed per item.
    """
    free = Decoding(
        method="sample",
        n_best=ROUND,
        max_tokens=decoding.max_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
    )
    for turn in range(DRAWS // ROUND):
        yield from decode(
            model,
            context,
            free,
            seeds=[seed + (turn << 32) for seed in seeds],
            steering=Steering(forbidden=forbidden),
        )


def drawn_texts(draws: Sequence[Hypotheses], item: int, eos: int, read: Read) -> list[str]:
    """The texts of an item's draws by `read`, which makes them of token ids; without those that
    came to no end, unless none did."""
    drawn = [
        (bool(part.finished[item, rank]), part.ids(item, rank, eos))
        for part in draws
        for rank in range(part.finished.shape[1])
    ]
    ended = [ids for whole, ids in drawn if whole]
    return [text for ids in ended or [ids for _, ids in drawn] if (text := read(ids))]


def agreement(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Mean likeness in [0, 1] of each text to the others: float64 (n,), zeros without others.

    Likeness weighs two measures on folded words: F of the words in common, mostly recall, and
    ROUGE-L (Lin, 2004).
    """
    told = [all_words(other) for other in others]
    return np.array(
        [
            np.mean([likeness(words, other) for other in told] or [0.0])
            for words in map(all_words, texts)
        ]
    )


def likeness(mine: Sequence[str], other: Sequence[str]) -> float:
    """How much a text's words are like another's, in [0, 1]."""
    common = sum((Counter(mine) & Counter(other)).values())
    if not common:
        return 0.0
    precision, recall = common / len(mine), common / len(other)
    words = precision * recall / (RECALL * precision + (1 - RECALL) * recall)
    in_order = common_subsequence(mine, other)
    precision, recall = in_order / len(mine), in_order / len(other)
    rouge = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return (1 - IN_ORDER) * words + IN_ORDER * rouge


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table being one number's bits (Hyyrö,
    2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(a) - row.bit_count()
