"""The published trainer's model and vocabulary, from its switches and its data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.gpt2 import from_gpt2, gpt2_folder, gpt2_width
from audiogpt.model import AudioGPT
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import Item, formatted, is_playlists
from audiogpt.training.options import PublishedOptions
from audiogpt.training.published_data import branch_names, branches
from audiogpt.training.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)


def make_branches(
    options: PublishedOptions, items: Sequence[Item], table: TagTable | None
) -> tuple[tuple[BranchConfig, ...], str | None]:
    """The branches, and the audio embedding that the features are said to be; ValueError where the
    tag table does not fit them."""
    if table is not None and "tags" not in branch_names(options):
        raise ValueError("--tag_table needs tags among --playlist_feature.")
    gpt2 = options.gpt_model_type == "gpt"
    made, embedding = branches(
        options,
        items,
        n_embd=gpt2_width(gpt2_folder(options.gpt_path)) if gpt2 else options.n_embd,
        tag_table=table,
    )
    _check_tags(made, table)
    return made, embedding


def make_tokenizer(options: PublishedOptions, train: Sequence[Item]) -> CaptionTokenizer:
    """GPT-2's vocabulary with its weights, else one of our own from the training texts."""
    if options.gpt_model_type == "gpt":
        return CaptionTokenizer.from_folder(gpt2_folder(options.gpt_path))
    texts = [formatted(c, options.formatting) for item in train for c in item.captions]
    texts += [tag for item in train for tag in item.tags]
    return CaptionTokenizer(train_vocabulary(texts, size=options.vocabulary))


def make_model(
    options: PublishedOptions,
    made: tuple[BranchConfig, ...],
    embedding: str | None,
    tokenizer: CaptionTokenizer,
) -> AudioGPT:
    """A model of these branches on GPT-2's weights, or fresh ones; the random state decides those.
    ValueError where GPT-2's shape is not what the switches say."""
    playlists = is_playlists(options.annotation_folder)
    shape: dict[str, Any] = {
        "branches": made,
        "fusion": options.fusion or ("sum" if playlists else "meshed"),
        "srau": not options.no_srau,
        "tau": options.tau,
        "encoder_layer": (
            options.encoder_layer if options.encoder_layer is not None else 0 if playlists else 3
        ),
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "decoding": {"beams": options.beam_size, "max_tokens": options.longest},
        "audio_rows": "tracks" if playlists else "segments",
        "formatting": options.formatting,
    }
    if embedding is not None:
        shape["audio_embedding"] = embedding
    if options.gpt_model_type == "gpt":
        model = from_gpt2(options.gpt_path, seed=options.random_seed, **shape)
        given = (model.config.n_layer, model.config.n_head)
        if given != (options.decoder_layer, options.head):
            raise ValueError(
                f"{options.gpt_path} has {given[0]} layers and {given[1]} heads: set "
                "--decoder_layer and --head to that, or use --gpt_model_type random."
            )
        return model.requires_grad_(True).train()
    config = AudioGPTConfig(
        n_layer=options.decoder_layer,
        n_head=options.head,
        n_embd=options.n_embd,
        n_positions=options.longest,
        vocab_size=tokenizer.vocab_size,
        **shape,
    )
    return AudioGPT(config)


def _check_tags(made: Sequence[BranchConfig], table: TagTable | None) -> None:
    """ValueError if the table's vectors are not what the tags branch reads; a warning where nobody
    will be able to type tags for the checkpoint."""
    for branch in made:
        if branch.name != "tags" or branch.rows == "text":
            continue
        if table is None:
            logger.warning(
                "The tags' vectors come without their words, so the checkpoint will know no tags "
                "by name: give --tag_table, or playlist2tags.json instead of <id>_tags."
            )
        elif table.width != branch.width:
            raise ValueError(
                f"The tag table has vectors of width {table.width}, the features {branch.width}."
            )
