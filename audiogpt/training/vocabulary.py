"""A byte-level BPE vocabulary of our own, trained on the training texts."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from audiogpt.tokenizer import DESCRIPTION, END_OF_TEXT, TITLE

START, PAD = "<|startoftext|>", "<|pad|>"
ARTISTS = tuple(f"artist{rank}" for rank in range(10))


def train_vocabulary(texts: Iterable[str], *, size: int = 6000) -> Tokenizer:
    """Train a BPE of `size` tokens; markers and artists are whole tokens that swallow the space
    before them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        AddedToken(token, special=True, normalized=False) for token in (END_OF_TEXT, PAD, START)
    ]
    spoken = [
        AddedToken(
            token, special=False, normalized=False, lstrip=True, single_word=token in ARTISTS
        )
        for token in (TITLE, DESCRIPTION, *ARTISTS)
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*control, *spoken],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
