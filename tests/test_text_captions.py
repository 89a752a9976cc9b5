"""Token ids to captions: our own format, and the words behind it. See also test_playntell_text."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SPECIAL, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from audiogpt.artists import NEUTRAL_NAME
from audiogpt.captions import Caption, read_caption, split_caption
from audiogpt.tokenizer import CaptionTokenizer

NAMES = ("Daft Punk", "AC/DC", "P!nk")


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> CaptionTokenizer:
    return CaptionTokenizer.from_folder(tiny_checkpoint)


def read(tokenizer: CaptionTokenizer, text: str, names=NAMES) -> Caption:
    return read_caption(tokenizer, tokenizer.encode(text), artists=names)


def words_of(caption: Caption, part: str) -> list[str]:
    return [word.text for word in caption.words if word.part == part]


def test_title_and_description(tokenizer: CaptionTokenizer) -> None:
    caption = read(
        tokenizer, "<title> Slow Drums <description> A mellow ballad, with drums.<|endoftext|> x"
    )
    assert caption.title == "Slow Drums"
    assert caption.description == "A mellow ballad, with drums."
    assert words_of(caption, "description") == ["A", "mellow", "ballad,", "with", "drums."]
    assert caption.unnamed == ()


def test_spans_cover_the_tokens_of_each_word(tokenizer: CaptionTokenizer) -> None:
    ids = tokenizer.encode("<title> Slow Drums <description> A mellow ballad, with drums.")
    for word in read_caption(tokenizer, ids).words:
        assert tokenizer.decode(ids[word.start : word.end]).strip() == word.text


@pytest.mark.parametrize(
    ("text", "title", "description"),
    [
        ("", "", ""),
        ("<title> Some Ti", "Some Ti", ""),
        ("<title> Some <description>", "Some", ""),
        ("<description> only this", "", "only this"),
        ("no markers at all", "", "no markers at all"),
        ("a title <description> and this", "a title", "and this"),
        ("<|startoftext|> <title> a <description> b", "a", "b"),
        ("<title> a <description> b <title> c", "a", "b c"),
        ("<title> a <description> b <|pad|> c", "a", "b"),
    ],
)
def test_unfinished_and_odd_captions(
    tokenizer: CaptionTokenizer, text: str, title: str, description: str
) -> None:
    caption = read(tokenizer, text)
    assert (caption.title, caption.description) == (title, description)


def test_artists_become_names_of_one_word(tokenizer: CaptionTokenizer) -> None:
    caption = read(tokenizer, "<title> Of artist0 <description> artist1's and artist2, artist0.")
    assert caption.title == "Of Daft Punk"
    assert words_of(caption, "description") == ["AC/DC's", "and", "P!nk,", "Daft Punk."]
    name = caption.words[1]
    assert name.text == "Daft Punk" and name.end - name.start <= 2


def test_a_missing_name_is_neutral_and_reported(tokenizer: CaptionTokenizer) -> None:
    caption = read(tokenizer, "<description> by artist7 and artist1", names=("Air",))
    assert caption.description == f"by {NEUTRAL_NAME} and {NEUTRAL_NAME}"
    assert caption.unnamed == (7, 1)


def test_names_that_look_like_tokens_or_markers_stay(tokenizer: CaptionTokenizer) -> None:
    caption = read(tokenizer, "<title> a <description> by artist0", names=("artist1 <title>",))
    assert caption.description == "by artist1 <title>"


def test_spaces_that_the_vocabulary_swallows_are_put_back(tokenizer: CaptionTokenizer) -> None:
    """Some vocabularies strip the space before a special token."""
    altered = Tokenizer.from_str(tokenizer.tokenizer.to_str())
    altered.add_special_tokens([AddedToken(t, lstrip=True, normalized=False) for t in SPECIAL])
    stripping = CaptionTokenizer(altered)
    for text in (
        "songs of artist0 and artist1, artist2",
        "songs – artist0 (artist1) and “artist2”",
        "a artist0/artist1 mix: artist2's",
        "well-artist0",
    ):
        spoken = text
        for rank, name in enumerate(NAMES):
            spoken = spoken.replace(f"artist{rank}", name)
        caption = read_caption(stripping, stripping.encode(f"<description> {text}"), artists=NAMES)
        assert caption.description == spoken


def test_punctuation_belongs_to_the_word_before(tokenizer: CaptionTokenizer) -> None:
    caption = read(tokenizer, "<description> slow , mellow ... and ( soft ) – drums !")
    assert caption.description == "slow, mellow... and ( soft) – drums!"
    assert [w.text for w in caption.words] == [
        "slow,",
        "mellow...",
        "and",
        "(",
        "soft)",
        "–",
        "drums!",
    ]


def test_characters_of_the_private_area_are_no_artists(tokenizer: CaptionTokenizer) -> None:
    caption = read(tokenizer, "<description> odd \ue001 sign")
    assert caption.description == "odd � sign"


def test_a_running_caption_never_shows_half_a_character(tokenizer: CaptionTokenizer) -> None:
    ids = tokenizer.encode("<description> café 🎵 drums")
    for length in range(len(ids)):
        assert "\N{REPLACEMENT CHARACTER}" not in read_caption(tokenizer, ids[:length]).text
    broken = [*tokenizer.encode("<description> x🎵")[:-2], tokenizer.eos_id]
    assert read_caption(tokenizer, broken).description == "x\N{REPLACEMENT CHARACTER}"


@settings(max_examples=80, deadline=None)
@given(ids=st.lists(st.integers(0, 319), max_size=40))
def test_any_tokens_give_a_caption(tokenizer: CaptionTokenizer, ids: list[int]) -> None:
    """Spans lie in order within the tokens, and no marker or artist token is ever shown."""
    caption = read_caption(tokenizer, ids, artists=NAMES)
    assert caption.title == " ".join(words_of(caption, "title"))
    assert caption.description == " ".join(words_of(caption, "description"))
    last = 0
    for word in caption.words:
        assert last <= word.start < word.end <= len(ids) or word.start < word.end <= len(ids)
        last = word.start
    shown = caption.title + caption.description
    assert not any(token in shown for token in ("<|endoftext|>", "<|pad|>", "<|startoftext|>"))
    assert not any("\ue000" <= character <= "\ue3ff" for character in shown)


def test_artists_as_ordinary_text_are_found_whole() -> None:
    """GPT-2's vocabulary has no artist tokens: "artist10" is two ordinary tokens."""
    gpt2 = CaptionTokenizer.from_folder(shared("oracle", "playntell", "gpt2-bpe"))
    names = [f"Name {rank}" for rank in range(11)]
    ids = gpt2.encode("<title> x <description> artist10 and artist1.")
    caption = read_caption(gpt2, ids, artists=names)
    assert caption.description == "Name 10 and Name 1."
    assert gpt2.decode(ids[caption.words[1].start : caption.words[1].end]) == " artist10"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<title> bla", ("bla", "")),
        ("<description> this <title> that", ("", "this <title> that")),
        ("<title> this <description> that", ("this", "that")),
        ("bla bla <title> ble <description> bla", ("ble", "bla")),
        ("bla bla <description> bla", ("", "bla")),
        ("nothing", ("", "")),
    ],
)
def test_parsing_as_published(text: str, parts: tuple[str, str]) -> None:
    assert split_caption(text) == parts


@pytest.mark.parametrize(
    ("formatting", "text", "title", "description"),
    [
        ("title_only", "some drums", "some drums", ""),
        ("description_only", "a ballad.", "", "a ballad."),
        ("delimiter", "some drums <delimiter> a ballad, by artist0.", "some drums",
         "a ballad, by Daft Punk."),
        ("delimiter", "some drums, not yet", "some drums, not yet", ""),
        ("delimiter", "some drums <delimiter> a <delimiter> ballad", "some drums", "a ballad"),
    ],
)  # fmt: skip
def test_captions_are_read_as_they_were_written_in_training(
    tokenizer: CaptionTokenizer, formatting: str, text: str, title: str, description: str
) -> None:
    ids = tokenizer.encode(text)
    caption = read_caption(tokenizer, ids, artists=NAMES, formatting=formatting)
    assert (caption.title, caption.description) == (title, description)
    for word in caption.words:
        if "Daft" not in word.text:
            assert tokenizer.decode(ids[word.start : word.end]).strip() == word.text


@pytest.mark.parametrize("wrong", [{"text_format": "free"}, {"formatting": "rhymes"}])
def test_unknown_formats_are_refused(tokenizer: CaptionTokenizer, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        read_caption(tokenizer, [5], **wrong)
