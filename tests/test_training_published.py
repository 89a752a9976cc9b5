"""The published trainer: its switches, both kinds of annotations, both phases, resuming."""

from __future__ import annotations

import json
import os
import pickle
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import EXAMPLES, ROOT
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, BertTokenizerFast, GPT2Config, GPT2LMHeadModel

from audiogpt.checkpoints import from_pretrained
from audiogpt.cli import main
from audiogpt.config import BranchConfig
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Tag, Track
from audiogpt.tags import TagTable
from audiogpt.training.annotations import formatted, read_annotations
from audiogpt.training.bertscore import bert_scores
from audiogpt.training.features import FeatureFile
from audiogpt.training.options import PublishedOptions
from audiogpt.training.plain_text import spoken
from audiogpt.training.published_data import branches, sampled, usable
from audiogpt.training.published_run import _prepare, _self_critical_trainer, train_published
from audiogpt.training.scst import SelfCriticalTrainer
from audiogpt.training.trainer import CaptionTrainer
from audiogpt.training.validation import Validation
from audiogpt.training.vocabulary import train_vocabulary


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    script = runpy.run_path(str(ROOT / "scripts" / "make_training_example.py"))
    script["write_coco"](folder / "coco", images=30, width=2048)
    script["write_playlists"](folder / "playlists", playlists=40)
    return folder


def _options(folder: Path, data: Path, **changes) -> PublishedOptions:
    values = {
        "features_path": data / "playlists" / "features.hdf5",
        "annotation_folder": data / "playlists" / "annotations",
        "output": folder, "log_file": folder / "log.txt", "exp_name": "run", "batch_size": 8,
        "head": 2, "n_embd": 16, "decoder_layer": 1, "gpt_model_type": "random", "vocabulary": 400,
        "num_train_epochs": 2, "longest": 24, "beam_size": 2, "lr": 5e-3,
    }  # fmt: skip
    return PublishedOptions(**{**values, **changes})


def test_playlists_are_read_with_masked_artists(data: Path) -> None:
    items = read_annotations(data / "playlists" / "annotations")
    assert {split: len(found) for split, found in items.items()} == {
        "train": 24,
        "val": 8,
        "test": 8,
    }
    item = items["train"][0]
    assert item.artists is not None
    assert "artist" in item.captions[0]
    assert not any(name in item.captions[0] for name in item.artists.names)
    assert sum(item.artists.shares) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("formatting", "text"),
    [
        ("standard", "<title> a b <description> c d"),
        ("title_only", "a b"),
        ("description_only", "c d"),
        ("delimiter", "a b <delimiter> c d"),
    ],
)
def test_formatting(formatting: str, text: str) -> None:
    assert formatted("<title> a b  <description> c d", formatting) == text


def test_playlist_feature_and_percentage_do_what_they_say(data: Path, tmp_path: Path) -> None:
    items = read_annotations(data / "playlists" / "annotations")["train"]
    options = _options(tmp_path, data, playlist_feature="tags_artist")
    made, embedding = branches(options, items, n_embd=16)
    assert [(b.name, b.width) for b in made] == [("tags", 300), ("artists", 10)]
    assert embedding is None
    few = _options(tmp_path, data, train_percentage=0.25, split_train_data=True)
    assert len(sampled(items, few)) == 6
    assert len(sampled(items, _options(tmp_path, data, train_percentage=0.25))) == 24
    with pytest.raises(ValueError, match="playlist_feature"):
        branches(_options(tmp_path, data, playlist_feature="audio_lyrics"), items, n_embd=16)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpt_model_type", "bert", "gpt_model_type"),
        ("optimizer_type", "sgd", "optimizer_type"),
        ("train_percentage", 0.0, "train_percentage"),
    ],
)
def test_wrong_switches_are_refused(data: Path, tmp_path: Path, name, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        _options(tmp_path, data, **{name: value})


def test_missing_data_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ValueError, match="neither captions_train"):
        read_annotations(tmp_path)
    empty = tmp_path / "empty.hdf5"
    h5py.File(empty, "w").close()
    options = _options(tmp_path, data, features_path=empty)
    with pytest.raises(ValueError, match="no <id>_audio for any"):
        train_published(options)


def test_tracks_and_tag_names_give_the_same_sound_as_playlists(data: Path, tmp_path: Path) -> None:
    items = read_annotations(data / "playlists" / "annotations")["train"]
    tracks = data / "playlists" / "tracks.hdf5"
    made, _ = branches(_options(tmp_path, data, features_path=tracks), items, n_embd=16)
    assert [(b.name, b.rows) for b in made] == [
        ("audio", "features"), ("tags", "text"), ("artists", "features")
    ]  # fmt: skip
    with (
        FeatureFile(tracks, ["audio"]) as by_track,
        FeatureFile(data / "playlists" / "features.hdf5", ["audio"]) as by_playlist,
    ):
        for item in items:
            np.testing.assert_allclose(
                by_track.rows(item)["audio"], by_playlist.rows(item)["audio"], atol=1e-6
            )
        alone = replace(items[0], key=items[0].tracks[1], tracks=())  # a song of its own
        np.testing.assert_array_equal(
            by_track.rows(alone)["audio"], by_track.rows(items[0])["audio"][1:2]
        )
        absent = replace(items[0], tracks=("nowhere",))
        assert by_track.rows(absent) == {}


def test_a_tag_table_gives_vectors_and_goes_with_the_checkpoint(data: Path, tmp_path: Path) -> None:
    items = read_annotations(data / "playlists" / "annotations")["train"]
    genres = sorted({tag for item in items for tag in item.tags})
    vectors = np.random.default_rng(0).normal(size=(len(genres), 12)).astype(np.float32)
    (tmp_path / "table").mkdir()
    TagTable(genres, vectors).save(tmp_path / "table")
    tracks = data / "playlists" / "tracks.hdf5"
    settings = {"features_path": tracks, "tag_table": tmp_path / "table", "num_train_epochs": 1}
    folder = train_published(_options(tmp_path, data, **settings))
    assert from_pretrained(folder).config.branch("tags") == BranchConfig(name="tags", width=12)
    assert TagTable.load(folder).words == tuple(genres)
    request = CaptionRequest(tags=(Tag(text=genres[0]), Tag(text="unheard of")))
    result = Captioner.from_pretrained(folder).caption(request)
    assert any("unheard of" in warning for warning in result.warnings)
    other = tmp_path / "other"
    with pytest.raises(ValueError, match="width 12, the features 300"):
        train_published(_options(other, data, tag_table=tmp_path / "table"))
    with pytest.raises(ValueError, match="playlist_feature"):
        train_published(_options(other, data, **settings, playlist_feature="audio"))
    with pytest.raises(ValueError, match="no tag table"):
        train_published(_options(other, data, tag_table=tmp_path / "nowhere"))


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
    options = _options(
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
    plain = train_published(_options(tmp_path / "other", data, no_srau=True, num_train_epochs=1))
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
    whole = train_published(_options(tmp_path / "whole", data, **settings))
    for name, step, trainer in (
        ("end", 9, CaptionTrainer), ("amid", 8, CaptionTrainer), ("second", 7, SelfCriticalTrainer)
    ):  # fmt: skip
        options = _options(tmp_path / name, data, **settings)
        _cut_off(options, step, trainer)
        assert _same(whole, train_published(replace(options, resume_last=True))), name


@pytest.mark.slow
def test_runs_are_not_mixed_up(data: Path, tmp_path: Path, caplog) -> None:
    options = _options(tmp_path, data, num_train_epochs=1)
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
def test_patience_hands_over_to_self_critical_training(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    ciders = iter([5.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    measured = Validation.measure
    monkeypatch.setattr(
        Validation, "measure", lambda *args: {**measured(*args), "cider": next(ciders)}
    )
    folder = train_published(_options(tmp_path, data, num_train_epochs=6, patience=2))
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
    options = _options(tmp_path, data)
    prepared = _prepare(options, tmp_path / "run")
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
    rewarded = next(i for i in items if i.references[0] == _spoken_first(prepared))
    rewards = trainer._rewards(
        prepared.model, tokens, torch.ones(1, 2, dtype=torch.bool),
        {"references": [rewarded.references], "tags": [()]},
    )  # fmt: skip
    assert rewards[0, 0] > rewards[0, 1]


def _spoken_first(prepared) -> str:
    return spoken(prepared.train.texts[0][1])


def test_features_are_read_when_they_are_wanted(data: Path, tmp_path: Path, caplog) -> None:
    options = _options(tmp_path, data)
    examples = _prepare(options, tmp_path / "run").train
    copy = pickle.loads(pickle.dumps(examples))  # as a worker of the data loader gets it
    for one, other in zip(examples[:3], copy[:3], strict=True):
        assert one.tokens == other.tokens
        np.testing.assert_array_equal(one.features["audio"], other.features["audio"])
    lost = tmp_path / "lost.hdf5"
    with h5py.File(options.features_path) as old, h5py.File(lost, "w") as new:
        for name in old:
            if not name.startswith("playlist0_"):
                new[name] = old[name][...]
    _prepare(replace(options, features_path=lost), tmp_path / "run")
    assert "1 of 24 train items have no audio" in caplog.text
    with h5py.File(lost, "a") as file:
        for name in list(file):
            if name.split("_")[0] in {f"playlist{n}" for n in range(3, 40, 5)}:
                del file[name]
    with pytest.raises(ValueError, match="for any val item"):
        _prepare(replace(options, features_path=lost), tmp_path / "run")


def test_captions_that_say_nothing_are_left_out(tmp_path: Path, caplog) -> None:
    (tmp_path / "splits").mkdir()
    rows = [
        {"playlist_id": 1, "caption": "<title> a <description> b"},
        {"playlist_id": 1, "caption": "<title> another"},
        {"playlist_id": 2, "caption": None},
        {"playlist_id": 3, "caption": "no markers"},
    ]
    for split in ("train", "val"):
        (tmp_path / "splits" / f"{split}.json").write_text(json.dumps(rows))
    items = read_annotations(tmp_path)["train"]
    assert [len(item.captions) for item in items] == [2, 1, 1]
    kept = usable(items, "title_only", "train")
    assert [(item.key, len(item.captions)) for item in kept] == [("1", 2)]
    assert "2 empty train captions" in caplog.text
    assert [i.key for i in usable(items, "description_only", "train")] == ["1"]
    with pytest.raises(ValueError, match="No train caption"):
        usable(items[1:], "title_only", "train")


def test_the_original_readme_command_runs(data: Path, tmp_path: Path, capsys) -> None:
    """COCO annotations, detections of width 2048, GPT-2's shape in small: 12 layers, 12 heads."""
    gpt = tmp_path / "gpt2"
    items = read_annotations(data / "coco" / "annotations")["train"]
    captions = [caption for item in items for caption in item.captions]
    tokenizer = train_vocabulary(captions, size=320)
    gpt.mkdir()
    tokenizer.save(str(gpt / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    end = tokenizer.token_to_id("<|endoftext|>")
    shape = GPT2Config(vocab_size=size, n_positions=32, n_embd=24, n_layer=12, n_head=12,
                       bos_token_id=end, eos_token_id=end)  # fmt: skip
    GPT2LMHeadModel(shape).save_pretrained(gpt)
    command = (
        f"train --batch_size 50 --head 12 --tau 0.2 --features_path {data}/coco/detections.hdf5 "
        f"--annotation_folder {data}/coco/annotations --lr 1e-4 --gpt_model_type gpt "
        f"--random_seed 42 --log_file {tmp_path}/logs/log --exp_name experiment_log "
        "--decoder_layer 12 --optimizer_type adamw --gradient_accumulation_steps 2 "
        "--train_percentage 0.001 --split_train_data "
        f"--gpt_path {gpt} --output {tmp_path}/runs --num_train_epochs 1 --longest 12 --beam_size 2"
    )
    assert main(command.split()) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    model = from_pretrained(folder)
    assert model.config.fusion == "meshed"
    assert model.config.encoder_layer == 3
    assert [(b.name, b.width) for b in model.config.branches] == [("image", 2048)]
    assert (folder / "tokenizer.json").is_file()


SUMS = """
import os, sys
from audiogpt.cli import main
from audiogpt.training import published_run

def load(trainer, checkpoint):  # before the best weights of a phase replace those of its end
    total = sum(float(p.double().abs().sum()) for p in trainer.model.parameters())
    print(f"\\nsum {os.environ['RANK']} {checkpoint.parent.name} {total!r}", flush=True)
    loading(trainer, checkpoint)

loading, published_run._load = published_run._load, load
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
    alone = train_published(_options(tmp_path / "alone", data, exp_name="one"))
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
def test_playlists_are_evaluated_on_their_splits(data: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("pycocoevalcap")
    folder = train_published(_options(tmp_path, data, num_train_epochs=1))
    capsys.readouterr()
    encoder = _small_encoder(tmp_path / "encoder")
    command = (
        f"evaluate --checkpoint {folder} --dataset playlists --data {data}/playlists/annotations "
        f"--features {data}/playlists/features.hdf5 --split test --out {tmp_path}/out.json "
        f"--bertscore {encoder} --bertscore_layer 1"
    )
    assert main(command.split()) == 0
    printed = capsys.readouterr().out
    assert "| CIDEr |" in printed
    assert "| BERTScore f1 |" in printed
    assert "tag words used" in printed  # the annotations tell the tags' names
    rows = json.loads((tmp_path / "out.json").read_text())
    items = read_annotations(data / "playlists" / "annotations")["test"]
    assert len(rows) == len(items)
    assert all("<" not in row["ground_truth"] and row["ground_truth"] for row in rows)
    assert not any("artist0" in row["ground_truth"] for row in rows)


def _small_encoder(folder: Path) -> Path:
    """A random BERT with a vocabulary of letters, in transformers' form."""
    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    shape = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(shape).save_pretrained(folder)
    return folder


def test_bertscore_matches_tokens_both_ways(tmp_path: Path) -> None:
    encoder = _small_encoder(tmp_path / "encoder")
    same = bert_scores(["slow piano"], ["slow piano"], encoder)
    assert same["f1"][0] == pytest.approx(100, abs=1e-3)
    texts = ["slow piano", "a loud rock song with drums"]
    truth = ["a slow piano song", "piano"]
    there, back = bert_scores(texts, truth, encoder), bert_scores(truth, texts, encoder)
    np.testing.assert_allclose(there["precision"], back["recall"], atol=1e-3)
    alone = bert_scores(texts[1:], truth[1:], encoder)  # padding changes nothing
    np.testing.assert_allclose(there["f1"][1], alone["f1"][0], atol=1e-3)
    first = bert_scores(texts, truth, encoder, layer=1)
    assert abs(first["f1"] - there["f1"]).max() > 1e-3
    with pytest.raises(ValueError, match="1 to 2"):
        bert_scores(texts, truth, encoder, layer=3)
    with pytest.raises(ValueError, match=r"no config\.json"):
        bert_scores(texts, truth, tmp_path)


@pytest.mark.slow
def test_a_model_learns_what_the_features_say(data: Path, tmp_path: Path) -> None:
    options = _options(
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


def test_published_artists_and_preprocessed_names(tmp_path):
    (tmp_path / "splits").mkdir()
    caption = "<title> guns n roses <description> best of guns n roses and AC/DC"
    rows = json.dumps([{"playlist_id": "1", "caption": caption}])
    for split in ("train", "val"):
        (tmp_path / "splits" / f"{split}.json").write_text(rows)
    counts = [{"artist": "AC/DC", "count": 1}, {"artist": "Guns N' Roses", "count": 4}]
    table = tmp_path / "playlist2artists.json"
    table.write_text(json.dumps({"1": counts}))
    item = read_annotations(tmp_path)["train"][0]
    assert item.captions == ("<title> artist0 <description> best of artist0 and artist1",)
    assert item.artists is not None and item.artists.shares == (0.8, 0.2)
    table.write_text(json.dumps({"1": [{"name": "AC/DC"}]}))
    with pytest.raises(ValueError, match="artist and count"):
        read_annotations(tmp_path)
