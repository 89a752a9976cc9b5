"""Controls: how long a caption shall be, and how much of its tags it shall use."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_config, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from test_length import MODEL as LENGTHS
from test_length import TOKENIZER

from audiogpt.audio.embedding import WIDTHS
from audiogpt.checkpoints import from_pretrained, save_pretrained
from audiogpt.config import AudioGPTConfig
from audiogpt.context import FeatureRows
from audiogpt.controls import CENTRES, control_features, control_width
from audiogpt.decoding import decode_all
from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionRequest, Decoding, Tag
from audiogpt.training.captioning import write_captions
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import make_example, text_controls
from audiogpt.training.losses import CaptioningLoss, caption_log_probabilities
from audiogpt.training.options import AUDIO_EMBEDDINGS
from audiogpt.training.teachers import adopt
from audiogpt.training.training_commands import CHOICES
from audiogpt.training.views import View

NAMES = ("words", "coverage")
TOKENS = torch.tensor([[2, 40, 41, 42], [2, 43, 44, 45]])
AUDIO = {"audio": FeatureRows(torch.randn(2, 3, 256), torch.ones(2, 3))}


def controlled(**changes: object) -> torch.nn.Module:
    return tiny_model(tiny_config(controls=NAMES, **changes))


def test_a_value_is_told_by_bumps_around_it_and_nothing_by_none() -> None:
    features = control_features(NAMES, [{"words": 24.0}, {"coverage": 1.0}, {}, {"words": 500.0}])
    words = len(CENTRES["words"])
    assert features.shape == (4, control_width(NAMES))
    assert features[0, CENTRES["words"].index(24)] == 1
    assert features[0].argmax() == CENTRES["words"].index(24)
    assert not features[0, words:].any()
    assert features[1].argmax() == words + len(CENTRES["coverage"]) - 1
    assert not features[2].any()
    assert torch.equal(features[3], control_features(NAMES, [{"words": 80.0}])[0])


@given(st.floats(8, 80), st.floats(0, 1))
def test_near_values_are_told_alike_and_far_ones_apart(words: float, coverage: float) -> None:
    def told(**values: float) -> torch.Tensor:
        return control_features(NAMES, [values])[0]

    here = told(words=words, coverage=coverage)
    near = told(words=words + 0.5, coverage=coverage)
    far = told(words=words + (40 if words < 44 else -40), coverage=coverage)
    assert (near - here).norm() < 0.2 * (far - here).norm()


def test_what_is_not_asked_adds_exactly_nothing() -> None:
    model = controlled()
    plain = tiny_model(tiny_config())
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k != "controls"})
    nothing = control_features(NAMES, [{}, {}])
    logits = plain(TOKENS, plain.encode(AUDIO))
    for context in (model.encode(AUDIO), model.encode(AUDIO, controls=nothing)):
        assert torch.equal(model(TOKENS, context), logits)
    asked = control_features(NAMES, [{"words": 20.0}, {}])
    changed = model(TOKENS, model.encode(AUDIO, controls=asked))
    assert not torch.allclose(changed[0], logits[0], atol=1e-3)
    torch.testing.assert_close(changed[1], logits[1])  # one item's wish is not another's
    assert plain.encode(AUDIO, controls=asked).controls is None
    with pytest.raises(ValueError, match="controls"):
        model.encode(AUDIO, controls=asked[:, :3])


def test_beams_keep_their_items_controls() -> None:
    model = controlled(dropout=0.0)
    wishes = control_features(NAMES, [{"words": 12.0}, {"words": 70.0, "coverage": 1.0}])
    decoding = Decoding(beams=3, max_tokens=20)
    both = decode_all(model, model.encode(AUDIO, controls=wishes), decoding)
    for item in range(2):
        rows = {
            "audio": FeatureRows(*(part[item : item + 1] for part in AUDIO["audio"])),
        }
        context = model.encode(rows, controls=wishes[item : item + 1])
        alone = decode_all(model, context, decoding)
        assert both.ids(item, 0, 0) == alone.ids(0, 0, 0)
        restricted = context.restricted(torch.ones(2, 3))
        tokens = TOKENS[:1].expand(2, -1)
        torch.testing.assert_close(model(tokens, restricted)[1], model(TOKENS[:1], context)[0])


def test_checkpoints_keep_their_controls(tmp_path) -> None:
    model = controlled()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.controls, model.controls)
    for wrong in (("loudness",), ("words", "words"), ("coverage", "words")):
        with pytest.raises(ValueError, match="controls must be among"):
            AudioGPTConfig(controls=wrong)
    fresh = tiny_model(tiny_config(controls=NAMES), seed=5)
    before = fresh.controls.clone()
    adopt(fresh, tiny_model(tiny_config()))  # which has none
    assert torch.equal(fresh.controls, before)
    adopt(fresh, model)
    assert torch.equal(fresh.controls, model.controls)


def test_the_command_line_offers_what_there_is() -> None:
    assert CHOICES["controls"] == tuple(CENTRES)  # written out there, so that --help loads no torch
    assert set(AUDIO_EMBEDDINGS) == set(WIDTHS)


def test_settings_ask_for_words_and_coverage() -> None:
    tags = [("slow", 1.0)]
    decoding = Decoding(target_coverage=0.9, max_words=60)
    assert decoding.controls(tags, 30.0) == {"words": 30.0, "coverage": 0.9}
    assert decoding.controls([("slow", 0.0)], 75.0) == {"words": 60.0}
    assert decoding.controls([("slow", 0.1)], 30.0) == {"words": 30.0}  # told by its weight
    asked = dataclasses.replace(decoding, target_words=12, target_coverage=0.0)
    assert asked.controls(tags, 30.0) == {"words": 12.0}
    assert dataclasses.replace(asked, min_words=20).controls(tags, 30.0) == {"words": 20.0}
    assert Decoding().controls(tags, None) == {}
    with pytest.raises(ValueError, match="target_coverage"):
        Decoding(target_coverage=1.5)


def test_training_texts_tell_what_they_have() -> None:
    view = View(
        title="Slow Piano",
        description="A slow piano plays alone.",
        tags=(("slow tempo", 1.0), ("piano", 0.8), ("violin", 1.0), ("harp", 0.2)),
    )
    assert text_controls(view) == {"words": 5.0, "coverage": pytest.approx(2 / 4)}
    assert text_controls(dataclasses.replace(view, description="")) == {}
    assert text_controls(dataclasses.replace(view, tags=())) == {"words": 5.0}
    dice = random.Random(0)
    told = [make_example(view, TOKENIZER, {}, dice=dice).controls for _ in range(400)]
    for name in NAMES:
        assert 0.1 < np.mean([name not in controls for controls in told]) < 0.2


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_the_pipeline_asks_what_the_request_asks(method: str) -> None:
    model = controlled(vocab_size=TOKENIZER.vocab_size)
    captioner = Captioner(model, TOKENIZER, lengths=LENGTHS)
    decoding = Decoding(method=method, beams=2, n_best=1, max_tokens=12, max_words=60)

    def asked(*tags: Tag, **settings: object) -> CaptionRequest:
        return CaptionRequest(tags=tags, decoding=dataclasses.replace(decoding, **settings))

    def written(request: CaptionRequest) -> tuple[int, ...]:
        return captioner.caption(request, trace=False).tokens

    slow, absent = Tag(text="slow"), Tag(text="verbose", weight=0.0)
    requests = [
        asked(slow),
        asked(slow, target_words=60),
        asked(slow, target_coverage=1.0),
        asked(slow, absent, target_coverage=1.0),
    ]
    results = [written(request) for request in requests]
    assert len(set(results)) == 3
    assert results[2] == results[3]  # weight 0 is absence
    assert [result.tokens for result in captioner.caption_batch(requests)] == results
    expected = LENGTHS.expected([("slow", 1.0)], audio=False, artists=False)
    assert written(asked(slow, target_words=round(expected), length=0.0)) == written(
        asked(slow, length=0.0)
    )


def test_captions_are_asked_by_the_settings_never_by_the_reference() -> None:
    model = controlled(vocab_size=TOKENIZER.vocab_size)
    blank = View(title="", description="", tags=(("slow", 1.0),))
    known = dataclasses.replace(blank, description="seven words that nobody can have known")
    decoding = Decoding(beams=2, max_tokens=12)

    def written(view: View, settings: Decoding = decoding) -> tuple[int, ...]:
        example = make_example(view, TOKENIZER, {})
        return next(iter(write_captions(model, TOKENIZER, [example], settings))).tokens

    assert written(blank) == written(known)
    asked = dataclasses.replace(decoding, target_words=60, target_coverage=1.0)
    assert written(blank, asked) != written(blank)


def test_the_contrast_tells_sounds_apart() -> None:
    model = controlled(dropout=0.0, vocab_size=TOKENIZER.vocab_size)
    sounds = {name: np.random.default_rng(i).normal(size=(2, 256)) for i, name in enumerate("ab")}
    sounds = {name: rows.astype(np.float32) for name, rows in sounds.items()}
    views = [View(title="One", description=f"A {name}.", audio=name) for name in "ab"]
    silent = View(title="One", description="A slow c.", tags=(("slow", 1.0),))
    examples = [make_example(view, TOKENIZER, sounds) for view in (*views, silent)]
    batch = Collator(model.config)(examples)

    def loss(items: dict, contrast: float) -> torch.Tensor:
        return CaptioningLoss(model, contrast=contrast).train()(**items)["loss"]

    swapped = [
        dataclasses.replace(example, audio=sounds[name])
        for example, name in zip(examples, "ba", strict=False)
    ]
    own, _ = caption_log_probabilities(model, **Collator(model.config)(examples[:2]))
    other, _ = caption_log_probabilities(model, **Collator(model.config)(swapped))
    expected = 0.5 * F.softplus(other - own).mean()
    torch.testing.assert_close(loss(batch, 0.5) - loss(batch, 0.0), expected, rtol=1e-3, atol=1e-4)
    alone = Collator(model.config)([examples[0], examples[2]])  # nothing to be told from
    torch.testing.assert_close(loss(alone, 0.5), loss(alone, 0.0))
