"""Write captions for many examples: what evaluation and reinforcement learning build on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from audiogpt.captions import counted_text, read_caption
from audiogpt.controls import control_features
from audiogpt.decoding import decode_all, steer
from audiogpt.guidance import wants_guidance
from audiogpt.length import Audible, LengthModel, expected_words, length_gains
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.reranking import rerank
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.collate import Collator, as_rows, to_device
from audiogpt.training.dataset import Example
from audiogpt.training.plain_text import NAMES


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
    collate, formatting = Collator(model.config), model.config.formatting
    words = TokenWords(tokenizer, model.config.vocab_size, formatting=formatting)
    eos = model.config.eos_token_id
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        tags = [_tags(example, tokenizer) for example in batch]
        audible = [_audible(example, some) for example, some in zip(batch, tags, strict=True)]
        gains = [length_gains(decoding, lengths, **heard) for heard in audible]
        controls = control_features(
            model.config.controls,
            [decoding.controls(heard["tags"], expected_words(lengths, heard)) for heard in audible],
        )
        with torch.inference_mode():
            rows = to_device(collate.rows(batch), model.device)
            context = model.encode(as_rows(rows), controls=controls)
        found = decode_all(
            model,
            context,
            decoding,
            seeds=[seed + start + i for i in range(len(batch))],
            steering=steer(
                words,
                tags,
                decoding,
                device=model.device,
                forbidden=[_unnamed(example, tokenizer) for example in batch],
                gains=gains,
            ),
        )
        for item in range(len(batch)):
            written = []
            for rank in range(int(found.scores[item].isfinite().sum())):
                ids = found.ids(item, rank, eos)
                caption = read_caption(
                    tokenizer,
                    ids,
                    artists=NAMES,
                    text_format=model.config.text_format,
                    formatting=formatting,
                )
                written.append(
                    Written(
                        title=caption.title,
                        description=caption.description,
                        tokens=tuple(ids),
                        finished=bool(found.finished[item, rank]),
                        log_probability=float(found.log_probabilities[item, rank].sum()),
                    )
                )
            yield choose(written, tags[item], decoding, gains[item], formatting=formatting)


def choose(
    written: Sequence[Written],
    tags: Sequence[tuple[str, float]],
    decoding: Decoding,
    gains: np.ndarray | None = None,
    *,
    formatting: str = "standard",
) -> Written:
    """The best hypothesis; unfinished ones only if there is no other."""
    if gains is None and not wants_guidance(decoding, tags):
        return written[0]

    def counted(caption: Written) -> str:
        return counted_text(caption.title, caption.description, formatting)

    finished = [w for w in written if w.finished and counted(w)] or list(written)
    order, _ = rerank(
        [counted(w) for w in finished],
        [w.log_probability for w in finished],
        [len(w.tokens) for w in finished],
        tags,
        decoding,
        gains,
    )
    return finished[order[0]]


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
