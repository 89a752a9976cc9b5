"""The training commands where only what captioning needs is installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from audiogpt.cli import main
from audiogpt.training.commands import add_commands

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


def test_every_switch_says_what_it_does() -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    add_commands(commands)
    bare = [
        f"{name} {action.option_strings[0]}"
        for name, parser in commands.choices.items()
        for action in parser._actions
        if not action.help
    ]
    assert {command.split()[0] for command in COMMANDS} <= commands.choices.keys()
    assert not bare


def test_help_shows_the_defaults_that_say_something(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command.split()[0], "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for default in ("0.001", "0", "words coverage"):
        assert f"(default: {default})" in said
    for noise in ("None", "False", "()"):
        assert f"(default: {noise})" not in said
