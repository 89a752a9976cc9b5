"""The training commands where only what captioning needs is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from audiogpt.cli import main

COMMANDS = (
    "train --features_path no --annotation_folder no",
    "train-small --musiccaps no --output no",
    "train-language-teacher --language_model no --musiccaps no --output no --vocabulary_of no",
    "polish-small --checkpoint no --musiccaps no --output no",
)
WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("accelerate", "tensorboard", "sklearn"))  # None: not to be found
from audiogpt.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_program_without_the_development_packages_says_how_to_get_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *COMMANDS[0].split()],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: Training needs accelerate and tensorboard: `pip install -r requirements-dev.txt`."
    ]


@pytest.mark.parametrize(
    ("command", "package"),
    [
        *((command, package) for command in COMMANDS for package in ("accelerate", "tensorboard")),
        *((command, "sklearn") for command in COMMANDS[1:]),
    ],
)
def test_every_command_asks_for_what_it_needs(
    command: str,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(command.split()) == 2
    assert f"Training needs {package}: `pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
