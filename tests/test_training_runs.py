"""Runs of the published trainer: both phases, resuming, processes, from songs to captions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLES, ROOT
from safetensors.torch import load_file
from training_data import published_options, write_example

from audiogpt.checkpoints import from_pretrained
from audiogpt.cli import main
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Tag, Track
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.options import PublishedOptions
from audiogpt.training.published_run import _prepare, _self_critical_trainer, train_published
from audiogpt.training.scst import SelfCriticalTrainer
from audiogpt.training.trainer import CaptionTrainer
from audiogpt.training.validation import Validation
from audiogpt.training.vocabulary import train_vocabulary


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.slow
def test_from_a_folder_of_songs_to_captions(tmp_path: Path, capsys) -> None:
    """The whole way with the shipped commands: embed, annotate, train, caption."""
    out = tmp_path / "tracks.hdf5"
    assert main(["extract-features", str(EXAMPLES[0].parent), "--out", str(out), "--quiet"]) == 0
    songs = [path.stem for path in EXAMPLES]
    tables = {
        "tracks": {"party": songs, "night": songs[:1], "day": songs[1:]},
        "tags": {"party": ["slow waltz", "rock"], "night": ["slow waltz"], "day": ["rock"]},
        "artists": {"party": ["Nora Lind", "Ola Berg", "Nora Lind"]},
    }
    (tmp_path / "splits").mkdir()
    for name, table in tables.items():
        (tmp_path / f"playlist2{name}.json").write_text(json.dumps(table))
    rows = [
        {"playlist_id": k, "caption": f"<title> {k} <description> songs for {k} by Nora Lind"}
        for k in tables["tracks"]
    ]
    for split in ("train", "val"):
        (tmp_path / "splits" / f"{split}.json").write_text(json.dumps(rows))
    command = (
        f"train --features_path {out} --annotation_folder {tmp_path} --batch_size 3 --head 2 "
        f"--n_embd 16 --decoder_layer 1 --gpt_model_type random --vocabulary 300 --longest 24 "
        f"--num_train_epochs 2 --beam_size 2 --output {tmp_path}/runs --log_file {tmp_path}/log "
        "--threads 1 --formatting description_only"
    )
    assert main(command.split()) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    captioner = Captioner.from_pretrained(folder)
    assert (captioner.config.audio_embedding, captioner.config.audio_rows) == (
        "musicnn-vgg", "tracks"
    )  # fmt: skip
    result = captioner.caption(
        CaptionRequest(
            tracks=tuple(Track(path=str(path)) for path in EXAMPLES[:2]),
            tags=(Tag(text="rock"),),
            artists=(Artist(name="Ola Berg", share=1.0),),
        )
    )
    assert (result.trace.shares.mean((0, 1)) > 0).all()  # all three branches were heard
    assert not result.title


@pytest.mark.slow
def test_both_phases_and_the_switches_reach_the_model(data: Path, tmp_path: Path) -> None:
    options = published_options(
        tmp_path, data, reinforcement_epochs=1.0, reinforcement_lr=1e-3, tau=0.2,
        optimizer_type="adam", gradient_accumulation_steps=2, encoder_layer=1,
    )  # fmt: skip
    folder = train_published(options)
    config = json.loads((folder / "config.json").read_text())
    assert (config["tau"], config["srau"], config["encoder_layer"]) == (0.2, True, 1)
    assert config["fusion"] == "sum"
    assert [b["name"] for b in config["branches"]] == ["audio", "tags", "artists"]
    assert from_pretrained(folder).config.n_layer == 1
    assert "best CIDEr" in (tmp_path / "log.txt").read_text()
    first, second = (
        json.loads(
            max((tmp_path / "run" / phase).glob("checkpoint-*/trainer_state.json")).read_text()
        )
        for phase in ("cross-entropy", "self-critical")
    )
    assert first["global_step"] == 2 * 2  # 24 captions, 8 a batch, 2 batches a step, 2 epochs
    assert any("reward" in entry for entry in second["log_history"])
    plain = train_published(
        published_options(tmp_path / "other", data, no_srau=True, num_train_epochs=1)
    )
    assert not any("srau" in name for name in load_file(plain / "model.safetensors"))


class Stop(Exception):
    """A run is cut off."""


def _cut_off(options: PublishedOptions, step: int, trainer: type = CaptionTrainer) -> None:
    """Run until a phase of this kind reaches a step, as if it were killed there."""
    kept = trainer.training_step

    def stop_at(self, *args, **kwargs):
        if self.state.global_step >= step:
            raise Stop
        return kept(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(trainer, "training_step", stop_at)
        train_published(options)


def _same(*folders: Path) -> bool:
    one, other = (load_file(folder / "model.safetensors") for folder in folders)
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_resume_last_equals_an_unbroken_run(data: Path, tmp_path: Path) -> None:
    """Cut off at the end of an epoch, amid one, and in the second phase."""
    settings = {"num_train_epochs": 4, "save_every": 2, "reinforcement_epochs": 2.0}
    whole = train_published(published_options(tmp_path / "whole", data, **settings))
    for name, step, trainer in (
        ("end", 9, CaptionTrainer), ("amid", 8, CaptionTrainer), ("second", 7, SelfCriticalTrainer)
    ):  # fmt: skip
        options = published_options(tmp_path / name, data, **settings)
        _cut_off(options, step, trainer)
        assert _same(whole, train_published(replace(options, resume_last=True))), name


@pytest.mark.slow
def test_runs_are_not_mixed_up(data: Path, tmp_path: Path, caplog) -> None:
    options = published_options(tmp_path, data, num_train_epochs=1)
    train_published(options)
    with pytest.raises(ValueError, match="holds a run already"):
        train_published(options)
    with pytest.raises(ValueError, match="other lr, random_seed"):
        train_published(replace(options, lr=1e-3, random_seed=7, resume_last=True))
    finished = tmp_path / "run" / "cross-entropy"
    before = {path.name for path in finished.glob("checkpoint-*")}
    train_published(replace(options, resume_last=True))  # finished: nothing to do
    assert {path.name for path in finished.glob("checkpoint-*")} == before
    train_published(replace(options, exp_name="mistyped", resume_last=True))
    assert "nothing to resume" in caplog.text


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_vocabulary_and_data_alone(data: Path, tmp_path: Path) -> None:
    here = Path(shutil.copytree(data / "playlists", tmp_path / "here"))
    options = published_options(
        tmp_path, data, annotation_folder=here / "annotations",
        features_path=here / "features.hdf5", num_train_epochs=1, save_every=1,
    )  # fmt: skip
    _cut_off(options, 1)
    own = (tmp_path / "run" / "tokenizer.json").read_bytes()
    resumed = replace(options, resume_last=True)
    with pytest.MonkeyPatch.context() as patch:
        other = CaptionTokenizer(train_vocabulary(["nothing like it"] * 9, size=400))
        patch.setattr("audiogpt.training.published_run.make_tokenizer", lambda *_: other)
        assert (train_published(resumed) / "tokenizer.json").read_bytes() == own
    with (here / "features.hdf5").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="other features_path"):
        train_published(resumed)
    shutil.copy(data / "playlists" / "features.hdf5", here)
    split = here / "annotations" / "splits" / "val.json"
    split.write_text(split.read_text() + " ")
    with pytest.raises(ValueError, match="other annotation_folder"):
        train_published(resumed)


@pytest.mark.slow
def test_patience_hands_over_to_self_critical_training(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    ciders = iter([5.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    measured = Validation.measure
    monkeypatch.setattr(
        Validation, "measure", lambda *args: {**measured(*args), "cider": next(ciders)}
    )
    folder = train_published(published_options(tmp_path, data, num_train_epochs=6, patience=2))
    first, second = (
        json.loads((tmp_path / "run" / phase / "finished.json").read_text())
        for phase in ("cross-entropy", "self-critical")
    )
    # Of equals the later is the better; two worse ones end it after the fourth of six epochs.
    assert (first["epochs"], first["stopped"], first["best"]) == (4.0, True, "checkpoint-6")
    assert second["epochs"] == 2.0
    best = load_file(tmp_path / "run" / "cross-entropy" / "checkpoint-6" / "model.safetensors")
    final = load_file(folder / "model.safetensors")  # of the first phase, which was better
    assert all(torch.equal(best[f"model.{name}"], final[name]) for name in final)
    log = (tmp_path / "log.txt").read_text()
    assert "cross-entropy, epoch 4.00" in log
    assert "was not better" in log


@pytest.mark.slow
def test_naming_an_artist_is_rewarded(data: Path, tmp_path: Path) -> None:
    options = published_options(tmp_path, data)
    prepared = _prepare(options)
    trainer = _self_critical_trainer(prepared, options, tmp_path / "run" / "self-critical", 1.0)
    items = trainer.train_dataset
    ids = prepared.train[0].tokens[1:]
    named = prepared.tokenizer.artist_ids
    without = tuple(i for i in ids if i not in named)
    assert len(without) < len(ids)
    longest = max(len(ids), len(without))
    tokens = torch.zeros(1, 2, longest, dtype=torch.long)
    for k, some in enumerate((ids, without)):
        tokens[0, k, : len(some)] = torch.tensor(some)
    rewarded = items[0]
    rewards = trainer._rewards(
        prepared.model, tokens, torch.ones(1, 2, dtype=torch.bool),
        {"references": [rewarded.references], "tags": [()]},
    )  # fmt: skip
    assert rewards[0, 0] > rewards[0, 1]


SUMS = """
import os, sys
from audiogpt.cli import main
from audiogpt.training import phases

def load(trainer, checkpoint):  # before the best weights of a phase replace those of its end
    total = sum(float(p.double().abs().sum()) for p in trainer.model.parameters())
    print(f"\\nsum {os.environ['RANK']} {checkpoint.parent.name} {total!r}", flush=True)
    loading(trainer, checkpoint)

loading, phases.load_best = phases.load_best, load
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    """torch.distributed's own launcher, with gloo where there is no GPU."""
    playlists = data / "playlists"
    (tmp_path / "sums.py").write_text(SUMS)
    command = (
        f"-m torch.distributed.run --standalone --nproc_per_node 2 {tmp_path}/sums.py train "
        f"--features_path {playlists}/features.hdf5 --annotation_folder {playlists}/annotations "
        f"--batch_size 4 --head 2 --n_embd 16 --decoder_layer 1 --gpt_model_type random "
        f"--vocabulary 400 --num_train_epochs 2 --longest 24 --beam_size 2 --lr 5e-3 --threads 1 "
        f"--output {tmp_path} --log_file {tmp_path}/log.txt --exp_name two --reinforcement_epochs 1"
    )
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    sums = sorted(re.findall(r"sum (\d) ([a-z-]+) ([\d.e+]+)", done.stdout))
    assert [(rank, phase) for rank, phase, _ in sums] == [
        ("0", "cross-entropy"), ("0", "self-critical"),
        ("1", "cross-entropy"), ("1", "self-critical"),
    ]  # fmt: skip
    totals = [float(total) for *_, total in sums]
    assert totals[:2] == totals[2:]  # both processes have the same weights after each phase
    assert totals[0] != totals[1]
    alone = train_published(published_options(tmp_path / "alone", data, exp_name="one"))
    assert (tmp_path / "two" / "model" / "model.safetensors").is_file()
    together, apart = (
        json.loads((folder / "cross-entropy/checkpoint-6/trainer_state.json").read_text())
        for folder in (tmp_path / "two", alone.parent)
    )
    assert together["global_step"] == 6  # 24 captions, 4 a batch on 2 processes, 2 epochs
    losses = [
        [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
        for state in (together, apart)
    ]
    # The same batches of 8; gradients are averaged over processes instead of over tokens.
    np.testing.assert_allclose(*losses, atol=0.03)
    assert losses[0][1] < losses[0][0]


@pytest.mark.slow
def test_a_model_learns_what_the_features_say(data: Path, tmp_path: Path) -> None:
    options = published_options(
        tmp_path, data, annotation_folder=data / "coco" / "annotations",
        features_path=data / "coco" / "detections.hdf5", num_train_epochs=25, n_embd=32, lr=3e-3,
        encoder_layer=0, patience=25, eval_batch_size=50,
    )  # fmt: skip
    train_published(options)
    history = json.loads(
        max(
            (tmp_path / "run" / "cross-entropy").glob("checkpoint-*/trainer_state.json"),
            key=lambda path: int(path.parent.name.split("-")[1]),
        ).read_text()
    )["log_history"]
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    assert np.isfinite(losses).all()
