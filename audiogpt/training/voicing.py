"""Captions for clips that come with facts but no text, written by a model in the writers' manner.

Composed sentences are right but plain. A model that learned MusicCaps' captions from tags alone is
given the facts of a clip and the first words of a caption; what it writes becomes one more text for
the clip, if it tells the facts and nothing that is not known.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiogpt.checkpoints import from_pretrained, read_config
from audiogpt.request import Decoding
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.captioning import write_captions
from audiogpt.training.dataset import make_example
from audiogpt.training.pairs import Pair
from audiogpt.training.titles import compose_title
from audiogpt.training.views import Told, View, draw_told
from audiogpt.training.voiced import Voiced, is_sound, openings


def voice(pairs: Sequence[Pair], checkpoint: Path, *, draws: int, seed: int) -> Iterator[Voiced]:
    """Sound captions for `draws` drawn inputs of each pair, by a checkpoint that reads tags."""
    dice = random.Random(f"{seed}-voicing")
    told: list[Told] = []
    begun: list[str] = []
    for pair in pairs:
        for _ in range(draws):
            drawn = draw_told(pair, dice)
            if choices := openings(drawn.facts):
                told.append(drawn)
                title = compose_title(drawn.facts, dice)
                begun.append(f"<title> {title} <description> {dice.choice(choices)}")
    tokenizer = CaptionTokenizer.from_folder(checkpoint)
    written = write_captions(
        from_pretrained(checkpoint),
        tokenizer,
        [
            make_example(
                View(title="", description="", tags=tuple((fact, 1.0) for fact in drawn.facts)),
                tokenizer,
                {},
            )
            for drawn in told
        ],
        Decoding(**read_config(checkpoint).decoding),
        beginnings=begun,
    )
    for drawn, caption in zip(told, written, strict=True):
        voiced = Voiced(
            clip=drawn.clip,
            tags=drawn.tags,
            facts=drawn.facts,
            description=caption.description,
        )
        if caption.finished and is_sound(voiced):
            yield voiced
