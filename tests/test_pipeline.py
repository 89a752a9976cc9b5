"""The whole path on a tiny random checkpoint: what goes in must decide what comes out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from conftest import tiny_config, tiny_model

from audiogpt.audio.embedding import load_embedding
from audiogpt.config import BranchConfig
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, CaptionResult, Decoding, Partial, Tag, Track

DECODING = Decoding(beams=3, max_tokens=24, n_best=2)


@pytest.fixture(scope="module")
def captioner(tiny_checkpoint) -> Captioner:
    return Captioner.from_pretrained(tiny_checkpoint, device="cpu")


@pytest.fixture
def request_(noise) -> CaptionRequest:
    return CaptionRequest(
        tracks=(Track(waveform=noise, sample_rate=16000, name="noise"),),
        tags=(Tag(text="mellow piano"), Tag(text="slow", weight=0.5)),
        artists=(Artist(name="Some <b>Band</b>", share=2), Artist(name="Another", share=1)),
        decoding=DECODING,
    )


def test_result_explains_itself_and_survives_json(captioner, request_):
    result = captioner.caption(request_)
    assert result.rows["audio"] == ("0:00–0:03", "0:03–0:06")
    assert result.rows["tags"] == ("mellow piano", "slow")
    assert len(result.alternatives) == 2
    assert result.alternatives[0].tokens == result.tokens
    trace = result.trace
    np.testing.assert_allclose(trace.shares.sum(-1), 1, atol=1e-5)
    assert trace.attention["tags"].shape == (2, len(result.tokens), 2)
    assert trace.log_probability.sum() == pytest.approx(
        result.alternatives[0].log_probability, abs=1e-3
    )
    stored = json.dumps(result.to_dict())
    again = CaptionResult.from_dict(json.loads(stored))
    assert json.dumps(again.to_dict()) == stored
    assert "waveform" not in stored and "path" not in stored
    # the stored request gives the same caption, once the audio is there again
    tracks = (dataclasses.replace(again.request.tracks[0], **_audio(request_)),)
    repeated = captioner.caption(dataclasses.replace(again.request, tracks=tracks))
    assert repeated.tokens == result.tokens


def _audio(request: CaptionRequest) -> dict:
    return {"waveform": request.tracks[0].waveform, "sample_rate": request.tracks[0].sample_rate}


def test_streaming_ends_in_what_caption_returns(captioner, request_):
    steps = list(captioner.stream(request_))
    assert all(isinstance(step, Partial) for step in steps[:-2])
    assert [step.tokens for step in steps[:-2]] == list(range(1, len(steps) - 1))
    assert steps[-2].trace is None
    assert steps[-1].tokens == steps[-2].tokens == captioner.caption(request_).tokens


def test_weight_zero_is_the_same_as_absent(captioner, request_):
    extra = (*request_.tags, Tag(text="heavy guitars", weight=0.0))
    track = dataclasses.replace(request_.tracks[0], weight=0.0)
    silent = dataclasses.replace(request_, tags=extra, tracks=(*request_.tracks, track))
    with_zero, without = captioner.caption(silent), captioner.caption(request_)
    assert with_zero.tokens == without.tokens
    np.testing.assert_array_equal(with_zero.trace.log_probability, without.trace.log_probability)


def test_strength_zero_is_the_same_as_no_rows(captioner, request_):
    muted = captioner.caption(dataclasses.replace(request_, strengths={"tags": 0.0}))
    without = captioner.caption(dataclasses.replace(request_, tags=()))
    assert muted.tokens == without.tokens
    assert np.all(muted.trace.shares[..., 2] == 0)
    assert np.all(muted.trace.drop[:, 1] == 0)


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_batch_equals_its_items(captioner, request_, method):
    decoding = dataclasses.replace(DECODING, method=method)
    requests = [
        dataclasses.replace(request_, decoding=decoding, seed=3),
        CaptionRequest(tags=(Tag(text="slow"),), decoding=decoding, seed=4),
        CaptionRequest(artists=(Artist(name="Solo"),), decoding=decoding, seed=5),
        CaptionRequest(decoding=decoding, seed=6),
    ]
    together = captioner.caption_batch(requests)
    alone = [captioner.caption(one, trace=False) for one in requests]
    assert [r.tokens for r in together] == [r.tokens for r in alone]


def test_sampling_follows_its_seed(captioner, request_):
    decoding = Decoding(method="sample", max_tokens=24, n_best=2, temperature=2.0, top_p=1.0)
    runs = [
        captioner.caption(dataclasses.replace(request_, decoding=decoding, seed=seed), trace=False)
        for seed in (1, 1, 2)
    ]
    assert runs[0].tokens == runs[1].tokens != runs[2].tokens


def test_shapley_values_sum_to_what_all_branches_add(captioner, request_):
    result = captioner.caption(request_)
    values = captioner.shapley(result)
    assert values.shape == (len(result.words), 3)
    bare = captioner._encode([captioner._inputs(request_)])
    import torch

    from audiogpt.trace import coalition_log_probabilities

    all_or_none = coalition_log_probabilities(
        captioner.model, bare, result.tokens, torch.tensor([[0.0] * 3, [1.0] * 3])
    )
    added = (all_or_none[1] - all_or_none[0]).numpy()
    expected = [added[w.start : w.end].sum() for w in result.words]
    np.testing.assert_allclose(values.sum(1), expected, atol=1e-4)


def test_long_audio_weighs_as_much_as_a_trained_clip(captioner):
    noise = np.random.default_rng(1).normal(0, 0.1, 100 * 16000).astype(np.float32)
    track = Track(waveform=noise, sample_rate=16000)
    inputs = captioner._inputs(CaptionRequest(tracks=(track,)))
    values, weights = inputs.rows.features["audio"]
    assert len(values) == 33 and weights.sum() == pytest.approx(10)


def test_segments_cover_the_track(captioner, noise):
    track = Track(waveform=np.tile(noise, 3), sample_rate=16000)
    parts = list(captioner.segments(CaptionRequest(tracks=(track,), decoding=DECODING), seconds=6))
    assert [(p.start, p.end) for p in parts] == [(0, 6), (6, 12), (12, 18), (18, 21)]


def test_an_empty_request_says_so(captioner):
    result = captioner.caption(CaptionRequest(decoding=DECODING))
    assert any("language model's alone" in warning for warning in result.warnings)
    assert np.all(result.trace.shares[..., 0] == 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tag(text="x", weight=1.5),
        lambda: Tag(text=" "),
        lambda: Artist(name="x", share=float("nan")),
        lambda: CaptionRequest(strengths={"video": 1.0}),
        lambda: CaptionRequest(strengths={"audio": 2.5}),
        lambda: CaptionRequest(seed=-1),
        lambda: Decoding(beams=0),
        lambda: Decoding(method="greedy"),
        lambda: Track(start=5, end=4),
        lambda: CaptionRequest.from_dict({"tracks": [{"path": "/etc/passwd"}]}),
        lambda: CaptionRequest.from_dict({"tags": [{"name": "rock"}]}),
        lambda: CaptionRequest(tags=(Tag(text="x"),) * 301),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(make):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("embedding", ["musicnn-vgg", "musicnn-pooled"])
def test_long_sounds_are_heard_in_blocks_with_the_same_result(embedding, tmp_path, monkeypatch):
    import soundfile

    from audiogpt import listening

    noise = np.random.default_rng(2).normal(0, 0.1, 40 * 16000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16000, subtype="FLOAT")
    track = Track(path=str(tmp_path / "long.wav"))
    listener = listening.Listener(embedding)
    short = listener._listen(track, "", None)
    monkeypatch.setattr(listening, "SHORT_SECONDS", 5.0)
    shares: list[float] = []
    long = listener._listen(track, "", shares.append)
    np.testing.assert_allclose(long.rows, load_embedding(embedding).embed(noise).rows, atol=1e-4)
    np.testing.assert_allclose(long.rows, short.rows, atol=1e-4)
    np.testing.assert_allclose(long.taggram, short.taggram, atol=1e-5)
    np.testing.assert_array_equal(long.peaks, short.peaks)
    assert long.seconds == 40 and shares == sorted(shares) and shares[-1] == 1


def test_sounds_over_the_limit_are_refused(tiny_checkpoint, noise):
    short_only = Captioner.from_pretrained(tiny_checkpoint, device="cpu", max_seconds=5)
    track = Track(waveform=noise, sample_rate=16000)
    with pytest.raises(ValueError, match="choose a shorter passage"):
        short_only.listen(track)
    assert short_only.listen(dataclasses.replace(track, end=4.0)).seconds == 4


def test_suggested_tags_do_not_contradict_each_other(captioner, noise, monkeypatch):
    from audiogpt.request import HeardTag

    track = Track(waveform=noise, sample_rate=16000)
    heard = [("singing", 0.7), ("instrumental", 0.6), ("piano", 0.5), ("slow tempo", 0.1)]
    listening = dataclasses.replace(
        captioner.listen(track), heard=tuple(HeardTag(text=t, confidence=c) for t, c in heard)
    )
    monkeypatch.setattr(captioner, "listen", lambda *_: listening)
    assert [tag.text for tag in captioner.suggest_tags([track])] == ["singing", "piano"]


def test_an_embedding_the_checkpoint_was_not_trained_with_is_refused(captioner, noise):
    branches = (BranchConfig(name="audio", width=512), *tiny_config().branches[1:])
    other = Captioner(tiny_model(tiny_config(branches=branches)), captioner.tokenizer)
    pooled = Captioner(
        tiny_model(tiny_config(audio_embedding="musicnn-pooled")), captioner.tokenizer
    )
    for refusing in (other, pooled):
        with pytest.raises(ValueError, match="that it was trained with"):
            refusing.listen(Track(waveform=noise, sample_rate=16000))
