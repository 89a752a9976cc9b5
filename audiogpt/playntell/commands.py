"""The command line of the published model: convert-playntell and fetch-playntell."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from audiogpt.playntell.convert import Conversion, convert_playntell
from audiogpt.playntell.fetch import ARCHIVE, RECORD_PAGE, fetch_playntell

DOWNLOADS = Path("downloads") / "playntell"


def add_commands(subparsers: Any) -> None:
    """Add both commands to an argparse subparsers object; each sets `run`, called with the args."""
    convert = subparsers.add_parser(
        "convert-playntell",
        help="convert the published best.pth to a checkpoint folder",
        description="Convert the published PlayNTell best.pth to a checkpoint folder.",
    )
    convert.add_argument("checkpoint", type=Path, help="the published best.pth")
    convert.add_argument("out", type=Path, help="the checkpoint folder to write")
    convert.add_argument("--params", type=Path, help="its params.json (default: beside best.pth)")
    convert.add_argument(
        "--tag-embeddings",
        type=Path,
        help="discogs_tags_embeddings.npy (default: beside best.pth)",
    )
    _add_tokenizer(convert)
    convert.set_defaults(run=_convert)

    fetch = subparsers.add_parser(
        "fetch-playntell",
        help="download the published model from Zenodo and convert it",
        description=f"Download {ARCHIVE} from {RECORD_PAGE} and convert its model.",
    )
    fetch.add_argument("out", type=Path, help="the checkpoint folder to write")
    fetch.add_argument(
        "--downloads",
        type=Path,
        default=DOWNLOADS,
        help=f"where the archive is kept, and continued if it broke off (default: {DOWNLOADS})",
    )
    _add_tokenizer(fetch)
    fetch.add_argument("--quiet", action="store_true", help="show no progress bar")
    fetch.set_defaults(run=_fetch)


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="folder with GPT-2's vocab.json and merges.txt (default: beside best.pth, or else "
        "from Hugging Face)",
    )


def _convert(args: argparse.Namespace) -> int:
    conversion = convert_playntell(
        args.checkpoint,
        args.out,
        params=args.params,
        tag_embeddings=args.tag_embeddings,
        tokenizer=args.tokenizer,
    )
    report(conversion)
    return 0


def _fetch(args: argparse.Namespace) -> int:
    conversion = fetch_playntell(
        args.out,
        download_folder=args.downloads,
        tokenizer=args.tokenizer,
        progress=not args.quiet,
    )
    report(conversion)
    return 0


def report(conversion: Conversion) -> None:
    """Say on standard error what was converted and what was left behind."""
    config = conversion.config
    numbers = sum(tensor.numel() for tensor in conversion.weights.state.values())
    lines = [
        f"Converted to {conversion.folder}: {config.n_layer} layers, branches "
        f"{', '.join(config.branch_names)}, {numbers:,} parameters."
    ]
    lines += [
        f"Left behind: {entry.numbers:,} numbers in {len(entry.keys)} tensors ({entry.reason})."
        for entry in conversion.weights.dropped
    ]
    sys.stderr.write("\n".join(lines) + "\n")
