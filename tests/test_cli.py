"""The command line as a user meets it: exit status, standard output, one-sentence errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES, ROOT

from audiogpt.cli import main
from audiogpt.pipeline import Captioner
from audiogpt.request import MAX_NAME, MAX_TRACKS

FAST = ["--max-tokens", "20", "--beams", "2"]


@pytest.fixture
def song(tmp_path, noise):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise, 16000)
    return path


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_json_is_all_that_is_printed(capsys, song, tiny_checkpoint):
    status, out, _ = run(
        capsys, "caption", song, "--checkpoint", tiny_checkpoint, *FAST, "--json",
        "--tag", "rock=0.8", "--artist", "A=B Band=0.6", "--audio-strength", "0.5", "--seed", "3",
    )  # fmt: skip
    assert status == 0
    result = json.loads(out)
    assert {"text": "rock", "weight": 0.8} in result["request"]["tags"]
    assert result["request"]["artists"] == [{"name": "A=B Band", "share": 0.6}]
    assert result["request"]["strengths"]["audio"] == 0.5
    assert result["request"]["seed"] == 3
    assert len(result["checkpoint_sha256"]) == 64
    assert np.asarray(result["trace"]["shares"]).shape[2] == 4


def test_a_given_tag_takes_the_place_of_the_one_that_was_heard(capsys, tiny_checkpoint):
    drums = ROOT / "assets" / "examples" / "heavy-guitars.ogg"
    arguments = ["caption", drums, "--checkpoint", tiny_checkpoint, *FAST, "--json", "--tag"]

    def tags(given):
        return json.loads(run(capsys, *arguments, given)[1])["request"]["tags"]

    heard = tags("zither")[0]["text"]  # the surest comes first
    given = tags(f" {heard.upper()}=0")
    assert [tag for tag in given if tag["text"].strip().lower() == heard] == [
        {"text": f" {heard.upper()}", "weight": 0.0}
    ]


def test_a_passage_holds_for_the_tracks_of_a_playlist(capsys, song, tiny_checkpoint):
    playlist = {"id": "p", "tracks": [{"id": "song.wav", "artist": "A", "tags": ["rock"]}]}
    path = song.with_name("playlist.json")
    path.write_text(json.dumps(playlist))
    arguments = ["--checkpoint", tiny_checkpoint, *FAST, "--json", "--start", "1", "--end", "4.5"]
    status, out, err = run(capsys, "caption", "--playlist", path, *arguments)
    assert status == 0, err
    (track,) = json.loads(out)["request"]["tracks"]
    assert (track["start"], track["end"]) == (1.0, 4.5)


def test_files_are_captioned_one_by_one_or_together(capsys, song, tmp_path, tiny_checkpoint):
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    arguments = ["caption", song, other, "--checkpoint", tiny_checkpoint, *FAST, "--json"]
    assert len(json.loads(run(capsys, *arguments)[1])) == 2
    together = json.loads(run(capsys, *arguments, "--together")[1])
    assert [track["name"] for track in together["request"]["tracks"]] == ["song.wav", "other.wav"]


def test_a_file_of_any_name_is_captioned_with_the_others(capsys, song, tmp_path, tiny_checkpoint):
    paths = [tmp_path / name for name in ("s" * 240 + ".wav", os.fsdecode(b"caf\xe9.wav"))]
    for path in paths:
        path.write_bytes(song.read_bytes())
    arguments = ["caption", *paths, song, "--checkpoint", tiny_checkpoint, *FAST, "--json"]
    status, out, err = run(capsys, *arguments)
    assert status == 0, err
    names = [result["request"]["tracks"][0]["name"] for result in json.loads(out)]
    assert names == ["s" * MAX_NAME, "caf?.wav", "song.wav"]


def test_too_many_files_are_refused_before_any_is_heard(capsys, song, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(Captioner, "listen", None)
    arguments = ["--together", "--checkpoint", tiny_checkpoint]
    status, out, err = run(capsys, "caption", *[song] * (MAX_TRACKS + 1), *arguments)
    assert (status, out) == (2, "")
    assert err == "error: A request takes at most 200 tracks, not 201.\n"


def test_parts_of_several_tracks_say_whose_they_are(capsys, song, tmp_path, tiny_checkpoint):
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    arguments = ["--checkpoint", tiny_checkpoint, *FAST, "--segments", "3", "--end", "6"]
    _, out, _ = run(capsys, "caption", song, other, "--together", *arguments)
    starts = [line for line in out.splitlines() if " s: " in line]
    for line, beginning in zip(
        starts,
        ["song.wav, 0–3", "song.wav, 3–6", "other.wav, 0–3", "other.wav, 3–6"],
        strict=True,
    ):
        assert line.startswith(f"  {beginning} s: ")
    _, out, _ = run(capsys, "caption", song, *arguments)
    assert "\n  0–3 s: " in out


def test_a_playlists_own_tags_stay_without_heard_ones(capsys, song, tiny_checkpoint):
    path = song.with_name("playlist.json")
    path.write_text(json.dumps({"id": "p", "tracks": [{"id": "song.wav", "tags": ["rock"]}]}))
    arguments = ["--checkpoint", tiny_checkpoint, *FAST, "--json", "--no-heard-tags"]
    arguments += ["--tag", "jazz"]
    _, out, _ = run(capsys, "caption", "--playlist", path, *arguments)
    assert [tag["text"] for tag in json.loads(out)["request"]["tags"]] == ["rock", "jazz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.wav"], "nowhere.wav cannot be opened"),
        (["--tag", "rock=loud"], "is not a number"),
        (["--tag", "rock=3"], "between 0 and 1"),
        (["--audio-strength", "9"], "between 0 and 2"),
        (["--checkpoint", "/nowhere"], "no checkpoint at /nowhere"),
        (["--beams", "0"], "beams must be"),
        (["--device", "abacus"], "no device 'abacus' here"),
        (["--checkpoint", str(ROOT / "README.md")], "give the folder of the checkpoint"),
        (["--playlist", "."], "cannot be opened"),
        ([str(ROOT / "tests")], "tests is a folder"),
        (["--tag", "rock", "--segments", "5"], "need sound"),
        (["--tag", "rock", "--end", "5"], "need sound"),
        (["song.wav", "--audio-dir", "."], "give --playlist"),
        (["--min-words", "9", "--max-words", "8"], "must not be greater than max_words"),
    ],
)
def test_errors_are_one_sentence(capsys, tiny_checkpoint, arguments, message):
    if "--checkpoint" not in arguments:
        arguments = [*arguments, "--checkpoint", tiny_checkpoint]
    status, out, err = run(capsys, "caption", *arguments)
    assert status == 2 and out == ""
    assert message in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_sentence(capsys, song, tmp_path):
    status, out, err = run(capsys, "tags", song, "--picture", tmp_path / "no" / "where.png")
    assert status == 2
    assert err == f"error: {tmp_path}/no/where.png: No such file or directory.\n"
    assert out == ""


def test_stopping_is_one_word_also_while_modules_load(capsys, monkeypatch):
    def stopped(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", stopped)
    assert run(capsys, "tags", "song.wav") == (130, "", "stopped\n")


@pytest.mark.parametrize("seconds", ["0", "nan"])
def test_parts_of_no_length_are_an_error(capsys, song, tiny_checkpoint, seconds):
    arguments = ["caption", song, "--checkpoint", tiny_checkpoint, *FAST, "--segments", seconds]
    status, _, err = run(capsys, *arguments)
    assert status == 2 and "at least 3 s" in err


STARTS = """
import os, runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except SystemExit as end:  # so that one process, which has loaded torch and gradio, starts it twice
    print(end, file=sys.stderr)
del os.environ["AUDIOGPT_MAX_MINUTES"]
os.environ["AUDIOGPT_CHECKPOINT"] = "/nowhere"
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_the_page_does_not_start_with_settings_that_make_no_sense():
    started = subprocess.run(
        [sys.executable, "-c", STARTS, ROOT / "app.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "AUDIOGPT_MAX_MINUTES": "long"},
    )
    assert started.returncode == 1
    minutes, checkpoint = started.stderr.splitlines()
    assert minutes.startswith("error: ") and "greater than 0, not 'long'" in minutes
    assert checkpoint.startswith("error: ") and "no checkpoint at /nowhere" in checkpoint


@pytest.mark.slow
@pytest.mark.skipif(len(EXAMPLES) < 2, reason="the example clips are not in this checkout")
def test_the_bundled_model_tells_the_examples_apart(capsys):
    status, out, _ = run(capsys, "caption", *EXAMPLES, "--json")
    assert status == 0
    results = json.loads(out)
    assert len({result["description"] for result in results}) == len(EXAMPLES)
    for result in results:
        words = result["description"].split()
        assert 8 <= len(words) <= 70
        assert result["description"].endswith((".", "!", "?"))
        assert 1 <= len(result["title"].split()) <= 10
        assert "artist" not in result["description"].lower()
