"""The published trainer: its switches, both kinds of annotations, its data, its evaluation."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from training_data import published_options, write_example
from transformers import BertConfig, BertModel, BertTokenizerFast, GPT2Config, GPT2LMHeadModel

from audiogpt.checkpoints import from_pretrained
from audiogpt.cli import main
from audiogpt.config import BranchConfig
from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionRequest, Tag
from audiogpt.tags import TagTable
from audiogpt.training.annotations import formatted, read_annotations
from audiogpt.training.bertscore import bert_scores
from audiogpt.training.features import FeatureFile
from audiogpt.training.published_data import branches, sampled, usable
from audiogpt.training.published_run import _prepare, train_published
from audiogpt.training.vocabulary import train_vocabulary


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


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
    options = published_options(tmp_path, data, playlist_feature="tags_artist")
    made, embedding = branches(options, items, n_embd=16)
    assert [(b.name, b.width) for b in made] == [("tags", 300), ("artists", 10)]
    assert embedding is None
    few = published_options(tmp_path, data, train_percentage=0.25, split_train_data=True)
    assert len(sampled(items, few)) == 6
    assert len(sampled(items, published_options(tmp_path, data, train_percentage=0.25))) == 24
    with pytest.raises(ValueError, match="playlist_feature"):
        branches(
            published_options(tmp_path, data, playlist_feature="audio_lyrics"), items, n_embd=16
        )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpt_model_type", "bert", "gpt_model_type"),
        ("optimizer_type", "sgd", "optimizer_type"),
        ("train_percentage", 0.0, "train_percentage"),
        ("patience", -1, "patience"),
    ],
)
def test_wrong_switches_are_refused(data: Path, tmp_path: Path, name, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        published_options(tmp_path, data, **{name: value})


def test_missing_data_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ValueError, match="neither captions_train"):
        read_annotations(tmp_path)
    empty = tmp_path / "empty.hdf5"
    h5py.File(empty, "w").close()
    options = published_options(tmp_path, data, features_path=empty)
    with pytest.raises(ValueError, match="no <id>_audio for any"):
        train_published(options)


def test_tracks_and_tag_names_give_the_same_sound_as_playlists(data: Path, tmp_path: Path) -> None:
    items = read_annotations(data / "playlists" / "annotations")["train"]
    tracks = data / "playlists" / "tracks.hdf5"
    made, _ = branches(published_options(tmp_path, data, features_path=tracks), items, n_embd=16)
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
    folder = train_published(published_options(tmp_path, data, **settings))
    assert from_pretrained(folder).config.branch("tags") == BranchConfig(name="tags", width=12)
    assert TagTable.load(folder).words == tuple(genres)
    request = CaptionRequest(tags=(Tag(text=genres[0]), Tag(text="unheard of")))
    result = Captioner.from_pretrained(folder).caption(request)
    assert any("unheard of" in warning for warning in result.warnings)
    other = tmp_path / "other"
    with pytest.raises(ValueError, match="width 12, the features 300"):
        train_published(published_options(other, data, tag_table=tmp_path / "table"))
    with pytest.raises(ValueError, match="playlist_feature"):
        train_published(published_options(other, data, **settings, playlist_feature="audio"))
    with pytest.raises(ValueError, match="no tag table"):
        train_published(published_options(other, data, tag_table=tmp_path / "nowhere"))


def test_features_are_read_when_they_are_wanted(data: Path, tmp_path: Path, caplog) -> None:
    options = published_options(tmp_path, data)
    examples = _prepare(options).train
    copy = pickle.loads(pickle.dumps(examples))  # as a worker of the data loader gets it
    for one, other in zip(examples[:3], copy[:3], strict=True):
        assert one.tokens == other.tokens
        np.testing.assert_array_equal(one.features["audio"], other.features["audio"])
    lost = tmp_path / "lost.hdf5"
    with h5py.File(options.features_path) as old, h5py.File(lost, "w") as new:
        for name in old:
            if not name.startswith("playlist0_"):
                new[name] = old[name][...]
    _prepare(replace(options, features_path=lost))
    assert "1 of 24 train items have no audio" in caplog.text
    with h5py.File(lost, "a") as file:
        for name in list(file):
            if name.split("_")[0] in {f"playlist{n}" for n in range(3, 40, 5)}:
                del file[name]
    with pytest.raises(ValueError, match="for any val item"):
        _prepare(replace(options, features_path=lost))


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


@pytest.mark.slow
def test_playlists_are_evaluated_on_their_splits(data: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("pycocoevalcap")
    folder = train_published(published_options(tmp_path, data, num_train_epochs=1))
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


def test_annotations_of_another_form_are_named(tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    for wrong in (5, {"1": "a"}, [{"playlist_id": 1, "caption": 123}], [3]):
        (tmp_path / "splits" / "train.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"train\.json.* caption"):
            read_annotations(tmp_path)


def test_faithfulness_is_measured_where_tags_have_names(data: Path, tmp_path: Path) -> None:
    options = published_options(tmp_path, data)
    prepared = _prepare(options)
    tags = [pair.tags for pair in prepared.validation.pairs]
    items = read_annotations(options.annotation_folder)["val"]
    assert tags == [item.tags for item in items] and all(tags)
    assert "tag_words_used" in prepared.validation.measure(prepared.model)
    annotations = Path(shutil.copytree(options.annotation_folder, tmp_path / "nameless"))
    (annotations / "playlist2tags.json").unlink()
    prepared = _prepare(replace(options, annotation_folder=annotations))
    assert prepared.validation.measure(prepared.model).keys() == {"loss", "cider"}


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
    for wrong in (
        {"1": [{"name": "AC/DC"}]}, {"1": "Band"}, {"1": None}, {"1": 3}, {"1": ["Band", None]},
        {"1": [{"artist": "Band", "count": "many"}]}, {"1": {"Band": -1}}, {"other": "Band"},
    ):  # fmt: skip
        table.write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"playlist2artists\.json: .* artist and count"):
            read_annotations(tmp_path)
    for wrong in ([["Band"]], None, "Band"):
        table.write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"playlist2artists\.json must map each playlist id"):
            read_annotations(tmp_path)
