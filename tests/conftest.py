"""Fixtures that several test files share: data outside the repository, and a tiny checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from audiogpt.checkpoints import save_pretrained
from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.model import AudioGPT

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("AUDIOGPT_SHARED_DIR", ROOT.parent / "shared"))
EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.ogg"))

SPECIAL = [
    "<|endoftext|>",
    "<|pad|>",
    "<|startoftext|>",
    "<title>",
    "<description>",
    *(f"artist{rank}" for rank in range(10)),
]


def shared(*parts: str) -> Path:
    """A path under the shared test data; skips the test where that is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not here: set AUDIOGPT_SHARED_DIR to its parent folder")
    return path


@pytest.fixture(scope="module")
def short_runs() -> Iterator[None]:
    """Runs that end in seconds: they are measured on 20 rows, and little is drawn as they begin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audiogpt.training.musiccaps.VALIDATION_ROWS", 20)
        patch.setattr("audiogpt.training.open_data.VOCABULARY_CAPTIONS", 400)
        patch.setattr("audiogpt.training.length_fit.VIEWS", 250)
        yield


def tiny_config(**changes) -> AudioGPTConfig:
    """A model of a few thousand parameters with every feature of our own models."""
    n_embd = changes.pop("n_embd", 16)
    values = {
        "branches": (
            BranchConfig(name="audio", width=256),
            BranchConfig.text("tags", n_embd),
            BranchConfig(name="artists", width=10),
        ),
        "n_layer": 2,
        "n_embd": n_embd,
        "n_head": 2,
        "n_positions": 64,
        "vocab_size": 320,
        "bos_token_id": 2,
        "eos_token_id": 0,
        "pad_token_id": 1,
        "fusion": "gated",
        "null_rows": True,
    }
    return AudioGPTConfig(**{**values, **changes})


def tiny_model(config: AudioGPTConfig | None = None, *, seed: int = 0) -> AudioGPT:
    """Weights large enough that every part of the model shows in its output."""
    torch.manual_seed(seed)
    model = AudioGPT(config or tiny_config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.requires_grad_(False).eval()


def byte_level_bpe(text: str, *, size: int, special: list[str] | list[AddedToken]) -> Tokenizer:
    """A vocabulary of the words of `text` in GPT-2's manner, the special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text] * 9, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with random weights and a real byte-level vocabulary."""
    folder = tmp_path_factory.mktemp("tiny")
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    text = "a slow and mellow piano ballad with soft drums"
    tokenizer = byte_level_bpe(text, size=320, special=special)
    assert tokenizer.get_vocab_size() <= 320
    tokenizer.save(str(folder / "tokenizer.json"))
    save_pretrained(tiny_model(), folder)
    return folder


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """Seven seconds of quiet noise at 16 kHz, float32 (n,)."""
    return np.random.default_rng(0).normal(0, 0.1, 7 * 16000).astype(np.float32)
