"""Text to tokens and back: whole, streamed, and from both kinds of folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SPECIAL, shared, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from audiogpt.checkpoint_parts import load_tokenizer
from audiogpt.checkpoints import CheckpointError
from audiogpt.tokenizer import BYTE_OF_CHARACTER, CaptionTokenizer

TEXTS = ["a slow ballad", "café señor – 日本", "🎵🎶 don't", " <title> x", "", "tab\tnewline\n"]


@pytest.fixture(scope="module")
def own(tiny_checkpoint: Path) -> CaptionTokenizer:
    return CaptionTokenizer.from_folder(tiny_checkpoint)


@pytest.fixture(scope="module")
def gpt2() -> CaptionTokenizer:
    return CaptionTokenizer.from_folder(shared("oracle", "playntell", "gpt2-bpe"))


def test_the_byte_alphabet_is_a_bijection() -> None:
    assert sorted(BYTE_OF_CHARACTER.values()) == list(range(256))
    assert BYTE_OF_CHARACTER["Ġ"] == ord(" ") and BYTE_OF_CHARACTER["a"] == ord("a")


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(own: CaptionTokenizer, text: str) -> None:
    assert own.decode(own.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_comes_back_and_streams_alike(own: CaptionTokenizer, text: str) -> None:
    text = text.encode(errors="ignore").decode()
    ids = own.encode(text)
    assert own.decode(ids) == text
    decoder = own.stream()
    pieces = [decoder.push(index) for index in ids] + [decoder.finish()]
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces) or "\N{REPLACEMENT CHARACTER}" in text


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.integers(0, 319), max_size=30))
def test_any_ids_stream_as_they_decode(own: CaptionTokenizer, ids: list[int]) -> None:
    """Broken UTF-8 included: what streams is what decodes, and spans tile the text."""
    decoder = own.stream()
    pieces = [decoder.push(index) for index in ids]
    assert "".join(pieces) + decoder.finish() == own.decode(ids)
    text, spans = own.character_spans(ids)
    assert text == own.decode(ids)
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])][: len(spans)]
    assert not spans or spans[-1][1] == len(text)


def test_half_a_character_is_never_streamed(own: CaptionTokenizer) -> None:
    ids = own.encode("🎵")
    assert len(ids) == 4  # this vocabulary has no token for it
    decoder = own.stream()
    assert [decoder.push(index) for index in ids] == ["", "", "", "🎵"]


def test_the_end_of_half_a_character_is_marked(own: CaptionTokenizer) -> None:
    decoder = own.stream()
    assert decoder.push(own.encode("🎵")[0]) == ""
    assert decoder.finish() == "\N{REPLACEMENT CHARACTER}"


def test_markers_and_artists_are_single_tokens(own: CaptionTokenizer) -> None:
    assert (own.eos_id, own.pad_id, own.bos_id) == (0, 1, 2)
    assert all(own.encode(token) == [index] for index, token in enumerate(SPECIAL))
    assert own.artist_ids == {5 + rank: rank for rank in range(10)}
    assert own.special_ids == {0, 1, 2}


def test_saving_and_loading_changes_nothing(own: CaptionTokenizer, tmp_path: Path) -> None:
    own.save(tmp_path)
    again = CaptionTokenizer.from_folder(tmp_path)
    assert again.encode(TEXTS[1]) == own.encode(TEXTS[1])
    assert again.artist_ids == own.artist_ids


def test_settings_that_cut_or_fill_are_taken_out(own: CaptionTokenizer, tmp_path: Path) -> None:
    altered = Tokenizer.from_str(own.tokenizer.to_str())
    altered.enable_truncation(2)
    altered.enable_padding(length=9)
    altered.save(str(tmp_path / "tokenizer.json"))
    assert CaptionTokenizer.from_folder(tmp_path).encode(TEXTS[0]) == own.encode(TEXTS[0])


def test_gpt2_ids_of_the_published_markers(gpt2: CaptionTokenizer) -> None:
    assert (gpt2.bos_id, gpt2.eos_id, gpt2.pad_id) == (47934, 50256, 47932)
    assert gpt2.vocab_size == 50257 and gpt2.artist_ids == {}
    assert gpt2.encode("<? <title> chill<|endoftext|>+=+=") == [
        *(47934, 1279, 7839, 29, 20493, 50256, 47932, 47932)
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_gpt2_equals_transformers(gpt2: CaptionTokenizer, text: str) -> None:
    from transformers import GPT2Tokenizer

    folder = shared("oracle", "playntell", "gpt2-bpe")
    reference = GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    assert gpt2.encode(text) == reference.encode(text)


def test_gpt2_from_its_two_files_or_one(gpt2: CaptionTokenizer, tmp_path: Path) -> None:
    gpt2.save(tmp_path)
    again = CaptionTokenizer.from_folder(tmp_path)
    text = "the best of don't<|endoftext|>+="
    assert again.encode(text) == gpt2.encode(text)
    assert again.bos_id == gpt2.bos_id


def test_folders_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither tokenizer\.json"):
        CaptionTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a readable"):
        CaptionTokenizer.from_folder(tmp_path)


def test_a_vocabulary_that_is_not_byte_level_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a b": 0, "<|endoftext|>": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match="byte-level"):
        CaptionTokenizer.from_folder(tmp_path)


def test_a_vocabulary_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match="could not end"):
        CaptionTokenizer.from_folder(tmp_path)


def test_a_tokenizer_file_that_is_not_byte_level_is_refused(tmp_path: Path) -> None:
    words = {"<|endoftext|>": 0, "\u2581piano": 1}  # as SentencePiece writes spaces
    Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>")).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a byte-level"):
        CaptionTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 240}, "tokens, but the model only 240"),
        ({"eos_token_id": 5}, "eos_token_id 0, but config.json says 5"),
        ({"bos_token_id": 5}, "bos_token_id 2, but config.json says 5"),
        ({"pad_token_id": 5}, "pad_token_id 1, but config.json says 5"),
    ],
)
def test_the_tokenizer_of_another_model_is_refused(tiny_checkpoint, changes, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(tiny_checkpoint, tiny_config(**changes))


def test_an_ordinary_token_may_serve_as_start_and_padding() -> None:
    """GPT-2's vocabulary has none of their own, so models started from it choose."""
    folder = shared("oracle", "playntell", "gpt2-bpe")
    ids = {"eos_token_id": 50256, "bos_token_id": 50256, "pad_token_id": 50256}
    assert load_tokenizer(folder, tiny_config(vocab_size=50257, **ids)).eos_id == 50256
