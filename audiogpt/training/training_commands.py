"""Commands that train: `train` has the published switches, the others make the bundled model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from audiogpt.training.options import (
    AUDIO_EMBEDDINGS,
    BATCHES_PER_BLOCK,
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
    # of several commands
    "checkpoint": "checkpoint: its folder, bundled name, or id on the Hugging Face Hub",
    "musiccaps": "MusicCaps' CSV file",
    "incompetech": "folder with tracks.jsonl, catalogue.jsonl and audio/",
    "grooves": "folder of scripts/render_grooves.py",
    "embeddings": "folder that prepare-data wrote: incompetech.npz, grooves.npz, heard.json",
    "audio_embedding": "embedding of the clips, the same in prepare-data and train-small",
    "output": "folder of the run: its saves, and in model/ the checkpoint that it ends with",
    "vocabulary_of": "checkpoint whose vocabulary is used (train-small: by default that of "
    "--start, else a new one)",
    "vocabulary": "tokens of the vocabulary, where a run makes its own",
    "n_embd": "width of the model",
    "encoder_layer": "self-attention layers over the rows of each branch",
    "steps": "optimiser steps of the whole run",
    "batch_size": "examples in a batch, on each device",
    "lr": "highest learning rate",
    "warmup": "steps in which the learning rate rises from 0",
    "weight_decay": "weight decay of AdamW",
    "max_grad_norm": "norm that gradients are clipped to (0: not clipped)",
    "average_decay": "decay per step, in [0, 1), of the average of the weights that is evaluated "
    "and kept",
    "evaluate_every": "steps between evaluations on the validation cut of MusicCaps",
    "bf16": "compute in bfloat16, with weights in float32 (train: off; others: where the GPU or "
    "CPU has instructions for it)",
    "seed": "seed of all that is random",
    "threads": "CPU threads (0: as PyTorch chooses)",
    "resume": "go on with the run in --output",
    # train-small
    "tags_only": "a model of tags alone, without audio and artists: to start from or to learn from",
    "start": "checkpoint to go on from with its weights and vocabulary: the folder model/ inside "
    "another run's --output",
    "start_share": "share, in [0, 1), of the weights of --start in the result, against those that "
    "were trained",
    "only": "branch (audio, tags or artists) that learns alone, all else as in --start (needs "
    "--weight_decay 0)",
    "audio_probe": "begin the audio branch as a linear guess of the tags (with --only audio)",
    "teachers": "checkpoints to learn from, of the same vocabulary: the folders model/ inside "
    "other runs' --output",
    "language_teacher": "language model to learn captions from (with --distinct_batches): the "
    "folder model/ inside the --output of train-language-teacher",
    "distinct_batches": f"batches, a multiple of {BATCHES_PER_BLOCK}, after which the schedule "
    "begins anew (0: never): those that a language teacher is asked about",
    "distillation": "weight, in [0, 1], of the teachers' predictions in the targets, against the "
    "texts' own tokens",
    "contrast": "weight of telling each sound from another by the caption (0: off)",
    "n_layer": "layers of the decoder",
    "n_head": "attention heads, of which --n_embd is a multiple",
    "controls": "what captions can be asked to be: of so many words, of such a share of the tags' "
    "words (no value: neither)",
    "dropout": "share of the activations dropped in training, in [0, 1)",
    "label_smoothing": "share of each target spread over all tokens, in [0, 1)",
    "token_dropout": "share of the tokens read that is hidden in training, in [0, 1)",
    "save_every": "steps between saves, beside those of every evaluation that is the best so far "
    "(0: only those and the last)",
    "select": "what chooses the checkpoint that is kept: highest CIDEr or lowest loss on the "
    "validation cut",
    "patience": "evaluations without a better --select before training ends early (0: never)",
    # train-language-teacher
    "language_model": "pretrained: a folder, a .gguf file, or a name on Hugging Face",
    "epochs": "times that every training row is read",
    "tags_weight": "weight of the tags' tokens in the loss, those of captions having 1",
    # polish-small
    "captions": "captions written per row, from 2 to 16",
    "sample": "draw them at random, instead of by beam search",
    "coverage": "reward for using all of the tags' words, beside CIDEr-D (about 0.5 for a fair "
    "caption)",
    "invention": "taken off the reward for each instrument that no tag names",
    "cross_entropy": "weight of the loss of ordinary training beside the reward (0: off)",
    # train
    "features_path": "HDF5 file: <id>_features of images, <id>_audio and <id>_tags of playlists, "
    "or a dataset per track, as extract-features writes it",
    "annotation_folder": "COCO captions JSON files, or splits/ and playlist2artists.json, "
    "playlist2tracks.json, playlist2tags.json",
    "exp_name": "name of the run's folder in --output",
    "head": "attention heads: those of GPT-2 with --gpt_model_type gpt",
    "gpt_model_type": "start from GPT-2's weights (--gpt_path) or from random ones",
    "log_file": "file to append the log of training to",
    "decoder_layer": "layers of the decoder: those of GPT-2 with --gpt_model_type gpt",
    "optimizer_type": "AdamW with a weight decay of 0.01, or Adam without any",
    "gradient_accumulation_steps": "batches per optimiser step",
    "train_percentage": "share of the training items kept, in (0, 1], with --split_train_data",
    "split_train_data": "train on a part of the items (--train_percentage)",
    "tau": "threshold of the SRAU gates, in [0, 0.5): what does not exceed it counts as 0",
    "num_train_epochs": "most epochs of the first phase, cross-entropy",
    "workers": "processes that load data (0: the run's own)",
    "eval_batch_size": "items captioned together in evaluation",
    "reinforcement_lr": "highest learning rate of the second phase, self-critical training",
    "resume_last": "go on from the newest checkpoint",
    "resume_best": "go on from the checkpoint with the best CIDEr",
    "playlist_feature": "branches, joined by _: audio, tags, artist",
    "formatting": "what is learned of '<title> … <description> …': all as written, one part, or "
    "both joined by <delimiter>",
    "no_srau": "leave out the SRAU gates: what the branches attend to is added as it is",
    "gpt_path": "GPT-2's folder or Hugging Face name, with --gpt_model_type gpt",
    "tag_table": "vectors of tags by word: a checkpoint's folder or discogs_tags_embeddings.npy",
    "fusion": "how the branches are joined (default: meshed for images, sum for playlists)",
    "reinforcement_epochs": "epochs of the second phase (default: where patience ends the first, "
    "what is left of --num_train_epochs; 0: none)",
    "longest": "tokens at which captions are cut",
    "beam_size": "beams in evaluation and in use, and captions per item in the second phase",
}
# Of `train`, whose names are the original trainer's and may mean something else.
PUBLISHED_HELP = {
    "output": "folder of runs: each is in --exp_name there, and its checkpoint in model/ of that",
    "random_seed": HELP["seed"],
    "n_embd": f"{HELP['n_embd']} with --gpt_model_type random",
    "encoder_layer": f"{HELP['encoder_layer']} (default: 3 for images, 0 for playlists)",
    "save_every": "steps between saves, beside those after each epoch (0: only those)",
    "patience": "evaluations, one an epoch, without a better CIDEr before a phase ends early "
    "(0: never)",
}


class WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something, lists as they are typed."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default == ():
            return action.help
        if isinstance(default, tuple):
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the training commands; every switch is a field of the options."""
    train = subparsers.add_parser(
        "train", help="train on annotated playlists or images", formatter_class=WithDefaults
    )
    _add_fields(train, PublishedOptions, HELP | PUBLISHED_HELP)
    train.set_defaults(run=_train)
    small = subparsers.add_parser(
        "train-small",
        help="train the bundled captioner from open data",
        formatter_class=WithDefaults,
    )
    _add_fields(small, OpenDataOptions)
    small.set_defaults(run=_train_small)
    teacher = subparsers.add_parser(
        "train-language-teacher",
        help="fine-tune a pretrained language model that teaches captions",
        formatter_class=WithDefaults,
    )
    _add_fields(teacher, LanguageTeacherOptions)
    teacher.set_defaults(run=_train_language_teacher)
    polish = subparsers.add_parser(
        "polish-small",
        help="self-critical training of a checkpoint of train-small",
        formatter_class=WithDefaults,
    )
    _add_fields(polish, PolishOptions)
    polish.set_defaults(run=_polish_small)


def _add_fields(
    parser: argparse.ArgumentParser, options: Any, told: Mapping[str, str] = HELP
) -> None:
    for field in fields(options):
        flag, kind, text = f"--{field.name}", str(field.type), told[field.name]
        if kind.removesuffix(" | None") == "bool":
            off = field.default is False
            action: Any = "store_true" if off else argparse.BooleanOptionalAction
            parser.add_argument(flag, action=action, default=field.default, help=text)
            continue
        if "tuple" in kind:
            of = Path if "Path" in kind else str
            parser.add_argument(
                flag,
                type=of,
                nargs="*",
                choices=CHOICES.get(field.name),
                default=field.default,
                help=text,
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
            help=text,
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
