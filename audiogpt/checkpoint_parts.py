"""Everything that captioning needs of a checkpoint folder, loaded and checked to fit together.

`audiogpt.checkpoints` reads the model alone; here its tokenizer, tag table and lengths join it. A
folder is put together by hand easily, with a file of another model among the others: that is said
here in one sentence instead of showing later in odd captions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from audiogpt import checkpoints
from audiogpt.checkpoints import CheckpointError
from audiogpt.config import AudioGPTConfig
from audiogpt.length import LengthModel
from audiogpt.model import AudioGPT
from audiogpt.tags import TagTable
from audiogpt.tokenizer import BOS_TOKENS, PAD_TOKENS, CaptionTokenizer


@dataclass(frozen=True, kw_only=True)
class CheckpointParts:
    """A checkpoint's model, its tokenizer, and what else it brings; `sha256` names them all."""

    model: AudioGPT
    tokenizer: CaptionTokenizer
    tag_table: TagTable | None
    lengths: LengthModel | None
    name: str
    sha256: str


def load_parts(
    name: str | os.PathLike[str] = checkpoints.DEFAULT_CHECKPOINT, *, device: str = "cpu"
) -> CheckpointParts:
    """Load a checkpoint folder or Hugging Face Hub id, ready for captioning.

    Raises CheckpointError, in one sentence, where a file is missing, cannot be understood, or does
    not belong to the others.
    """
    folder = checkpoints.resolve(name)
    model = checkpoints.from_pretrained(folder, device=device)
    checkpoints.default_decoding(model.config)
    tokenizer = load_tokenizer(folder, model.config)
    return CheckpointParts(
        model=model,
        tokenizer=tokenizer,
        tag_table=load_tag_table(folder, model.config),
        lengths=checkpoints.read_lengths(folder),
        name=folder.name,
        sha256=checkpoints.checkpoint_hash(folder),
    )


def load_tokenizer(folder: Path, config: AudioGPTConfig) -> CaptionTokenizer:
    """The folder's tokenizer; CheckpointError where it is not the one of the model.

    The ends must be the same. Start and padding must be where the vocabulary has tokens of their
    own for them: one made for captions has, while in GPT-2's any ordinary token may serve.
    """
    try:
        tokenizer = CaptionTokenizer.from_folder(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size} tokens, but the model only "
            f"{config.vocab_size}: it belongs to another checkpoint."
        )
    ids = [("eos_token_id", tokenizer.eos_id, config.eos_token_id)]
    if tokenizer.token_id(BOS_TOKENS[0]) is not None:
        ids.append(("bos_token_id", tokenizer.bos_id, config.bos_token_id))
    if tokenizer.token_id(PAD_TOKENS[0]) is not None:
        ids.append(("pad_token_id", tokenizer.pad_id, config.pad_token_id))
    for what, found, expected in ids:
        if found != expected:
            raise CheckpointError(
                f"The tokenizer in {folder} has {what} {found}, but config.json says {expected}: "
                "it belongs to another checkpoint."
            )
    return tokenizer


def load_tag_table(folder: Path, config: AudioGPTConfig) -> TagTable | None:
    """The vectors of tags by name, for a tags branch that reads vectors; None where the folder has
    none or the model needs none. CheckpointError where they are not what the branch reads."""
    if config.tag_rows != "features":
        return None
    try:
        table = TagTable.find(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    width = config.branch("tags").width
    if table is not None and table.width != width:
        raise CheckpointError(
            f"The tag table in {folder} has vectors of {table.width} numbers, but the tags branch "
            f"reads {width}."
        )
    return table
