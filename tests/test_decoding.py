"""Decoding against a slow and obvious reference, and what each setting promises."""

from __future__ import annotations

import itertools

import pytest
import torch
from conftest import tiny_config, tiny_model

from audiogpt.context import FeatureRows
from audiogpt.decoding import Steering, _draw, decode, decode_all
from audiogpt.request import Decoding

EOS = 7


def context_of(model, items: int = 1):
    values = torch.randn(items, 3, 256, generator=torch.Generator().manual_seed(1))
    return model.encode({"audio": FeatureRows(values, torch.ones(items, 3))})


def likely_end(model, context) -> int:
    """A token that the search writes soon, to serve as the end token."""
    free = decode_all(model, context, Decoding(beams=3, max_tokens=12), eos=EOS)
    return int(free.tokens[0, 0, 4])


def reference_beams(model, context, decoding: Decoding, eos: int):
    """Beam search with lists and whole passes: (tokens, score) of the hypotheses, best first."""
    banned = [model.config.bos_token_id, model.config.pad_token_id]
    beams = [((), 0.0)]
    for _ in range(decoding.max_tokens):
        grown = []
        for tokens, total in beams:
            if tokens and tokens[-1] == eos:
                grown.append((tokens, total))
                continue
            ids = torch.tensor([[model.config.bos_token_id, *tokens]])
            log_p = model(ids, context)[0, -1].log_softmax(-1).tolist()
            for token, value in enumerate(log_p):
                candidate = (*tokens, token)
                n = decoding.no_repeat_ngram
                grams = [candidate[i : i + n] for i in range(len(candidate) - n + 1)] if n else []
                if token not in banned and len(set(grams)) == len(grams):
                    grown.append((candidate, total + value))
        rank = lambda hypothesis: hypothesis[1] / len(hypothesis[0]) ** decoding.length_penalty  # noqa: E731
        beams = sorted(grown, key=rank, reverse=True)[: decoding.beams]
    return [(list(tokens), rank((tokens, total))) for tokens, total in beams]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "changes",
    [{}, {"beams": 1}, {"length_penalty": 1.0}, {"no_repeat_ngram": 2}, {"n_best": 4}],
    ids=str,
)
def test_beam_search_equals_the_reference(seed, changes):
    model = tiny_model(seed=seed)
    context = context_of(model)
    decoding = Decoding(**{"beams": 4, "max_tokens": 9, "n_best": 1, **changes})
    eos = likely_end(model, context)
    expected = reference_beams(model, context, decoding, eos)
    found = decode_all(model, context, decoding, eos=eos)
    for rank in range(min(decoding.n_best, decoding.beams)):
        assert found.ids(0, rank, eos) == expected[rank][0]
        assert found.scores[0, rank].item() == pytest.approx(expected[rank][1], abs=1e-4)


@pytest.mark.parametrize("n_best", [1, 3])
def test_stopping_early_changes_nothing(n_best):
    model = tiny_model(seed=7)
    context = context_of(model, items=2)
    eos = likely_end(model, context)
    decoding = Decoding(beams=3, max_tokens=40, n_best=n_best)
    early = decode_all(model, context, decoding, eos=eos)
    whole = decode_all(model, context, decoding, eos=eos, stop_early=False)
    for item in range(2):
        for rank in range(n_best):
            assert early.ids(item, rank, eos) == whole.ids(item, rank, eos)
    assert early.tokens.shape[-1] < whole.tokens.shape[-1] == 40


def test_no_ngram_repeats_and_nothing_reserved_is_written():
    model = tiny_model(seed=2)
    decoding = Decoding(beams=3, max_tokens=40, no_repeat_ngram=2, n_best=3)
    state = decode_all(model, context_of(model), decoding)
    for rank in range(3):
        ids = state.ids(0, rank, model.config.eos_token_id)
        pairs = list(itertools.pairwise(ids))
        assert len(set(pairs)) == len(pairs)
        assert not {model.config.bos_token_id, model.config.pad_token_id} & set(ids)


def test_sampling_keeps_to_the_nucleus_and_scores_without_temperature():
    model = tiny_model(seed=3)
    context = context_of(model)
    greedy = decode_all(model, context, Decoding(beams=1, max_tokens=10, n_best=1), eos=EOS)
    narrow = Decoding(method="sample", top_p=0.01, temperature=0.05, max_tokens=10, n_best=2)
    drawn = decode_all(model, context, narrow, seeds=[0], eos=EOS)
    assert drawn.ids(0, 0, EOS) == drawn.ids(0, 1, EOS) == greedy.ids(0, 0, EOS)
    torch.testing.assert_close(drawn.scores[:, 0], greedy.scores[:, 0], rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="one seed per item"):
        decode_all(model, context, narrow)


@pytest.mark.parametrize("method", ["beam", "sample"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_precisions_decode_too(method, dtype):
    model = tiny_model(seed=3)
    decoding = Decoding(method=method, beams=3, max_tokens=8, n_best=2)
    expected = decode_all(model, context_of(model), decoding, seeds=[5])
    model = tiny_model(seed=3).to(dtype)
    values = torch.randn(1, 3, 256, generator=torch.Generator().manual_seed(1)).to(dtype)
    context = model.encode({"audio": FeatureRows(values, torch.ones(1, 3))})
    found = decode_all(model, context, decoding, seeds=[5])
    assert found.scores.dtype in (torch.float32, torch.float64)  # sums need the precision
    if dtype == torch.float64:
        assert torch.equal(found.tokens, expected.tokens)
        torch.testing.assert_close(found.scores.float(), expected.scores, rtol=0, atol=1e-4)


def test_a_draw_at_the_very_end_of_the_mass_is_a_token_of_it():
    p = torch.tensor([[0.2, 0.5, 0.3, 0.0], [0.0, 0.0, 1.0, 0.0]])
    for share in (0.0, 0.5, 1 - 2**-24):
        drawn = _draw(p, torch.full((2,), share), 1.0)
        assert (p.gather(1, drawn[:, None]) > 0).all()
    assert _draw(p, torch.full((2,), 1 - 2**-24), 1.0).tolist() == [2, 2]
    assert _draw(p, torch.full((2,), 0.999), 0.01).tolist() == [1, 2]


def test_the_stream_grows_by_one_token_and_can_be_left():
    model = tiny_model(tiny_config(), seed=1)
    steps = decode(model, context_of(model), Decoding(beams=2, max_tokens=12), stop_early=False)
    lengths = []
    for state in steps:
        lengths.append(state.tokens.shape[-1])
        if len(lengths) == 5:
            break
    assert lengths == [1, 2, 3, 4, 5]
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_what_an_item_must_not_contain_is_its_own(method):
    model = tiny_model(seed=4)
    context = context_of(model, items=2)
    decoding = Decoding(method=method, beams=2, max_tokens=20, n_best=2, temperature=2.0, top_p=1.0)
    free = decode_all(model, context, decoding, seeds=[1, 2])
    unwanted = sorted(set(free.tokens[1].flatten().tolist()) - {model.config.eos_token_id})
    held = decode_all(model, context, decoding, seeds=[1, 2], steering=Steering([[], unwanted]))
    eos = model.config.eos_token_id
    assert held.ids(0, 0, eos) == free.ids(0, 0, eos)
    assert not set(unwanted) & set(held.ids(1, 0, eos))
