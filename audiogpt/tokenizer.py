"""Byte-level BPE: text to token ids and back, whole or piece by piece.

Two kinds of folders load into the same class:

- our own models: `tokenizer.json` (tokenizers library), where the markers `<title>` and
  `<description>` and the artists `artist0` to `artist9` are single tokens;
- GPT-2 and models converted from PlayNTell: `vocab.json` and `merges.txt`, or a `tokenizer.json`
  made of them, where the markers are ordinary text of several tokens. Start and padding are then
  the ordinary tokens `<?` and `+=`, as the published code has it.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END_OF_TEXT = "<|endoftext|>"
TITLE = "<title>"
DESCRIPTION = "<description>"
BOS_TOKENS = ("<|startoftext|>", "<?", END_OF_TEXT)  # the first that a vocabulary has
PAD_TOKENS = ("<|pad|>", "+=", END_OF_TEXT)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
TOKENIZER_FILE, GPT2_FILES = "tokenizer.json", ("vocab.json", "merges.txt")


def tokenizer_files(folder: Path) -> tuple[str, ...]:
    """The names of the files in a folder that its vocabulary is read from, if it has one."""
    for names in ((TOKENIZER_FILE,), GPT2_FILES):
        if all((folder / name).is_file() for name in names):
            return names
    return ()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: printable Latin-1 stays, the rest moves to 256+."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(256 + rank): byte for rank, byte in enumerate(others)
    }


BYTE_OF_CHARACTER = _byte_alphabet()


class CaptionTokenizer:
    """Text to token ids and back; `bos_id`, `eos_id` and `pad_id` are the ids of the markers."""

    def __init__(self, tokenizer: Tokenizer, *, name: str = "the tokenizer") -> None:
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        if END_OF_TEXT not in vocabulary:
            raise ValueError(f"{name} has no {END_OF_TEXT} token, so captions could not end.")
        added = tokenizer.get_added_tokens_decoder()
        plain = (token for token, index in vocabulary.items() if index not in added)
        if any(set(token) - BYTE_OF_CHARACTER.keys() for token in plain):
            raise ValueError(f"{name} is not a byte-level vocabulary like GPT-2's.")
        self.vocab_size = max(vocabulary.values()) + 1
        self.eos_id: int = vocabulary[END_OF_TEXT]
        self.bos_id: int = next(vocabulary[t] for t in BOS_TOKENS if t in vocabulary)
        self.pad_id: int = next(vocabulary[t] for t in PAD_TOKENS if t in vocabulary)
        self.added: dict[int, str] = {index: token.content for index, token in added.items()}
        # Spelled once: a caption that is streamed is read again with every token.
        self._bytes = {index: text.encode() for index, text in self.added.items()}
        for token, index in vocabulary.items():
            if index not in added:
                self._bytes[index] = bytes(BYTE_OF_CHARACTER[character] for character in token)

    @classmethod
    def from_folder(cls, folder: str | Path) -> CaptionTokenizer:
        """Load `tokenizer.json`, or else `vocab.json` and `merges.txt`, from a folder.

        Raises ValueError if the folder has neither or a file cannot be understood.
        """
        folder = Path(folder)
        files = [folder / name for name in tokenizer_files(folder)]
        if not files:
            raise ValueError(
                f"{folder} has neither tokenizer.json nor both vocab.json and merges.txt; "
                "copy GPT-2's two files or a tokenizer.json there."
            )
        if len(files) > 1:
            return cls(gpt2_tokenizer(*files), name=str(files[0]))
        try:
            tokenizer = Tokenizer.from_file(str(files[0]))
        except Exception as error:  # the library raises a plain Exception
            raise ValueError(f"{files[0]} is not a readable tokenizer file: {error}.") from error
        # A tokenizer saved elsewhere may carry settings that would cut or fill captions.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, name=str(files[0]))

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` into an existing folder."""
        self.tokenizer.save(str(Path(folder) / TOKENIZER_FILE))

    def token_id(self, token: str) -> int | None:
        """The id of a token written as it stands in the vocabulary, or None."""
        return self.tokenizer.token_to_id(token)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that end, start or pad a caption and are never part of its text."""
        return frozenset({self.bos_id, self.eos_id, self.pad_id})

    @cached_property
    def artist_ids(self) -> dict[int, int]:
        """Rank by id of the whole-token artists; empty where artists are ordinary text."""
        ranks = ((self.token_id(f"artist{rank}"), rank) for rank in range(10))
        return {index: rank for index, rank in ranks if index in self.added}

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; nothing is added before or after."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def token_bytes(self, index: int) -> bytes:
        """The bytes that a token stands for; empty for an id outside the vocabulary."""
        return self._bytes.get(index, b"")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens included; broken UTF-8 becomes U+FFFD."""
        return b"".join(self.token_bytes(int(index)) for index in ids).decode(errors="replace")

    def stream(self) -> StreamingDecoder:
        """A decoder that is fed ids one by one and never gives out half a character."""
        return StreamingDecoder(self)

    def character_spans(
        self, ids: Sequence[int], *, complete: bool = True
    ) -> tuple[str, list[tuple[int, int]]]:
        """`decode(ids)` and, for each token, the characters [start, end) that it completes.

        A token that only begins a character has an empty span just before that character; the
        token that completes it has all of it, so the spans tile the text. With `complete=False`
        more tokens may follow, and a character begun by the last ones is left out.
        """
        decoder, spans, pieces, length = self.stream(), [], [], 0
        for position, index in enumerate(ids):
            piece = decoder.push(int(index))
            if complete and position == len(ids) - 1:
                piece += decoder.finish()
            spans.append((length, length + len(piece)))
            length += len(piece)
            pieces.append(piece)
        return "".join(pieces), spans


class StreamingDecoder:
    """Turns a stream of token ids into text that only ever grows by whole characters.

    Pieces given by `push`, and `finish` at the end, joined, equal `CaptionTokenizer.decode`.
    """

    def __init__(self, tokenizer: CaptionTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, index: int) -> str:
        """The characters that this token completes, possibly none."""
        return self._decoder.decode(self._tokenizer.token_bytes(index))

    def finish(self) -> str:
        """What remains: U+FFFD if the text ended in the middle of a character."""
        return self._decoder.decode(b"", final=True)


def gpt2_tokenizer(vocab: str | Path, merges: str | Path) -> Tokenizer:
    """GPT-2's byte-level BPE (Radford et al., 2019) from its files; ValueError if unreadable."""
    try:
        model = models.BPE.from_file(str(vocab), str(merges))
        words = json.loads(Path(vocab).read_text(encoding="utf-8"))
    except Exception as error:  # the library raises a plain Exception
        raise ValueError(f"{vocab} and {merges} are not a readable BPE: {error}.") from error
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if END_OF_TEXT in words:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer
