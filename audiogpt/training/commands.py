"""The commands of this package: data, training, evaluation, behaviour."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiogpt.caption_command import DECODING_HELP
from audiogpt.training import behaviour_command, training_commands
from audiogpt.training.options import AUDIO_EMBEDDINGS
from audiogpt.training.training_commands import HELP, WithDefaults

if TYPE_CHECKING:
    from audiogpt.training.evaluation import Prediction
    from audiogpt.training.metrics import Overlap


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands to `python -m audiogpt`."""
    _add_prepare(subparsers)
    training_commands.add_commands(subparsers)
    _add_evaluate(subparsers)
    behaviour_command.add_command(subparsers)


def _add_prepare(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "prepare-data", help="embed the training clips once", formatter_class=WithDefaults
    )
    parser.add_argument("--incompetech", type=Path, help=HELP["incompetech"])
    parser.add_argument("--grooves", type=Path, help=HELP["grooves"])
    parser.add_argument("--embeddings", type=Path, required=True, help="folder to write .npz into")
    parser.add_argument(
        "--audio_embedding",
        choices=AUDIO_EMBEDDINGS,
        default=AUDIO_EMBEDDINGS[0],
        help=HELP["audio_embedding"],
    )
    parser.set_defaults(run=_prepare)


def _prepare(options: argparse.Namespace) -> int:
    from audiogpt.training.embeddings import (
        embed_clips,
        hear_clips,
        load_heard,
        save_embeddings,
        save_heard,
    )

    folders = {"incompetech": options.incompetech, "grooves": options.grooves}
    clips = {name: _clips(name, folder) for name, folder in folders.items() if folder is not None}
    if not clips:
        raise ValueError("Nothing to embed: give --incompetech, --grooves or both.")
    heard_file = options.embeddings / "heard.json"
    heard = load_heard(heard_file)  # of the other source, embedded earlier
    for name, files in clips.items():
        rows = embed_clips(files, name=options.audio_embedding)
        save_embeddings(rows, options.embeddings / f"{name}.npz")
        heard |= hear_clips(files)
    save_heard(heard, heard_file)  # last: where it is, all is there
    return 0


def _clips(source: str, folder: Path) -> list[Path]:
    """The audio files of a source; ValueError if there are none."""
    place = folder / "audio" if source == "incompetech" else folder
    if found := sorted(place.glob("*.ogg")):
        return found
    raise ValueError(f"There are no .ogg files in {place}: check the folder given as --{source}.")


DATASETS = ("musiccaps", "incompetech", "grooves", "playlists")
DECODING = {  # what of it has a switch
    "beams": int,
    "length_penalty": float,
    "no_repeat_ngram": int,
    "coverage": float,
    "invention": float,
    "length": float,
    "target_coverage": float,
    "target_words": int,
    "consensus": float,
}


def _add_evaluate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="caption a data set and score the captions",
        formatter_class=WithDefaults,
    )
    parser.add_argument("--checkpoint", default="audiogpt-small", help=HELP["checkpoint"])
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="what --data holds")
    parser.add_argument("--data", type=Path, required=True, help="CSV file or folder")
    parser.add_argument(
        "--split",
        default="test",
        help="train, validation or test (musiccaps); train or test (incompetech, grooves); train, "
        "val or test (playlists)",
    )
    parser.add_argument(
        "--inputs",
        choices=("tags", "audio", "both"),
        help="what captions are written from (default: tags; playlists: both, and their artists)",
    )
    parser.add_argument("--embeddings", type=Path, help=".npz of prepare-data, or its folder")
    parser.add_argument("--features", type=Path, help="playlists: HDF5 of their tracks and tags")
    parser.add_argument("--bertscore", type=Path, help="folder of an encoder: adds BERTScore")
    parser.add_argument("--bertscore_layer", type=int, help="its hidden layer (default: the last)")
    parser.add_argument("--out", type=Path, help="predictions file to write")
    parser.add_argument("--limit", type=int, default=0, help="first rows only (0: all)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows captioned together")
    parser.add_argument("--compare", type=Path, help="other predictions: paired bootstrap")
    parser.add_argument("--threads", type=int, default=0, help=HELP["threads"])
    decoding = parser.add_argument_group("decoding", "What is not set is the checkpoint's own.")
    for name, kind in DECODING.items():
        decoding.add_argument(f"--{name}", type=kind, help=DECODING_HELP[name])
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    import torch

    from audiogpt.checkpoints import read_config, resolve
    from audiogpt.request import Decoding
    from audiogpt.training import evaluation
    from audiogpt.training.bertscore import bert_scores
    from audiogpt.training.metrics import overlap_scores

    if options.threads:
        torch.set_num_threads(options.threads)
    decoding = dict(read_config(resolve(options.checkpoint)).decoding)
    for name in DECODING:
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
    if not settings.has_texts and (options.bertscore or options.compare):
        raise ValueError(
            f"The {settings.dataset} have no texts to compare with: leave out --bertscore and "
            "--compare."
        )
    others = evaluation.read_predictions(options.compare) if options.compare else []
    if settings.has_texts:  # what scoring lacks is told of before the captions are written
        overlap_scores(["a"], ["a"])
    if options.bertscore is not None:
        bert_scores(["a"], ["a"], options.bertscore, layer=options.bertscore_layer)
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
        _print_comparison(predictions, others, scored.overlap, options.compare)
    return 0


def _print_comparison(
    predictions: Sequence[Prediction],
    others: Sequence[tuple[str, str]],
    mine: Overlap | None,
    path: Path,
) -> None:
    from audiogpt.training.metrics import overlap_scores, paired_bootstrap

    references = [p.ground_truth for p in predictions]
    if [truth for _, truth in others] != references or mine is None:
        raise ValueError(f"{path} holds predictions for other rows than these.")
    theirs = overlap_scores([text for text, _ in others], references)
    print("\n| measure | difference | 95 % interval |\n|---|---|---|")
    for name, scores in mine.each.items():
        mean, low, high = paired_bootstrap(scores, theirs.each[name])
        print(f"| {name} per caption | {mean:+.2f} | {low:+.2f} to {high:+.2f} |")


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
