"""The command line: `python -m audiogpt caption …` and the commands that other parts bring.

What a command produces goes to standard output, everything else to standard error. Errors that the
user can mend are one sentence; the exit status is then 2.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

COMMAND_MODULES = (
    "audiogpt.caption_command",
    "audiogpt.audio.commands",
    "audiogpt.playntell.commands",
    "audiogpt.gpt2_command",
    "audiogpt.training.commands",
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audiogpt",
        description="Caption music with a GPT-2 decoder that attends to audio, tags and artists.",
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMAND_MODULES:
        importlib.import_module(name).add_commands(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # also while the commands' modules load, which takes seconds
        print("stopped", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        status = options.run(options)
    except BrokenPipeError:
        return 1
    except (ValueError, OSError) as error:  # what the input, or a file or folder, lacks
        if options.verbose:
            logging.getLogger(__name__).exception("failed")
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 2
    return int(status or 0)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)
