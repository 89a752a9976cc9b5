"""The commands about sound alone: embed, tags, extract-features, verify-openl3.

Networks and decoders are imported by the command that needs them, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

DEFAULT_EMBEDDING = "musicnn-vgg"
DEFAULT_TAGS = 12
PICTURE_SECONDS = 3600.0  # a picture needs the whole sound in memory


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    embed = _command(subparsers, "embed", "embed an audio file into rows", run_embed)
    embed.add_argument("file", type=Path, metavar="FILE")
    embed.add_argument("--out", type=Path, required=True, metavar="NPZ", help="file to write")
    _add_embedding(embed)
    _add_passage(embed)

    tags = _command(subparsers, "tags", "print the tags heard in an audio file", run_tags)
    tags.add_argument("file", type=Path, metavar="FILE")
    tags.add_argument("--top", type=int, default=DEFAULT_TAGS, metavar="N", help="tags to print")
    tags.add_argument("--json", action="store_true", help="all tags and the taggram as JSON")
    tags.add_argument("--picture", type=Path, metavar="PNG", help="draw tags against seconds")
    tags.add_argument("--device", default="cpu")
    _add_passage(tags)

    extract = _command(
        subparsers, "extract-features", "embed a folder of tracks for training", run_extract
    )
    extract.add_argument("folder", type=Path, metavar="AUDIO_DIR")
    extract.add_argument("--out", type=Path, required=True, metavar="HDF5", help="file to write")
    extract.add_argument("--duration", type=float, metavar="S", help="seconds of each track")
    extract.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_embedding(extract)

    verify = _command(
        subparsers, "verify-openl3", "check real OpenL3 weights against openl3's files", run_verify
    )
    verify.add_argument("data", type=Path, metavar="DATA", help="openl3's tests/data folder")
    verify.add_argument("--weights", type=Path, metavar="PATH", help="weight file or folder")


def run_embed(options: argparse.Namespace) -> int:
    import numpy as np

    from audiogpt.audio.embedding import embed_file, load_embedding
    from audiogpt.devices import usable_device

    device = usable_device(options.device)
    embedding = load_embedding(options.embedding, weights=options.weights, device=device)
    heard = embed_file(
        options.file, embedding, start=options.start, duration=options.duration, progress=_progress
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("wb") as file:  # a handle, or numpy would add a suffix to the name
        np.savez(file, rows=heard.rows, times=heard.times, embedding=np.array(embedding.name))
    print(f"{heard.rows.shape[0]} rows of {heard.rows.shape[1]} in {options.out}")
    return 0


def run_tags(options: argparse.Namespace) -> int:
    import numpy as np

    from audiogpt.audio.loading import iter_mono
    from audiogpt.audio.tag_picture import draw_tags
    from audiogpt.audio.tagger import load_tagger
    from audiogpt.devices import usable_device

    if options.top < 1:
        raise ValueError("--top must be at least 1.")
    tagger = load_tagger(usable_device(options.device))
    blocks = iter_mono(
        options.file,
        tagger.sample_rate,
        start=options.start,
        duration=options.duration,
        progress=_progress,
        max_seconds=PICTURE_SECONDS if options.picture else None,
    )
    if options.picture is not None:
        samples = np.concatenate(list(blocks))
        heard = tagger.listen(samples)
        draw_tags(samples, tagger.sample_rate, heard, options.picture)
    else:
        heard = tagger.listen_blocks(blocks)
    if options.json:
        print(json.dumps(heard.to_dict()))
        return 0
    if heard.note:
        print(heard.note)
    for tag in heard.tags[: options.top]:
        if tag.confidence > 0:
            print(f"{tag.confidence:.2f}  {tag.text}")
    return 0


def run_extract(options: argparse.Namespace) -> int:
    from audiogpt.audio.embedding import load_embedding
    from audiogpt.audio.features import extract_features, find_tracks
    from audiogpt.devices import usable_device

    tracks = find_tracks(options.folder)
    device = usable_device(options.device)
    embedding = load_embedding(options.embedding, weights=options.weights, device=device)
    report = extract_features(
        tracks,
        options.out,
        embedding,
        duration=options.duration,
        show_progress=not options.quiet,
    )
    print(
        f"{len(report.written)} tracks written, {len(report.already_there)} already there, "
        f"{len(report.failed)} failed"
    )
    for track_id, sentence in report.failed.items():
        print(f"  {track_id}: {sentence}")
    return 1 if report.failed else 0


def run_verify(options: argparse.Namespace) -> int:
    from audiogpt.audio.openl3_verify import verify_openl3

    results = verify_openl3(options.data, weights=options.weights)
    for result in results:
        word = "agrees" if result.passed else "DIFFERS"
        print(
            f"{result.front_end:9} {word}: relative error {result.error:.1e} "
            f"(allowed {result.tolerance:.0e})"
        )
    return 0 if all(result.passed for result in results) else 1


def _command(
    subparsers: argparse._SubParsersAction,
    name: str,
    help_text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=help_text)
    parser.set_defaults(run=run)
    return parser


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embedding",
        default=DEFAULT_EMBEDDING,
        metavar="NAME",
        help=f"{DEFAULT_EMBEDDING} (default), musicnn-pooled or openl3-music-mel256-512, …",
    )
    parser.add_argument("--weights", type=Path, metavar="PATH", help="OpenL3 weight file or folder")
    parser.add_argument("--device", default="cpu")


def _add_passage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds to skip")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds to use")


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)
