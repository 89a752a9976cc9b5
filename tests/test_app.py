"""What app.py reads from the environment."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from audiogpt.pipeline import Captioner
from audiogpt.request import Track
from audiogpt.ui.page import build, launch_options


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
