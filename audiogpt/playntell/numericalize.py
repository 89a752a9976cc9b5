"""Training captions to token ids, as the published code does it, its cut included.

Only for comparison with the published training: our own training (audiogpt/training) does not cut
captions.
"""

from __future__ import annotations

from collections.abc import Sequence

from audiogpt.tokenizer import END_OF_TEXT, CaptionTokenizer

START, PAD = "<?", "+="


def padded_words(captions: Sequence[str]) -> list[list[str]]:
    """Each caption's words between start and end token, filled up to the longest of the batch."""
    split = [caption.split(" ") for caption in captions]
    longest = max(map(len, split), default=0)
    return [[START, *words, END_OF_TEXT] + [PAD] * (longest - len(words)) for words in split]


def numericalize(
    tokenizer: CaptionTokenizer, captions: Sequence[str], *, cut: bool = True
) -> list[list[int]]:
    """Token ids per caption, as the published code trains on them.

    It cuts each row to its number of *words*, so that long captions lose their end: the released
    model learned from cut captions. `cut=False` keeps all ids.
    """
    rows = []
    for words in padded_words(captions):
        text = " ".join(words).replace(f" {END_OF_TEXT}", END_OF_TEXT).replace(f" {PAD}", PAD)
        ids = tokenizer.encode(text)
        rows.append(ids[: len(words)] if cut else ids)
    return rows
