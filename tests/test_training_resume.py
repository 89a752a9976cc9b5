"""Runs of the small captioner end with their best weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_data import open_options, write_musiccaps

from audiogpt.training.open_data import train_open_data
from audiogpt.training.validation import Validation


@pytest.fixture
def caps(tmp_path: Path) -> Path:
    return write_musiccaps(tmp_path / "caps.csv", rows=230)


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
