"""`from-gpt2`: a checkpoint folder with GPT-2's language model and fresh branches, to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from audiogpt.config import FUSIONS, BranchConfig

CARD = """# {name}

GPT-2's language model ({source}) with branches for audio, tags and artists whose weights are fresh
(seed {seed}): a start for training. Until it is trained, what it writes has nothing to do with what
it is given.
"""


def add_commands(subparsers: Any) -> None:
    """Add `from-gpt2` to the parser's commands."""
    parser = subparsers.add_parser(
        "from-gpt2",
        help="start a model from Hugging Face's GPT-2 weights",
        description="Write a checkpoint with GPT-2's language model and untrained branches.",
    )
    parser.add_argument("source", help='a folder with GPT-2\'s files, or a name such as "gpt2"')
    parser.add_argument("out", type=Path, help="the checkpoint folder to write")
    parser.add_argument("--fusion", choices=FUSIONS, default="gated")
    parser.add_argument("--no-srau", action="store_true", help="leave out the SRAU gate")
    parser.add_argument("--no-null-rows", action="store_true", help="leave out the null rows")
    parser.add_argument("--seed", type=int, default=0, help="of the fresh weights")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from audiogpt.checkpoints import save_pretrained
    from audiogpt.gpt2 import from_gpt2, gpt2_folder, gpt2_width
    from audiogpt.tokenizer import CaptionTokenizer

    folder = gpt2_folder(options.source)
    tokenizer = CaptionTokenizer.from_folder(folder)
    model = from_gpt2(
        folder,
        branches=(
            BranchConfig(name="audio", width=256),
            BranchConfig.text("tags", gpt2_width(folder)),
            BranchConfig(name="artists", width=10),
        ),
        seed=options.seed,
        fusion=options.fusion,
        srau=not options.no_srau,
        null_rows=not options.no_null_rows,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size} tokens, but the model only "
            f"{model.config.vocab_size}."
        )
    save_pretrained(model, options.out)
    tokenizer.save(options.out)
    card = CARD.format(name=options.out.name, source=options.source, seed=options.seed)
    (options.out / "model_card.md").write_text(card, encoding="utf-8")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    sys.stderr.write(f"Wrote {options.out}: {numbers:,} parameters, to be trained.\n")
    return 0
