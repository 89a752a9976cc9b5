"""Limits of the search: captions end in time with a whole sentence, and not too early."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from conftest import ROOT

from audiogpt.limits import InTime, Limits
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Decoding, Tag
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer

TOKENIZER = CaptionTokenizer.from_folder(ROOT / "checkpoints" / "audiogpt-small")
WORDS = TokenWords(TOKENIZER)
EOS = TOKENIZER.eos_id


def test_what_could_have_ended_is_there_where_all_else_is_lost() -> None:
    in_time = InTime(2)
    in_time.offer(0, -2.0, torch.tensor([5, 6, EOS]), torch.tensor([-1.0, -2.0, -3.0]))
    in_time.offer(0, -4.0, torch.tensor([7, EOS]), torch.tensor([-1.0, -1.0]))  # not better
    tokens, history = torch.full((2, 2, 4), 9), torch.full((2, 2, 4), -1.0)
    scores = torch.tensor([[-torch.inf, -torch.inf], [-1.0, -torch.inf]])
    filled, log_p, ranks = in_time.fill(tokens, history, scores)
    assert filled[0, 0].tolist() == [5, 6, EOS, 0]
    assert log_p[0, 0].tolist() == [-1.0, -2.0, -3.0, 0.0]
    assert ranks[0].tolist() == [-2.0, -torch.inf]
    assert torch.equal(filled[1], tokens[1])  # an item that still has a hypothesis
    assert torch.equal(tokens, torch.full((2, 2, 4), 9))


def test_a_whole_caption_comes_before_those_without_an_end() -> None:
    in_time = InTime(2)
    in_time.offer(0, -3.0, torch.tensor([5, 6, EOS]), torch.tensor([-1.0, -2.0, -3.0]))
    in_time.offer(1, -3.0, torch.tensor([5, 6, EOS]), torch.tensor([-1.0, -2.0, -3.0]))
    tokens, history = torch.full((2, 2, 4), 9), torch.full((2, 2, 4), -1.0)
    scores = torch.tensor([[-1.0, -2.0], [-1.0, -2.0]])
    finished = torch.tensor([[False, False], [True, True]])
    found, log_p, ranks, whole = in_time.compete(tokens, history, scores, finished)
    assert found[0, 0].tolist() == [5, 6, EOS, 0]
    assert log_p[0, 0].tolist() == [-1.0, -2.0, -3.0, 0.0]
    assert ranks[0].tolist() == [-3.0, -1.0]
    assert whole[0].tolist() == [True, False]
    assert torch.equal(found[1], tokens[1])  # those that ended score higher
    in_time.offer(1, -1.5, torch.tensor([7, EOS]), torch.tensor([-1.0, -1.0]))
    found, _, ranks, _ = in_time.compete(tokens, history, scores, finished)
    assert ranks[1].tolist() == [-1.0, -1.5]
    assert found[1, 1].tolist() == [7, EOS, 0, 0]


def _allowed(limits: Limits, *texts: str) -> torch.Tensor:
    """Which tokens may follow each text, of one hypothesis per item: bool (N, V)."""
    ids = [TOKENIZER.encode(f"<title> Calm <description> {text}") for text in texts]
    length = max(len(part) for part in ids)
    tokens = torch.tensor([[ids_[0]] * (length - len(ids_)) + ids_ for ids_ in ids])
    log_p = torch.zeros(len(texts), TOKENIZER.vocab_size).log_softmax(-1)
    limits.forbid(log_p, tokens, torch.zeros(len(texts), dtype=torch.bool))
    return log_p.isfinite()


def test_hypotheses_end_neither_too_early_nor_too_late() -> None:
    decoding = Decoding(min_words=8, max_words=12)
    short, fine = "It is calm.", "It is a calm and a very soft song."
    long = "It is a calm and a very soft song, played by a slow old piano"
    in_time = InTime(3)
    allowed = _allowed(Limits(None, decoding, WORDS, EOS, in_time), short, fine, long)
    assert not allowed[0, EOS]  # too few words
    markers = sorted(WORDS.markers)  # a caption has one title and one description
    assert len(markers) == 2
    assert not allowed[:, markers].any()
    assert allowed[0].sum() == TOKENIZER.vocab_size - 1 - len(markers)
    assert allowed[1].nonzero().tolist() == [[EOS]]  # no room for another sentence
    # too long, but the item has nothing else
    assert allowed[2].sum() == TOKENIZER.vocab_size - len(markers)
    in_time.offer(2, -1.0, torch.tensor([5, EOS]), torch.tensor([-1.0, -1.0]))
    allowed = _allowed(Limits(None, decoding, WORDS, EOS, in_time), short, fine, long)
    assert not allowed[2].any()  # given up: something could have ended in time


def test_whole_captions_keep_to_few_words() -> None:
    captioner = Captioner.from_pretrained()
    lists = [
        ("rock", "electric guitar", "energetic", "male vocalist", "fast tempo", "live performance"),
        ("violin", "cello", "classical", "sad", "slow tempo", "orchestra", "emotional"),
        ("low quality", "shimmering hi hats", "mellow piano melody", "punchy kick", "passionate"),
    ]
    for most in (14, 20):
        decoding = dataclasses.replace(captioner.default_decoding, min_words=8, max_words=most)
        for tags in lists:
            request = CaptionRequest(tags=tuple(Tag(text=t) for t in tags), decoding=decoding)
            result = captioner.caption(request)
            assert 8 <= len(result.description.split()) <= most
            assert result.description.endswith(".")
            assert not result.warnings


def test_an_ampersand_is_part_of_a_word_as_it_is_for_whoever_counts_trigrams() -> None:
    said = WORDS.read(TOKENIZER.encode("<description> R&B and drum & bass."))
    assert said.words == ["r&b", "and", "drum", "&", "bass"]


def test_an_artist_counts_as_a_word_and_does_not_begin_the_caption_anew() -> None:
    said = WORDS.read(TOKENIZER.encode("<title> Calm <description> A song by artist0 and artist1."))
    assert said.spaced == 6
    assert said.words == ["a", "song", "by", "artist0", "and", "artist1"]
    assert said.ended
    ids = [TOKENIZER.token_id(f"artist{rank}") for rank in range(3)]
    banned = WORDS.repeating(said, 3)
    assert set(ids[:2]) <= set(banned)  # nobody is named twice
    assert ids[2] not in banned
    assert not WORDS.repeating(said, 0)


def test_a_text_that_calls_for_somebody_who_is_not_there_gives_way() -> None:
    ada, bob = (TOKENIZER.token_id(f"artist{rank}") for rank in range(2))

    def limits(in_time: InTime | None) -> Limits:
        banned = torch.zeros(2, TOKENIZER.vocab_size, dtype=torch.bool)
        banned[:, bob] = True
        return Limits(banned, Decoding(), None, EOS, in_time)

    def forbid(in_time: InTime | None, finished: tuple[int, ...] = ()) -> list[bool]:
        """Whether each of two hypotheses of two items may go on."""
        log_p = torch.full((4, TOKENIZER.vocab_size), -9.0)
        log_p[range(4), [bob, ada, bob, bob]] = -0.7
        over = torch.zeros(4, dtype=torch.bool)
        over[list(finished)] = True
        limits(in_time).forbid(log_p, torch.zeros(4, 0, dtype=torch.long), over)
        assert not log_p[:, bob].isfinite().any()
        return log_p.isfinite().any(1).tolist()

    # The second item has nothing else, so both of its hypotheses stay.
    assert forbid(InTime(2)) == [False, True, True, True]
    assert forbid(InTime(2), finished=(1,)) == [True] * 4  # what has ended is no alternative
    assert forbid(None) == [True] * 4  # a draw has to go on


def test_where_an_artist_is_due_nothing_else_comes() -> None:
    artists = [TOKENIZER.token_id(f"artist{rank}") for rank in range(10)]
    ada, bob, other = *artists[:2], TOKENIZER.encode(" strings")[0]

    def allowed(paid: bool, **log_p_of: float) -> list[int]:
        log_p = torch.full((1, TOKENIZER.vocab_size), -9.0)
        log_p[0, [ada, bob, other]] = torch.tensor([log_p_of[n] for n in ("ada", "bob", "other")])
        banned = torch.zeros(1, TOKENIZER.vocab_size, dtype=torch.bool)
        banned[0, artists[2:]] = True
        tokens = torch.tensor([TOKENIZER.encode("<description> It is mostly by")])
        limits = Limits(banned, Decoding(min_words=0), WORDS, EOS, InTime(1), paid=(paid,))
        limits.forbid(log_p, tokens, torch.zeros(1, dtype=torch.bool))
        return log_p[0].isfinite().nonzero()[:, 0].tolist()

    assert allowed(True, ada=-3.0, bob=-1.8, other=-0.5) == [ada, bob]
    assert other in allowed(True, ada=-4.0, bob=-2.2, other=-0.5)
    assert other in allowed(False, ada=-3.0, bob=-1.8, other=-0.5)


@pytest.mark.parametrize("tags", [("piano", "strings", "slow"), ("party", "opera"), ("house",)])
def test_one_artist_is_not_called_one_of_several(tags) -> None:
    captioner = Captioner.from_pretrained()
    request = CaptionRequest(
        tags=tuple(Tag(text=tag) for tag in tags), artists=(Artist(name="Ada", share=1.0),)
    )
    said = captioner.caption(request, trace=False).description
    assert "Ada" in said
    assert not re.search("mostly|dominates|stands at|above all|equal|even mix", said)


def test_a_mark_in_the_title_ends_no_caption() -> None:
    said = WORDS.read(TOKENIZER.encode("<title> What Is Up?"))
    assert said.title and said.ended
    tokens = torch.tensor([TOKENIZER.encode("<title> What Is Up?")])
    for in_time in (None, InTime(1)):
        limits = Limits(None, Decoding(max_words=8, min_words=0), WORDS, EOS, in_time)
        log_p = torch.zeros(1, TOKENIZER.vocab_size).log_softmax(-1)
        said_now = limits.forbid(log_p, tokens, torch.zeros(1, dtype=torch.bool))
        assert log_p[0, TOKENIZER.token_id("<description>")].isfinite()
        limits.remember(
            said_now, torch.zeros(1, 1), torch.zeros(1, 1), tokens[None], torch.zeros(1, 1, 1)
        )
        assert in_time is None or in_time.tokens == [None]


def test_a_draw_that_is_full_before_its_fewest_words_goes_on() -> None:
    decoding = Decoding(method="sample", min_words=8, max_words=12)
    early = "It is a calm slow song."  # six words: no room for another sentence, nor enough
    allowed = _allowed(Limits(None, decoding, WORDS, EOS, None), early)
    assert not allowed[0, EOS] and allowed.any()


def test_names_do_not_decide_which_caption_is_best():
    captioner = Captioner.from_pretrained()
    found = []
    for name in ("Ada", "Duran Duran", "Rock Steady and the Bass Drum of Death"):
        request = CaptionRequest(
            tags=(Tag(text="rock"), Tag(text="loud")), artists=(Artist(name=name),)
        )
        result = captioner.caption(request, trace=False)
        found.append([(one.tokens, one.score) for one in result.alternatives])
        assert name in result.description
    assert found[0] == found[1] == found[2]
