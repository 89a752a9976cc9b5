"""The whole path on a tiny random checkpoint: what goes in must decide what comes out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from conftest import tiny_config, tiny_model

from audiogpt.audio.embedding import load_embedding
from audiogpt.captions import read_caption
from audiogpt.checkpoints import CheckpointError
from audiogpt.config import BranchConfig
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, CaptionResult, Decoding, Partial, Tag, Track
from audiogpt.request_rows import prepare_inputs
from audiogpt.results import caption_warnings
from audiogpt.tags import TagTable

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


@pytest.mark.parametrize("terms", [{}, {"coverage": 0.3, "invention": 0.1}], ids=str)
@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_batch_equals_its_items(captioner, request_, method, terms):
    decoding = dataclasses.replace(DECODING, method=method, **terms)
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
    inputs = [captioner._inputs(request_)]
    bare = captioner._encode(inputs, captioner._asking(inputs, captioner.default_decoding))
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


def test_a_track_fades_out_without_a_jump(captioner):
    def weights(*of_tracks: tuple[int, float]) -> np.ndarray:
        """Of the first track's rows, the tracks having so many rows and such weights."""
        listenings = [
            dataclasses.replace(heard, rows=np.zeros((n, 256)), times=np.zeros((n, 2)))
            for n, _ in of_tracks
        ]
        request = CaptionRequest(
            tracks=tuple(dataclasses.replace(track, weight=weight) for _, weight in of_tracks)
        )
        inputs = prepare_inputs(request, listenings, captioner.config, captioner.tokenizer)
        return inputs.rows.features["audio"][1][: of_tracks[0][0]]

    noise = np.random.default_rng(1).normal(0, 0.1, 4 * 16000).astype(np.float32)
    track = Track(waveform=noise, sample_rate=16000)
    heard = captioner.listen(track)
    alone, faint = weights((10, 1.0)), weights((10, 1.0), (200, 1e-4))
    np.testing.assert_allclose(faint, alone, atol=2e-3)
    assert weights((10, 0.5), (10, 0.5)).tolist() == [0.25] * 10  # as loud as one of twenty rows


def test_a_tag_that_is_given_twice_counts_once(captioner):
    once = CaptionRequest(tags=(Tag(text="Rock", weight=0.8), Tag(text="piano")))
    twice = CaptionRequest(
        tags=(Tag(text="Rock", weight=0.5), Tag(text="piano"), Tag(text=" rock ", weight=0.8))
    )
    first, second = (captioner._inputs(request) for request in (once, twice))
    assert first.rows.phrases == second.rows.phrases
    assert first.rows.labels == second.rows.labels == {"tags": ("Rock", "piano")}
    assert first.audible_tags() == second.audible_tags()


def test_parts_leave_room_for_other_sounds(captioner, noise, monkeypatch):
    """However many parts a track has, it and the tracks of others need not be heard anew."""
    other, long = (Track(waveform=np.tile(noise, n), sample_rate=16000) for n in (1, 6))
    captioner.listen(other)
    request = CaptionRequest(tracks=(long,), decoding=DECODING)
    monkeypatch.setattr("audiogpt.listening.CACHE_TRACKS", 12)
    assert len(list(captioner.segments(request, seconds=3))) == 14
    monkeypatch.setattr(captioner.listener, "_listen", None)  # nothing more is heard
    for known in (other, long):
        captioner.listen(known)


def test_segments_cover_the_track(captioner, noise):
    track = Track(waveform=np.tile(noise, 3), sample_rate=16000)
    parts = list(captioner.segments(CaptionRequest(tracks=(track,), decoding=DECODING), seconds=6))
    assert [(p.start, p.end) for p in parts] == [(0, 6), (6, 12), (12, 18), (18, 21)]
    for seconds in (2.9, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="at least 3 s"):
            next(captioner.segments(CaptionRequest(tracks=(track,)), seconds=seconds))


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
        lambda: Decoding(min_words=9, max_words=8),
        lambda: Track(start=5, end=4),
        lambda: CaptionRequest.from_dict({"tracks": [{"path": "/etc/passwd"}]}),
        lambda: CaptionRequest.from_dict({"tags": [{"name": "rock"}]}),
        lambda: CaptionRequest.from_dict({"artists": [{"name": "x", "share": 10**400}]}),
        lambda: CaptionRequest.from_dict({"decoding": {"temperature": 10**400}}),
        lambda: CaptionRequest.from_dict({"decoding": {"temperature": float("nan")}}),
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


AUDIO, TAGS, ARTISTS = tiny_config().branches
TAG_VECTORS = BranchConfig(name="tags", width=4)


def with_branches(captioner, *branches, tag_table=None, **changes) -> Captioner:
    model = tiny_model(tiny_config(branches=branches, **changes))
    return Captioner(model, captioner.tokenizer, tag_table=tag_table)


def test_what_a_checkpoint_cannot_read_is_said_and_left_out(captioner, request_):
    tags_only = with_branches(captioner, TAGS)
    warnings = tags_only.caption(request_).warnings
    assert [w for w in warnings if "branch" in w] == [
        "This checkpoint has no audio branch, so sound counts only by the tags heard in it.",
        "This checkpoint has no artists branch, so artists have no effect.",
    ]
    assert not any("language model's alone" in warning for warning in warnings)
    deaf = with_branches(captioner, ARTISTS)
    only_tags = dataclasses.replace(request_, tracks=(), artists=())
    assert deaf.caption(only_tags).warnings[:2] == (
        "This checkpoint has no tags branch, so tags have no effect.",
        "Nothing that was given reaches this model, so this caption is the language model's alone.",
    )
    muted = dataclasses.replace(only_tags, strengths={"tags": 0.0})
    assert tags_only.caption(muted).warnings[:1] == deaf.caption(only_tags).warnings[1:2]
    assert deaf.suggest_tags(request_.tracks) == () and deaf.known_tags() == ()


def test_tags_whose_names_are_unknown_have_no_effect(captioner, request_):
    nameless = with_branches(captioner, AUDIO, TAG_VECTORS)
    nameless.warm_up()
    assert nameless.suggest_tags(request_.tracks) == () and nameless.known_tags() == ()
    guided = dataclasses.replace(request_, decoding=dataclasses.replace(DECODING, coverage=9.0))
    with_tags = nameless.caption(guided)
    assert sum("knows no tags by name" in warning for warning in with_tags.warnings) == 1
    assert with_tags.tokens == nameless.caption(dataclasses.replace(guided, tags=())).tokens
    table = TagTable(["slow", "mellow piano"], np.eye(2, 4, dtype=np.float32))
    named = with_branches(captioner, AUDIO, TAG_VECTORS, tag_table=table)
    assert named.known_tags() == table.words
    assert named.caption(request_).rows["tags"] == ("mellow piano", "slow")


def test_without_an_audio_branch_no_embedding_is_loaded(captioner, request_):
    tags_only = with_branches(captioner, TAGS, audio_embedding="openl3-music-mel256-6144")
    assert tags_only.listen(request_.tracks[0]).heard


def test_a_track_that_is_longer_than_its_row_says_so(captioner):
    by_track = with_branches(captioner, AUDIO, audio_rows="tracks")
    noise = np.random.default_rng(1).normal(0, 0.1, 40 * 16000).astype(np.float32)
    track = Track(waveform=noise, sample_rate=16000)
    note = "This checkpoint reads the first 30 s of each track."
    assert by_track._inputs(CaptionRequest(tracks=(track, track))).warnings.count(note) == 1
    short = CaptionRequest(tracks=(dataclasses.replace(track, end=30.0),))
    assert note not in by_track._inputs(short).warnings


@pytest.mark.parametrize("formatting", ["standard", "title_only", "delimiter"])
def test_what_is_counted_is_what_the_model_writes(captioner, formatting):
    """Where no marker tells the description, coverage and the limits are about the whole text."""
    model = with_branches(captioner, TAGS, formatting=formatting)
    tag = "piano"
    plain = CaptionRequest(tags=(Tag(text=tag),), decoding=Decoding(beams=4, max_tokens=20))
    paid = dataclasses.replace(plain, decoding=Decoding(beams=4, max_tokens=20, coverage=10.0))
    steering = model._asking([model._inputs(paid)], paid.decoding).steering()
    begun = steering.guidance.start().described
    assert bool(begun.all()) == (formatting != "standard")
    free, led = model.caption(plain), model.caption(paid)
    counted = led.description if formatting == "standard" else f"{led.title} {led.description}"
    gain = led.alternatives[0].score - led.alternatives[0].log_probability
    assert gain == pytest.approx(10.0 if tag in counted.lower() else 0.0, abs=1e-3)
    assert formatting == "standard" or tag in counted
    best = free.alternatives[0]
    assert best.score == pytest.approx(best.log_probability, rel=1e-6)  # nothing is paid


def test_too_many_words_are_said(captioner):
    def warnings(text: str, formatting: str = "standard", *, target_words: int = 0) -> list[str]:
        config = tiny_config(formatting=formatting)
        ids = captioner.tokenizer.encode(text + "<|endoftext|>")
        caption = read_caption(
            captioner.tokenizer, ids, artists=["Guns N' Roses"], formatting=formatting
        )
        decoding = Decoding(max_words=4, target_words=target_words)
        return caption_warnings(caption, ids, config, decoding)

    kept = "<title> One two three four five <description> Soft drums by artist0."
    assert warnings(kept) == []  # the title does not count, and a name is one word
    (told,) = warnings(kept.replace("Soft", "Very soft"))
    assert "has 5 words, more than the most asked for (max_words, 4)" in told
    assert warnings("one two three four", "title_only") == []
    assert len(warnings("one two three four five", "title_only")) == 1
    (told,) = warnings(kept, target_words=5)
    assert told.startswith("5 words were asked for (target_words), but the most allowed is 4")


def test_where_nothing_can_be_written_it_is_said(captioner, request_, monkeypatch):
    from audiogpt.limits import Limits

    forbid = Limits.forbid

    def nothing(self, log_p, tokens, finished):
        said = forbid(self, log_p, tokens, finished)
        log_p.fill_(-np.inf)
        return said

    monkeypatch.setattr(Limits, "forbid", nothing)
    with pytest.raises(ValueError, match="No caption is possible under these settings"):
        captioner.caption(request_)


def test_a_model_without_branches_is_refused(captioner):
    with pytest.raises(CheckpointError, match="no branches"):
        with_branches(captioner)
