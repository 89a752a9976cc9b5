"""The loop: batches, loss, weight average, a killed run resumed bit for bit, the checkpoint."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_config, tiny_model
from safetensors.torch import load_file
from training_data import open_options, write_musiccaps

from audiogpt.checkpoints import from_pretrained
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.averaging import WeightAverage
from audiogpt.training.captioning import write_captions
from audiogpt.training.collate import IGNORED, Collator, as_rows
from audiogpt.training.dataset import Example, ScheduledViews, make_example
from audiogpt.training.losses import CaptioningLoss, caption_log_probabilities
from audiogpt.training.open_data import train_open_data
from audiogpt.training.options import PolishOptions
from audiogpt.training.polish import polish_open_data
from audiogpt.training.precision import computes_in_bfloat16
from audiogpt.training.sources import read_sources
from audiogpt.training.views import View
from audiogpt.training.vocabulary import train_vocabulary

pytestmark = pytest.mark.usefixtures("short_runs")

EXAMPLES = (
    Example(tokens=(2, 5, 6, 0), tags=(((7, 8), 1.0), ((9,), 0.5)), shares=(0.6, 0.4) + (0.0,) * 8),
    Example(tokens=(2, 6, 0), audio=np.ones((3, 256), np.float32), audio_weight=0.5),
)


def test_batches_are_padded_and_labels_are_the_next_tokens() -> None:
    batch = Collator(tiny_config())(EXAMPLES)
    assert batch["tokens"].tolist() == [[2, 5, 6], [2, 6, 1]]
    assert batch["labels"].tolist() == [[5, 6, 0], [6, 0, IGNORED]]
    assert batch["rows"]["tags"]["weights"].tolist() == [[1.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    assert batch["rows"]["audio"]["weights"].tolist() == [[0.0] * 3, [0.5] * 3]
    assert batch["rows"]["artists"]["weights"].tolist() == [[1.0], [0.0]]


def test_the_loss_is_the_mean_over_real_tokens_and_padding_changes_nothing() -> None:
    model = tiny_model()
    collate = Collator(model.config)
    with torch.inference_mode():
        both = CaptioningLoss(model)(**collate(EXAMPLES))["loss"]
        alone = [CaptioningLoss(model)(**collate([example]))["loss"] for example in EXAMPLES]
    torch.testing.assert_close(both, (3 * alone[0] + 2 * alone[1]) / 5)
    sums, counts = caption_log_probabilities(model, **collate(EXAMPLES))
    assert counts.tolist() == [3, 2]
    torch.testing.assert_close(-sums.sum() / 5, both)


def test_label_smoothing_acts_in_training_only() -> None:
    model = tiny_model(tiny_config(dropout=0.0))
    batch = Collator(model.config)(EXAMPLES)
    plain, smooth = CaptioningLoss(model), CaptioningLoss(model, label_smoothing=0.2)
    assert smooth.eval()(**batch)["loss"] == plain.eval()(**batch)["loss"]
    assert smooth.train()(**batch)["loss"] != plain.train()(**batch)["loss"]
    with pytest.raises(ValueError, match="label_smoothing"):
        CaptioningLoss(model, label_smoothing=1.0)
    hidden = CaptioningLoss(model, token_dropout=0.5)
    assert hidden.eval()(**batch)["loss"] == plain.eval()(**batch)["loss"]
    assert hidden.train()(**batch)["loss"] != plain.train()(**batch)["loss"]


def test_the_average_follows_the_weights_and_swaps_back() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = WeightAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.update(model, 1000)
    assert average.average["weight"].tolist() == [[0.5, 0.5]]
    average.swap(model)
    assert model.weight.tolist() == [[0.5, 0.5]]
    average.swap(model)
    assert model.weight.tolist() == [[1.0, 1.0]]


def test_artist_tokens_and_markers_are_whole_and_text_survives() -> None:
    tokenizer = CaptionTokenizer(train_vocabulary(["a slow song by many"] * 5, size=400))
    text = "<title> Slow Song <description> By artist0, artist10 and artist3."
    ids = tokenizer.encode(text)
    words = [tokenizer.decode([index]) for index in ids]
    assert words[0] == "<title>"
    assert "<description>" in words
    assert "artist0" in words
    assert "artist3" in words
    assert "artist1" not in words
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_a_schedule_is_fixed_by_its_seed(tmp_path: Path) -> None:
    sources = read_sources(musiccaps=write_musiccaps(tmp_path / "caps.csv", rows=400))
    tokenizer = CaptionTokenizer(train_vocabulary(sources.texts(), size=500))

    def tokens(seed: int, order: list[int]) -> list[tuple[int, ...]]:
        views = ScheduledViews(sources, tokenizer, {}, length=200, batch_size=4, seed=seed)
        return [views[index].tokens for index in order]

    there = tokens(1, list(range(200)))
    assert there == tokens(1, list(range(199, -1, -1)))[::-1]
    assert there != tokens(2, list(range(200)))
    lengths = [[len(t) for t in there[i : i + 4]] for i in range(0, 64, 4)]
    assert np.mean([max(batch) - min(batch) for batch in lengths]) < 6  # sorted within a block


def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=100)
    whole = train_open_data(open_options(tmp_path / "whole", caps))
    fetch = ScheduledViews.__getitem__

    def killed(self: ScheduledViews, index: int) -> Example:
        if index >= 5 * 4:
            raise KeyboardInterrupt
        return fetch(self, index)

    monkeypatch.setattr(ScheduledViews, "__getitem__", killed)
    with pytest.raises(KeyboardInterrupt):
        train_open_data(open_options(tmp_path / "cut", caps))
    monkeypatch.undo()
    (tmp_path / "cut" / "checkpoint-4").mkdir()  # as if cut off while writing: passed over
    resumed = train_open_data(open_options(tmp_path / "cut", caps, resume=True))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    last = [load_file(f.parent / "checkpoint-8" / "model.safetensors") for f in (resumed, whole)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[1])
    assert not torch.equal(
        last[0]["model.transformer.wte.weight"], ours["transformer.wte.weight"].float()
    )  # the checkpoint is the average, not the last weights

    def killed_while_saving(**_) -> None:  # after the state, before older checkpoints go
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.trainer.rotate_checkpoints", killed_while_saving)
    with pytest.raises(KeyboardInterrupt):
        train_open_data(open_options(tmp_path / "saving", caps))
    monkeypatch.undo()
    resumed = train_open_data(open_options(tmp_path / "saving", caps, resume=True))
    ours = load_file(resumed / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    with (whole / "training_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["step"] == "8"
    assert float(rows[-1]["eval_loss"]) > 0
    assert (whole / "training_curve.png").stat().st_size > 1000
    assert json.loads((whole / "training.json").read_text())["musiccaps"] == "caps.csv"
    assert list((tmp_path / "whole").glob("runs/*/events*"))  # TensorBoard


def test_training_learns_and_the_checkpoint_writes_captions(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=100)
    folder = train_open_data(
        open_options(
            tmp_path / "run",
            caps,
            steps=60,
            lr=1e-2,
            save_every=60,
            evaluate_every=30,
            average_decay=0.8,
        )
    )
    with (folder / "training_curve.csv").open() as file:
        losses = [float(row["eval_loss"]) for row in csv.DictReader(file) if row["eval_loss"]]
    assert losses[-1] < losses[0] < 6.0
    model, tokenizer = from_pretrained(folder), CaptionTokenizer.from_folder(folder)
    view = View(title="", description="", tags=(("rock", 1.0),))
    example = make_example(view, tokenizer, {})
    decoding = {"beams": 2, "n_best": 2, "max_tokens": 12}
    from audiogpt.request import Decoding

    (one,) = write_captions(model, tokenizer, [example], Decoding(**decoding))
    both = list(write_captions(model, tokenizer, [example, EXAMPLES[0]], Decoding(**decoding)))
    assert both[0].tokens == one.tokens
    assert len(one.tokens) <= 12


def test_polishing_starts_from_a_checkpoint_and_changes_it(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=100)
    start = train_open_data(open_options(tmp_path / "run", caps, steps=4, save_every=4))
    options = PolishOptions(
        checkpoint=start,
        musiccaps=caps,
        output=tmp_path / "polish",
        steps=2,
        batch_size=2,
        captions=2,
        evaluate_every=2,
        lr=1e-3,
    )
    folder = polish_open_data(options)
    before, after = (load_file(path / "model.safetensors") for path in (start, folder))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    settings = json.loads((folder / "polish.json").read_text())
    assert settings["steps"] == 2
    assert settings["bf16"] is computes_in_bfloat16()  # what this machine made of "as it does"
    with (folder / "polish_curve.csv").open() as file:
        assert any(row["reward"] for row in csv.DictReader(file))


def test_rows_reach_the_model_as_their_own_types() -> None:
    model = tiny_model()
    rows = as_rows(Collator(model.config).rows(EXAMPLES))
    context = model.encode(rows)
    assert context.n_rows == (3, 3, 1)


def test_a_captioner_starts_from_a_teacher_and_learns_from_it(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=100)
    teacher = train_open_data(
        open_options(tmp_path / "teacher", caps, tags_only=True, select="loss", steps=40)
    )
    assert from_pretrained(teacher).config.branch_names == ("tags",)
    student = train_open_data(
        open_options(
            tmp_path / "student",
            caps,
            start=teacher,
            teachers=(teacher, teacher),
            distillation=0.9,
            steps=1,
            lr=0.0,
            average_decay=0.0,
            evaluate_every=1,
        )
    )
    model = from_pretrained(student)
    assert model.config.branch_names == ("audio", "tags", "artists")
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (student, teacher))
    assert torch.equal(ours["transformer.wte.weight"], theirs["transformer.wte.weight"])
    settings = json.loads((student / "training.json").read_text())
    assert settings["teachers"] == ["teacher/model", "teacher/model"]
