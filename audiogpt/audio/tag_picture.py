"""A picture of what the taggers heard: tags against seconds, under the sound's log-mel spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiogpt.audio.tagger import TagsHeard

SHOWN_TAGS = 15
N_FFT, HOP_LENGTH, N_MELS = 1024, 512, 96  # at 16 kHz: 64 ms windows every 32 ms


def draw_tags(
    samples: np.ndarray, sample_rate: int, heard: TagsHeard, path: Path, *, top: int = SHOWN_TAGS
) -> None:
    """Write a PNG of the `top` tags (confidence by colour) over the seconds of the sound.

    `samples` is mono float32 (n,) at `sample_rate` Hz, what `heard` was heard in.
    """
    import librosa
    from matplotlib.figure import Figure

    names = [tag.text for tag in heard.tags[:top]]
    columns = [heard.labels.index(name) for name in names]
    seconds = len(samples) / sample_rate
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    figure = Figure(figsize=(10, 3 + 0.28 * len(names)), layout="constrained")
    upper, lower = figure.subplots(
        2, 1, sharex=True, height_ratios=(1, max(1.0, 0.22 * len(names)))
    )
    upper.imshow(
        librosa.power_to_db(mel, ref=np.max),
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, N_MELS),
        cmap="magma",
    )
    upper.set_ylabel("log-mel band")
    edges = np.append(heard.times[:, 0], min(float(heard.times[-1, 1]), seconds))
    edges = np.maximum.accumulate(edges)
    grid = heard.taggram[:, columns].T  # (tags, segments)
    mesh = lower.pcolormesh(edges, np.arange(len(names) + 1), grid, vmin=0, vmax=1, cmap="viridis")
    lower.set_yticks(np.arange(len(names)) + 0.5, names)
    lower.invert_yaxis()
    lower.set_xlabel("seconds")
    lower.set_xlim(0, seconds)
    figure.colorbar(mesh, ax=lower, label="confidence")
    if heard.note:
        figure.suptitle(heard.note)
    figure.savefig(path, dpi=120, format="png")
