"""What app.py reads from the environment, and what is left when it ends."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from conftest import ROOT

from audiogpt.pipeline import Captioner
from audiogpt.request import Track
from audiogpt.ui.page import build, launch_options
from audiogpt.ui.upload_folder import PREFIX


def test_a_server_that_answers_late_is_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path
) -> None:
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)  # no answer within 3 s
    demo = build(Captioner.from_pretrained(tiny_checkpoint, device="cpu"))
    demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    demo.close(verbose=False)


def test_any_length_is_taken_where_the_limit_is_infinite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_checkpoint: Path, noise: np.ndarray
) -> None:
    monkeypatch.setenv("AUDIOGPT_CHECKPOINT", str(tiny_checkpoint))
    monkeypatch.setenv("AUDIOGPT_MAX_MINUTES", "inf")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # which app.py changes,
    monkeypatch.setattr(tempfile, "tempdir", None)  # as this
    spec = importlib.util.spec_from_file_location("demo_app", ROOT / "app.py")
    assert spec is not None and spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    assert app.longest_sound() == math.inf
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    for track in (
        Track(path=str(tmp_path / "a.wav")),
        Track(waveform=noise, sample_rate=16_000),
    ):
        assert app.captioner.listen(track).seconds == 7.0
    for text in ("nan", "0", "-inf"):
        monkeypatch.setenv("AUDIOGPT_MAX_MINUTES", text)
        with pytest.raises(ValueError, match="must be a number greater than 0"):
            app.longest_sound()


@pytest.fixture
def left(tmp_path: Path) -> dict[str, Path]:
    """The uploads that a killed process left."""
    paths = {"old": tmp_path / f"{PREFIX}x" / "a.wav", "young": tmp_path / f"{PREFIX}x" / "b.wav"}
    paths["old"].parent.mkdir()
    for name, hours in (("old", 24), ("young", 2)):
        paths[name].write_bytes(b"a song")
        os.utime(paths[name], (time.time() - 3600 * hours,) * 2)
    return paths


@pytest.fixture
def started(
    tmp_path: Path, tiny_checkpoint: Path, left: dict[str, Path]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of `python app.py`, its uploads beside `left`, and its address."""
    settings = {"AUDIOGPT_CHECKPOINT": str(tiny_checkpoint), "GRADIO_TEMP_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-u", ROOT / "app.py"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if "http://" in line)
        yield process, "http://" + line.split("http://")[1].strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_no_upload_stays_when_the_server_is_stopped_while_it_hears_one(
    tmp_path: Path, left: dict[str, Path], started: tuple[subprocess.Popen[str], str]
) -> None:
    process, address = started
    assert not left["old"].exists() and left["young"].exists()
    api = f"{address}/gradio_api"
    song = tmp_path / "song.flac"  # too long to be heard to its end by then
    soundfile.write(song, np.zeros(1_000 * 1700, np.float32), 1_000)
    with song.open("rb") as file:
        (path,) = httpx.post(f"{api}/upload", files={"files": file}).json()
    assert Path(path).is_relative_to(tmp_path) and Path(path).is_file()
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = httpx.post(f"{api}/call/hear", json={"data": [given]}).json()["event_id"]
    # As a browser's page and a program that waits for its answer hold the server.
    with (
        httpx.stream("GET", f"{api}/heartbeat/a-page"),
        httpx.stream("GET", f"{api}/call/hear/{call}"),
    ):
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=9) == 0  # docker kills after 10 s
    assert list(tmp_path.glob(PREFIX + "*")) == [left["young"].parent]
