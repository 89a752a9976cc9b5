"""`evaluate`: what it needs is asked for first, and captions are written from what is asked."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import tiny_config, tiny_model
from training_data import published_options, write_example, write_musiccaps

from audiogpt.checkpoints import save_pretrained
from audiogpt.cli import main
from audiogpt.config import BranchConfig
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training import evaluation, metrics
from audiogpt.training.annotations import formatted, read_annotations
from audiogpt.training.collate import Collator
from audiogpt.training.embeddings import save_embeddings
from audiogpt.training.evaluation import EvaluationOptions
from audiogpt.training.metrics import overlap_scores
from audiogpt.training.pairs import Pair
from audiogpt.training.published_run import _prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize(
    ("lacking", "remedy"),
    [("java", "default-jre-headless"), ("pycocoevalcap", "--no-deps pycocoevalcap==1.2")],
)
def test_what_scoring_lacks_is_told_before_captions_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, lacking: str, remedy: str
) -> None:
    pytest.importorskip("pycocoevalcap")
    if lacking == "java":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    monkeypatch.setattr(evaluation, "predict", lambda _: pytest.fail("captions were written"))
    caps = write_musiccaps(tmp_path / "caps.csv", rows=8)
    assert main(["evaluate", "--dataset", "musiccaps", "--data", str(caps)]) == 2
    said = capsys.readouterr().err
    assert "Scoring needs" in said
    assert remedy in said


def test_a_scorer_that_ends_before_its_time_is_said_to_and_not_asked_again() -> None:
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("METEOR needs Java")
    metrics._meteor.cache_clear()  # one that other tests have used
    metrics._meteor().meteor_p.kill()
    with pytest.raises(ValueError, match="METEOR's Java program ended"):
        overlap_scores(["a slow song"], ["a slow song"])
    assert metrics._meteor.cache_info().currsize == 0


@pytest.mark.parametrize("features", ["features.hdf5", "tracks.hdf5"])  # tags as vectors, as text
def test_playlists_are_captioned_from_what_is_asked(
    data: Path, tmp_path: Path, features: str
) -> None:
    file = data / "playlists" / features
    prepared = _prepare(published_options(tmp_path, data, features_path=file))

    def given(inputs: str | None) -> set[str]:
        options = EvaluationOptions(
            checkpoint="", dataset="playlists", data=data / "playlists" / "annotations",
            features=file, inputs=inputs,
        )  # fmt: skip
        examples, told = evaluation._playlists(prepared.model, prepared.tokenizer, options, None)
        assert all(tags for _, tags in told)  # faithfulness is measured all the same
        names = [{*(e.features or ()), *(("tags",) if e.tags else ())} for e in examples]
        assert all(name == names[0] for name in names)
        return names[0]

    assert given(None) == given("both") == {"audio", "tags", "artists"}
    assert given("audio") == {"audio"}
    assert given("tags") == {"tags"}


@pytest.mark.slow
def test_playlists_are_not_captioned_from_a_branch_that_is_not_there(
    data: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("pycocoevalcap")
    prepared = _prepare(published_options(tmp_path, data, playlist_feature="audio_artist"))
    save_pretrained(prepared.model, tmp_path / "model")
    prepared.tokenizer.save(tmp_path / "model")
    playlists = data / "playlists"
    command = (
        f"evaluate --checkpoint {tmp_path}/model --dataset playlists --beams 1 "
        f"--data {playlists}/annotations --features {playlists}/features.hdf5 --inputs "
    )
    assert main([*command.split(), "tags"]) == 2
    assert "no 'tags' branch, only audio, artists" in capsys.readouterr().err
    assert main([*command.split(), "audio"]) == 0
    assert "| CIDEr |" in capsys.readouterr().out


CLIPS = [
    Pair(
        key=str(n),
        source="incompetech",
        sentences=("A song.",),
        tags=("Rock", "?"),
        audio=(f"{n}",),
    )
    for n in range(2)
]


def incompetech(inputs: str | None = None, **settings) -> EvaluationOptions:
    return EvaluationOptions(
        checkpoint="folder", dataset="incompetech", data=Path("data"), inputs=inputs, **settings
    )


def test_rows_are_those_of_the_pipeline_where_tags_are_vectors_and_tracks_one_row(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    tokenizer = CaptionTokenizer.from_folder(tiny_checkpoint)
    config = tiny_config(
        branches=(BranchConfig(name="audio", width=3), BranchConfig(name="tags", width=2)),
        audio_rows="tracks",
    )
    table = TagTable(["jazz", "rock"], np.array([[1, 2], [3, 4]], np.float32))
    sound = np.arange(36, dtype=np.float32).reshape(12, 3)
    save_embeddings({"0": sound, "1": sound}, tmp_path / "incompetech.npz")
    options = incompetech("both", embeddings=tmp_path)
    examples = evaluation._examples(CLIPS, tokenizer, options, config, table)
    rows = Collator(config).rows(examples)
    assert rows["tags"]["values"].tolist() == [[[3.0, 4.0]]] * 2
    assert rows["audio"]["values"].tolist() == [[sound[:10].mean(0).tolist()]] * 2
    assert all((rows[name]["weights"] == 1).all() for name in rows)
    with pytest.raises(ValueError, match="knows no tags by name"):
        evaluation._examples(CLIPS, tokenizer, options, config)
    with pytest.raises(ValueError, match="no 'tags' branch"):
        only = replace(config, branches=config.branches[:1])
        evaluation._examples(CLIPS, tokenizer, incompetech(), only)
    save_embeddings({"0": sound}, tmp_path / "incompetech.npz")
    with pytest.raises(ValueError, match=r"lacks 1 of the clips, such as 1: .* prepare-data"):
        evaluation._examples(CLIPS, tokenizer, options, config, table)


def test_there_must_be_something_to_score(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(evaluation, "read_rows", lambda _: [])
    monkeypatch.setattr(
        evaluation, "write_captions", lambda *_, **__: pytest.fail("captions were written")
    )
    with pytest.raises(ValueError, match="no rows in the split 'test'"):
        evaluation.predict(replace(incompetech(), checkpoint="audiogpt-small"))
    with pytest.raises(ValueError, match="at least one"):
        evaluation.evaluate([])
    (tmp_path / "other.json").write_text("[]")
    for given in (f"--compare {tmp_path}/other.json", f"--bertscore {tmp_path}"):
        command = f"evaluate --dataset grooves --data {tmp_path} {given}"
        assert main(command.split()) == 2
        assert "The grooves have no texts to compare with" in capsys.readouterr().err


def test_novel_captions_are_told_from_what_was_trained_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "resolve", Path)
    config = json.dumps(tiny_config(formatting="title_only").to_dict())
    (tmp_path / "config.json").write_text(config)
    annotations = data / "playlists" / "annotations"
    options = EvaluationOptions(
        checkpoint=str(tmp_path), dataset="playlists", data=annotations, features=Path("f.hdf5")
    )
    item = read_annotations(annotations)["train"][0]
    title = evaluation.spoken(formatted(item.captions[0], "title_only"))
    assert title in evaluation.training_captions(options)


def test_behaviour_is_checked_where_the_checks_can_feed_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    parts = SimpleNamespace(
        model=tiny_model(tiny_config(audio_rows="tracks")), tokenizer=0, lengths=0
    )
    monkeypatch.setattr("audiogpt.checkpoint_parts.load_parts", lambda _: parts)
    assert main(["check-behaviour", "--musiccaps", str(tmp_path)]) == 2
    assert "tags as text and sound by segments" in capsys.readouterr().err
