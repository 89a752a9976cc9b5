"""Consensus: what is compared, with what, and what it decides."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from audiogpt.consensus import DRAWS, ROUND, agreement, common_subsequence, drawing, likeness
from audiogpt.decoding import _draw
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Decoding, Tag
from audiogpt.reranking import rerank

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)
REQUEST = CaptionRequest(
    tags=(Tag(text="calm"), Tag(text="piano"), Tag(text="slow tempo")),
    artists=(Artist(name="Ada"),),
    seed=3,
)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.from_pretrained()


def consenting(captioner: Captioner, **settings) -> Decoding:
    return dataclasses.replace(
        captioner.default_decoding, **{"beams": 3, "n_best": 9, "consensus": 2.0} | settings
    )


@given(WORDS, WORDS)
def test_common_subsequences_are_as_long_as_the_table_says(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = (
                table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
            )
    assert common_subsequence(a, b) == table[-1, -1]


@given(WORDS, WORDS)
def test_likeness_is_one_only_of_the_same_words(a, b):
    value = likeness(a, b)
    assert 0 <= value <= 1 + 1e-12
    assert (value == pytest.approx(1)) == (a == b and bool(a))
    assert (value == 0) == (not set(a) & set(b))


def test_the_text_that_others_resemble_agrees_most():
    texts = ["A slow piano song.", "Fast drums.", "The songs are slow, with a piano."]
    others = ["The song is slow, with a piano.", "The song is slow. A piano plays."]
    values = agreement(texts, others)
    assert values.argmax() == 2 and values[1] == 0
    assert agreement(texts, []).tolist() == [0, 0, 0]
    order, scores = rerank(
        texts, [-1.0, -1.0, -1.2], [4, 4, 4], [], Decoding(consensus=2.0), None, values
    )
    assert order[0] == 2
    assert scores[2] == pytest.approx(-1.2 + 2 * values[2])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=8), st.sampled_from([0.3, 0.6, 0.9, 1.0]))
def test_draws_follow_the_probabilities_of_the_nucleus(counts, top_p):
    if not any(counts):
        counts[0] = 1
    p = torch.tensor(counts, dtype=torch.float32)[None] / sum(counts)
    n = 4000
    drawn = _draw(p.expand(n, -1), torch.arange(n) / n, top_p)
    share = torch.bincount(drawn, minlength=len(counts)) / n
    ranked, order = p[0].sort(descending=True, stable=True)
    before = ranked.cumsum(0) - ranked
    # Where the sum meets the limit, rounding decides; equal probabilities come in either order.
    assume(not (((before - top_p).abs() < 1e-6) & (ranked > 0)).any())
    inside = before < top_p
    expected = torch.where(inside, ranked, 0.0)
    assert torch.allclose(
        share[order].sort(descending=True).values, expected / expected.sum(), atol=2e-3
    )
    assert not share[p[0] == 0].any()


def test_consensus_weighs_captions_of_several_lengths(captioner):
    request = dataclasses.replace(REQUEST, decoding=consenting(captioner))
    result = captioner.caption(request)
    assert len(result.alternatives) > 3  # of one search
    assert len({a.tokens for a in result.alternatives}) == len(result.alternatives)
    words = [len(a.description.split()) for a in result.alternatives]
    assert max(words) - min(words) >= 8
    scores = [a.score for a in result.alternatives]
    assert scores == sorted(scores, reverse=True)
    # Whatever its search was told, a caption's log-probability is that of the request.
    total = result.trace.log_probability.sum()
    assert total == pytest.approx(result.alternatives[0].log_probability, abs=1e-3)
    assert captioner.caption(request).tokens == result.tokens


def test_consensus_is_the_same_in_a_batch_and_follows_the_seed(captioner):
    requests = [
        dataclasses.replace(REQUEST, decoding=consenting(captioner, max_tokens=40), seed=seed)
        for seed in (3, 4)
    ]
    alone = [captioner.caption(one, trace=False) for one in requests]
    together = captioner.caption_batch(requests)
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    first, second = ([a.score for a in r.alternatives] for r in alone)
    assert first != second  # other draws


def test_a_caller_may_stop_at_any_step(captioner):
    """Consensus takes several times as long as the search, and nobody may be waiting any more."""
    request = dataclasses.replace(REQUEST, decoding=consenting(captioner, max_tokens=40))
    usual = dataclasses.replace(
        request, decoding=dataclasses.replace(request.decoding, consensus=0.0)
    )
    weighed, plain = (list(captioner.stream(one, trace=False)) for one in (request, usual))
    last = plain[-2]  # of the search; what follows adds nothing to be shown
    more = weighed[len(plain) - 1 : -1]
    assert weighed[: len(plain) - 1] == plain[:-1]
    assert len(more) > 20 * (2 + DRAWS // ROUND)  # a step for each token of each search
    assert all(partial == last for partial in more)


def test_a_length_that_is_asked_for_stays_the_only_one(captioner):
    decoding = consenting(captioner, target_words=14)
    result = captioner.caption(dataclasses.replace(REQUEST, decoding=decoding), trace=False)
    assert len(result.alternatives) <= 3
    usual = dataclasses.replace(decoding, consensus=0.0)
    without = captioner.caption(dataclasses.replace(REQUEST, decoding=usual), trace=False)
    assert {a.tokens for a in result.alternatives} == {a.tokens for a in without.alternatives}


def test_draws_are_free_but_for_what_is_forbidden(captioner):
    decoding = consenting(captioner, temperature=5.0, top_p=1.0, max_tokens=40)
    context = captioner.model.encode({})

    def drawn(**kwargs) -> set[int]:
        parts = drawing(captioner.model, context, decoding, seeds=[5], **kwargs)
        return {token for part in parts if part.done for token in part.tokens.flatten().tolist()}

    free = drawn()  # at this temperature anything comes
    some = sorted(free - {0, captioner.model.config.eos_token_id})[::2]
    assert len(some) > 100
    assert not set(some) & drawn(forbidden=[some])
    with pytest.raises(ValueError, match="consensus"):
        Decoding(consensus=-1.0)


def test_a_checkpoint_that_expects_no_length_has_one_search(tiny_checkpoint):
    captioner = Captioner.from_pretrained(tiny_checkpoint, device="cpu")
    assert captioner.lengths is None
    usual = Decoding(beams=3, n_best=9, max_tokens=24)
    request = CaptionRequest(tags=(Tag(text="slow"),), decoding=usual)
    plain = captioner.caption(request, trace=False)
    decoding = dataclasses.replace(usual, consensus=9.0)
    weighed = captioner.caption(dataclasses.replace(request, decoding=decoding), trace=False)
    assert {a.tokens for a in weighed.alternatives} == {a.tokens for a in plain.alternatives}
    gained = {a.tokens: a.score for a in weighed.alternatives}
    assert any(gained[a.tokens] > a.score for a in plain.alternatives)
