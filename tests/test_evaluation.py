"""`evaluate`: what it needs is asked for first, and captions are written from what is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from training_data import published_options, write_example, write_musiccaps

from audiogpt.checkpoints import save_pretrained
from audiogpt.cli import main
from audiogpt.training import evaluation
from audiogpt.training.evaluation import EvaluationOptions
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
