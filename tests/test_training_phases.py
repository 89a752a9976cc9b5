"""Phases of the published run: taken up again, grown from one another, not passed off as others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_data import published_options, write_example

from audiogpt.training.options import PublishedOptions
from audiogpt.training.published_run import train_published
from audiogpt.training.validation import Validation


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


class Stop(Exception):
    """A run is cut off."""


def _cut_off(options: PublishedOptions, evaluations: int) -> None:
    """Run until this many evaluations are made, as if it were killed in the next one."""
    measured, made = Validation.measure, []

    def measure(*args):
        if len(made) == evaluations:
            raise Stop
        made.append(measured(*args))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Validation, "measure", measure)
        train_published(options)


def _ciders(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> list[float]:
    """What the evaluations to come are to measure; returns those that are left."""
    measured, left = Validation.measure, list(values)
    monkeypatch.setattr(
        Validation, "measure", lambda *args: {**measured(*args), "cider": left.pop(0)}
    )
    return left


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those of a model, or of a checkpoint, which has them under another name."""
    found = load_file(folder / "model.safetensors")
    return {name.removeprefix("model."): weights for name, weights in found.items()}


def _same(*folders: Path) -> bool:
    one, other = map(_weights, folders)
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_run_killed_in_an_evaluation_makes_up_for_it(data: Path, tmp_path: Path) -> None:
    """Steps are saved as often as an epoch is long, which would skip its evaluation."""
    settings = {"num_train_epochs": 2, "save_every": 3, "reinforcement_epochs": 0.0}
    whole = train_published(published_options(tmp_path / "whole", data, **settings))
    for evaluations in (0, 1):  # killed in that of the first epoch, and of the last
        options = published_options(tmp_path / f"cut{evaluations}", data, **settings)
        _cut_off(options, evaluations)
        resumed = train_published(replace(options, resume_last=True))
        assert _same(whole, resumed)
        assert _evaluations(resumed.parent) == _evaluations(whole.parent) == [1.0, 2.0]


def _evaluations(run: Path) -> list[float]:
    """The epochs after which the first phase was evaluated."""
    state = json.loads((run / "cross-entropy/checkpoint-6/trainer_state.json").read_text())
    return [entry["epoch"] for entry in state["log_history"] if "eval_cider" in entry]


@pytest.mark.slow
def test_a_finished_model_stays_where_its_checkpoints_are_gone(data: Path, tmp_path: Path) -> None:
    options = published_options(tmp_path, data, num_train_epochs=1)
    model = train_published(options)
    before = (model / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "run" / "cross-entropy" / "checkpoint-3")
    with pytest.raises(ValueError, match="holds a run already"):
        train_published(options)
    for epochs in (1, 2):
        with pytest.raises(ValueError, match=r"checkpoint-3, the best checkpoint .* is gone"):
            train_published(replace(options, num_train_epochs=epochs, resume_last=True))
    assert (model / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_prolonged_run_that_is_cut_off_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it noted as the best when it ended has given way to better checkpoints since."""
    options = published_options(tmp_path, data, num_train_epochs=1, reinforcement_epochs=0.0)
    with monkeypatch.context() as patch:
        _ciders(patch, [1.0])
        train_published(options)
    longer = replace(options, num_train_epochs=5, resume_last=True)
    with monkeypatch.context() as patch:
        _ciders(patch, [2.0, 3.0, 4.0])
        _cut_off(longer, 3)
    assert not (tmp_path / "run" / "cross-entropy" / "checkpoint-3").exists()
    with monkeypatch.context() as patch:
        left = _ciders(patch, [5.0])
        model = train_published(longer)
    assert not left
    assert _same(model, tmp_path / "run" / "cross-entropy" / "checkpoint-15")


def test_a_run_without_an_epoch_has_no_checkpoint_to_miss(data: Path, tmp_path: Path) -> None:
    options = published_options(tmp_path, data, num_train_epochs=0)
    before = _weights(train_published(options))
    after = _weights(train_published(replace(options, resume_last=True)))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_a_second_phase_grows_from_the_first_as_it_is_now(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left = _ciders(monkeypatch, [1.0, 9.0, 2.0, 3.0, 9.0])
    options = published_options(tmp_path, data, num_train_epochs=1, reinforcement_epochs=1.0)
    train_published(options)
    resumed = replace(options, resume_last=True)
    old = _weights(train_published(resumed))  # both phases have ended: nothing is measured
    assert len(left) == 3
    model = train_published(replace(resumed, num_train_epochs=3))
    assert not left
    assert "grew from other weights than checkpoint-9" in caplog.text
    assert _same(model, tmp_path / "run" / "self-critical" / "checkpoint-6")
    aside = _weights(tmp_path / "run" / "self-critical-from-checkpoint-3" / "checkpoint-6")
    new = _weights(model)
    assert all(torch.equal(old[name], aside[name]) for name in old)
    assert any(not torch.equal(old[name], new[name]) for name in old)
