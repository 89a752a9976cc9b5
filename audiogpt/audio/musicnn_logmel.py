"""The log-mel front end of the musicnn networks (Pons & Serra, 2019), per 3 s patch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from audiogpt.audio.errors import AudioError
from audiogpt.audio.mel import mel_filters
from audiogpt.audio.windows import Windows

SAMPLE_RATE = 16_000  # Hz
N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
PATCH_FRAMES = 187
PATCH_HOP = PATCH_FRAMES * HOP_LENGTH  # samples between patches, which do not overlap
PATCH_SECONDS = PATCH_HOP / SAMPLE_RATE  # 2.992
COMPRESSION = 10_000.0
# On a CPU the features of two patches stay in the caches; larger batches are slower.
CPU_BATCH, DEVICE_BATCH = 2, 32

# Frame f is centred on sample 256 f, so a patch reads half an FFT before its first centre and
# exists once its last frame's centre lies within the sound; the remainder is dropped.
PATCHES = Windows(
    length=(PATCH_FRAMES - 1) * HOP_LENGTH + N_FFT,
    hop=PATCH_HOP,
    before=N_FFT // 2,
    needed=(PATCH_FRAMES - 1) * HOP_LENGTH,
)


class LogMel(nn.Module):
    """``log10(10000 * mel power + 1)`` of raw patches (96 Slaney mels, 0 to 8 kHz)."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(SAMPLE_RATE, N_FFT, N_MELS, f_max=SAMPLE_RATE / 2)
        self.register_buffer("window", torch.hann_window(N_FFT, periodic=True))
        self.register_buffer("filters", torch.from_numpy(filters.T).contiguous())  # (257, 96)

    def forward(self, patches: Tensor) -> Tensor:
        """Map samples ``(N, 48128)`` to float32 ``(N, 187, 96)``: time, mel."""
        spectrum = torch.stft(
            patches, N_FFT, HOP_LENGTH, window=self.window, center=False, return_complex=True
        )  # (N, 257, 187)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = torch.matmul(power.transpose(1, 2), self.filters)  # (N, 187, 96)
        return torch.log10(mel.mul_(COMPRESSION).add_(1.0))


def at_least_one_patch(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Repeat a sound shorter than one patch until it fills one; a longer one passes unchanged.

    Repetition, not silence: a pause after the sound would change the features that average over
    time, and the networks were trained on music that goes on.

    Raises:
        AudioError: there are no samples at all.
    """
    held: list[np.ndarray] = []
    length = 0
    for block in blocks:
        if length >= PATCHES.needed:
            yield block
            continue
        held.append(block)
        length += len(block)
        if length >= PATCHES.needed:
            yield np.concatenate(held)
    if length == 0:
        raise AudioError("There is no sound to listen to: its length is zero.")
    if length < PATCHES.needed:
        yield np.resize(np.concatenate(held), PATCHES.length)


def patch_times(first: int, count: int) -> np.ndarray:
    """Seconds ``[start, end)`` of patches first, first + 1, …, float32 ``(count, 2)``.

    The one patch of a repeated short clip ends after the clip does.
    """
    edges = np.arange(first, first + count + 1) * PATCH_SECONDS
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.float32)


def patch_batch_size(device: torch.device) -> int:
    """Patches to process at once on this device; measured, see benchmarks/README.md."""
    return CPU_BATCH if device.type == "cpu" else DEVICE_BATCH
