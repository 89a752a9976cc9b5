"""Embedding files: streamed, into HDF5 for training, and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from openl3_recipe import recipe_weights, write_official_layout

from audiogpt.audio.embedding import embed_file, load_embedding
from audiogpt.audio.features import (
    DONE_ATTRIBUTE,
    DURATION_ATTRIBUTE,
    extract_features,
    find_tracks,
    read_features,
)
from audiogpt.audio.loading import iter_mono, load_audio, resample_mono
from audiogpt.audio.openl3 import PARITY_HOP_SECONDS, OpenL3Embedding
from audiogpt.audio.openl3_verify import TOLERANCE_OTHER_RESAMPLER, verify_openl3
from audiogpt.cli import main


def write_noise(path: Path, seconds: float, *, rate: int = 22_050, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    soundfile.write(path, samples.astype(np.float32), rate)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good tracks and a broken one."""
    made = tmp_path / "tracks"
    (made / "deeper").mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "b.flac", "deeper/c.wav")):
        write_noise(made / name, 7.0, seed=seed)
    (made / "broken.mp3").write_bytes(b"no audio")
    (made / "notes.txt").write_text("not a track")
    return made


def test_a_streamed_file_gives_the_rows_of_the_whole(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.wav", 65.0)
    embedding = load_embedding("musicnn-vgg")
    seen: list[float] = []
    streamed = embed_file(path, embedding, progress=seen.append)
    whole = embedding.embed(resample_mono(load_audio(path), 16_000))
    assert streamed.rows.shape == (21, 256)
    np.testing.assert_allclose(streamed.rows, whole.rows, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(streamed.times, whole.times)
    assert len(seen) > 3
    assert seen[-1] == 1.0


def test_a_passage_of_a_file(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.wav", 20.0)
    embedding = load_embedding("musicnn-vgg")
    part = embed_file(path, embedding, start=5.0, duration=7.0)
    samples = resample_mono(load_audio(path, start=5.0, duration=7.0), 16_000)
    np.testing.assert_allclose(part.rows, embedding.embed(samples).rows, rtol=0, atol=2e-5)
    assert part.times[0, 0] == 0.0


def test_a_long_stream_is_never_held(tmp_path: Path) -> None:
    """Blocks are asked for one by one: at most a batch and a block lie between in and out."""
    embedding = load_embedding("musicnn-vgg")
    given = 0

    def blocks():
        nonlocal given
        for _ in range(60):
            given += 1
            yield np.zeros(16_000, np.float32)

    first = next(iter(embedding.embed_blocks(blocks())))
    assert len(first.rows) == embedding.batch_size
    assert given <= embedding.batch_size * 3 + 2


def test_extraction_writes_skips_and_continues(folder: Path, tmp_path: Path) -> None:
    out, embedding = tmp_path / "f" / "features.hdf5", load_embedding("musicnn-vgg")
    tracks = find_tracks(folder)
    assert list(tracks) == ["a", "b", "broken", "c"]
    report = extract_features(tracks, out, embedding, show_progress=False)
    assert (report.written, list(report.failed)) == (["a", "b", "c"], ["broken"])
    assert "broken.mp3" in report.failed["broken"]
    again = extract_features(tracks, out, embedding, show_progress=False)
    assert (again.written, again.already_there) == ([], ["a", "b", "c"])
    rows = dict(read_features(out, ["c", "a"]))
    np.testing.assert_array_equal(rows["c"], embed_file(tracks["c"], embedding).rows)
    with pytest.raises(ValueError, match="broken"):
        list(read_features(out, ["broken"]))


def test_an_unfinished_track_is_written_again(folder: Path, tmp_path: Path) -> None:
    out, embedding = tmp_path / "features.hdf5", load_embedding("musicnn-vgg")
    tracks = {"a": folder / "a.wav"}
    extract_features(tracks, out, embedding, show_progress=False)
    with h5py.File(out, "a") as file:
        del file["a"].attrs[DONE_ATTRIBUTE]
        file["a"][:] = 0
    assert extract_features(tracks, out, embedding, show_progress=False).written == ["a"]
    assert np.abs(dict(read_features(out, ["a"]))["a"]).max() > 0


def test_a_file_that_cannot_be_read_or_named_does_not_end_the_extraction(
    folder: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (b"caf\xe9.wav", b"caf\xe8.wav"):  # é and è, but not in UTF-8
        (folder / os.fsdecode(name)).write_bytes((folder / "a.wav").read_bytes())
    (folder / os.fsdecode(b"bad\xff.wav")).write_bytes(b"no audio")
    may_open = Path.open

    def refused(path: Path, *args, **kwargs):  # not by its mode, which does not bind everyone
        if path.name == "b.flac":
            raise PermissionError(13, "Permission denied")
        return may_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    out = tmp_path / "features.hdf5"
    assert main(["extract-features", str(folder), "--out", str(out), "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "4 tracks written, 0 already there, 3 failed" in said
    assert "b: b.flac cannot be opened" in said and "bad\\udcff: bad?.wav is not" in said
    assert len(list(read_features(out, ["caf\\udce9", "caf\\udce8"]))) == 2


def test_features_of_different_durations_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    embedding, out = load_embedding("musicnn-vgg"), tmp_path / "x.hdf5"
    one, two = ({name: folder / f"{name}.wav"} for name in ("a", "deeper/c"))

    def extract(tracks: dict[str, Path], duration: float | None):
        tracks = {Path(name).name: path for name, path in tracks.items()}
        return extract_features(tracks, out, embedding, duration=duration, show_progress=False)

    extract({"broken": folder / "broken.mp3"}, 30.0)  # which leaves nothing that could mix
    extract(one, 3.0)
    with pytest.raises(ValueError, match="the first 3 s of tracks, not of the first 6 s of tracks"):
        extract(two, 6.0)
    with pytest.raises(ValueError, match="the first 3 s of tracks, not of whole tracks: choose"):
        extract(two, None)
    assert extract({**one, **two}, 3.0).written == ["c"]
    with h5py.File(out, "a") as file:  # as an older version left it
        del file.attrs[DURATION_ATTRIBUTE]
    assert extract({**one, **two}, None).already_there == ["a", "c"]


def test_extraction_refuses_what_would_mix(folder: Path, tmp_path: Path) -> None:
    embedding, out = load_embedding("musicnn-vgg"), tmp_path / "x.hdf5"
    with h5py.File(out, "w") as file:
        file.attrs["embedding"] = "openl3-music-mel256-512"
    with pytest.raises(ValueError, match="openl3-music-mel256-512 features, not musicnn-vgg"):
        extract_features(find_tracks(folder), out, embedding)
    out.write_bytes(b"not HDF5 at all")
    with pytest.raises(ValueError, match="cannot be written as HDF5"):
        extract_features(find_tracks(folder), out, embedding)
    write_noise(folder / "deeper" / "a.wav", 1.0)
    with pytest.raises(ValueError, match="same track id"):
        find_tracks(folder)
    with pytest.raises(ValueError, match="not a folder"):
        find_tracks(folder / "a.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no audio files"):
        find_tracks(tmp_path / "empty")


def test_embed_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.npz"
    assert main(["embed", str(folder / "a.wav"), "--out", str(out)]) == 0
    assert "2 rows of 256" in capsys.readouterr().out
    with np.load(out) as data:
        assert data["rows"].shape == (2, 256)
        assert data["times"].shape == (2, 2)
        assert str(data["embedding"]) == "musicnn-vgg"
    assert main(["embed", str(folder / "broken.mp3"), "--out", str(out)]) == 2
    assert "broken.mp3" in capsys.readouterr().err


def test_tags_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tags", str(folder / "a.wav"), "--json"]) == 0
    heard = json.loads(capsys.readouterr().out)
    assert len(heard["taggram"]) == 2
    assert len(heard["taggram"][0]) == len(heard["labels"]) == len(heard["tags"])
    confidences = [tag["confidence"] for tag in heard["tags"]]
    assert confidences == sorted(confidences, reverse=True)
    assert main(["tags", str(folder / "a.wav"), "--top", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["tags", str(folder / "a.wav"), "--top", "0"]) == 2


def test_extract_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "f.hdf5"
    assert main(["extract-features", str(folder), "--out", str(out), "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "3 tracks written, 0 already there, 1 failed" in said
    assert "broken" in said


@pytest.mark.slow
def test_verify_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, rate = tmp_path / "data", 44_100
    (data / "audio").mkdir(parents=True)
    (data / "regression").mkdir()
    t = np.arange(rate // 4) / rate
    chirp = 0.5 * np.sin(2 * np.pi * (200 * t + 4_000 * t**2))
    soundfile.write(data / "audio" / "chirp_44k.wav", chirp, rate)
    weights = tmp_path / "openl3_audio_mel256_music.h5"
    write_official_layout(weights, recipe_weights())
    samples = resample_mono(load_audio(data / "audio" / "chirp_44k.wav"), 48_000)
    embedding = OpenL3Embedding(
        recipe_weights(), width=6144, front_end="kapre", hop_seconds=PARITY_HOP_SECONDS
    )
    expected = embedding.embed(samples).rows
    regression = data / "regression" / "chirp_44k_kapre.npz"
    np.savez(regression, embedding=expected)
    command = ["verify-openl3", str(data), "--weights", str(weights)]
    assert main(command) == 0
    assert "agrees" in capsys.readouterr().out
    np.savez(regression, embedding=expected * (1 + 2 * TOLERANCE_OTHER_RESAMPLER))
    assert main(command) == 1
    assert "DIFFERS" in capsys.readouterr().out
    with pytest.raises(ValueError, match="tests/data folder"):
        verify_openl3(tmp_path, weights=weights)


def test_listening_needs_no_librosa_and_help_needs_no_torch() -> None:
    for code, absent in (
        ("import audiogpt.audio.commands", "torch"),
        ("import audiogpt.audio.embedding, audiogpt.audio.tagger", "librosa"),
    ):
        check = f"import sys; {code}; sys.exit({absent!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_stream_blocks_are_bounded(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.wav", 60.0, rate=44_100)
    sizes = [len(block) for block in iter_mono(path, 16_000)]
    assert max(sizes) <= 11 * 16_000
    assert sum(sizes) == 960_000


HOUR_IN_BOUNDED_MEMORY = """
import resource, sys
import numpy as np, torch
from audiogpt.audio.embedding import embed_file, load_embedding
from audiogpt.audio.loading import iter_mono
from audiogpt.audio.tagger import load_tagger

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
embedding, tagger = load_embedding("musicnn-vgg"), load_tagger()
embedding.embed(np.zeros(100_000, np.float32))
tagger.listen(np.zeros(100_000, np.float32))
idle = peak()
rows = embed_file(sys.argv[1], embedding).rows
blocks = iter_mono(sys.argv[1], 16_000, duration=120)
assert tagger.listen_blocks(blocks).taggram.shape[0] == 40
print(len(rows), round(peak() - idle))
"""


@pytest.mark.slow
def test_an_hour_takes_bounded_memory(tmp_path: Path) -> None:
    path, rate = tmp_path / "hour.wav", 8_000
    minute = np.random.default_rng(0).normal(0, 0.1, rate * 60).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    command = [sys.executable, "-c", HOUR_IN_BOUNDED_MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 1203
    assert grown < 300  # MiB above the idle process
