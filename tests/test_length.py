"""The length of captions: what is expected of a request, and a search that aims at it."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from conftest import ROOT, tiny_config, tiny_model
from hypothesis import given
from hypothesis import strategies as st

from audiogpt.checkpoints import CheckpointError, checkpoint_hash, read_lengths
from audiogpt.context import FeatureRows
from audiogpt.decoding import decode_all, steer
from audiogpt.length import LengthModel, LengthTerm, bell, length_features, target_words
from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionRequest, Decoding, Tag
from audiogpt.reranking import rerank
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.length_fit import fit_lengths
from audiogpt.training.pairs import Pair
from audiogpt.training.sources import Sources

TOKENIZER = CaptionTokenizer.from_folder(ROOT / "checkpoints" / "audiogpt-small")
WORDS = TokenWords(TOKENIZER)
MODEL = LengthModel(20.0, {"log tags": 4.0, "word slow": 6.0, "tag slow piano": 3.0, "audio": -5.0})
TEXTS = st.lists(
    st.tuples(st.sampled_from(["slow piano", "rock", "Slow", "!?"]), st.floats(0, 1)), max_size=5
)


@given(TEXTS)
def test_a_tag_of_weight_zero_is_as_if_it_were_absent(tags) -> None:
    heard = [(text, weight) for text, weight in tags if weight > 0]
    silent = [*tags, ("slow piano", 0.0)]
    expected = MODEL.expected(heard, audio=False, artists=False)
    assert MODEL.expected(silent, audio=False, artists=False) == expected
    assert length_features(silent, audio=True, artists=False) == length_features(
        heard, audio=True, artists=False
    )


def test_the_expectation_is_a_sum_that_a_reader_can_check() -> None:
    one = MODEL.expected([("Slow pianos", 0.5)], audio=False, artists=False)
    assert one == pytest.approx(20 + 4 * 0.4054651 + 0.5 * (6 + 3))
    with_audio = MODEL.expected([("Slow pianos", 0.5)], audio=True, artists=True)
    assert with_audio == pytest.approx(one - 5)
    assert LengthModel(-40.0, {}).expected([], audio=False, artists=False) == 8


def test_lengths_belong_to_a_checkpoint(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert read_lengths(tmp_path) is None
    before = checkpoint_hash(tmp_path)
    MODEL.save(tmp_path)
    assert read_lengths(tmp_path) == MODEL
    assert checkpoint_hash(tmp_path) != before
    for text in (
        "[]",
        '{"base": 1}',
        '{"base": "x", "weights": {}}',
        '{"base": NaN, "weights": {}}',
    ):
        (tmp_path / "lengths.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"lengths\.json"):
            read_lengths(tmp_path)


def test_what_is_asked_for_goes_before_what_is_expected() -> None:
    tags = [("slow", 1.0)]

    def aim(lengths: LengthModel | None, **settings: object) -> float | None:
        return target_words(Decoding(**settings), lengths, tags, audio=False, artists=False)

    assert aim(None) is None
    assert aim(MODEL) == pytest.approx(MODEL.expected(tags, audio=False, artists=False))
    assert aim(MODEL, max_words=12) == 12
    assert aim(None, target_words=31) == aim(MODEL, target_words=31) == 31
    assert aim(MODEL, length=0.0, target_words=31) is None
    assert aim(MODEL, method="sample") is None


def test_hypotheses_gain_by_their_length_and_open_ones_what_they_still_may() -> None:
    term = LengthTerm([20.0, None], 0.5)
    words = torch.tensor([[5.0, 20.0, 35.0], [5.0, 20.0, 35.0]])
    gains = [0.5 * bell(count, 20.0) for count in (5, 20, 35)]
    assert term.ended(words)[0].tolist() == pytest.approx(gains)
    assert term.open(words)[0].tolist() == pytest.approx([0.5, 0.5, gains[2]])
    assert not term.ended(words)[1].any()  # an item without a target
    texts = ["five words are not enough", "so many words " * 7]
    order, scores = rerank(texts, [-1.0, -1.2], [9, 30], [], Decoding(length=0.5), 20.0)
    assert order == [1, 0]
    assert scores[1] == pytest.approx(-1.2 + 0.5 * bell(21, 20.0))
    assert rerank(texts, [-1.0, -1.2], [9, 30], [], Decoding(length=0.5), None)[0] == [0, 1]


def test_the_search_aims_at_the_words_that_it_is_given() -> None:
    model = tiny_model(tiny_config(vocab_size=TOKENIZER.vocab_size), seed=3)
    context = model.encode({"audio": FeatureRows(torch.zeros(2, 1, 256), torch.ones(2, 1))})
    decoding = Decoding(beams=4, max_tokens=40, length=10.0)

    def words_of(*targets: float | None) -> list[int]:
        steering = steer(WORDS, [[], []], decoding, targets=targets)
        found = decode_all(model, context, decoding, steering=steering)
        return [WORDS.read(found.ids(i, 0, model.config.eos_token_id)).spaced for i in range(2)]

    free = words_of(None, None)
    assert words_of(None, 9.0)[0] == free[0]  # one item's target is not the other's
    few, more = words_of(5.0, 20.0)
    assert few < more


def test_the_bundled_model_writes_about_as_many_words_as_asked() -> None:
    captioner = Captioner.from_pretrained()
    tags = tuple(Tag(text=t) for t in ("rock", "electric guitar", "male vocalist", "energetic"))
    counts = []
    for target in (12, 40):
        decoding = dataclasses.replace(captioner.default_decoding, target_words=target)
        result = captioner.caption(CaptionRequest(tags=tags, decoding=decoding), trace=False)
        counts.append(len(result.description.split()))
        assert result.description.endswith(".")
    assert abs(counts[0] - 12) <= 8
    assert abs(counts[1] - 40) <= 8


def test_expected_lengths_are_learned_from_captions() -> None:
    dice = random.Random(0)
    rows = []
    for index in range(200):
        tags = tuple(dice.sample(("verbose", "soft", "loud", "old"), 2))
        count = 44 if "verbose" in tags else 20
        text = ("It is a song " * 20).split()[:count]
        rows.append(
            Pair(key=str(index), source="musiccaps", sentences=(" ".join(text) + ".",), tags=tags)
        )
    lengths = fit_lengths(Sources(pairs={"musiccaps": rows}, artists=False), seed=1)
    long = lengths.expected([("verbose", 1.0), ("old", 1.0)], audio=False, artists=False)
    short = lengths.expected([("soft", 1.0), ("old", 1.0)], audio=False, artists=False)
    assert long == pytest.approx(44, abs=5)
    assert short == pytest.approx(20, abs=5)
    assert fit_lengths(Sources(pairs={"musiccaps": rows}, artists=False), seed=1) == lengths
