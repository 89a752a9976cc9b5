"""Commands that train: `train` has the published switches, the others make the bundled model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from audiogpt.training.options import (
    AUDIO_EMBEDDINGS,
    LanguageTeacherOptions,
    OpenDataOptions,
    PolishOptions,
    PublishedOptions,
)

# Of requirements-dev.txt, not of requirements.txt: captioning does without them.
LOOP_PACKAGES = ("accelerate", "tensorboard")
OPEN_DATA_PACKAGES = (*LOOP_PACKAGES, "sklearn")
CHOICES = {
    "gpt_model_type": ("gpt", "random"),
    "optimizer_type": ("adamw", "adam"),
    "formatting": ("standard", "title_only", "description_only", "delimiter"),
    "fusion": ("sum", "gated", "meshed"),
    "select": ("cider", "loss"),
    "controls": ("words", "coverage"),
    "audio_embedding": AUDIO_EMBEDDINGS,
}
HELP = {
    "features_path": "HDF5 file: <id>_features of images, <id>_audio and <id>_tags of playlists, "
    "or a dataset per track, as extract-features writes it",
    "annotation_folder": "COCO captions JSON files, or splits/ and playlist2artists.json, "
    "playlist2tracks.json, playlist2tags.json",
    "tag_table": "vectors of tags by word: a checkpoint's folder or discogs_tags_embeddings.npy",
    "gpt_model_type": "start from GPT-2's weights (--gpt_path) or from random ones",
    "train_percentage": "share of the training items kept, with --split_train_data",
    "controls": "what captions can be asked to be",
    "language_model": "pretrained: a folder, a .gguf file, or a name on Hugging Face",
    "language_teacher": "folder that train-language-teacher wrote: learn from its predictions",
    "distinct_batches": "batches after which the schedule begins anew (0: never): those that a "
    "language teacher is asked about",
    "tags_weight": "weight of the tags' tokens in the loss, those of captions having 1",
    "only": "branch that learns alone, all else as in --start",
    "audio_probe": "begin the audio branch as a linear guess of the tags (with --only audio)",
    "contrast": "weight of telling each sound from another by the caption",
    "audio_embedding": "embedding of the clips (prepare-data takes the same)",
    "tau": "threshold of the SRAU gates",
    "reinforcement_lr": "learning rate of self-critical training",
    "reinforcement_epochs": "epochs of self-critical training (default: where patience ends the "
    "first phase, what is left of num_train_epochs; 0: none)",
    "save_every": "steps between checkpoints",
    "playlist_feature": "branches, joined by _: audio, tags, artist",
    "patience": "evaluations without a better value before a phase ends (0: never)",
    "resume_last": "go on from the newest checkpoint",
    "resume_best": "go on from the checkpoint with the best CIDEr",
}


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the training commands; every switch is a field of the options."""
    train = subparsers.add_parser("train", help="train on annotated playlists or images")
    _add_fields(train, PublishedOptions)
    train.set_defaults(run=_train)
    small = subparsers.add_parser("train-small", help="train the bundled captioner from open data")
    _add_fields(small, OpenDataOptions)
    small.set_defaults(run=_train_small)
    teacher = subparsers.add_parser(
        "train-language-teacher", help="fine-tune a pretrained language model that teaches captions"
    )
    _add_fields(teacher, LanguageTeacherOptions)
    teacher.set_defaults(run=_train_language_teacher)
    polish = subparsers.add_parser(
        "polish-small", help="self-critical training of a checkpoint of train-small"
    )
    _add_fields(polish, PolishOptions)
    polish.set_defaults(run=_polish_small)


def _add_fields(parser: argparse.ArgumentParser, options: Any) -> None:
    for field in fields(options):
        flag, kind = f"--{field.name}", str(field.type)
        if kind == "bool":
            action: Any = "store_true" if not field.default else argparse.BooleanOptionalAction
            parser.add_argument(
                flag, action=action, default=field.default, help=HELP.get(field.name)
            )
            continue
        if "tuple" in kind:
            of = Path if "Path" in kind else str
            parser.add_argument(
                flag,
                type=of,
                nargs="*",
                choices=CHOICES.get(field.name),
                default=field.default,
                help=HELP.get(field.name),
            )
            continue
        number = {"int": int, "float": float}.get(kind.removesuffix(" | None"), str)
        required = field.default is MISSING
        parser.add_argument(
            flag,
            type=Path if "Path" in kind else number,
            choices=CHOICES.get(field.name),
            required=required,
            default=None if required else field.default,
            help=HELP.get(field.name),
        )


def _chosen(options: argparse.Namespace, kind: Any) -> Any:
    given = {field.name: getattr(options, field.name) for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _need(packages: Iterable[str]) -> None:
    """ValueError where one of the packages that training needs is not installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ValueError(
            f"Training needs {' and '.join(missing)}: `pip install -r requirements-dev.txt`."
        )


def _train(options: argparse.Namespace) -> int:
    _need(LOOP_PACKAGES)
    from audiogpt.training.published_run import train_published

    print(train_published(_chosen(options, PublishedOptions)))
    return 0


def _train_small(options: argparse.Namespace) -> int:
    _need(OPEN_DATA_PACKAGES)
    from audiogpt.training.open_data import train_open_data

    print(train_open_data(_chosen(options, OpenDataOptions)))
    return 0


def _train_language_teacher(options: argparse.Namespace) -> int:
    _need(OPEN_DATA_PACKAGES)
    from audiogpt.training.language_run import train_language_teacher

    print(train_language_teacher(_chosen(options, LanguageTeacherOptions)))
    return 0


def _polish_small(options: argparse.Namespace) -> int:
    _need(OPEN_DATA_PACKAGES)
    from audiogpt.training.polish import polish_open_data

    print(polish_open_data(_chosen(options, PolishOptions)))
    return 0
