"""`prepare-data`: the folder of embeddings and of what is heard, made in one call or in several."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from audiogpt.audio.embedding import WIDTHS
from audiogpt.cli import main
from audiogpt.training import embeddings


@pytest.fixture
def command(tmp_path: Path, noise: np.ndarray) -> list[str]:
    """The command with both sources; `tracks/audio` and `grooves` have a clip each."""
    for name in ("tracks/audio/one.ogg", "grooves/two.ogg"):
        (tmp_path / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / name, noise[: 4 * 16000], 16000)
    folders = [f"--incompetech={tmp_path}/tracks", f"--grooves={tmp_path}/grooves"]
    return ["prepare-data", f"--embeddings={tmp_path}/embeddings", *folders]


def test_sources_may_come_one_after_the_other(command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    made = tmp_path / "embeddings"
    together = json.loads((made / "heard.json").read_text())
    assert together.keys() == {"one.ogg", "two.ogg"}
    (made / "heard.json").unlink()
    *start, first, second = command
    assert main([*start, first]) == main([*start, second]) == 0
    assert json.loads((made / "heard.json").read_text()) == together
    width = WIDTHS["musicnn-pooled"]
    for name, clip in (("incompetech", "one.ogg"), ("grooves", "two.ogg")):
        assert embeddings.load_embeddings(made / f"{name}.npz", width=width).keys() == {clip}


def test_heard_json_is_written_last_and_whole(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is, all is there: scripts/train_bundled.sh relies on it."""

    def cut_off(*_, **__) -> None:
        raise KeyboardInterrupt

    def half(file: Path, text: str, **_) -> None:
        file.write_bytes(text.encode()[:3])
        cut_off()

    made = tmp_path / "embeddings"
    for place, name, broken in ((embeddings, "hear_clips", cut_off), (Path, "write_text", half)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, broken)
            assert main(command) == 130
        assert not (made / "heard.json").exists()
    before = (made / "grooves.npz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", lambda file, **_: file.write(b"PK") and cut_off())
        assert main(command) == 130
    assert (made / "grooves.npz").read_bytes() == before


@pytest.mark.parametrize("lost", ["--incompetech", "--grooves"])
def test_a_folder_without_audio_is_refused_before_anything_is_embedded(
    command: list[str], tmp_path: Path, capsys, lost: str
) -> None:
    assert main([*command, f"{lost}={tmp_path}/nope"]) == 2
    said = capsys.readouterr().err
    assert f"There are no .ogg files in {tmp_path}/nope" in said
    assert lost in said
    assert not (tmp_path / "embeddings").exists()


def test_what_is_no_file_of_prepare_data_is_told(tmp_path: Path) -> None:
    for text in ("[1]", '{"one.ogg": 3}', '{"one'):
        (tmp_path / "heard.json").write_text(text)
        with pytest.raises(ValueError, match=r"heard\.json is not what prepare-data writes"):
            embeddings.load_heard(tmp_path / "heard.json")


def test_a_broken_archive_of_embeddings_is_told(tmp_path: Path) -> None:
    path = tmp_path / "grooves.npz"
    embeddings.save_embeddings({"one.ogg": np.ones((2, 3), np.float32)}, path)
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", np.ones((2, 3)))
    np.savez(tmp_path / "texts.npz", **{"one.ogg": np.array(["a"])})
    for broken in (
        b"", whole[:-30], whole[:20], b"no archive", whole.replace(b"\x00<" * 3, b"\x00=" * 3),
        (tmp_path / "array.npy").read_bytes(), (tmp_path / "texts.npz").read_bytes(),
    ):  # fmt: skip
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"grooves\.npz is not what prepare-data writes"):
            embeddings.load_embeddings(path, width=3)


def test_a_groove_that_takes_too_long_is_one_clip_less(
    tmp_path: Path, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of rendering are not lost for it."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("render_grooves")
    library = tmp_path / "library"
    (library / "std").mkdir(parents=True)
    (library / "std" / "rock.mma").write_text("DefGroove Rock\n")
    calls = iter(range(3))

    def render(*_, **__):
        if next(calls) == 1:
            raise subprocess.TimeoutExpired("mma", 120)
        return np.stack([noise, noise], 1), ["drums"]

    monkeypatch.setattr(script, "LIBRARY", library)
    monkeypatch.setattr(script, "require_programs", lambda: None)
    monkeypatch.setattr(script, "render_mma", render)
    monkeypatch.setattr(sys, "argv", ["", "--folder", str(tmp_path / "clips"), "--clips", "3"])
    script.main()
    assert len((tmp_path / "clips" / "grooves.jsonl").read_text().splitlines()) == 2
