"""The commands of this package: data, training, evaluation, behaviour."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiogpt.training import behaviour_command, training_commands

if TYPE_CHECKING:
    from audiogpt.training.evaluation import Prediction


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands to `python -m audiogpt`."""
    _add_prepare(subparsers)
    _add_voice(subparsers)
    training_commands.add_commands(subparsers)
    _add_evaluate(subparsers)
    behaviour_command.add_command(subparsers)


def _add_prepare(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("prepare-data", help="embed the training clips once")
    parser.add_argument("--incompetech", type=Path, help="folder with tracks.jsonl and audio/")
    parser.add_argument("--grooves", type=Path, help="folder of scripts/render_grooves.py")
    parser.add_argument("--embeddings", type=Path, required=True, help="folder to write .npz into")
    parser.set_defaults(run=_prepare)


def _prepare(options: argparse.Namespace) -> int:
    from audiogpt.training.embeddings import embed_clips, hear_clips, save_embeddings

    if options.incompetech is None and options.grooves is None:
        raise ValueError("Nothing to embed: give --incompetech, --grooves or both.")
    heard: dict[str, list[list[Any]]] = {}
    folders = {"incompetech": options.incompetech, "grooves": options.grooves}
    for name, folder in folders.items():
        if folder is not None:
            clips = sorted((folder / "audio" if name == "incompetech" else folder).glob("*.ogg"))
            save_embeddings(embed_clips(clips), options.embeddings / f"{name}.npz")
            heard |= hear_clips(clips)
    (options.embeddings / "heard.json").write_text(json.dumps(heard), encoding="utf-8")
    return 0


def _add_voice(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("voice-clips", help="write captions for the training clips")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a model that reads tags")
    parser.add_argument("--incompetech", type=Path, required=True)
    parser.add_argument("--grooves", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True, help="folder with heard.json")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to write")
    parser.add_argument("--draws", type=int, default=3, help="inputs drawn per track or groove")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=0)
    parser.set_defaults(run=_voice)


def _voice(options: argparse.Namespace) -> int:
    import torch

    from audiogpt.training.embeddings import load_heard
    from audiogpt.training.grooves import read_grooves
    from audiogpt.training.incompetech import read_incompetech
    from audiogpt.training.sources import with_heard
    from audiogpt.training.voiced import save_voiced
    from audiogpt.training.voicing import voice

    if options.threads:
        torch.set_num_threads(options.threads)
    tracks = [pair for pair in read_incompetech(options.incompetech, "train") if pair.audio]
    pairs = with_heard(
        [*tracks, *tracks, *tracks, *read_grooves(options.grooves, "train")],  # tracks are few
        load_heard(options.embeddings / "heard.json"),
    )
    written = list(voice(pairs, options.checkpoint, draws=options.draws, seed=options.seed))
    save_voiced(written, options.out)
    print(f"{len(written)} captions for {len({v.clip for v in written})} clips")
    return 0


DATASETS = ("musiccaps", "incompetech", "grooves", "playlists")


def _add_evaluate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("evaluate", help="caption a data set and score the captions")
    parser.add_argument("--checkpoint", default="audiogpt-small", help="folder, name or hub id")
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CSV file or folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--inputs", choices=("tags", "audio", "both"), default="tags")
    parser.add_argument("--embeddings", type=Path, help=".npz of prepare-data, to save time")
    parser.add_argument("--features", type=Path, help="playlists: HDF5 of their tracks and tags")
    parser.add_argument("--bertscore", type=Path, help="folder of an encoder: adds BERTScore")
    parser.add_argument("--bertscore_layer", type=int, help="its hidden layer (default: the last)")
    parser.add_argument("--out", type=Path, help="predictions file to write")
    parser.add_argument("--limit", type=int, default=0, help="first rows only")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--beams", type=int, help="beams (default: the checkpoint's decoding)")
    parser.add_argument("--length_penalty", type=float)
    parser.add_argument("--no_repeat_ngram", type=int)
    parser.add_argument("--coverage", type=float, help="gain for using all of the tags' words")
    parser.add_argument("--invention", type=float, help="loss for each instrument not given")
    parser.add_argument("--compare", type=Path, help="other predictions: paired bootstrap")
    parser.add_argument("--threads", type=int, default=0)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    import torch

    from audiogpt.checkpoints import read_config, resolve
    from audiogpt.request import Decoding
    from audiogpt.training import evaluation
    from audiogpt.training.metrics import overlap_scores, paired_bootstrap

    if options.threads:
        torch.set_num_threads(options.threads)
    decoding = dict(read_config(resolve(options.checkpoint)).decoding)
    for name in ("beams", "length_penalty", "no_repeat_ngram", "coverage", "invention"):
        if getattr(options, name) is not None:
            decoding[name] = getattr(options, name)
    decoding["n_best"] = min(decoding.get("beams", 4), 16)
    settings = evaluation.EvaluationOptions(
        checkpoint=options.checkpoint,
        dataset=options.dataset,
        data=options.data,
        split=options.split,
        inputs=options.inputs,
        decoding=Decoding(**decoding),
        embeddings=options.embeddings,
        features=options.features,
        limit=options.limit,
        batch_size=options.batch_size,
    )
    predictions = evaluation.predict(settings)
    if options.out is not None:
        evaluation.write_predictions(predictions, options.out)
        digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
        print(f"{options.out}: sha256 {digest}", file=sys.stderr)
    known = evaluation.training_captions(settings)
    scored = evaluation.evaluate(predictions, known)
    print(scored.table())
    if options.bertscore is not None:
        _print_bertscore(predictions, options)
    if options.compare is not None:
        others = evaluation.read_predictions(options.compare)
        references = [p.ground_truth for p in predictions]
        if len(others) != len(references):
            raise ValueError(f"{options.compare} has {len(others)} rows, not {len(references)}.")
        theirs = overlap_scores(others, references)
        print("\n| measure | difference | 95 % interval |\n|---|---|---|")
        for name, scores in scored.overlap.each.items():
            mean, low, high = paired_bootstrap(scores, theirs.each[name])
            print(f"| {name} per caption | {mean:+.2f} | {low:+.2f} to {high:+.2f} |")
    return 0


def _print_bertscore(predictions: Sequence[Prediction], options: argparse.Namespace) -> None:
    from audiogpt.training.bertscore import bert_scores

    scores = bert_scores(
        [p.prediction for p in predictions],
        [p.ground_truth for p in predictions],
        options.bertscore,
        layer=options.bertscore_layer,
        batch_size=options.batch_size,
    )
    for name, values in scores.items():
        print(f"| BERTScore {name} | {values.mean():.1f} |")
