"""Coverage and invention in the search: paid token by token, they equal the score of the text."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import ROOT, tiny_config, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

import audiogpt.guidance as guidance_module
from audiogpt.context import FeatureRows
from audiogpt.decoding import Steering, decode_all
from audiogpt.guidance import Guidance, wants_guidance
from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionRequest, Decoding, Tag
from audiogpt.reranking import payment, told_again
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.words import all_words, instruments_supported, tag_words_used

TOKENIZER = CaptionTokenizer.from_folder(ROOT / "checkpoints" / "audiogpt-small")
WORDS = TokenWords(TOKENIZER)
BEAM = torch.zeros(1, 1, dtype=torch.long)
LIKELY, CERTAIN = torch.full((1, 1, TOKENIZER.vocab_size), -1.0), torch.zeros(1, 1)
DECODING = Decoding(coverage=9.5, invention=2.0)  # the weights of the words below add up to 9.5
TAGS = [
    ("synth pads", 1.0),
    ("groovy bass line", 0.5),
    ("electric guitars", 1.0),
    ("acoustic guitar", 0.3),
    ("vibrant", 0.7),
    ("melancholic", 1.0),
    ("no voices and percussion", 1.0),
]
VOCABULARY = [
    "synth",
    "synthesizer",
    "synths",
    "pad",
    "pads",
    "bass",
    "bassline",
    "lines",
    "groovy",
    "Groovy",
    "guitar",
    "guitars",
    "electric",
    "electrical",
    "acoustic",
    "vibrant",
    "vibraphone",
    "vibrating",
    "melancholic",
    "melancholy",
    "piano",
    "trumpets",
    "drum",
    "drumming",
    "song",
    "melody",
    "the",
    "a",
    "and",
    "melancholically",
    "xylophones",
    "voice",
    "Voices",
    "voiceover",
    "percussion",
    "percussive",
    "no",
    "lacks",
    "noisy",
    "without",
    "isn't",
]


def paid(text: str, tags=TAGS, decoding=DECODING, title="Song") -> float:
    """What the search pays for a text, token by token, and that it foretells each payment."""
    state = Guidance(WORDS, [tags], decoding).start()
    for token in [*TOKENIZER.encode(f"<title> {title} <description> {text}"), TOKENIZER.eos_id]:
        payments = state.payments(LIKELY)
        assert payments.shape == (1, 1, TOKENIZER.vocab_size)
        state = state.advance(BEAM, torch.tensor([[token]]), payments[:, :, token], CERTAIN)
    return float(state.total)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=7), min_size=1, max_size=3)
)
def test_what_the_search_pays_is_the_score_of_the_text(sentences) -> None:
    text = " ".join(" ".join(words).capitalize() + "." for words in sentences)
    # Of words that are not the tags', the search does not count repetitions.
    tag_words = {word for tag, _ in TAGS for word in all_words(tag)}
    known = all(
        len(words) == len(set(words)) or set(words) <= tag_words
        for words in (all_words(" ".join(sentence)) for sentence in sentences)
    )
    if known:  # longer tags told again show in a finished text alone
        later = DECODING.invention * told_again(text, TAGS)
        assert paid(text) == pytest.approx(payment(text, TAGS, DECODING) + later, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A vibrant song.", 0.7),
        ("A vibraphone song.", -2.0),
        ("A song with a guitar.", 1.0),
        ("A guitar and a guitar and a guitar.", 1.0 - 2.0),  # two tags name it
        ("A synthesizer.", -2.0),
        ("Piano and piano.", -2.0),
        ("There is no percussion.", 1.0),
        ("A voice.", -2.0),
        ("The song lacks percussion.", 1.0),
        ("A voice without percussion. Then percussion.", -2.0 + 1.0 - 2.0),
        ("A noisy voice. A noise, no voice.", -2.0 + 1.0),
        ("A vibrant song. It is vibrant. Vibrant.", 0.7 - 2 * 0.7),
        ("A vibrant, vibrant song. A guitar. A guitar. A guitar.", 0.7 - 2.0 + 1.0),
    ],
)
def test_words_are_paid_once_and_not_for_their_beginnings(text, expected) -> None:
    assert paid(text) == pytest.approx(expected, abs=1e-4)


def test_a_word_that_could_have_been_a_longer_one_is_paid_for_itself() -> None:
    tags = [("rock", 0.1), ("rocky", 1.0)]  # of two tokens, the first of which is "rock"
    for text in ("A rock song.", "A rocky song.", "Rock.", "A rocker.", "A rock and a rocky song."):
        assert paid(text, tags) == pytest.approx(payment(text, tags, DECODING), abs=1e-4)


def test_the_description_may_say_what_the_title_says() -> None:
    text = "A vibrant song with synth pads."
    for title in ("Vibrant Song", "Synth Guitar", "Vibrant Pads"):
        assert paid(text, title=title) == pytest.approx(payment(text, TAGS, DECODING), abs=1e-4)


def test_nothing_is_paid_in_the_title_or_for_tags_of_weight_zero() -> None:
    state = Guidance(WORDS, [TAGS], DECODING).start()
    for token in TOKENIZER.encode("<title> Vibrant Synth"):
        payments = state.payments(LIKELY)
        assert float(payments.max()) == 0.0
        state = state.advance(BEAM, torch.tensor([[token]]), payments[:, :, token], CERTAIN)
    assert not wants_guidance(DECODING, [("vibrant", 0.0)])
    assert not wants_guidance(Decoding(), TAGS)
    assert wants_guidance(DECODING, TAGS)


def test_absurd_tokens_are_not_paid_for_and_owe_nothing() -> None:
    state = Guidance(WORDS, [TAGS], DECODING).start()
    absurd = torch.full_like(LIKELY, -9.0)
    for token in TOKENIZER.encode("<description> A vibrant guitar."):
        payments = state.payments(absurd)
        assert float(payments.max()) == 0.0
        state = state.advance(
            BEAM, torch.tensor([[token]]), payments[:, :, token], torch.full((1, 1), -9.0)
        )
    assert float(state.total) == 0.0


def test_guided_beams_say_the_word_and_the_scores_tell_why(monkeypatch) -> None:
    model = tiny_model(tiny_config(vocab_size=TOKENIZER.vocab_size), seed=3)
    rows = FeatureRows(torch.zeros(2, 1, 256), torch.ones(2, 1))
    context = model.encode({"audio": rows})
    decoding = Decoding(beams=3, max_tokens=10, coverage=10.0, n_best=3)
    monkeypatch.setattr(guidance_module, "PLAUSIBLE", -20.0)  # a random model finds all unlikely
    begun = TokenWords(TOKENIZER)
    begun.description_id = None  # this model knows no markers
    guidance = Guidance(begun, [[("guitar", 1.0)], []], decoding)
    free = decode_all(model, context, decoding)
    led = decode_all(model, context, decoding, steering=Steering(guidance=guidance))
    assert " guitar" in TOKENIZER.decode(led.tokens[0, 0].tolist())
    torch.testing.assert_close(led.log_probabilities[1], free.log_probabilities[1])
    total = led.log_probabilities[0, 0].sum() + 10.0
    assert led.scores[0, 0].item() == pytest.approx(total.item(), abs=1e-3)


def repeating(text: str, n: int) -> list[str]:
    tokens = WORDS.repeating(WORDS.read(TOKENIZER.encode(text)), n)
    return [TOKENIZER.decode([token]) for token in tokens]


def test_no_words_come_twice_whatever_their_case_and_marks() -> None:
    assert " slow" in repeating("<description> The song is slow. A calm song, the song is", 4)
    banned = repeating("<description> The songs. Is it? The song", 3)
    assert " is" in banned
    assert " was" not in banned
    assert not repeating("<title> The song is <description> The song", 3)
    assert "bass" in repeating("<description> An e-bass plays. Then an e-", 3)
    assert "bass" not in repeating("<description> An e-bass plays. Then an e", 3)


def test_a_title_does_not_say_a_word_twice() -> None:
    assert {" Piano", " piano"} <= set(repeating("<title> Piano and", 3))
    assert " Strings" not in repeating("<title> Piano and", 3)
    assert not repeating("<title> Piano and", 0)
    assert " Piano" not in repeating("<description> Piano and", 3)


def test_no_sentence_begins_without_room() -> None:
    five = " It is a slow song."
    limits = [WORDS.read(TOKENIZER.encode(f"<description>{five * n}")).full(30) for n in range(8)]
    assert limits == [False] * 5 + [True] * 3  # a short sentence of 7 words must fit
    assert not WORDS.read(TOKENIZER.encode(f"<description>{five * 7} It is")).full(30)
    assert not WORDS.read(TOKENIZER.encode(f"<description>{five * 7}")).full(0)
    dashed = "<description> Hi-hats - like rain - in R&B."
    assert WORDS.read(TOKENIZER.encode(dashed)).spaced == len(dashed.split()) - 1


def test_captions_keep_to_the_limits_and_the_terms_do_what_they_say() -> None:
    captioner = Captioner.from_pretrained()
    lists = [
        ("rock", "electric guitar", "energetic", "male vocalist", "fast tempo", "live performance"),
        ("low quality", "shimmering hi hats", "mellow piano melody", "punchy kick", "passionate"),
        ("ambient", "calming", "synth pad", "no voices", "meditation", "slow tempo"),
        ("violin", "cello", "classical", "sad", "slow tempo", "orchestra", "emotional"),
    ]
    tags = [tuple(Tag(text=tag) for tag in tags) for tags in lists]
    usual = captioner.default_decoding

    def captions(**changes):
        decoding = replace(usual, **changes)
        requests = [CaptionRequest(tags=some, decoding=decoding) for some in tags]
        return [result.description for result in captioner.caption_batch(requests)]

    def told(descriptions) -> float:
        pairs = zip(lists, descriptions, strict=True)
        return sum(tag_words_used(given, text) for given, text in pairs)

    usually, short = captions(), captions(max_words=25)
    assert all(8 <= len(text.split()) <= 60 and text.endswith(".") for text in usually)
    assert sum(len(text.split()) for text in short) < sum(len(text.split()) for text in usually)
    assert all(8 <= len(text.split()) <= 25 and text.endswith(".") for text in short)
    for text in usually:
        words = all_words(text)
        trigrams = list(zip(words, words[1:], words[2:], strict=False))
        assert len(set(trigrams)) == len(trigrams)
    assert told(usually) > told(captions(coverage=0.0, invention=0.0))
    named, supported = zip(
        *(instruments_supported(g, t)[::-1] for g, t in zip(lists, usually, strict=True)),
        strict=True,
    )
    assert sum(supported) == sum(named) > 0
