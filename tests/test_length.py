"""The length of captions: what is expected of a request, and a search that aims at it."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from conftest import ROOT, tiny_config, tiny_model
from hypothesis import given
from hypothesis import strategies as st

from audiogpt.checkpoints import CheckpointError, checkpoint_hash, read_lengths
from audiogpt.context import FeatureRows
from audiogpt.decoding import decode_all, steer
from audiogpt.length import (
    MOST_WORDS,
    TOLERANCE,
    LengthModel,
    LengthTerm,
    length_features,
    length_gains,
    with_unknown,
)
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
# Two styles of text and one of clips. "verbose" tells of the second, "slow" adds words to both.
MODEL = LengthModel(
    styles=("short", "long", "clip"),
    features={"word verbose": 0, "word slow": 1, "log tags": 2},
    logits=np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),
    means=np.array([[0.0, 0.0, 0.0], [3.0, 6.0, 0.0], [2.0, 2.0, 0.0], [15.0, 45.0, 20.0]]),
    deviations=np.array([3.0, 8.0, 5.0]),
    clips=np.array([False, False, True]),
    artists=8.0,
)
TEXTS = st.lists(
    st.tuples(st.sampled_from(["verbose piano", "rock", "Slow", "!?"]), st.floats(0, 1)),
    max_size=5,
)


@given(TEXTS)
def test_a_tag_of_weight_zero_is_as_if_it_were_absent(tags) -> None:
    heard = [(text, weight) for text, weight in tags if weight > 0]
    silent = [*tags, ("slow piano", 0.0)]
    assert length_features(silent) == length_features(heard)
    gains = MODEL.gains(silent, audio=False, artists=False)
    assert np.array_equal(gains, MODEL.gains(heard, audio=False, artists=False))
    assert gains.max() == 1.0
    assert gains.min() >= 0.0


def test_the_mixture_is_what_its_tables_say() -> None:
    p, means = MODEL.mixture([("slow", 0.5), ("verbose", 1.0)], audio=False, artists=True)
    logits = np.array([2.0, 4.0])
    assert p[:2] == pytest.approx(np.exp(logits) / np.exp(logits).sum())
    assert p[2] == 0.0  # a style of clips
    more = 2 * np.log1p(1.5)
    assert means[:2] == pytest.approx([15 + 1.5 + more + 8, 45 + 3 + more + 8])
    gains = MODEL.gains([("slow", 0.5), ("verbose", 1.0)], audio=False, artists=True)
    # The expectation of the tolerance curve over the mixture, by adding up many draws.
    dice = np.random.default_rng(0)
    style = dice.choice(3, 100_000, p=p)
    words = dice.normal(means[style], MODEL.deviations[style])
    drawn = np.array(
        [np.exp(-0.5 * ((w - words) / TOLERANCE) ** 2).mean() for w in range(MOST_WORDS + 1)]
    )
    assert gains == pytest.approx(drawn / drawn.max(), abs=0.02)
    assert MODEL.gains([], audio=True, artists=False).argmax() == 20


def test_unknown_words_count_where_the_tables_ask_for_them() -> None:
    tags = [("slow zither", 1.0), ("glassy", 0.5), ("theremin", 0.0)]
    features = with_unknown(length_features(tags), MODEL.features)
    assert features["word slow"] == 1.0
    assert features["log unknown words"] == pytest.approx(np.log1p(1.5))
    assert features["unknown words"] == pytest.approx(1.5 / 2.5)
    assert features["unknown tags"] == 1.0
    assert with_unknown(length_features([]), MODEL.features)["unknown words"] == 0.0
    more = dataclasses.replace(
        MODEL,
        features={**MODEL.features, "log unknown words": 3},
        logits=np.insert(MODEL.logits, 3, 0.0, axis=0),
        means=np.insert(MODEL.means, 3, 10.0, axis=0),
    )
    for some in (tags, [("slow", 1.0)]):
        unknown = with_unknown(length_features(some), MODEL.features)["log unknown words"]
        asked = {"audio": False, "artists": False}
        _, means = MODEL.mixture(some, **asked)
        assert more.mixture(some, **asked)[1] == pytest.approx(means + 10 * unknown)
    assert MODEL.expected(tags, audio=True, artists=False) == 20.0


def test_lengths_belong_to_a_checkpoint(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert read_lengths(tmp_path) is None
    before = checkpoint_hash(tmp_path)
    MODEL.save(tmp_path)
    again = read_lengths(tmp_path)
    assert again is not None
    for tags in ([("slow", 0.7)], [("verbose", 1.0), ("rock", 0.2)]):
        gains = MODEL.gains(tags, audio=False, artists=True)
        assert np.array_equal(again.gains(tags, audio=False, artists=True), gains)
    assert checkpoint_hash(tmp_path) != before
    whole = (tmp_path / "lengths.json").read_text()
    spoiled = ("[]", "{}", whole[:-9], whole.replace("45.0", "NaN"), whole.replace("[0.0, ", "["))
    huge = whole.replace("45.0", "45" + "0" * 400)
    for text in (*spoiled, huge, "[" * 100_000):
        (tmp_path / "lengths.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"lengths\.json"):
            read_lengths(tmp_path)


def test_what_is_asked_for_goes_before_what_is_expected() -> None:
    tags = [("slow", 1.0)]

    def aim(lengths: LengthModel | None, **settings: object) -> np.ndarray | None:
        decoding = Decoding(**{"length": 0.5, **settings})
        return length_gains(decoding, lengths, tags, audio=False, artists=False)

    assert aim(None) is None
    expected = aim(MODEL)
    assert expected == pytest.approx(0.5 * MODEL.gains(tags, audio=False, artists=False))
    for lengths in (None, MODEL):
        asked = aim(lengths, target_words=31)
        assert asked.argmax() == 31
        assert asked[31 + 6] == pytest.approx(4 * 0.5 * np.exp(-0.5))
    assert aim(MODEL, length=0.0, target_words=31) is None
    assert aim(MODEL, method="sample") is None


def test_hypotheses_gain_by_their_length_and_open_ones_what_they_still_may() -> None:
    gains = length_gains(
        Decoding(target_words=20, length=0.5), None, [], audio=False, artists=False
    )
    term = LengthTerm([gains, None])
    words = torch.tensor([[5, 20, 35], [5, 20, 3500]])
    assert term.ended(words)[0].tolist() == pytest.approx(gains[[5, 20, 35]].tolist())
    assert term.open(words)[0].tolist() == pytest.approx([2.0, 2.0, gains[35]])
    assert not term.ended(words)[1].any()  # an item without an aim
    texts = ["five words are not enough", "so many words " * 7]
    order, scores = rerank(texts, [-1.0, -1.2], [9, 30], [], Decoding(), gains)
    assert order == [1, 0]
    assert scores[1] == pytest.approx(-1.2 + gains[21])
    assert rerank(texts, [-1.0, -1.2], [9, 30], [], Decoding())[0] == [0, 1]


def test_the_search_aims_at_the_words_that_it_is_given() -> None:
    model = tiny_model(tiny_config(vocab_size=TOKENIZER.vocab_size), seed=3)
    context = model.encode({"audio": FeatureRows(torch.zeros(2, 1, 256), torch.ones(2, 1))})

    def words_of(*targets: int | None) -> list[int]:
        decoding = Decoding(beams=4, max_tokens=40, length=5.0)
        gains = [
            target
            and length_gains(
                dataclasses.replace(decoding, target_words=target),
                None,
                [],
                audio=False,
                artists=False,
            )
            for target in targets
        ]
        steering = steer(WORDS, [[], []], decoding, gains=gains)
        found = decode_all(model, context, decoding, steering=steering)
        return [WORDS.read(found.ids(i, 0, model.config.eos_token_id)).spaced for i in range(2)]

    free = words_of(None, None)
    assert words_of(None, 9)[0] == free[0]  # one item's aim is not the other's
    few, more = words_of(5, 20)
    assert few < more


def test_the_bundled_model_writes_about_as_many_words_as_asked() -> None:
    captioner = Captioner.from_pretrained()
    tags = tuple(Tag(text=t) for t in ("rock", "electric guitar", "male vocalist", "energetic"))
    for target in (14, 40):
        decoding = dataclasses.replace(captioner.default_decoding, target_words=target)
        result = captioner.caption(CaptionRequest(tags=tags, decoding=decoding), trace=False)
        assert abs(len(result.description.split()) - target) <= 8
        assert result.description.endswith(".")


def test_expected_lengths_are_learned_from_captions() -> None:
    dice = random.Random(0)
    rows = []
    for index in range(300):
        writer = dice.choice("ab")
        tags = [*dice.sample(("bright", "soft", "loud", "old"), 2), "mellow" + writer]
        count = (40 if writer == "a" else 20) + (8 if "bright" in tags else 0)
        text = " ".join(["word"] * count) + "."
        rows.append(
            Pair(
                key=str(index),
                source="musiccaps",
                sentences=(text,),
                tags=tuple(tags),
                group=writer,
            )
        )
    sources = Sources(pairs={"musiccaps": rows}, artists=False)
    lengths = fit_lengths(sources, seed=1)
    for writer, extra, words in (("a", "bright", 48), ("a", "old", 40), ("b", "bright", 28)):
        tags = [(f"mellow{writer}", 1.0), (extra, 1.0), ("soft", 1.0)]
        best = lengths.gains(tags, audio=False, artists=False).argmax()
        assert abs(best - words) <= 3
    again = fit_lengths(sources, seed=1)
    assert np.array_equal(again.logits, lengths.logits)
    one = Sources(pairs={"musiccaps": [r for r in rows if r.group == "a"]}, artists=False)
    assert fit_lengths(one).styles == ("writer a",)  # nothing to tell apart
