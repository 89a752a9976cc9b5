"""What the page may say to the server, and what it hears: checked without a browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import soundfile
from conftest import EXAMPLES, tiny_config, tiny_model

from audiogpt.config import BranchConfig
from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionRequest, Track
from audiogpt.ui import answers as answers_module
from audiogpt.ui import memory as memory_module
from audiogpt.ui.answers import FAILURE, Answers, first_message
from audiogpt.ui.memory import Memory
from audiogpt.ui.messages import read_message, write_answer
from audiogpt.ui.page import SCRIPTS, STYLES, WEB, launch_options, script
from audiogpt.ui.parts import MAX_PARTS, count_parts, length_told
from audiogpt.ui.uploads import example_names, local_path


@pytest.fixture(scope="module")
def captioner(tiny_checkpoint) -> Captioner:
    return Captioner.from_pretrained(tiny_checkpoint, device="cpu")


@pytest.fixture
def answers(captioner) -> Answers:
    return Answers(captioner)


def message(*, request=None, **changes) -> str:
    """A message in the page's form; `request` changes parts of it, or replaces it altogether."""
    whole = {
        "tracks": [],
        "tags": [{"text": "mellow", "weight": 0.5}],
        "artists": [{"name": "Ada", "share": 2}],
        "strengths": {"audio": 1, "tags": 0.5, "artists": 2},
        "decoding": {"beams": 2, "max_tokens": 12},
        "seed": 3,
    }
    whole = whole | (request or {}) if not isinstance(request, list) else request
    return json.dumps({"page": "p", "run": 1, "request": whole, "auto": False} | changes)


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def test_only_uploads_and_examples_are_opened(uploads, tmp_path):
    inside = uploads / "song.wav"
    inside.write_bytes(b"x")
    assert local_path(str(inside)) == str(inside)
    assert local_path("example:" + example_names()[0]) == str(EXAMPLES[0])
    outside = tmp_path / "secret.wav"
    outside.write_bytes(b"x")
    (uploads / "link.wav").symlink_to(outside)
    for name in (
        str(outside),
        "/etc/passwd",
        str(uploads / ".." / "secret.wav"),
        str(uploads / "link.wav"),
        str(uploads),
        str(uploads / "gone.wav"),
        "example:../README.md",
        "song\0.wav",
        "",
        None,
    ):
        with pytest.raises(ValueError, match=r"add the file again|no example"):
            local_path(name)


def test_a_message_becomes_a_request():
    read = read_message(message())
    assert read.request.tags[0].weight == 0.5
    assert read.request.strength("artists") == 2
    assert read.request.decoding.beams == 2
    assert read.request.seed == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"request": {"tags": [{"text": "a", "weight": 1.5}]}},
        {"request": {"tags": [{"text": "a", "weight": True}]}},
        {"request": {"tags": [{"weight": 1}]}},
        {"request": {"tags": [{"text": "x" * 300}]}},
        {"request": {"artists": [{"name": "a", "share": -1}]}},
        {"request": {"strengths": {"video": 1}}},
        {"request": {"strengths": {"audio": 3}}},
        {"request": {"decoding": {"beams": 99}}},
        {"request": {"decoding": {"banana": 1}}},
        {"request": {"seed": -1}},
        {"request": {"tags": [{"text": "half of \ud83d"}]}},
        {"request": {"artists": [{"name": "\ud83d"}]}},
        {"request": {"tracks": [{"file": "example:" + example_names()[0], "name": "\ud83d"}]}},
        {"request": {"tracks": [{"file": "\ud83d"}]}},
        {"request": {"decoding": {"\ud83d": 1}}},
        {"request": {"tracks": [{"file": "/etc/passwd"}]}},
        {"request": []},
        {"run": None},
    ],
)
def test_wrong_messages_get_one_sentence(answers, changes):
    spoken = [json.loads(text) for text in answers.caption(message(**changes))]
    assert len(spoken) == 1
    assert spoken[0]["done"] and spoken[0]["error"].endswith(".")
    assert "Traceback" not in spoken[0]["error"] and spoken[0]["error"] != FAILURE
    assert spoken[0]["error"].encode() and "codec" not in spoken[0]["error"]


@pytest.mark.parametrize("text", [None, "", "[]", "{", 3, "{}"])
def test_no_message_at_all_gets_one_sentence(answers, text):
    spoken = [json.loads(part) for part in answers.caption(text)]
    assert len(spoken) == 1 and spoken[0]["error"]


def test_an_unforeseen_failure_is_logged_and_not_shown(answers, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(answers.captioner, "stream", fail)
    (spoken,) = answers.caption(message())
    assert json.loads(spoken)["error"] == FAILURE
    assert "secret detail" in caplog.text


def test_answers_grow_and_end_with_a_trace(answers, monkeypatch):
    for name in ("STREAM_PATIENCE", "STREAM_INTERVAL"):
        monkeypatch.setattr(answers_module, name, 0.0)
    track = {"file": "example:" + example_names()[0], "name": "one"}
    text = message(request={"tracks": [track], "tags": []}, auto=True)
    spoken = [json.loads(part) for part in answers.caption(text)]
    for earlier, later in itertools.pairwise(spoken):
        assert set(earlier) - {"heard"} <= set(later)
    streamed = [answer for answer in spoken if "partial" in answer]
    assert len(streamed) > 3
    # What was heard is large: it does not come again with every word.
    assert all(("heard" in answer) == ("result" in answer) for answer in streamed)
    last = spoken[-1]
    assert last["done"] and last["run"] == 1
    assert last["heard"][0]["seconds"] == pytest.approx(15.5, abs=0.6)
    assert [tag["text"] for tag in last["auto_tags"]] == [
        tag["text"] for tag in last["result"]["request"]["tags"]
    ]
    words = last["result"]["words"]
    assert len(last["why"]["shares"]) == len(last["why"]["drops"]) == len(words)
    assert len(last["why"]["candidates"]) == len(last["result"]["tokens"])
    assert "path" not in json.dumps(last["result"]["request"])


def test_a_superseded_run_stops_early(answers):
    answers.supersede(["p", 2])
    spoken = [json.loads(part) for part in answers.caption(message())]
    assert spoken[-1]["stopped"] and "result" not in spoken[-1]
    answers.supersede("nonsense")
    assert json.loads(list(answers.caption(message(run=2)))[-1])["result"]


def test_shapley_values_add_up_for_a_remembered_caption(answers):
    last = json.loads(list(answers.caption(message()))[-1])
    (spoken,) = answers.shapley(message(extra={"key": last["key"]}))
    values = json.loads(spoken)["shapley"]
    assert len(values) == len(last["result"]["words"])
    assert all(row[0] == 0 for row in values)  # there was no audio
    (forgotten,) = answers.shapley(message(extra={"key": "never"}))
    assert "no longer remembers" in json.loads(forgotten)["error"]


def test_segments_need_audio_and_a_length(answers):
    (spoken,) = answers.segments(message(extra={"seconds": 10}))
    assert "Add audio" in json.loads(spoken)["error"]
    (spoken,) = answers.segments(message(extra={"seconds": 1}))
    assert "between 3 and 600" in json.loads(spoken)["error"]


def through(seconds, *files: Path | str, run: int = 1) -> str:
    """A message that asks for the parts of uploads or examples."""
    tracks = [{"file": str(file), "name": "one"} for file in files]
    return message(request={"tracks": tracks}, extra={"seconds": seconds}, run=run)


@pytest.fixture
def long_song(uploads) -> Path:
    """Sixteen minutes of silence, small on disk."""
    path = uploads / "long.wav"
    soundfile.write(path, np.zeros(1000 * 960, np.int16), 1000, subtype="PCM_U8")
    return path


@pytest.mark.parametrize("length", [0.5, 3, 5.9, 6, 6.01, 8.99, 9, 9.01, 12, 31, 100])
@pytest.mark.parametrize("seconds", [3, 4.5, 30])
def test_parts_are_counted_as_they_are_cut(captioner, monkeypatch, length, seconds):
    monkeypatch.setattr(captioner, "listen", lambda track: SimpleNamespace(seconds=length))
    monkeypatch.setattr(captioner, "suggest_tags", lambda tracks: ())
    said = SimpleNamespace(title="", description="")
    monkeypatch.setattr(captioner, "caption_batch", lambda requests: [said] * len(requests))
    request = CaptionRequest(tracks=(Track(path="song"),))
    parts = list(captioner.segments(request, seconds=seconds))
    assert count_parts(length, seconds) == len(parts)


def test_the_length_is_told_by_the_file(uploads, long_song):
    assert length_told(Track(path=str(long_song))) == 960
    assert length_told(Track(path=str(long_song), start=900)) == 60
    assert length_told(Track(path=str(long_song), start=10, end=12)) == 2
    assert length_told(Track(path=str(long_song), start=2000)) == 0
    assert length_told(Track(path=str(EXAMPLES[0]))) > 10
    sound = np.random.default_rng(0).normal(0, 0.1, 16000 * 20)
    sound[: 16000 * 10] = 0  # its first frames are short, so a guess from those would be too long
    soundfile.write(uploads / "song.mp3", sound, 16000, bitrate_mode="VARIABLE")
    assert length_told(Track(path=str(uploads / "song.mp3"))) == pytest.approx(20, abs=0.5)
    (uploads / "notes.txt").write_text("la la la")
    for path in (uploads / "notes.txt", uploads / "gone.wav"):
        assert length_told(Track(path=str(path))) == 0


def test_too_many_parts_are_refused_before_anything_is_heard(answers, monkeypatch, long_song):
    def fail(*args, **kwargs):
        raise AssertionError("The model was used.")

    for name in ("listen", "segments"):
        monkeypatch.setattr(answers.captioner, name, fail)
    for asked in (through(3, long_song), through(30, *[long_song] * 10)):
        (spoken,) = answers.segments(asked)
        error = json.loads(spoken)["error"]
        assert f"more than {MAX_PARTS} parts" in error and "longer parts or fewer tracks" in error
        assert error.endswith(".") and error != FAILURE


def test_too_many_parts_of_a_file_that_tells_no_length_are_refused_once_heard(
    answers, monkeypatch, long_song
):
    begun = []
    heard = answers.captioner.listen(Track(path=str(EXAMPLES[0])))
    long = dataclasses.replace(heard, seconds=960.0)
    monkeypatch.setattr(answers_module, "length_told", lambda track: 0.0)
    monkeypatch.setattr(answers.captioner, "listen", lambda track, **options: long)
    monkeypatch.setattr(answers.captioner, "segments", lambda *a, **k: begun.append(a) or iter(()))
    spoken = [json.loads(text) for text in answers.segments(through(3, long_song))]
    assert "fewer tracks" in spoken[-1]["error"] and not begun


def test_parts_name_their_track_and_end_when_they_are_called_off(answers):
    example = "example:" + example_names()[0]
    spoken = answers.segments(through(6, example, example))
    parts = json.loads(list(spoken)[-1])["segments"]
    half = len(parts) // 2
    assert [part["track"] for part in parts] == [0] * half + [1] * half
    times = [(part["start"], part["end"]) for part in parts]
    assert half > 1 and times[:half] == times[half:]

    spoken = answers.segments(through(6, example, example))
    first = next(json.loads(text) for text in spoken if json.loads(text)["segments"])
    assert len(first["segments"]) == 1
    answers.supersede(["p", 2])
    (last,) = spoken
    assert json.loads(last)["stopped"] and json.loads(last)["done"]
    for handler in (answers.segments, answers.caption):  # called off while it waited its turn
        *_, last = handler(through(6, example))
        assert json.loads(last)["stopped"] and not json.loads(last).get("segments")


def test_a_saved_result_is_restored_and_a_broken_one_refused(answers):
    result = json.loads(list(answers.caption(message()))[-1])["result"]
    reply = json.loads(answers.restore(json.dumps(result)))
    assert reply["same_checkpoint"] and reply["result"]["description"] == result["description"]
    assert len(reply["why"]["candidates"]) == len(result["tokens"])
    foreign = result | {"checkpoint_sha256": "of another"}  # its tokens spell something else here
    reply = json.loads(answers.restore(json.dumps(foreign)))
    assert not reply["same_checkpoint"] and reply["why"]["candidates"] is None
    assert reply["why"]["shares"]
    result["trace"]["drop"] = result["trace"]["drop"][:1]
    assert "not a caption" in json.loads(answers.restore(json.dumps(result)))["error"]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(memory_module, "MAX_RESULTS", 2)
    monkeypatch.setattr(memory_module, "MAX_PAGES", 2)
    memory = Memory()
    first, *_ = [memory.keep(None) for _ in range(3)]
    with pytest.raises(ValueError, match="no longer remembers"):
        memory.recall(first)
    for page in "abc":
        memory.supersede(page, 5)
    assert memory.unwanted("c", 4) and not memory.unwanted("a", 4)
    assert not memory.unwanted("c", 5)


def test_markup_cannot_leave_an_answer():
    assert "<" not in write_answer(error="<script>alert(1)</script>")
    assert json.loads(write_answer(error="<b>"))["error"] == "<b>"


def test_the_page_knows_its_defaults(captioner):
    first = json.loads(first_message(captioner))
    assert first["branches"] == ["audio", "tags", "artists"]
    assert first["decoding"]["beams"] >= 1 and "piano" in first["known_tags"]
    assert first["reads_tags"] and first["tags_as_text"] and not first["weights_are_relative"]


def test_the_page_knows_what_a_checkpoint_cannot_do(captioner):
    branches = (BranchConfig(name="audio", width=256), BranchConfig(name="tags", width=4))
    model = tiny_model(tiny_config(branches=branches, null_rows=False))
    first = json.loads(first_message(Captioner(model, captioner.tokenizer)))
    assert first["branches"] == ["audio", "tags"] and first["weights_are_relative"]
    assert not first["reads_tags"] and not first["tags_as_text"] and not first["known_tags"]


def test_web_files_are_listed_and_their_syntax_is_right(tmp_path):
    listed = {*SCRIPTS, *STYLES, "page.html"}
    assert listed == {path.name for path in WEB.iterdir()}
    html = (WEB / "page.html").read_text(encoding="utf-8")
    assert not any(mark in html for mark in ("`", "${", "{{", "<script"))
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    path = tmp_path / "page.js"
    path.write_text(
        "(function (element, trigger, props, server, upload, watch) {" + script() + "})"
    )
    check = subprocess.run(["node", "--check", path], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_scripts_never_write_markup():
    for name in SCRIPTS:
        text = (WEB / name).read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, name


def test_launch_options_are_accepted_by_gradio():
    import inspect

    assert set(launch_options()) <= set(inspect.signature(gr.Blocks.launch).parameters)


def test_expired_uploads_are_named(uploads):
    gone = {"file": str(uploads / "gone.wav"), "name": "song.wav"}
    with pytest.raises(ValueError, match=r"^song\.wav is no longer .* add the file again\.$"):
        read_message(message(request={"tracks": [gone]}))


def test_long_listening_reports_progress_and_can_be_stopped(answers, monkeypatch):
    track = {"file": "example:" + example_names()[0], "name": "one"}
    listen = answers.captioner.listen

    def slowly(track, *, progress=None):
        for share in (0.25, 0.5, 0.75) if progress is not None else ():
            progress(share)
            time.sleep(0.05)
        return listen(track)

    monkeypatch.setattr(answers.captioner, "listen", slowly)
    monkeypatch.setattr(answers_module, "PROGRESS_INTERVAL", 0.02)
    asked = message(request={"tracks": [track]})
    steps = answers._listen(read_message(asked))
    shares = [step["listening"] for step in steps if "listening" in step]
    assert shares == sorted(shares) and 0.25 in shares and shares[-1] <= 1
    # The page knows what is heard, but the server has forgotten it: it is heard again, not told.
    known = message(request={"tracks": [track]}, extra={"heard": True})
    spoken = [json.loads(text) for text in answers.caption(known)]
    assert "listening" in spoken[0] and not any("heard" in answer for answer in spoken)
    assert spoken[-1]["result"]
    answers.supersede(["p", 5])
    for text in (asked, known):
        spoken = [json.loads(text) for text in answers.caption(text)]
        assert spoken[-1]["stopped"] and "heard" not in spoken[-1]
