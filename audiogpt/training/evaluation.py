"""Evaluate a checkpoint on a data set: write predictions, score them, print the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiogpt.audio.embedding import track_row
from audiogpt.checkpoint_parts import load_tag_table, load_tokenizer
from audiogpt.checkpoints import (
    default_decoding,
    from_pretrained,
    read_config,
    read_lengths,
    resolve,
)
from audiogpt.config import AudioGPTConfig
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import formatted, is_playlists, read_annotations
from audiogpt.training.captioning import write_captions
from audiogpt.training.dataset import Example, make_example
from audiogpt.training.embeddings import embed_clips, load_embeddings
from audiogpt.training.grooves import read_grooves
from audiogpt.training.incompetech import read_incompetech
from audiogpt.training.metrics import Overlap, faithfulness, form, overlap_scores
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.pairs import Pair
from audiogpt.training.plain_text import spoken
from audiogpt.training.published_data import ItemExamples, usable
from audiogpt.training.views import View, fit_length, plain_view

logger = logging.getLogger(__name__)

DATASETS = ("musiccaps", "incompetech", "grooves", "playlists")
INPUTS = ("tags", "audio", "both")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated, on what, and how captions are decoded."""

    checkpoint: str
    dataset: str
    data: Path
    split: str = "test"
    inputs: str | None = None  # None: all that playlists have, the tags of other data sets
    decoding: Decoding | None = None  # None: the checkpoint's own
    embeddings: Path | None = None  # .npz or its folder; without it clips are embedded now
    features: Path | None = None  # HDF5 with the playlists' tracks and tags
    limit: int = 0  # the first rows only; 0: all
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"The data set must be one of {', '.join(DATASETS)}.")
        if self.given not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, not {self.given!r}.")
        if self.dataset == "musiccaps" and self.given != "tags":
            raise ValueError("MusicCaps comes without audio here: its inputs are tags.")
        if self.dataset == "playlists" and self.features is None:
            raise ValueError("Playlists need the HDF5 file with their features: give --features.")

    @property
    def given(self) -> str:
        """What captions are written from: tags alone, audio alone, or both (for playlists, both is
        all that they have: their artists too)."""
        return self.inputs or ("both" if self.dataset == "playlists" else "tags")

    @property
    def has_texts(self) -> bool:
        """Whether the data set has texts that predictions can be compared with."""
        return self.dataset != "grooves"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One row: the caption, what it is compared with, and the tags that were given."""

    prediction: str
    ground_truth: str
    tags: tuple[str, ...]


def read_rows(options: EvaluationOptions) -> list[Pair]:
    """The rows of the split, in the file's order, that have a reference text."""
    if options.dataset == "musiccaps":
        rows = read_musiccaps(options.data, options.split)
    elif options.dataset == "incompetech":
        rows = [p for p in read_incompetech(options.data, options.split) if p.audio and p.sentences]
    else:
        rows = read_grooves(options.data, options.split)
    return rows[: options.limit] if options.limit else rows


def reference(pair: Pair) -> str:
    """What a prediction is compared with: MusicCaps' caption as written, else cleaned notes."""
    return pair.reference if pair.source == "musiccaps" else pair.description


def predict(options: EvaluationOptions) -> list[Prediction]:
    """Caption every row; ValueError where there is none, or the inputs cannot be read."""
    folder = resolve(options.checkpoint)
    model = from_pretrained(folder)
    tokenizer = load_tokenizer(folder, model.config)
    decoding = options.decoding or default_decoding(model.config)
    table = load_tag_table(folder, model.config)
    examples: Sequence[Example]
    if options.dataset == "playlists":
        examples, told = _playlists(model, tokenizer, options, table)
    else:
        rows = read_rows(options)
        examples = _examples(rows, tokenizer, options, model.config, table)
        told = [(reference(row), row.tags) for row in rows]
    if not told:
        raise ValueError(f"{options.data} has no rows in the split {options.split!r}.")
    written = write_captions(
        model,
        tokenizer,
        examples,
        decoding,
        lengths=read_lengths(folder),
        batch_size=options.batch_size,
        seed=options.seed,
    )
    whole = options.dataset == "playlists"  # scored with their titles, as published
    return [
        Prediction(
            prediction=f"{caption.title} {caption.description}".strip()
            if whole
            else caption.description,
            ground_truth=truth,
            tags=tags,
        )
        for (truth, tags), caption in zip(
            told, tqdm(written, total=len(told), desc="captions"), strict=True
        )
    ]


def _playlists(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    options: EvaluationOptions,
    tag_table: TagTable | None,
) -> tuple[Sequence[Example], list[tuple[str, tuple[str, ...]]]]:
    """Inputs as `given`, and reference and tags, of each caption of the split."""
    assert options.features is not None
    items = read_annotations(options.data)
    if not is_playlists(options.data) or options.split not in items:
        raise ValueError(
            f"{options.data} must be PlayNTell's annotations (splits/*.json), and the split one of "
            f"{', '.join(items)}."
        )
    formatting, branches = model.config.formatting, model.config.branches
    if options.given != "both":
        branches = (model.config.branch(options.given),)
    examples = ItemExamples(
        usable(items[options.split], formatting, options.split),
        branches,
        options.features,
        tokenizer=tokenizer,
        formatting=formatting,
        longest=model.config.n_positions,
        tag_table=tag_table,
        split=options.split,
    )
    told = [(spoken(text), item.tags) for item, text in examples.texts]
    if options.limit:
        return examples[: options.limit], told[: options.limit]
    return examples, told


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """`[{"prediction", "ground_truth"}, …]` in the order of the rows."""
    rows = [{"prediction": p.prediction, "ground_truth": p.ground_truth} for p in predictions]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_predictions(path: Path) -> list[tuple[str, str]]:
    """(prediction, ground truth) of such a file; ValueError if it has another form."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [(str(row["prediction"]), str(row["ground_truth"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a predictions file: {error}.") from error


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All measures of a list of predictions."""

    overlap: Overlap | None  # None where the data set has no texts to compare with
    faithful: Mapping[str, float]
    form: Mapping[str, float]

    def table(self) -> str:
        """A Markdown table: measure and value."""
        overlap = self.overlap.corpus if self.overlap else {}
        rows = {**overlap, **self.faithful, **self.form}
        lines = ["| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.1f} |" for name, value in rows.items() if not isnan(value)]
        return "\n".join(lines)


def evaluate(predictions: Sequence[Prediction], known: Sequence[str] = ()) -> Evaluation:
    """Score predictions; `known` are the training captions, for the share of novel ones.

    Raises ValueError where there is nothing to score."""
    if not predictions:
        raise ValueError("Scoring needs at least one prediction.")
    texts, tags = [p.prediction for p in predictions], [p.tags for p in predictions]
    truths = [p.ground_truth for p in predictions]
    return Evaluation(
        overlap=overlap_scores(texts, truths) if any(truths) else None,
        faithful=faithfulness(texts, tags) if any(tags) else {},
        form=form(texts, set(known)),
    )


def _examples(
    rows: Sequence[Pair],
    tokenizer: CaptionTokenizer,
    options: EvaluationOptions,
    config: AudioGPTConfig,
    tag_table: TagTable | None = None,
) -> list[Example]:
    """Inputs as `given`, of each row; ValueError where the checkpoint cannot read them."""
    told = [name for name in ("tags", "audio") if options.given in (name, "both")]
    for name in told:
        config.branch(name)
    if "tags" in told and config.tag_rows == "features" and tag_table is None:
        raise ValueError(
            f"{options.checkpoint} knows no tags by name: put tags.safetensors and tags.txt into "
            "its folder, or give --inputs audio."
        )
    views = [plain_view(pair) for pair in rows]
    if options.given == "tags":
        views = [replace(view, audio="") for view in views]
    elif options.given == "audio":
        views = [replace(view, tags=()) for view in views]
    embeddings: Mapping[str, np.ndarray] = {}
    if options.given != "tags":
        if options.embeddings is not None:
            path = options.embeddings
            embeddings = load_embeddings(
                path / f"{options.dataset}.npz" if path.is_dir() else path,
                width=config.branch("audio").width,
                clips=[view.audio for view in views if view.audio],
            )
        else:
            folder = options.data / "audio" if options.dataset == "incompetech" else options.data
            embeddings = embed_clips(
                (folder / view.audio for view in views), name=config.audio_embedding
            )
    made = ((view, make_example(view, tokenizer, embeddings)) for view in views)
    return [_as_read(view, example, config, tag_table) for view, example in made]


def _as_read(
    view: View, example: Example, config: AudioGPTConfig, tag_table: TagTable | None
) -> Example:
    """An example with the rows that the pipeline gives such a checkpoint: tags as vectors, a clip
    as one row, where that is what it reads."""
    if config.tag_rows != "features" and config.audio_rows != "tracks":
        return example
    features: dict[str, np.ndarray] = {}
    if example.audio is not None:
        whole = config.audio_rows == "tracks"
        features["audio"] = track_row(example.audio)[None] if whole else example.audio
    if config.tag_rows == "features" and tag_table is not None:
        found = tag_table.lookup(view.tags)
        if found.words:
            features["tags"] = found.vectors
        else:  # none that it knows: nothing to ask for either
            example = replace(example, tags=())
    return replace(example, features=features)


def training_captions(options: EvaluationOptions) -> list[str]:
    """The descriptions of the same data set's training rows, as written and as trained on; of
    playlists, the captions in the checkpoint's formatting."""
    if not options.has_texts:
        return []
    if options.dataset == "playlists":
        formatting = read_config(resolve(options.checkpoint)).formatting
        items = read_annotations(options.data)["train"]
        return [spoken(formatted(c, formatting)) for item in items for c in item.captions]
    read = read_musiccaps if options.dataset == "musiccaps" else read_incompetech
    pairs = read(options.data, "train")
    cut = [" ".join(fit_length(pair.sentences)) for pair in pairs]  # as training shows long ones
    return [*(pair.reference for pair in pairs), *(pair.description for pair in pairs), *cut]
