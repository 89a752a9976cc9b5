"""How long decoding takes per token, next to the time that reading the weights alone takes.

    python -m benchmarks.decoding [--threads 2] [--steps 20] [--repeats 5]

Compares, in one run on the same weights (random; values do not change the work): this
implementation; the same without key/value caches, as a plain reading of the equations would do
it; and the floor, one pass over every weight that a step needs, at the measured reading speed.
Medians of several runs; on a busy machine trust the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from audiogpt.checkpoints import DEFAULT_CHECKPOINT, read_config
from audiogpt.config import AudioGPTConfig
from audiogpt.context import Context, FeatureRows, Rows, TextRows
from audiogpt.decoding import decode_all
from audiogpt.layers import store_for_few_rows
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.trace import compute_trace


def seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def make_rows(config: AudioGPTConfig, audio: int, tags: int) -> dict[str, Rows]:
    rows: dict[str, Rows] = {}
    for branch in config.branches:
        n = {"audio": audio, "tags": tags}.get(branch.name, 1)
        if branch.rows == "text":
            rows[branch.name] = TextRows.from_phrases([[([5, 6], 1.0)] * n])
        else:
            rows[branch.name] = FeatureRows(torch.randn(1, n, branch.width), torch.ones(1, n))
    return rows


def reading_speed() -> float:
    """Bytes per second at which memory is read, well beyond any cache."""
    block = torch.ones(64 * 2**20)  # 256 MiB
    return block.numel() * 4 / seconds(block.sum, 5)


def bytes_per_step(model: AudioGPT) -> int:
    """Bytes of the weights that one decoding step reads: all but keys, values and positions."""
    return sum(
        parameter.numel() * parameter.element_size()
        for name, parameter in model.named_parameters()
        if not any(part in name for part in ("branches.", "k_proj", "v_proj", "wpe"))
    )


@torch.inference_mode()
def uncached(model: AudioGPT, rows: dict[str, Rows], beams: int, steps: int) -> None:
    """Greedy per beam, encoding and reading the whole text anew at every step."""
    tokens = torch.full((beams, 1), model.config.bos_token_id)
    for _ in range(steps):
        context: Context = model.encode(rows)
        word = model(tokens, context)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, word], dim=1)


def measure(config: AudioGPTConfig, name: str, *, steps: int, repeats: int) -> None:
    torch.manual_seed(0)
    model = AudioGPT(config).eval().requires_grad_(False)
    store_for_few_rows(model)  # as a loaded checkpoint is
    rows = make_rows(config, audio=30, tags=20)
    with torch.inference_mode():
        context = model.encode(rows)
        encode = seconds(lambda: model.encode(rows), repeats)
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    floor = bytes_per_step(model) / reading_speed()
    print(f"\n{name}: {size:.1f} M parameters, {steps} steps")
    print(f"encode {1e3 * encode:.1f} ms; floor {1e3 * floor:.1f} ms a step")
    print("| beams | ours, ms a step | times the floor | no caches, ms a step | ratio |")
    print("|---|---|---|---|---|")
    for beams in (1, 3, 5):
        decoding = Decoding(beams=beams, max_tokens=steps, n_best=1)
        ours = seconds(lambda d=decoding: decode_all(model, context, d, stop_early=False), repeats)
        plain = seconds(lambda b=beams: uncached(model, rows, b, steps), max(1, repeats // 2))
        print(
            f"| {beams} | {1e3 * ours / steps:.1f} | {ours / steps / floor:.1f} "
            f"| {1e3 * plain / steps:.1f} | {plain / ours:.1f} |"
        )
    trace = seconds(lambda: compute_trace(model, context, [5] * steps), repeats)
    print(f"trace of {steps} tokens: {1e3 * trace:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads")
    measure(
        read_config(DEFAULT_CHECKPOINT), "bundled", steps=options.steps, repeats=options.repeats
    )
    published = AudioGPTConfig(published_padding=True)
    measure(published, "PlayNTell, 12 layers", steps=options.steps, repeats=options.repeats)


if __name__ == "__main__":
    main()
