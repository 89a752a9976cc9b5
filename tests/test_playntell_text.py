"""Text as published: every recorded row of token ids, caption and artist name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playntell_recipe import GPT2_BPE, text_cases

from audiogpt.artists import NEUTRAL_NAME
from audiogpt.captions import clean_up, published_words, read_caption
from audiogpt.playntell.english import preprocess
from audiogpt.playntell.numericalize import numericalize, padded_words
from audiogpt.tokenizer import CaptionTokenizer


@pytest.fixture(scope="module", params=text_cases(), ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(Path(request.param).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    if not GPT2_BPE.is_dir():
        pytest.skip("GPT-2's vocab.json and merges.txt are not in the oracle folder")
    return CaptionTokenizer.from_folder(GPT2_BPE)


def test_raw_text(recorded, tokenizer: CaptionTokenizer) -> None:
    for ids, expected in zip(recorded["ids"], recorded["raw"], strict=True):
        text = tokenizer.decode(ids)
        cleaned, owners = clean_up(text, list(range(len(text))))
        assert cleaned == expected
        assert "".join(text[owner] for owner in owners) == cleaned


def test_words(recorded, tokenizer: CaptionTokenizer) -> None:
    for ids, expected in zip(recorded["ids"], recorded["decoded_words"], strict=True):
        assert [word.text for word in published_words(tokenizer, ids)] == expected


def test_captions(recorded, tokenizer: CaptionTokenizer) -> None:
    for name, captions in recorded["captions"].items():
        artists = recorded["artists"] if name.endswith("with_artists") else []
        formatting = "standard" if name.startswith("standard") else name
        for ids, expected in zip(recorded["ids"], captions, strict=True):
            caption = read_caption(
                tokenizer, ids, artists=artists, text_format="published", formatting=formatting
            )
            assert caption.text == expected


def test_titles_and_descriptions(recorded, tokenizer: CaptionTokenizer) -> None:
    for ids, expected in zip(recorded["ids"], recorded["title_description"], strict=True):
        caption = read_caption(tokenizer, ids, artists=recorded["artists"], text_format="published")
        assert [caption.title, caption.description] == expected
        for part, text in zip(("title", "description"), expected, strict=True):
            assert " ".join(word.text for word in caption.words if word.part == part) == text


def test_artist_names(recorded) -> None:
    assert [preprocess(name) for name in recorded["artists"]] == recorded["artists_preprocessed"]


def test_training_captions(recorded, tokenizer: CaptionTokenizer) -> None:
    for batch in recorded["training_numericalize"]:
        assert padded_words(batch["captions"]) == batch["padded_words"]
        assert numericalize(tokenizer, batch["captions"]) == batch["ids"]
        whole = numericalize(tokenizer, batch["captions"], cut=False)
        assert whole == batch["ids_before_truncation"]


def test_spans_of_repeated_words_and_names(tokenizer: CaptionTokenizer) -> None:
    text = " <title> chill chill out <description> by artist0 artist0<|endoftext|>!!"
    ids = tokenizer.encode(text)
    caption = read_caption(tokenizer, ids, artists=["Daft Punk"], text_format="published")
    assert caption.title == "chill out" and caption.description == "by daft punk"
    spans = {word.text: tokenizer.decode(ids[word.start : word.end]) for word in caption.words}
    assert spans == {
        "chill": " chill chill",
        "out": " out",
        "by": " by",
        "daft punk": " artist0 artist0",
    }


def test_whole_artists_where_the_published_mistakes_are_not_wanted(
    tokenizer: CaptionTokenizer,
) -> None:
    ids = tokenizer.encode(" <title> a <description> artist1 artist10 artist3<|endoftext|>")
    names = ["A", "AC/DC"]
    published = read_caption(tokenizer, ids, artists=names, text_format="published")
    assert published.description == "ac / dc ac / dc0 artist3"
    assert published.unnamed == (3, 10)
    fixed = read_caption(tokenizer, ids, artists=names, text_format="published", exact=False)
    assert fixed.description == f"AC/DC {NEUTRAL_NAME} {NEUTRAL_NAME}"
    assert fixed.unnamed == (3, 10)


def test_a_caption_without_markers_is_empty_or_a_description(tokenizer: CaptionTokenizer) -> None:
    ids = tokenizer.encode(" no end here<|endoftext|>")
    exact = read_caption(tokenizer, ids, text_format="published")
    assert (exact.text, exact.title, exact.description) == ("no end here", "", "")
    shown = read_caption(tokenizer, ids, text_format="published", exact=False)
    assert (shown.title, shown.description) == ("", "no end here")
    assert [word.text for word in shown.words] == ["no", "end", "here"]


def test_a_delimiter_is_a_word_where_captions_are_written_without(
    tokenizer: CaptionTokenizer,
) -> None:
    ids = tokenizer.encode("<title> summer <delimiter> hits <description> it<|endoftext|>")
    caption = read_caption(tokenizer, ids, text_format="published")
    assert caption.title == "summer <delimiter> hits"
    assert [w.text for w in caption.words] == ["summer", "<delimiter>", "hits", "it"]


def test_a_delimiter_parts_title_and_description(tokenizer: CaptionTokenizer) -> None:
    ids = tokenizer.encode(" summer hits <delimiter> the best of it<|endoftext|>")
    caption = read_caption(tokenizer, ids, text_format="published", formatting="delimiter")
    assert (caption.title, caption.description) == ("summer hits", "the best of it")
    assert [(w.text, w.part) for w in caption.words] == [
        ("summer", "title"),
        ("hits", "title"),
        *((word, "description") for word in ("the", "best", "of", "it")),
    ]
