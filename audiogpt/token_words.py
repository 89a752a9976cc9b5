"""Tokens as parts of words: where words and sentences end, and which tokens begin the same word.

Decoding terms speak of words (a word of a tag, three words said twice, sixty words at most), the
search of tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from audiogpt.tokenizer import DESCRIPTION, TITLE, CaptionTokenizer
from audiogpt.words import fold

_STOPS = frozenset(".!?")
SENTENCE_WORDS = 7  # room for a short sentence


@dataclass(frozen=True)
class Said:
    """What a text has said since the caption's last marker."""

    words: list[str]  # without case, plurals and marks
    spaced: int  # words as people count them: what spaces part
    ended: bool  # the last token ended a sentence
    open: bool  # the last token ended with a mark: what follows is a new word, space or not
    title: bool  # these are the title's words: the description has not begun

    def full(self, limit: int) -> bool:
        """Whether a sentence ended and another would go beyond `limit` words (0: no limit)."""
        if not limit or not self.ended:
            return False
        return self.spaced + SENTENCE_WORDS > limit


class _Part(NamedTuple):
    """What a token adds to a text: found once, as every hypothesis is read again at every step."""

    letters: str
    begins: bool  # with a space, a mark or nothing at all: what came before is a whole word
    space: bool  # it begins with a space
    open: bool  # what follows it is a new word


class TokenWords:
    """Tables over the vocabulary of a model: V tokens, of which the tokenizer may know fewer.

    `formatting` is that of the model's captions (`audiogpt.captions`): only in the standard one a
    marker says where the description begins (`description_id`); else all of the text counts.
    """

    def __init__(
        self, tokenizer: CaptionTokenizer, size: int | None = None, *, formatting: str = "standard"
    ) -> None:
        self.tokenizer = tokenizer
        self.size = tokenizer.vocab_size if size is None else size
        # An artist's token stands for a name; the other added tokens are a caption's markers.
        self.artists = {token: f"artist{rank}" for token, rank in tokenizer.artist_ids.items()}
        self.special = frozenset(tokenizer.added) - frozenset(self.artists)
        self.texts = [
            "" if index in self.special else self._text(index) for index in range(self.size)
        ]
        self.description_id = tokenizer.token_id(DESCRIPTION) if formatting == "standard" else None
        self.markers = frozenset(
            token for token in map(tokenizer.token_id, (TITLE, DESCRIPTION)) if token is not None
        )
        self.parts = [_part(text) for text in self.texts]
        # Every request asks for the spellings of the same instruments.
        self._encoded = lru_cache(maxsize=4096)(tokenizer.encode)
        self._begun: dict[str, tuple[list[int], list[int]]] = {}
        self._first: dict[str, list[int]] = defaultdict(list)  # tokens that begin a word
        self._inner: dict[str, list[int]] = defaultdict(list)  # the same letters without a space
        for index, (letters, begins, _, _) in enumerate(self.parts):
            if letters:
                (self._first if begins else self._inner)[letters].append(index)

    def _text(self, index: int) -> str:
        name = self.artists.get(index)
        return self.tokenizer.decode([index]) if name is None else f" {name}"

    @cached_property
    def boundary(self) -> Tensor:
        """bool (V,): tokens that do not continue a word."""
        return torch.tensor([part.begins for part in self.parts])

    @cached_property
    def stop(self) -> Tensor:
        """bool (V,): tokens that end a sentence."""
        return torch.tensor([bool(_STOPS & set(text)) for text in self.texts])

    def spellings(self, forms: Sequence[str]) -> list[list[int]]:
        """Token ids of each form inside a sentence and at its beginning, after a space."""
        written = {f" {form}" for form in forms} | {f" {form.capitalize()}" for form in forms}
        return [self._encoded(text) for text in sorted(written)]

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end a sentence, or begin the title or the description."""
        return self.markers.union(self.stop.nonzero()[:, 0].tolist())

    def read(self, tokens: Sequence[int]) -> Said:
        """The words of a text so far; special tokens (the caption's markers) begin a new one."""
        words: list[str] = []
        spaced, open_ = 0, True
        for token in tokens:
            if token in self.special:
                words, spaced, open_ = [], 0, True
                continue
            letters, begins, space, opens = self.parts[token]
            spaced += space or not spaced
            if letters:
                if open_ or begins:
                    words.append(letters)
                else:
                    words[-1] += letters
            open_ = opens
        ended = bool(words) and bool(_STOPS & set(self.texts[tokens[-1]]))
        title = self.description_id is not None and self.description_id not in tokens
        return Said([fold(word) for word in words], spaced, ended, open_, title)

    def repeating(self, said: Said, n: int) -> list[int]:
        """Tokens that would begin the last word of `n` words which the text has already (in a
        title, as short as it is, any word), and artists whom it has named."""
        words = said.words
        if n == 0:
            return []
        n = 1 if said.title else n
        named = [token for token, name in self.artists.items() if name in words]
        if len(words) < n:
            return named
        tail = words[len(words) - n + 1 :]
        again = {
            words[place + n - 1]
            for place in range(len(words) - n + 1)
            if words[place : place + n - 1] == tail
        }
        tokens = named
        for word in sorted(again):
            first, inner = self._beginnings(word)
            tokens += first + inner if said.open else first
        return tokens

    def _beginnings(self, word: str) -> tuple[list[int], list[int]]:
        """Tokens with which the word may begin, however spelled, with a space and without."""
        if word not in self._begun:
            forms = [word, word + "s", word.removesuffix("y") + "ies"]
            pieces = {self.parts[ids[0]].letters for ids in self.spellings(forms)} | {word}
            first, inner = (
                [token for piece in sorted(pieces) for token in table.get(piece, ())]
                for table in (self._first, self._inner)
            )
            self._begun[word] = (first, inner)
        return self._begun[word]


def _part(text: str) -> _Part:
    return _Part(
        letters="".join(letter for letter in text.lower() if letter.isalnum() or letter in "'&"),
        begins=not text[:1].isalnum() and text[:1] not in ("'", "&"),
        space=text[:1].isspace(),
        open=not text[-1:].isalnum() and text[-1:] != "&",
    )
