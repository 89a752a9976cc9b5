"""Runs of the small captioner: they end with their best weights, and go on only as they began."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import tiny_config, tiny_model
from safetensors.torch import load_file
from training_data import open_options, write_musiccaps

from audiogpt.checkpoints import save_pretrained
from audiogpt.config import BranchConfig
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.dataset import ScheduledViews
from audiogpt.training.open_data import train_open_data
from audiogpt.training.options import OpenDataOptions, PolishOptions
from audiogpt.training.polish import polish_open_data
from audiogpt.training.teachers import check_vocabulary
from audiogpt.training.validation import Validation
from audiogpt.training.vocabulary import train_vocabulary

pytestmark = pytest.mark.usefixtures("short_runs")


@pytest.fixture
def caps(tmp_path: Path) -> Path:
    return write_musiccaps(tmp_path / "caps.csv", rows=100)


def _losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """What the evaluations of a run are to measure, one after the other."""
    left = iter(losses)
    monkeypatch.setattr(Validation, "measure", lambda *_: {"loss": next(left), "cider": 0.0})


def _averaged(checkpoint: Path) -> torch.Tensor:
    average = load_file(checkpoint / "averaged.safetensors")
    return average["transformer.wte.weight"].half()


def _written(model: Path) -> torch.Tensor:
    return load_file(model / "model.safetensors")["transformer.wte.weight"]


@pytest.mark.parametrize("save_every", [100, 3, 1])
def test_the_best_weights_are_written_whatever_the_steps_between_saves(
    caps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_every: int
) -> None:
    _losses(monkeypatch, [3.0, 1.0, 2.0, 4.0])
    options = open_options(
        tmp_path / "run", caps, select="loss", evaluate_every=2, save_every=save_every, lr=1e-2
    )
    model = train_open_data(options)
    best, last = (tmp_path / "run" / f"checkpoint-{step}" for step in (4, 8))
    assert torch.equal(_written(model), _averaged(best))
    assert not torch.equal(_written(model), _averaged(last))
    kept = {path.name for path in (tmp_path / "run").glob("checkpoint-*")}
    assert kept == {best.name, last.name}


def test_a_run_without_its_best_weights_does_not_pass_off_others(
    caps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _losses(monkeypatch, [1.0, 2.0])
    options = open_options(tmp_path / "run", caps, select="loss", evaluate_every=4)
    train_open_data(options)
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    with pytest.raises(ValueError, match="checkpoint-4, the best checkpoint of its run, is gone"):
        train_open_data(replace(options, resume=True))
    _losses(monkeypatch, [float("nan")])
    with pytest.raises(ValueError, match=r"No evaluation .* gave a number"):
        train_open_data(open_options(tmp_path / "lost", caps, select="loss", steps=2))


class Stop(Exception):
    """A run is cut off."""


def _cut_off(options: OpenDataOptions, at: int) -> None:
    """Begin a run, which is killed when it wants this example."""
    fetch = ScheduledViews.__getitem__

    def stop_at(self: ScheduledViews, index: int):
        if index >= at:
            raise Stop
        return fetch(self, index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(ScheduledViews, "__getitem__", stop_at)
        train_open_data(options)


def test_a_run_goes_on_only_as_it_began(caps: Path, tmp_path: Path, caplog) -> None:
    options = open_options(tmp_path / "run", caps, resume=True)
    _cut_off(options, 5 * 4)
    assert "nothing to resume" in caplog.text  # a new folder is no reason to stop
    before = (tmp_path / "run" / "tokenizer.json").read_bytes()
    with pytest.raises(ValueError, match="holds a run already: add --resume"):
        train_open_data(replace(options, resume=False))
    (tmp_path / "other").mkdir()
    other = write_musiccaps(tmp_path / "other" / "caps.csv", rows=100, seed=1)  # of the same name
    with pytest.raises(ValueError, match=r"begun with other musiccaps, seed: .*--output"):
        train_open_data(replace(options, musiccaps=other, seed=1))
    assert (tmp_path / "run" / "tokenizer.json").read_bytes() == before
    moved = caps.rename(tmp_path / "moved.csv")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    changed = {"output": tmp_path / "elsewhere", "threads": 1, "save_every": 4, "patience": 3}
    folder = train_open_data(replace(options, musiccaps=moved, **changed))
    assert json.loads((folder / "training.json").read_text())["save_every"] == 4
    kept = {path.name for path in (tmp_path / "elsewhere").glob("checkpoint-*")}
    assert kept == {"checkpoint-4", "checkpoint-8"}  # every 3, as it began, it would be 6 and 8


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_without_its_checkpoints_is_not_replaced(
    caps: Path, tmp_path: Path, resume: bool
) -> None:
    options = open_options(tmp_path / "run", caps, steps=2)
    model = train_open_data(options)
    before = (model / "model.safetensors").read_bytes()
    for checkpoint in (tmp_path / "run").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    other = PolishOptions(
        checkpoint=model, musiccaps=caps, output=tmp_path / "run", resume=resume, bf16=False
    )
    for run in (
        lambda: train_open_data(replace(options, seed=1, resume=resume)),
        lambda: polish_open_data(other),
    ):
        with pytest.raises(ValueError, match=r"whose checkpoints are gone.*--output"):
            run()
    assert (model / "model.safetensors").read_bytes() == before


def test_a_run_that_patience_ended_goes_on_only_with_more_of_it(
    caps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = open_options(
        tmp_path / "run", caps, select="loss", evaluate_every=2, save_every=2, patience=2, lr=1e-2
    )
    _losses(monkeypatch, [1.0, 2.0, 3.0])
    done = _written(train_open_data(options))

    def kept() -> set[str]:
        return {path.name for path in (tmp_path / "run").glob("checkpoint-*")}

    assert kept() == {"checkpoint-2", "checkpoint-6"}
    _losses(monkeypatch, [])
    resumed = replace(options, resume=True)
    assert torch.equal(_written(train_open_data(resumed)), done)
    assert kept() == {"checkpoint-2", "checkpoint-6"}
    _losses(monkeypatch, [0.5])
    assert not torch.equal(_written(train_open_data(replace(resumed, patience=3))), done)
    assert kept() == {"checkpoint-6", "checkpoint-8"}


def test_a_run_keeps_its_vocabulary_whatever_the_texts_would_give_today(
    caps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = open_options(tmp_path / "run", caps, resume=True)
    whole = train_open_data(open_options(tmp_path / "whole", caps))
    _cut_off(options, 5 * 4)
    other = train_vocabulary(["nothing like it"] * 9, size=400)
    monkeypatch.setattr("audiogpt.training.open_data.train_vocabulary", lambda *_, **__: other)
    resumed = train_open_data(options)
    assert (resumed / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()
    assert torch.equal(_written(resumed), _written(whole))


def test_a_run_of_a_version_that_noted_nothing_goes_on(caps: Path, tmp_path: Path, caplog) -> None:
    options = open_options(tmp_path / "run", caps, resume=True)
    _cut_off(options, 5 * 4)
    (tmp_path / "run" / "options.json").unlink()
    assert (train_open_data(options) / "training.json").is_file()
    assert "does not say what its run was begun with" in caplog.text


def test_polishing_goes_on_only_as_it_began(caps: Path, tmp_path: Path) -> None:
    start, other = (
        train_open_data(open_options(tmp_path / name, caps, steps=2, seed=seed))
        for seed, name in enumerate(("one", "two"))
    )
    options = PolishOptions(
        checkpoint=start, musiccaps=caps, output=tmp_path / "polish", steps=2, batch_size=2,
        captions=2, evaluate_every=2, bf16=False,
    )  # fmt: skip
    done = _written(polish_open_data(options))
    with pytest.raises(ValueError, match="holds a run already: add --resume"):
        polish_open_data(options)
    with pytest.raises(ValueError, match="begun with other checkpoint, seed:"):
        polish_open_data(replace(options, resume=True, checkpoint=other, seed=8))
    assert torch.equal(_written(polish_open_data(replace(options, resume=True))), done)


def test_polishing_draws_what_the_checkpoint_can_read(
    caps: Path, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heard.json").write_text('{"clip.ogg": [["rock", 0.5]]}')
    asked: dict = {}

    def read(**settings):
        asked.update(settings)
        raise Stop

    monkeypatch.setattr("audiogpt.training.polish.read_sources", read)
    deaf = save_pretrained(
        tiny_model(tiny_config(branches=(BranchConfig.text("tags", 16),))), tmp_path / "deaf"
    )
    shutil.copy(tiny_checkpoint / "tokenizer.json", deaf)
    for start, tags_only in ((tiny_checkpoint, False), (deaf, True)):
        options = PolishOptions(
            checkpoint=start, musiccaps=caps, output=tmp_path / "run", embeddings=tmp_path
        )
        with pytest.raises(Stop):
            polish_open_data(options)
        assert asked["tags_only"] == tags_only  # no artists for one that cannot be told of any
        assert asked["heard"] == {"clip.ogg": [("rock", 0.5)]}


def test_what_a_run_learns_from_speaks_its_tokens(
    caps: Path, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiogpt.training.sources.RECOMBINED", 8)
    monkeypatch.setattr("audiogpt.training.sources.RANDOM_LISTS", 8)
    other = Path(shutil.copytree(tiny_checkpoint, tmp_path / "other"))
    vocabulary = json.loads((other / "tokenizer.json").read_text())
    ids = vocabulary["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]  # as many tokens, which nothing else tells apart
    (other / "tokenizer.json").write_text(json.dumps(vocabulary))
    for wrong in (
        {"start": tiny_checkpoint, "vocabulary_of": other},
        {"start": tiny_checkpoint, "teachers": (tiny_checkpoint, other)},
    ):
        options = open_options(tmp_path / "run", caps, tags_only=True, **wrong)
        with pytest.raises(ValueError, match="another vocabulary than this run"):
            train_open_data(options)
    tokenizer = CaptionTokenizer.from_folder(tiny_checkpoint)
    check_vocabulary([tiny_checkpoint], tokenizer)
