"""From finished hypotheses to what is told of them: ranked and read, with warnings for the user."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib import metadata

import numpy as np

from audiogpt import __version__
from audiogpt.captions import Caption, counted_parts, counted_text
from audiogpt.config import AudioGPTConfig
from audiogpt.decoding import Hypotheses
from audiogpt.guidance import WeightedTags, wants_guidance
from audiogpt.request import Alternative, Decoding
from audiogpt.reranking import rerank


def ranked_captions(
    state: Hypotheses,
    item: int,
    read: Callable[[Sequence[int]], Caption],
    config: AudioGPTConfig,
    decoding: Decoding,
    *,
    tags: WeightedTags,
    gains: np.ndarray | None,
) -> list[tuple[Alternative, Caption]]:
    """The `n_best` hypotheses of one item, best first.

    `read` makes a caption of token ids; `tags` and `gains` (`audiogpt.length`) are those of the
    item. Raises ValueError where the search has found nothing.
    """
    eos = config.eos_token_id
    # A beam that found fewer hypotheses than it has places leaves -inf behind.
    found = [state.ids(item, i, eos) for i in range(int(state.scores[item].isfinite().sum()))]
    if not found:
        raise ValueError(
            "No caption is possible under these settings: allow more words (max_words), or ask "
            "for fewer (min_words)."
        )
    captions = [read(ids) for ids in found]
    sums = state.log_probabilities[item].sum(-1).tolist()
    scores = state.scores[item].tolist()[: len(found)]
    order = list(range(len(found)))
    if gains is not None or wants_guidance(decoding, tags):
        texts = [counted_text(c.title, c.description, config.formatting) for c in captions]
        lengths = [len(ids) for ids in found]
        order, scores = rerank(texts, sums[: len(found)], lengths, tags, decoding, gains)
        order.sort(key=lambda i: found[i][-1] != eos)  # whole captions first
    return [
        (
            Alternative(
                title=captions[i].title,
                description=captions[i].description,
                score=scores[i],
                log_probability=sums[i],
                tokens=tuple(found[i]),
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
        remedy = ": raise max_tokens for more" if more else ", the most that this model writes"
        warnings.append(f"The caption was cut at {len(tokens)} tokens{remedy}.")
    counted = counted_parts(config.formatting)
    words = sum(word.part in counted for word in caption.words)  # a name is one, as for the limits
    if 0 < decoding.max_words < words:
        warnings.append(
            f"The caption has {words} words, more than max_words ({decoding.max_words}): no "
            "sentence ended in time."
        )
    return warnings


def versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    packages = {name: metadata.version(name) for name in ("torch", "tokenizers", "numpy")}
    return {"audiogpt": __version__, "python": platform.python_version(), **packages}
