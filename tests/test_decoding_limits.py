"""Limits of the search: captions end in time with a whole sentence, not too early, as begun."""

from __future__ import annotations

import torch
from conftest import ROOT, tiny_config, tiny_model

from audiogpt.context import FeatureRows
from audiogpt.decoding import Steering, decode_all
from audiogpt.limits import InTime
from audiogpt.request import Decoding
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer

TOKENIZER = CaptionTokenizer.from_folder(ROOT / "checkpoints" / "audiogpt-small")
WORDS = TokenWords(TOKENIZER)
EOS = 0


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


def _search(seed: int, prefix: str, *, end: float = -2.0, **settings) -> list[str]:
    """Descriptions by a random model with the bundled vocabulary that rambles, or likes to end."""
    size = TOKENIZER.vocab_size
    model = tiny_model(tiny_config(vocab_size=size, n_positions=160), seed=seed)
    with torch.no_grad():
        model.transformer.ln_f.bias.normal_(generator=torch.Generator().manual_seed(seed))
        direction = model.transformer.ln_f.bias / model.transformer.ln_f.bias.norm()
        model.transformer.wte.weight[EOS] += end * direction
    values = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(seed))
    context = model.encode({"audio": FeatureRows(values, torch.ones(2, 3))})
    prefixes = [TOKENIZER.encode(f"<title> Calm Song <description> {prefix}")] * 2
    decoding = Decoding(beams=3, n_best=3, max_tokens=120, **settings)
    steering = Steering(words=WORDS, prefixes=prefixes)
    found = decode_all(model, context, decoding, steering=steering)
    texts = [TOKENIZER.decode(found.ids(item, 0, EOS)) for item in range(2)]
    return [text.split("<description> ")[1].removesuffix(TOKENIZER.decode([EOS])) for text in texts]


def test_captions_end_with_a_sentence_within_the_most_words() -> None:
    begun = "A slow song is calm and soft and very sad."
    for seed in range(3):
        rambling = _search(seed, begun)
        assert all(text.startswith(begun) and len(text.split()) > 14 for text in rambling)
        assert all(
            len(text.split()) <= 14 and text.endswith(".")
            for text in _search(seed, begun, max_words=14)
        )


def test_captions_do_not_end_before_the_fewest_words() -> None:
    begun = "A slow song is calm."
    for seed in range(3):
        assert _search(seed, begun, end=20.0) == [begun, begun]
        assert all(len(t.split()) >= 8 for t in _search(seed, begun, end=20.0, min_words=8))
