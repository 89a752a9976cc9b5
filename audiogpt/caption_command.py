"""`caption`: caption files or a playlist from the command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from audiogpt.request import (
    BRANCH_NAMES,
    Artist,
    CaptionRequest,
    Decoding,
    Tag,
    Track,
    name_of_file,
)
from audiogpt.words import plain_tag

DECODING_HELP = {
    "method": "beam (search) or sample (draw words at random)",
    "beams": "hypotheses kept side by side",
    "max_tokens": "where a caption is cut at the latest",
    "min_words": "fewest words",
    "max_words": "most words; the last sentence is finished (0: no limit)",
    "length_penalty": "score / length ** X: more favours longer captions (0: off)",
    "no_repeat_ngram": "forbid repeating so many words in a row (0: off)",
    "temperature": "of sampling: lower is safer, higher wilder",
    "top_p": "of sampling: share of the likeliest words drawn from",
    "n_best": "alternatives in --json",
    "coverage": "gain for using the tags' words",
    "invention": "loss for instruments that no tag names, and for saying things again",
    "length": "gain for ending near the expected length",
    "target_words": "write about so many words, within min and max words (0: as expected)",
    "target_coverage": "share of the tags' words to use, in [0, 1] (0: not asked)",
    "consensus": "gain for likeness to captions drawn at random; slow (0: off)",
}


def add_commands(subparsers) -> None:
    """Add `caption` to the parser's commands."""
    parser = subparsers.add_parser(
        "caption",
        help="caption audio files or a playlist",
        description="Caption each file by itself, or all of them as one playlist; without any, "
        "the tags and artists alone. What of the decoding is not set is the checkpoint's own.",
    )
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="audio files")
    add("--checkpoint", metavar="C", help="folder or Hugging Face Hub id (default: bundled)")
    add("--device", help="cpu or cuda (default: a GPU if there is one)")
    add("--together", action="store_true", help="one caption for all files, as a playlist")
    add("--playlist", type=Path, metavar="JSON", help="a playlist in PlayNTell's format")
    add(
        "--audio-dir",
        type=Path,
        metavar="DIR",
        help="where the playlist's tracks are, named by track id (default: beside the file)",
    )
    add(
        "--tag",
        action="append",
        default=[],
        metavar="TAG[=WEIGHT]",
        help="a tag, with a weight in [0, 1]; 0 removes a tag that was heard",
    )
    add("--no-heard-tags", action="store_true", help="use only --tag's and a playlist's own tags")
    add(
        "--artist",
        action="append",
        default=[],
        metavar="NAME[=SHARE]",
        help="an artist; shares of any scale are normalised",
    )
    for name in BRANCH_NAMES:
        add(f"--{name}-strength", type=float, default=1.0, metavar="X", help="in [0, 2]")
    for field in dataclasses.fields(Decoding):
        kind = {"str": str, "int": int, "float": float}[str(field.type)]
        add(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            metavar=kind.__name__.upper(),
            help=DECODING_HELP[field.name],
        )
    add("--seed", type=int, default=0, help="of --method sample and --consensus (default: 0)")
    add("--start", type=float, default=0.0, help="where to begin in each file (s)")
    add("--end", type=float, help="where to end in each file (s)")
    add(
        "--segments",
        type=float,
        metavar="S",
        help="also caption every S seconds, each part by the tags heard in it, not by --tag",
    )
    add("--json", action="store_true", help="print the whole result, with its trace, as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from audiogpt.checkpoints import DEFAULT_CHECKPOINT
    from audiogpt.pipeline import Captioner

    _check(options)
    tags = [_named_number(text, "tag", 1.0) for text in options.tag]
    artists = [_named_number(text, "artist", 1.0) for text in options.artist]
    captioner = Captioner.from_pretrained(
        options.checkpoint or DEFAULT_CHECKPOINT, device=options.device
    )
    settings = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(Decoding)
        if getattr(options, field.name) is not None
    }
    base = CaptionRequest(
        artists=tuple(Artist(name=name, share=share) for name, share in artists),
        strengths={name: getattr(options, f"{name}_strength") for name in BRANCH_NAMES},
        decoding=dataclasses.replace(captioner.default_decoding, **settings),
        seed=options.seed,
    )
    groups = _groups(options)
    results, failed = [], 0
    for name, tracks, own_tags in groups:
        heading = f"{name}: " if len(groups) > 1 and name else ""
        try:
            # Before anything is heard, which may take long: a request with too much in it.
            request = dataclasses.replace(base, tracks=tracks, tags=_merged(own_tags or (), tags))
            if own_tags is None and not options.no_heard_tags:
                heard = captioner.suggest_tags(tracks)
                request = dataclasses.replace(request, tags=_merged(heard, tags))
            result = captioner.caption(request, trace=options.json)
            parts = (
                list(captioner.segments(request, seconds=options.segments))
                if options.segments is not None
                else []
            )
        except ValueError as error:
            if len(groups) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)  # one bad file must not lose the others
            failed += 1
            continue
        for warning in result.warnings:
            print(f"{name}: {warning}" if name else warning, file=sys.stderr)
        if options.json:
            entry = result.to_dict()
            if parts:
                entry["segments"] = [dataclasses.asdict(part) for part in parts]
            results.append(entry)
            continue
        print(f"{heading}{result.title}\n{result.description}", flush=True)
        for part in parts:
            whose = f"{tracks[part.track].name}, " if len(tracks) > 1 else ""
            print(f"  {whose}{part.start:.0f}–{part.end:.0f} s: {part.title} – {part.description}")
        if len(groups) > 1:
            print()
    if options.json:
        print(json.dumps(results[0] if len(groups) == 1 else results))
    return 2 if failed else 0


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that contradict each other or could have no effect."""
    if options.playlist is not None and options.files:
        raise ValueError("Give files or a playlist, not both.")
    if options.audio_dir is not None and options.playlist is None:
        raise ValueError("--audio-dir says where a playlist's tracks are: give --playlist, too.")
    passage = options.start or options.end is not None or options.segments is not None
    if passage and options.playlist is None and not options.files:
        raise ValueError("--start, --end and --segments need sound: give a file or a playlist.")


def _groups(
    options: argparse.Namespace,
) -> list[tuple[str, tuple[Track, ...], tuple[Tag, ...] | None]]:
    """(name, tracks, tags of their own or None) of each caption that is asked for."""
    if options.playlist is not None:
        from audiogpt.playntell.playlists import read_playlist

        playlists = read_playlist(options.playlist, audio_folder=options.audio_dir)
        passage = {"start": options.start, "end": options.end}
        return [
            (
                playlist.id,
                tuple(dataclasses.replace(track, **passage) for track in playlist.tracks),
                playlist.tags or None,
            )
            for playlist in playlists
        ]
    tracks = tuple(
        Track(path=str(path), name=name_of_file(path.name), start=options.start, end=options.end)
        for path in options.files
    )
    if options.together or not tracks:
        return [("", tracks, None)]
    return [(track.name, (track,), None) for track in tracks]


def _merged(heard: tuple[Tag, ...], given: list[tuple[str, float]]) -> tuple[Tag, ...]:
    """Heard tags first; a tag that was given, whatever its case, takes its given weight."""
    tags = {}
    for tag in (*heard, *(Tag(text=text, weight=weight) for text, weight in given)):
        tags[plain_tag(tag.text)] = tag
    return tuple(tags.values())


def _named_number(text: str, what: str, default: float) -> tuple[str, float]:
    """ "name=0.5" -> ("name", 0.5); "name" -> ("name", default)"""
    name, equals, number = text.rpartition("=")
    if not equals:
        return text, default
    try:
        return name, float(number)
    except ValueError:
        raise ValueError(f"--{what} {text}: {number!r} after '=' is not a number.") from None
