"""The audio branch begins as a linear guess of what the tags branch would read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_config, tiny_model
from training_data import open_options, write_musiccaps

from audiogpt.checkpoints import from_pretrained
from audiogpt.context import FeatureRows, TextRows
from audiogpt.model import AudioGPT
from audiogpt.rows import tag_token_ids
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.audio_start import begin_audio
from audiogpt.training.embeddings import load_embeddings
from audiogpt.training.open_data import train_open_data
from audiogpt.training.options import OpenDataOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.sources import read_sources
from audiogpt.training.teachers import adopt

pytestmark = pytest.mark.usefixtures("short_runs")

FACTS = ("piano", "drums", "ballad", "slow", "mellow")
SILENT = 7  # a feature that says nothing: it must not be divided by its deviation


def clips(seed: int, count: int) -> tuple[list[Pair], dict[str, np.ndarray]]:
    """Pairs with two or three facts, each of which shows in the sound (4, 256) along a line."""
    dice = np.random.default_rng(seed)
    lines = np.random.default_rng(0).normal(size=(len(FACTS), 256))
    pairs, sounds = [], {}
    for index in range(count):
        chosen = dice.choice(len(FACTS), dice.integers(2, 4), replace=False)
        name = f"{seed}-{index}.ogg"
        rows = lines[chosen].sum(0) + dice.normal(size=(4, 256))
        rows[:, SILENT] = 3.0
        sounds[name] = (5.0 + rows).astype(np.float32)
        facts = tuple(FACTS[i] for i in chosen)
        pairs.append(
            Pair(key=name, source="clips", sentences=(), tags=facts, audio=(name,), moods=facts)
        )
    return pairs, sounds


@torch.no_grad()
def test_unheard_sounds_are_read_like_their_tags(tiny_checkpoint) -> None:
    tokenizer = CaptionTokenizer.from_folder(tiny_checkpoint)
    model, before = tiny_model(), tiny_model()
    pairs, sounds = clips(1, 80)
    begin_audio(model, tokenizer, pairs, sounds)
    held, unheard = clips(2, 30)
    read = []
    for pair in held:
        rows = TextRows.from_phrases([[(tag_token_ids(tokenizer, f), 1.0) for f in pair.moods]])
        read.append(
            model.branches["tags"].fc(model.text_rows(rows, ordered=True).values)[0].mean(0)
        )
    wanted = torch.stack(read)
    heard = torch.stack(
        [model.branches["audio"].fc(torch.from_numpy(unheard[p.audio[0]])).mean(0) for p in held]
    )
    likeness = torch.nn.functional.cosine_similarity(
        (heard - heard.mean(0))[:, None], (wanted - wanted.mean(0))[None], dim=-1
    )  # (30, 30)
    own = likeness.diagonal()
    assert float(own.mean()) > 0.8
    assert float((likeness <= own[:, None]).float().mean()) > 0.9  # few others are likelier
    # The attention to sounds begins as that to tags; nothing else has moved.
    gates = model.transformer.h[0].branch_gate.weight
    assert torch.equal(gates[0], gates[1]) and not torch.equal(gates[0], gates[2])
    tokens = torch.tensor([[2, 5, 9]])
    given = {"artists": FeatureRows(torch.rand(1, 1, 10), torch.ones(1, 1))}
    assert torch.equal(model(tokens, model.encode(given)), before(tokens, before.encode(given)))


def test_a_beginning_needs_clips_with_facts_and_audio_alone(tiny_checkpoint, tmp_path) -> None:
    tokenizer = CaptionTokenizer.from_folder(tiny_checkpoint)
    _, sounds = clips(1, 2)
    for useless in ([], [Pair(key="x", source="notes", sentences=("A song.",), tags=("a",))]):
        with pytest.raises(ValueError, match="clips with facts"):
            begin_audio(tiny_model(tiny_config()), tokenizer, useless, sounds)
    with pytest.raises(ValueError, match="--only audio needs clips"):
        read_sources(musiccaps=write_musiccaps(tmp_path / "caps.csv"), only="audio")
    for only in (None, "artists"):
        with pytest.raises(ValueError, match="--only audio"):
            OpenDataOptions(
                musiccaps=Path("x"),
                output=Path("y"),
                start=Path("z"),
                weight_decay=0.0,
                only=only,
                audio_probe=True,
            )


def test_a_run_of_audio_alone_keeps_its_beginning_and_all_else(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv")
    grooves, embeddings = tmp_path / "grooves", tmp_path / "embeddings"
    grooves.mkdir()
    embeddings.mkdir()
    dice = np.random.default_rng(0)
    lines = [
        {"file": f"{i}.ogg", "groove_file": f"g{i}", "style": FACTS[i % 3], "bpm": 90 + i,
         "instruments": [FACTS[3 + i % 2]]} for i in range(24)
    ]  # fmt: skip
    (grooves / "grooves.jsonl").write_text("\n".join(map(json.dumps, lines)))
    np.savez(
        embeddings / "grooves.npz",
        **{line["file"]: dice.normal(size=(2, 1564)).astype(np.float32) for line in lines},
    )
    sources = read_sources(musiccaps=caps, grooves=grooves, only="audio")
    assert {sources.draw(random.Random(i))[0] for i in range(50)} == {"grooves"}
    start = train_open_data(open_options(tmp_path / "start", caps, tags_only=True, steps=2))
    options = open_options(
        tmp_path / "ear", caps, steps=4, evaluate_every=4, grooves=grooves, embeddings=embeddings,
        start=start, only="audio", audio_probe=True, weight_decay=0.0, dropout=0.0,
    )  # fmt: skip
    before, after = from_pretrained(start), from_pretrained(train_open_data(options))
    begun = AudioGPT(after.config)
    adopt(begun, before)
    rows = load_embeddings(
        embeddings / "grooves.npz", width=1564, clips=[line["file"] for line in lines]
    )
    tokenizer = CaptionTokenizer.from_folder(start)
    begin_audio(begun, tokenizer, sources.pairs["grooves"], rows)
    torch.testing.assert_close(
        after.branches["audio"].fc.weight, begun.branches["audio"].fc.weight, rtol=2e-3, atol=1e-4
    )  # float16 on disk
    moved = after.transformer.h[0].cross_attn.v_proj.weight
    assert not torch.equal(moved[0], moved[1])
    tags = {"tags": TextRows.from_phrases([[((9, 11), 1.0)]])}
    tokens = torch.tensor([[2, 5, 9]])
    torch.testing.assert_close(
        after(tokens, after.encode(tags)), before(tokens, before.encode(tags))
    )
