"""Write captions for many examples: what evaluation and reinforcement learning build on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from audiogpt.asking import Asking
from audiogpt.captions import Caption, read_caption
from audiogpt.consensus import compare
from audiogpt.decoding import decode_all
from audiogpt.length import Audible, LengthModel
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.results import ranked_captions
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.collate import Collator, as_rows, to_device
from audiogpt.training.dataset import Example
from audiogpt.training.plain_text import NAMES

# Batches whose examples are ordered by expected length: a batch takes as long as its longest.
WINDOW = 16


@dataclass(frozen=True, kw_only=True)
class Written:
    """One caption: its parts, its token ids, and whether it ended by itself."""

    title: str
    description: str
    tokens: tuple[int, ...]
    finished: bool
    log_probability: float


def write_captions(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    examples: Sequence[Example],
    decoding: Decoding,
    *,
    lengths: LengthModel | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Iterator[Written]:
    """Captions in the order of the examples, as the pipeline writes and chooses them.

    `lengths` are the checkpoint's, if it has any.
    """
    formatting = model.config.formatting
    words = TokenWords(tokenizer, model.config.vocab_size, formatting=formatting)
    window = WINDOW * batch_size
    for first in range(0, len(examples), window):
        some = range(first, min(first + window, len(examples)))
        order = list(some)
        if lengths is not None:
            audible = {i: _audible(examples[i], _tags(examples[i], tokenizer)) for i in some}
            order.sort(key=lambda i: lengths.expected(**audible[i]))
        written: dict[int, Written] = {}
        for start in range(0, len(order), batch_size):
            members = order[start : start + batch_size]
            batch, seeds = [examples[i] for i in members], [seed + i for i in members]
            found = _write_batch(model, words, batch, decoding, lengths, seeds)
            written |= zip(members, found, strict=True)
        yield from (written[i] for i in some)


def _write_batch(
    model: AudioGPT,
    words: TokenWords,
    batch: Sequence[Example],
    decoding: Decoding,
    lengths: LengthModel | None,
    seeds: Sequence[int],
) -> Iterator[Written]:
    tokenizer, config = words.tokenizer, model.config
    asking = Asking(
        words=words,
        decoding=decoding,
        lengths=lengths,
        controls=config.controls,
        audible=[_audible(example, _tags(example, tokenizer)) for example in batch],
        forbidden=[_unnamed(example, tokenizer) for example in batch],
        device=model.device,
    )

    def read(ids: Sequence[int], names: Sequence[str]) -> Caption:
        return read_caption(
            tokenizer,
            ids,
            artists=names,
            text_format=config.text_format,
            formatting=config.formatting,
        )

    with torch.inference_mode():
        rows = to_device(Collator(config).rows(batch), model.device)
        context = model.encode(as_rows(rows), controls=asking.told())
    found = decode_all(model, context, decoding, seeds=seeds, steering=asking.steering())
    found, draws = compare(model, context, asking, found, seeds=seeds)
    for item in range(len(batch)):
        best, _ = ranked_captions(found, item, read, NAMES, config, asking, draws)[0]
        yield Written(
            title=best.title,
            description=best.description,
            tokens=best.tokens,
            finished=best.tokens[-1] == config.eos_token_id,
            log_probability=best.log_probability,
        )


def _unnamed(example: Example, tokenizer: CaptionTokenizer) -> list[int]:
    """The tokens of artists whom the example does not have, which the pipeline never writes."""
    named = _artists(example)
    return [token for token, rank in tokenizer.artist_ids.items() if rank >= named]


def _artists(example: Example) -> int:
    given = (example.features or {}).get("artists")
    shares = example.shares if given is None else given[0]
    return sum(share > 0 for share in shares)


def _audible(example: Example, tags: Sequence[tuple[str, float]]) -> Audible:
    audio = example.audio is not None or "audio" in (example.features or {})
    return Audible(tags=tags, audio=audio, artists=_artists(example) > 0)


def _tags(example: Example, tokenizer: CaptionTokenizer) -> list[tuple[str, float]]:
    return [(tokenizer.decode(ids).strip(), weight) for ids, weight in example.tags]
