"""The trace says what it claims to say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import tiny_config, tiny_model

from audiogpt.config import FUSIONS
from audiogpt.context import FeatureRows, TextRows
from audiogpt.layers import BlockRecord
from audiogpt.trace import Trace, Word, compute_trace, shapley_values

CAPTION = [40, 41, 42, 43, 44, 0]


def make(fusion: str = "gated"):
    model = tiny_model(tiny_config(fusion=fusion))
    rows = {
        "audio": FeatureRows(
            torch.randn(1, 3, 256, generator=torch.Generator().manual_seed(0)), torch.ones(1, 3)
        ),
        "tags": TextRows.from_phrases([[([50, 51], 1.0), ([52], 0.5)]]),
    }
    return model, rows, model.encode(rows)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_shares_and_drops_are_what_they_are_named_after(fusion):
    model, rows, context = make(fusion)
    trace = compute_trace(model, context, CAPTION)
    assert trace.parts == ("context", "audio", "tags", "artists")
    inputs = torch.tensor([[2, *CAPTION[:-1]]])  # position t - 1 writes token t
    records: list[BlockRecord] = []
    log_p = model(inputs, context, records=records).log_softmax(-1)[0, range(6), CAPTION]
    norms = torch.stack([r.parts[:, 0].norm(dim=-1) for r in records])  # (L, P, T)
    expected = (norms / norms.sum(1, keepdim=True)).movedim(1, 2)
    np.testing.assert_allclose(trace.shares, expected, atol=1e-6)
    np.testing.assert_allclose(trace.log_probability, log_p, atol=1e-5)
    only_tags = model.encode({"tags": rows["tags"]})
    without_audio = model(inputs, only_tags).log_softmax(-1)[0, range(6), CAPTION]
    np.testing.assert_allclose(trace.drop[:, 0], log_p - without_audio, atol=1e-5)
    assert np.all(trace.drop[:, 2] == 0) and np.all(trace.shares[..., 3] == 0)


def test_a_meshed_branch_that_is_silent_still_has_a_say() -> None:
    model, rows, _ = make("meshed")
    context = model.encode(rows, strengths=torch.tensor([[0.0, 1.0, 1.0]]))
    trace = compute_trace(model, context, CAPTION)
    inputs = torch.tensor([[2, *CAPTION[:-1]]])
    with_it, without = (
        model(inputs, some).log_softmax(-1)[0, range(6), CAPTION]
        for some in (context, model.encode({"tags": rows["tags"]}))
    )
    np.testing.assert_allclose(trace.drop[:, 0], with_it - without, atol=1e-5)
    assert np.abs(trace.drop[:, 0]).max() > 1e-3
    assert np.all(trace.drop[:, 2] == 0)


def test_a_branch_without_rows_attends_to_nothing() -> None:
    model, rows, _ = make()
    model = tiny_model(tiny_config(null_rows=False))
    silent = FeatureRows(rows["audio"].values, torch.zeros(1, 3))
    trace = compute_trace(model, model.encode({**rows, "audio": silent}), CAPTION)
    assert np.all(trace.attention["audio"] == 0)
    np.testing.assert_allclose(trace.attention["tags"].sum(-1), 1, atol=1e-5)


def test_half_precision_is_explained_too() -> None:
    model, rows, context = make()
    expected = compute_trace(model, context, CAPTION)
    model = model.to(torch.bfloat16)
    audio = FeatureRows(rows["audio"].values.bfloat16(), rows["audio"].weights)
    trace = compute_trace(model, model.encode({**rows, "audio": audio}), CAPTION)
    np.testing.assert_allclose(trace.shares, expected.shares, atol=0.02)
    np.testing.assert_allclose(trace.log_probability, expected.log_probability, atol=0.1)


def test_candidates_are_the_most_probable_tokens():
    model, _, context = make()
    trace = compute_trace(model, context, CAPTION)
    log_p = model(torch.tensor([[2, *CAPTION[:-1]]]), context).log_softmax(-1)[0]
    assert trace.candidates[:, 0].tolist() == log_p.argmax(-1).tolist()
    assert np.all(np.diff(trace.candidate_log_probability, axis=1) <= 0)


def test_shapley_values_are_efficient_and_fair():
    model, _, context = make()
    values = shapley_values(model, context, CAPTION)
    assert np.all(np.abs(values[:, 2]) < 1e-6)  # the artists bring nothing: a null player
    whole = compute_trace(model, context, CAPTION).log_probability
    none = compute_trace(model, model.encode({}), CAPTION).log_probability
    np.testing.assert_allclose(values.sum(1), whole - none, atol=1e-4)


def test_json_keeps_the_trace_and_refuses_what_does_not_fit():
    model, _, context = make()
    trace = compute_trace(model, context, CAPTION)
    data = json.loads(json.dumps(trace.to_dict()))
    again = Trace.from_dict(data)
    np.testing.assert_allclose(again.shares, trace.shares, rtol=1e-6)
    assert json.dumps(again.to_dict()) == json.dumps(trace.to_dict())
    short = {name: data[name][:3] for name in ("candidates", "candidate_log_probability")}
    for broken in (
        {**data, "drop": [[0.0]]},
        {**data, "shares": "x"},
        {"parts": []},
        {**data, "log_probability": [10**400]},
        {**data, **short},
        {**data, "attention": {"audio": [[0.0] * 6] * 2}},
    ):
        with pytest.raises(ValueError):
            Trace.from_dict(broken)


def test_disagreement_is_marked_where_it_matters():
    word = Word(text="x", start=0, end=1)

    def marked(share: list[float], drop: list[float]) -> bool:
        empty = np.zeros((1, 1), np.float32)
        trace = Trace(
            parts=("context", "audio", "tags", "artists"),
            shares=np.array([[share]], np.float32),
            alpha=empty,
            gates=np.zeros((1, 1, 3), np.float32),
            attention={},
            log_probability=np.zeros(1, np.float32),
            drop=np.array([drop], np.float32),
            candidates=np.zeros((1, 1), np.int64),
            candidate_log_probability=empty,
        )
        return trace.disagreements([word])[0]

    assert not marked([0.5, 0.3, 0.1, 0.1], [2.0, 0.1, 0.0])
    assert marked([0.5, 0.3, 0.1, 0.1], [0.1, 2.0, 0.0])
    assert not marked([0.5, 0.2, 0.18, 0.12], [0.1, 2.0, 0.0])  # nearly equal shares
    assert marked([0.5, 0.4, 0.1, 0.0], [0.01, 0.0, 0.0])  # a large share that changes nothing
    assert not marked([0.8, 0.1, 0.1, 0.0], [0.01, 0.0, 0.0])


def test_a_trace_needs_one_caption():
    model, _, context = make()
    with pytest.raises(ValueError, match="exactly one caption"):
        compute_trace(model, context, [])
    bare = tiny_model(tiny_config(branches=()))
    with pytest.raises(ValueError, match="a model with branches"):
        compute_trace(bare, bare.encode({}), CAPTION)
