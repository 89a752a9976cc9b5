"""From token ids to a caption: title, description, and the tokens behind each word.

Two formats. Our own models write `<title> Some Title <description> Whole sentences.`, with the
markers and artists as whole tokens. Converted PlayNTell models are read exactly as the published
code reads them (`docs/playntell.md` lists how that differs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile

from audiogpt.artists import (
    WHOLE_TOKEN,
    name_at,
    unmask_artists,
    unmask_artists_as_published,
)
from audiogpt.config import FORMATTINGS
from audiogpt.tokenizer import DESCRIPTION, END_OF_TEXT, REPLACEMENT, TITLE, CaptionTokenizer
from audiogpt.trace import Word

# The ways to write a caption in training, and the marker that the published code puts before each.
ADDED_MARKER = {
    "standard": "",
    "title_only": f"{TITLE} ",
    "description_only": f"{DESCRIPTION} ",
    "delimiter": f"{TITLE} ",
}
DELIMITER = "<delimiter>"
PUBLISHED_PAD = "+="
# While words are being found, an artist is one character of Unicode's private use area.
FIRST_ARTIST, LAST_ARTIST = 0xE000, 0xE3FF
PRIVATE = re.compile(f"[{chr(FIRST_ARTIST)}-{chr(LAST_ARTIST)}]")
CLOSING = re.compile(r"[.,;:!?…)\]»”]+")
DASHES = "-–—"
OPENING = "([{\"'“‘«/#@" + DASHES  # what a word may follow without a space
# What transformers 4.2.2 removes after decoding: spaces before these.
CLEANED_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@dataclass(frozen=True)
class Caption:
    """A caption and the tokens behind its words.

    `text` is the whole caption with its markers. An artist's name is one word, punctuation belongs
    to the word before it, and where the published code merges a repeated word, the tokens of all
    repetitions belong to it. `unnamed` are the artist ranks that the caption mentions but that have
    no name.
    """

    text: str
    title: str
    description: str
    words: tuple[Word, ...]
    unnamed: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """Characters of the caption between spaces, and the tokens [start, end) they came from."""

    text: str
    start: int
    end: int


def read_caption(
    tokenizer: CaptionTokenizer,
    ids: Sequence[int],
    *,
    artists: Sequence[str] = (),
    text_format: str = "own",
    formatting: str = "standard",
    exact: bool = True,
) -> Caption:
    """The caption that token ids spell, up to the end token; an unfinished one is read as far as
    it goes.

    `artists` are names by rank; `formatting` is what the captions of training had
    (`audiogpt.training.annotations.formatted`, in PlayNTell's params.json under that name). With
    `text_format="published"` the result is the published code's, repeated words and all.
    `exact=False` keeps out of that what no reader wants: artists are replaced as whole tokens, by
    their names as given or a neutral word, and a caption without any marker is a description
    instead of nothing.
    Raises ValueError for unknown formats.
    """
    if formatting not in FORMATTINGS:
        raise ValueError(f"formatting must be one of {', '.join(FORMATTINGS)}, not {formatting!r}.")
    if text_format == "own":
        return _read_own(tokenizer, ids, artists, formatting)
    if text_format != "published":
        raise ValueError(f"text_format must be own or published, not {text_format!r}.")
    return _read_published(tokenizer, ids, artists, formatting, exact)


def find_parts(text: str) -> dict[str, tuple[int, int]]:
    """Characters [start, end) of title and description in `<title> ... <description> ...`.

    As published: each begins after the first of its marker, the title ends at the first
    `<description>` or with the text, and a part whose marker is missing or late is empty.
    """
    end = len(text)
    title, description = text.find(TITLE), text.find(DESCRIPTION)
    title_end = description if description >= 0 else end
    title_start = title + len(TITLE) if title >= 0 else end
    return {
        "title": (min(title_start, title_end), title_end),
        "description": (description + len(DESCRIPTION) if description >= 0 else end, end),
    }


def split_caption(text: str) -> tuple[str, str]:
    """(title, description) of `<title> ... <description> ...`, each "" where it is missing."""
    parts = find_parts(text)
    title, description = (text[slice(*parts[name])].strip() for name in ("title", "description"))
    return title, description


def counted_parts(formatting: str) -> tuple[str, ...]:
    """The parts of a caption that the terms and limits of the search are about.

    It is the description where captions are written with the marker before it; in the other ways
    to write them the search cannot tell where a title ends, and counts all of the text.
    """
    return ("description",) if formatting == "standard" else ("title", "description")


def counted_text(title: str, description: str, formatting: str) -> str:
    """The text of `counted_parts`: what hypotheses are ranked by (`audiogpt.reranking`)."""
    parts = {"title": title, "description": description}
    return " ".join(parts[part] for part in counted_parts(formatting) if parts[part])


def _read_own(
    tokenizer: CaptionTokenizer, ids: Sequence[int], artists: Sequence[str], formatting: str
) -> Caption:
    text, owners = _own_text(tokenizer, ids)
    if formatting == "delimiter" and (at := text.find(DELIMITER)) >= 0:
        end = at + len(DELIMITER)
        between = [(owners[at][0], owners[end - 1][1])] * len(DESCRIPTION)
        text = text[:at] + DESCRIPTION + text[end:]
        owners = [*owners[:at], *between, *owners[end:]]
    if TITLE not in text and text.strip():
        # Without its marker, what stands before the description is the title; failing both, the
        # text is what the model was trained to write, by default a description.
        titled = DESCRIPTION in text or formatting in ("title_only", "delimiter")
        marker = f"{TITLE} " if titled else f"{DESCRIPTION} "
        text, owners = marker + text, [owners[0]] * len(marker) + owners
    missing: list[int] = []
    words: list[Word] = []
    markers = (TITLE, DESCRIPTION, *((DELIMITER,) if formatting == "delimiter" else ()))
    for part, (start, end) in find_parts(text).items():
        for match in re.finditer(r"\S+", text[start:end]):
            word = match.group()
            for marker in markers:
                word = word.replace(marker, "")
            if not word:
                continue
            first, last = owners[start + match.start()][0], owners[start + match.end() - 1][1] + 1
            word = PRIVATE.sub(
                lambda artist: name_at(ord(artist.group()) - FIRST_ARTIST, artists, missing), word
            )
            previous = words[-1] if words and words[-1].part == part else None
            if previous and CLOSING.fullmatch(word):  # punctuation belongs to its word
                words[-1] = Word(
                    text=previous.text + word, start=previous.start, end=last, part=part
                )
            else:
                words.append(Word(text=word, start=first, end=last, part=part))
    title, description = (
        " ".join(word.text for word in words if word.part == part)
        for part in ("title", "description")
    )
    whole = f"{TITLE} {title} {DESCRIPTION} {description}"
    return Caption(whole, title, description, tuple(words), tuple(missing))


def _own_text(tokenizer: CaptionTokenizer, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text up to the end, each artist one private character, and the tokens (first, last)
    behind each character."""
    text, owners = "", []
    for position, (index, piece) in enumerate(_pieces(tokenizer, ids)):
        if index in tokenizer.artist_ids:
            piece = chr(FIRST_ARTIST + tokenizer.artist_ids[index])
            if _needs_space(text):
                piece = " " + piece
        elif text and _is_artist(text[-1]) and piece[:1].isalnum():
            piece = " " + piece
        text += piece
        owners += [(position, position)] * len(piece)
    if tokenizer.artist_ids:
        return text, owners
    marked, kept, end = "", [], 0  # artists are ordinary text here
    for match in WHOLE_TOKEN.finditer(text):
        marked += text[end : match.start()] + chr(FIRST_ARTIST + int(match[1]))
        kept += [
            *owners[end : match.start()],
            (owners[match.start()][0], owners[match.end() - 1][1]),
        ]
        end = match.end()
    return marked + text[end:], [*kept, *owners[end:]]


def _pieces(tokenizer: CaptionTokenizer, ids: Sequence[int]) -> list[tuple[int, str]]:
    """Token ids up to the end or padding, each with the characters that it completes."""
    kept = list(takewhile(lambda i: i not in (tokenizer.eos_id, tokenizer.pad_id), map(int, ids)))
    text, spans = tokenizer.character_spans(kept, complete=len(kept) < len(ids))
    pieces = []
    for index, (start, end) in zip(kept, spans, strict=True):
        piece = " " if index == tokenizer.bos_id else text[start:end]
        pieces.append((index, PRIVATE.sub(REPLACEMENT, piece)))
    return pieces


def _needs_space(text: str) -> bool:
    """Whether a name after `text` needs a space, which its token may have swallowed."""
    if not text or text[-1].isspace():
        return False
    return text[-1] not in OPENING or (text[-1] in DASHES and text[-2:-1] == " ")


def _is_artist(character: str) -> bool:
    return FIRST_ARTIST <= ord(character) <= LAST_ARTIST


def clean_up(text: str, owners: list[int]) -> tuple[str, list[int]]:
    """Remove spaces before punctuation and contractions, as transformers 4.2.2 does by default.

    `owners` gives each character's token and loses the same characters.
    """
    for pattern in CLEANED_UP:
        dropped = set()
        for match in re.finditer(re.escape(pattern), text):
            dropped |= {i for i in range(*match.span()) if text[i] == " "}
        if dropped:
            owners = [owner for i, owner in enumerate(owners) if i not in dropped]
            text = "".join(c for i, c in enumerate(text) if i not in dropped)
    return text, owners


def published_words(
    tokenizer: CaptionTokenizer, ids: Sequence[int], *, complete: bool = True
) -> list[_Piece]:
    """The words that the published code keeps: up to the one with the end or padding token.

    Of that last word the part before the end token stays, even if it is empty; "+=" stays in it.
    `complete=False` leaves out a character that the last tokens only begin.
    """
    text, spans = tokenizer.character_spans(ids, complete=complete)
    owners = [position for position, (start, end) in enumerate(spans) for _ in range(start, end)]
    text, owners = clean_up(text, owners)
    words = []
    for match in re.finditer(r"\S+", text):
        word = match.group()
        last = END_OF_TEXT in word or PUBLISHED_PAD in word
        word = word.split(END_OF_TEXT)[0] if last else word
        start = match.start()
        first, end = owners[start], owners[start + max(len(word) - 1, 0)] + 1
        words.append(_Piece(word, first, end if word else first))
        if last:
            break
    return words


def _read_published(
    tokenizer: CaptionTokenizer,
    ids: Sequence[int],
    artists: Sequence[str],
    formatting: str,
    exact: bool,
) -> Caption:
    pieces = published_words(tokenizer, ids, complete=exact)
    words = []
    for text, group in groupby(pieces, key=lambda piece: piece.text):
        run = list(group)
        words.append(_Piece(text, run[0].start, run[-1].end))
    spoken = " ".join(word.text for word in words)
    ranks = {int(match[1]) for match in WHOLE_TOKEN.finditer(spoken)}
    unnamed = tuple(sorted(rank for rank in ranks if rank >= len(artists)))
    if exact:
        replaced = [unmask_artists_as_published(word.text, artists) for word in words]
    else:
        replaced = [unmask_artists(word.text, artists)[0] for word in words]
    words = [_Piece(text, w.start, w.end) for text, w in zip(replaced, words, strict=True)]
    added = ADDED_MARKER[formatting]
    if not exact and formatting == "standard" and TITLE not in spoken and DESCRIPTION not in spoken:
        added = ADDED_MARKER["description_only"]
    text = added + _delimited(" ".join(replaced), formatting)
    title, description = split_caption(text)
    removed = DELIMITER if formatting == "delimiter" else ""
    located = _locate(text, words, added, removed)
    return Caption(text, title, description, tuple(located), unnamed)


def _delimited(text: str, formatting: str) -> str:
    if formatting != "delimiter":
        return text
    title, _, description = text.partition(DELIMITER)
    return f"{title.strip()} {DESCRIPTION} {description.strip()}"


def _locate(text: str, words: Sequence[_Piece], added: str, removed: str) -> list[Word]:
    """The words that lie in the title or the description of `text`, which begins with `added` and
    no longer has `removed` in it."""
    spans, position = [], len(added)
    parts = find_parts(text)
    for word in words:
        if not word.text:
            continue
        body = word.text.replace(removed, "") if removed else word.text
        found = text.find(body, position) if body else -1
        if found < 0:
            continue
        position = found + len(body)
        for part, (start, end) in parts.items():
            shown = text[max(found, start) : min(position, end)].strip()
            if shown:
                spans.append(Word(text=shown, start=word.start, end=word.end, part=part))
    return spans
