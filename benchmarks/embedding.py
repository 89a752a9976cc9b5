"""How fast listening is: this program, a plain port and the original TensorFlow code, side by side.

    python benchmarks/embedding.py [--threads 2] [--rounds 5] [--tensorflow PYTHON]

``--tensorflow`` names a Python that has tensorflow and musicnn (for example a virtual environment
with ``tensorflow-cpu==2.15.1`` and ``musicnn`` installed without its dependencies); without it that
column is left out. Every candidate runs in a process of its own, the candidates take turns, and
medians are printed, so that other work on the machine hits all of them alike. CPU seconds count all
threads and depend less on other work than wall seconds do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLIP_SECONDS = 30.0  # ten patches
SAMPLE_RATE = 16_000
REPEATS = 5
TF_BATCH = 4  # as the original timing was made
OPENL3_WINDOWS = 4
MATRIX = 1024
ROOT = Path(__file__).resolve().parents[1]
LAUNCHED = "AUDIOGPT_BENCHMARK_LAUNCHED"
# Multiply-adds per 3 s patch (musicnn) or 1 s window (OpenL3) as published: convolutions only.
PUBLISHED_MACS = {"vgg": 885e6, "MSD tagger": 1401e6, "MTT tagger": 1401e6, "openl3": 10.2e9}

Timing = tuple[float, float]  # wall and CPU seconds


def clip():
    """Thirty seconds of tones and noise at 16 kHz, float32 (n,), the same for everyone."""
    import numpy as np

    t = np.arange(int(CLIP_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.05, len(t))
    return (0.3 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(t)) / 2 + noise).astype("float32")


def timed(run: Callable[[], object]) -> Timing:
    """Median wall and CPU seconds after one run to warm up."""
    run()
    samples = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        samples.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(statistics.median(s) for s in zip(*samples, strict=True))  # type: ignore[return-value]


def measure_torch(threads: int, *, plain: bool) -> dict[str, Timing]:
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    results = (_plain if plain else _ours)(clip())
    if not plain:
        # As convolutions of size one: they reach oneDNN, which on some processors multiplies
        # matrices twice as fast as the library behind `@`.
        a = torch.rand(1, MATRIX, 32, 32).contiguous(memory_format=torch.channels_last)
        b = torch.rand(MATRIX, MATRIX, 1, 1).contiguous(memory_format=torch.channels_last)
        results["matrix product"] = timed(lambda: torch.nn.functional.conv2d(a, b))
    return results


def _ours(samples) -> dict[str, Timing]:
    import torch
    from openl3_recipe import recipe_weights

    from audiogpt.audio.embedding import load_embedding
    from audiogpt.audio.musicnn import load_network
    from audiogpt.audio.musicnn_logmel import PATCHES, LogMel
    from audiogpt.audio.openl3 import OpenL3Embedding

    embedding = load_embedding("musicnn-vgg")
    embedding.embed(samples)
    started = _since_launch()
    batches = [torch.from_numpy(b.copy()) for _, b in PATCHES.batches([samples], 2)]
    front_end = LogMel()
    logmels = [front_end(b) for b in batches]
    results = {"start": started, "log-mel": timed(lambda: [front_end(b) for b in batches])}
    for name, title in (
        ("MSD_vgg", "vgg"),
        ("MSD_musicnn", "MSD tagger"),
        ("MTT_musicnn", "MTT tagger"),
    ):
        network = load_network(name)
        results[title] = timed(lambda network=network: [network(x) for x in logmels])
    results["peak MiB"] = _peak()
    openl3 = OpenL3Embedding(recipe_weights(), hop_seconds=1.0, center=False)
    sound = torch.rand(48_000 * OPENL3_WINDOWS).numpy() - 0.5
    wall, cpu = timed(lambda: openl3.embed(sound))
    results["openl3"] = (wall / OPENL3_WINDOWS, cpu / OPENL3_WINDOWS)
    return results


def _plain(samples) -> dict[str, Timing]:
    import torch
    from openl3_recipe import recipe_weights
    from plain_port import PlainMusicnn, PlainOpenL3, PlainVGG

    from audiogpt.audio.musicnn_logmel import PATCHES, LogMel
    from audiogpt.audio.musicnn_weights import load_weights

    networks = {"vgg": PlainVGG(load_weights("MSD_vgg")).eval()}
    front_end = LogMel()
    batches = [torch.from_numpy(b.copy()) for _, b in PATCHES.batches([samples], TF_BATCH)]
    logmels = [front_end(b) for b in batches]
    networks["vgg"](logmels[0])
    results = {"start": _since_launch()}
    for name, title in (("MSD_musicnn", "MSD tagger"), ("MTT_musicnn", "MTT tagger")):
        networks[title] = PlainMusicnn(load_weights(name)).eval()  # type: ignore[arg-type]
    for title, network in networks.items():
        results[title] = timed(lambda network=network: [network(x) for x in logmels])
    results["peak MiB"] = _peak()
    weights = recipe_weights()
    openl3 = PlainOpenL3(weights.batch_norms, weights.convolutions).eval()
    mel = torch.rand(OPENL3_WINDOWS, 256, 199)
    wall, cpu = timed(lambda: openl3(mel))
    results["openl3"] = (wall / OPENL3_WINDOWS, cpu / OPENL3_WINDOWS)
    return results


def measure_tensorflow(threads: int) -> dict[str, Timing]:
    """The original networks in a TensorFlow session, on the original's librosa log-mels."""
    import librosa
    import numpy as np
    import tensorflow as tf
    from musicnn import __file__ as package
    from musicnn import models

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    samples = clip()

    def log_mel():
        mel = librosa.feature.melspectrogram(
            y=samples, sr=SAMPLE_RATE, hop_length=256, n_fft=512, n_mels=96
        ).T
        return np.log10(10_000 * mel + 1)

    patches = log_mel()[: 10 * 187].reshape(10, 187, 96)
    results: dict[str, Timing] = {}
    config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    for name, title in (
        ("MSD_vgg", "vgg"),
        ("MSD_musicnn", "MSD tagger"),
        ("MTT_musicnn", "MTT tagger"),
    ):
        with tf.Graph().as_default(), v1.Session(config=config) as session:
            x = v1.placeholder(tf.float32, [None, 187, 96])
            training = v1.placeholder(tf.bool)
            with tf.name_scope("model"):
                outputs = models.define_model(x, training, name, 50)
            target = outputs[-1] if title == "vgg" else outputs[0]
            v1.train.Saver().restore(session, f"{Path(package).parent}/{name}/")

            def run(session=session, target=target, x=x, training=training):
                for i in range(0, len(patches), TF_BATCH):
                    feed = {x: patches[i : i + TF_BATCH], training: False}
                    session.run(target, feed_dict=feed)

            run()
            results.setdefault("start", _since_launch())
            results[title] = timed(run)
    results["log-mel"] = timed(log_mel)
    results["peak MiB"] = _peak()
    return results


def _since_launch() -> Timing:
    """Wall seconds since this process was launched, and its CPU seconds."""
    return time.time() - float(os.environ[LAUNCHED]), time.process_time()


def _peak() -> Timing:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return peak, peak


def launch(python: str, candidate: str, threads: int) -> dict[str, Timing]:
    """Run one candidate in its own process."""
    environment = os.environ | {
        LAUNCHED: str(time.time()),
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [python, __file__, "--candidate", candidate, "--threads", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{candidate} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def live_macs() -> dict[str, float]:
    """Multiply-adds that are left after dead channels are gone, per patch or window."""
    sys.path.insert(0, str(ROOT))
    from audiogpt.audio.musicnn import Musicnn, MusicnnVGG, load_network

    vgg = load_network("MSD_vgg")
    assert isinstance(vgg, MusicnnVGG)
    positions = (187 * 48, 92 * 48, 46 * 24, 23 * 12, 11 * 6)
    kernels = [block.kernel.numel() for block in vgg.blocks]  # type: ignore[union-attr,operator]
    macs = {"vgg": float(sum(k * p for k, p in zip(kernels, positions, strict=True)))}
    for name, title in (("MSD_musicnn", "MSD tagger"), ("MTT_musicnn", "MTT tagger")):
        network = load_network(name)  # type: ignore[arg-type]
        assert isinstance(network, Musicnn)
        kernels = [layer.kernel for layer in (*network.front, *network.middle)]  # type: ignore[misc]
        spans = [187 * (96 - k.shape[3] + 1) if k.ndim == 4 else 187 for k in kernels]  # type: ignore[union-attr]
        macs[title] = float(sum(k.numel() * s for k, s in zip(kernels, spans, strict=True)))  # type: ignore[union-attr]
    return macs | {"openl3": PUBLISHED_MACS["openl3"]}


def report(runs: dict[str, list[dict[str, Timing]]], threads: int) -> str:
    """The tables in Markdown."""

    def median(candidate: str, key: str, which: int) -> float | None:
        values = [run[key][which] for run in runs.get(candidate, []) if key in run]
        return statistics.median(values) if values else None

    rate = 2 * MATRIX**3 / (median("ours", "matrix product", 1) or 1) / 1e9
    lines = [
        f"{platform.machine()}, {_cpu_name()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}; {threads} thread(s); {len(runs['ours'])} rounds; "
        f"matrix products run at {rate:.0f} GFLOP/s of CPU time; "
        f"load average at the end: {os.getloadavg()[0]:.1f}.",
        "",
        "Wall seconds (CPU seconds) per minute of audio:",
        "",
        "| | ours | plain port | TensorFlow original | ours, times faster (CPU) "
        "| GFLOP: live of published | floor, CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    macs = live_macs()
    for key in ("log-mel", "vgg", "MSD tagger", "MTT tagger", "openl3"):
        per_minute = 60.0 if key == "openl3" else 60.0 / CLIP_SECONDS
        units = 60.0 if key == "openl3" else 20.0
        cells, cpus = [], {}
        for candidate in ("ours", "plain", "tensorflow"):
            wall, cpu = median(candidate, key, 0), median(candidate, key, 1)
            if wall is None or cpu is None:
                cells.append("-")
            else:
                cells.append(f"{wall * per_minute:.3f} ({cpu * per_minute:.3f})")
                cpus[candidate] = (wall, cpu)
        faster = " / ".join(
            f"{cpus[c][0] / cpus['ours'][0]:.1f} ({cpus[c][1] / cpus['ours'][1]:.1f})"
            for c in ("plain", "tensorflow")
            if c in cpus
        )
        live, floor = "-", "-"
        if key in macs:
            flop = 2 * macs[key] * units / 1e9
            live = f"{flop:.0f} of {2 * PUBLISHED_MACS[key] * units / 1e9:.0f}"
            floor = f"{flop / rate:.3f}"
        lines.append(f"| {key} | {' | '.join(cells)} | {faster or '-'} | {live} | {floor} |")
    lines += ["", "| | ours | plain port | TensorFlow original |", "|---|---|---|---|"]
    song = ("vgg", "MSD tagger", "MTT tagger")
    for title, keys, which, factor in (
        ("three-minute song to rows and both taggers' tags, s", song, 0, 6.0),
        ("the same, CPU s", song, 1, 6.0),
        ("start-up to the first VGG rows, s", ("start",), 0, 1.0),
        ("the same, CPU s", ("start",), 1, 1.0),
        ("peak memory with the three musicnn networks, MiB", ("peak MiB",), 0, 1.0),
    ):
        cells = []
        for candidate in ("ours", "plain", "tensorflow"):
            values = [median(candidate, key, which) for key in keys]
            known = [v for v in values if v is not None]
            cells.append(f"{factor * sum(known):.1f}" if len(known) == len(keys) else "-")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cpu_name() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tensorflow", metavar="PYTHON", help="a Python with the original code")
    parser.add_argument("--candidate", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.candidate == "tensorflow":
        print(json.dumps(measure_tensorflow(options.threads)))
        return
    if options.candidate:
        plain = options.candidate == "plain"
        print(json.dumps(measure_torch(options.threads, plain=plain)))
        return
    pythons = {"ours": sys.executable, "plain": sys.executable}
    if options.tensorflow:
        pythons["tensorflow"] = options.tensorflow
    runs: dict[str, list[dict[str, Timing]]] = {name: [] for name in pythons}
    for _ in range(options.rounds):
        for name, python in pythons.items():
            runs[name].append(launch(python, name, options.threads))
    print(report(runs, options.threads))


if __name__ == "__main__":
    main()
