"""From finished hypotheses to what is told of them: ranked and read, with warnings for the user."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata

import numpy as np

from audiogpt import __version__
from audiogpt.artists import TOKENS
from audiogpt.asking import Asking
from audiogpt.captions import Caption, counted_parts, counted_text
from audiogpt.config import AudioGPTConfig
from audiogpt.consensus import agreement, drawn_texts
from audiogpt.decoding import Hypotheses
from audiogpt.guidance import wants_guidance
from audiogpt.request import Alternative, Decoding
from audiogpt.reranking import rerank
from audiogpt.rows import ItemRows
from audiogpt.trace import Trace


def ranked_captions(
    state: Hypotheses,
    item: int,
    read: Callable[[Sequence[int], Sequence[str]], Caption],
    names: Sequence[str],
    config: AudioGPTConfig,
    asking: Asking,
    draws: Sequence[Hypotheses],
) -> list[tuple[Alternative, Caption]]:
    """The `n_best` hypotheses of one item, best first.

    `read` makes a caption of token ids and artists' names; `asking` and `draws`
    (`audiogpt.consensus`) are those of its batch. Texts are ranked with artists' tokens, each of
    which the search counts as a word: no name ("Bass Drum of Death") decides which caption is best.
    Raises ValueError where the search has found nothing.
    """
    decoding, gains, tags = asking.decoding, asking.gains[item], asking.audible[item]["tags"]
    eos = config.eos_token_id
    # A beam that found fewer hypotheses than it has places leaves -inf behind.
    ranks = state.scores[item].isfinite().nonzero()[:, 0].tolist()
    kept = {tuple(state.ids(item, rank, eos)): rank for rank in reversed(ranks)}
    found = [ids for ids, rank in sorted(kept.items(), key=lambda pair: pair[1])]
    if not found:
        raise ValueError(
            "No caption is possible under these settings: allow more words (max_words, the "
            "most), or ask for fewer (min_words, the fewest)."
        )

    def counted(ids: Sequence[int]) -> str:
        caption = read(ids, TOKENS)
        return counted_text(caption.title, caption.description, config.formatting)

    captions = [read(ids, names) for ids in found]
    sums = [state.log_probabilities[item, kept[ids]].sum().item() for ids in found]
    scores = [state.scores[item, kept[ids]].item() for ids in found]
    order = list(range(len(found)))
    if gains is not None or draws or wants_guidance(decoding, tags):
        texts = [counted(ids) for ids in found]
        agreements = None
        if draws:
            others = drawn_texts(draws, item, eos, counted)
            agreements = agreement(texts, others)
        lengths = [len(ids) for ids in found]
        order, scores = rerank(texts, sums, lengths, tags, decoding, gains, agreements)
        order.sort(key=lambda i: found[i][-1] != eos)  # whole captions first
    return [
        (
            Alternative(
                title=captions[i].title,
                description=captions[i].description,
                score=scores[i],
                log_probability=sums[i],
                tokens=found[i],
            ),
            captions[i],
        )
        for i in order[: decoding.n_best]
    ]


def caption_warnings(
    caption: Caption, tokens: Sequence[int], config: AudioGPTConfig, decoding: Decoding
) -> list[str]:
    """Sentences about a caption that is not what was asked for; `tokens` are its ids."""
    warnings = []
    if caption.unnamed:
        warnings.append("The caption mentions more artists than were given names.")
    if config.eos_token_id not in tokens:
        more = len(tokens) < config.n_positions
        remedy = (
            ": allow a longer one (max_tokens) for more"
            if more
            else ", the most that this model writes"
        )
        warnings.append(f"The caption was cut at {len(tokens)} tokens{remedy}.")
    counted = counted_parts(config.formatting)
    words = sum(word.part in counted for word in caption.words)  # a name is one, as for the limits
    if 0 < decoding.max_words < words:
        warnings.append(
            f"The caption has {words} words, more than the most asked for (max_words, "
            f"{decoding.max_words}): no sentence ended in time."
        )
    if 0 < decoding.max_words < decoding.target_words:
        warnings.append(
            f"{decoding.target_words} words were asked for (target_words), but the most allowed is "
            f"{decoding.max_words} (max_words): allow more."
        )
    return warnings


def by_label(trace: Trace, rows: ItemRows) -> Trace:
    """The trace with attention per label: a tag of several tokens has several rows."""
    attention = {}
    for name, weights in trace.attention.items():
        labels, groups = rows.labels.get(name, ()), rows.groups(name)
        merged = np.zeros((*weights.shape[:2], len(labels)), np.float32)
        for column, group in enumerate(groups):
            merged[..., group] += weights[..., column]
        attention[name] = merged
    return replace(trace, attention=attention)


def versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "tokenizers", "numpy")}
    return {"audiogpt": __version__, "python": platform.python_version(), **packages}
