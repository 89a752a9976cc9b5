"""Write captions for many examples: what evaluation and reinforcement learning build on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from audiogpt.artists import NEUTRAL_NAME
from audiogpt.captions import read_caption
from audiogpt.decoding import decode_all
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.collate import Collator, as_rows
from audiogpt.training.dataset import Example

NAMES = tuple(f"{NEUTRAL_NAME} {rank}" for rank in range(10))


@dataclass(frozen=True, kw_only=True)
class Written:
    """One caption: its parts, its token ids, and whether it ended by itself."""

    title: str
    description: str
    tokens: tuple[int, ...]
    finished: bool
    score: float  # log-probability per token


def write_captions(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    examples: Sequence[Example],
    decoding: Decoding,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Iterator[Written]:
    """Captions in the order of the examples, the best hypothesis of each."""
    for written in write_alternatives(
        model, tokenizer, examples, decoding, batch_size=batch_size, seed=seed
    ):
        yield written[0]


def write_alternatives(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    examples: Sequence[Example],
    decoding: Decoding,
    *,
    batch_size: int = 32,
    seed: int = 0,
) -> Iterator[list[Written]]:
    """All hypotheses of each example, best first."""
    collate = Collator(model.config)
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        with torch.inference_mode():
            context = model.encode(as_rows(collate.rows(batch)))
        seeds = [seed + start + i for i in range(len(batch))]
        found = decode_all(model, context, decoding, seeds=seeds)
        eos = model.config.eos_token_id
        for item in range(len(batch)):
            written = []
            for rank in range(found.tokens.shape[1]):
                ids = found.ids(item, rank, eos)
                caption = read_caption(
                    tokenizer, ids, artists=NAMES, text_format=model.config.text_format
                )
                written.append(
                    Written(
                        title=caption.title,
                        description=caption.description,
                        tokens=tuple(ids),
                        finished=bool(found.finished[item, rank]),
                        score=float(found.log_probabilities[item, rank].sum()) / max(len(ids), 1),
                    )
                )
            yield written
