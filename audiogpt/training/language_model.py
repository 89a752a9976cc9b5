"""A pretrained language model as a teacher: it knows English, our small models know our data.

Two and a half thousand captions teach a small model only so much of how tags become sentences. A
language model that was trained on much text, and then on the same captions, predicts them far
better. With its vocabulary exchanged for ours its predictions can be targets of a small model,
token by token (knowledge distillation: Hinton, Vinyals and Dean, 2015).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from audiogpt.controls import TOLD
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.expectations import Expected
from audiogpt.training.precision import computes_in_bfloat16
from audiogpt.training.views import View

GGUF = ".gguf"
LINE = "\n"


def load_language_model(
    source: str | os.PathLike[str],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model in float32 and its tokenizer.

    `source` is a folder in Hugging Face's format, a name there, or a .gguf file, whose quantised
    weights are expanded (needs the gguf package). Raises ValueError where it cannot be read.
    """
    path = Path(source)
    named: dict[str, Any] = {}
    folder = os.fspath(source)
    if path.suffix == GGUF:
        named["gguf_file"], folder = path.name, str(path.parent)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **named)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **named)
    except Exception as error:  # a damaged file can raise anything there
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{source} is no language model that can be read ({reason}): give a folder with its "
            "config.json, weights and tokenizer, a .gguf file, or a name on Hugging Face with a "
            "network at hand."
        ) from error
    if not model.config.tie_word_embeddings:
        raise ValueError(f"{source} must read and write with the same token vectors.")
    if path.suffix == GGUF:  # expanded, they are ordinary weights that can be saved
        del model.config.quantization_config
        vars(model).update(is_quantized=False, hf_quantizer=None)
    return model, tokenizer


@torch.no_grad()
def exchange_vocabulary(
    model: PreTrainedModel, theirs: PreTrainedTokenizerBase, ours: CaptionTokenizer
) -> int:
    """Give a model our tokens: each gets the vector of the same text, or the mean of its pieces'.

    Start, end and padding get that of the model's own end of text. Returns how many tokens have the
    same text as one of the model's own.
    """
    known = cast(nn.Embedding, model.get_input_embeddings()).weight  # (theirs, width)
    vectors = known.mean(0).repeat(ours.vocab_size, 1)  # (V, width)
    same = 0
    for token in range(ours.vocab_size):
        if token in ours.special_ids:
            vectors[token] = known[theirs.eos_token_id]
            continue
        text = ours.tokenizer.decode([token], skip_special_tokens=False)
        pieces = theirs(text, add_special_tokens=False).input_ids if text else []
        if pieces:
            vectors[token] = known[pieces].mean(0)
            same += len(pieces) == 1
    table = nn.Embedding(*vectors.shape)
    table.weight.copy_(vectors)
    head = nn.Linear(vectors.shape[1], ours.vocab_size, bias=False)
    head.weight = table.weight
    model.set_input_embeddings(table)
    model.set_output_embeddings(head)
    model.config.vocab_size = ours.vocab_size
    model.config.bos_token_id, model.config.eos_token_id = ours.bos_id, ours.eos_id
    model.config.pad_token_id = ours.pad_id
    return same


def prompt_ids(tokenizer: CaptionTokenizer, view: View) -> list[int]:
    """What a language model is told of a view: its tags of some weight, and its number of words."""
    tags = ", ".join(tag for tag, weight in view.tags if weight > TOLD)
    words = len(view.description.split())
    return [tokenizer.bos_id, *tokenizer.encode(f" {tags}{LINE} {words}{LINE}")]


def text_ids(tokenizer: CaptionTokenizer, view: View) -> list[int]:
    """The tokens of a view's description, and the end: as in its caption, after the title."""
    return [*tokenizer.encode(f" {view.description}"), tokenizer.eos_id]


class LanguageTeacher:
    """A language model with our vocabulary that has learned our captions."""

    def __init__(self, model: PreTrainedModel, tokenizer: CaptionTokenizer) -> None:
        if model.config.vocab_size != tokenizer.vocab_size:
            raise ValueError("A language model that teaches needs the vocabulary of the student.")
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def load(cls, folder: str | Path) -> LanguageTeacher:
        """From the folder that `train-language-teacher` writes; ValueError where it is none."""
        if not (Path(folder) / "config.json").is_file():
            raise ValueError(
                f"{folder} is no language teacher: train-language-teacher makes such a folder."
            )
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True
        )
        return cls(model, CaptionTokenizer.from_folder(folder))

    @torch.inference_mode()
    def expect(self, views: Sequence[View], *, count: int) -> list[Expected]:
        """For each view the `count` likeliest tokens at each of the tokens of `text_ids`.

        Computed on the model's device, in bfloat16 where the hardware does.
        """
        device = self.model.device
        prompts = [prompt_ids(self.tokenizer, view) for view in views]
        texts = [text_ids(self.tokenizer, view) for view in views]
        rows = [torch.tensor(prompt + text) for prompt, text in zip(prompts, texts, strict=True)]
        ids = nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.tokenizer.pad_id
        ).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16()):
            logits = self.model(
                input_ids=ids[:, :-1]
            ).logits  # (B, T, V); padding only on the right
        found = []
        for row, prompt, text in zip(logits, prompts, texts, strict=True):
            own = row[len(prompt) - 1 : len(prompt) - 1 + len(text)].float()
            top = own.softmax(-1).topk(count)
            found.append(Expected(top.indices.cpu(), top.values.cpu()))
        return found
