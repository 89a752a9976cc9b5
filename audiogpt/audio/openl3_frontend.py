"""OpenL3's spectrograms of 1 s windows, with the numerics of its three published front ends.

- "original": the code up to openl3 0.3.1, with which the weights were trained. The default here.
- "kapre": the layers that openl3 0.4 puts in front of the network. Its default.
- "librosa": openl3 0.4's alternative.

They differ by 3 to 5 dB on average in the mel cases, so an embedding is comparable only with others
of the same front end. Source: Cramer et al., "Look, listen, and learn more", ICASSP 2019, and the
openl3 package's ``models.py`` and ``core.py``.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiogpt.audio.mel import mel_filters

FrontEndName = Literal["original", "kapre", "librosa"]
Representation = Literal["linear", "mel128", "mel256"]
FRONT_ENDS: tuple[str, ...] = get_args(FrontEndName)
REPRESENTATIONS: tuple[str, ...] = get_args(Representation)

SAMPLE_RATE = 48_000  # Hz
WINDOW = 48_000  # samples: 1 s
HOP_LENGTH = 242
N_FFT_LINEAR = 512
N_FFT_MEL = 2048
FLOOR = 1e-10
RANGE_DB = 80.0
# Zeros (before, after) each window in the mel cases; 199 frames in all of them.
PADDING = {"original": (982, 982), "kapre": (0, 1964), "librosa": (1024, 1024)}


class OpenL3FrontEnd(nn.Module):
    """Decibels under the window's own maximum, floored at -80: ``(N, frequencies, frames)``."""

    window: Tensor
    filters: Tensor

    def __init__(self, representation: Representation, name: FrontEndName = "original") -> None:
        super().__init__()
        if representation not in REPRESENTATIONS or name not in FRONT_ENDS:
            raise ValueError(
                f"There is no OpenL3 front end {name!r} for {representation!r}: choose one of "
                f"{', '.join(FRONT_ENDS)} and of {', '.join(REPRESENTATIONS)}."
            )
        self.linear = representation == "linear"
        self.of_power = name == "original"
        self.n_fft = N_FFT_LINEAR if self.linear else N_FFT_MEL
        self.padding = (0, 0) if self.linear else PADDING[name]
        # Not a buffer: those move to the device, and Apple's GPUs have no float64.
        self.window = torch.hann_window(self.n_fft, dtype=torch.float64)
        if not self.linear:
            filters = mel_filters(
                SAMPLE_RATE,
                N_FFT_MEL,
                int(representation.removeprefix("mel")),
                f_max=SAMPLE_RATE / 2,
                scale="htk" if self.of_power else "slaney",
            )
            self.register_buffer("filters", torch.from_numpy(filters))  # (n_mels, 1025)

    def forward(self, windows: Tensor) -> Tensor:
        """Map samples ``(N, 48000)`` to float32 ``(N, F, T)``: (257, 197) or (n_mels, 199)."""
        if self.linear:
            # Bins near the floor are float32 rounding noise, so the originals' double precision
            # is needed to meet them (Apple's GPUs have none).
            exact = torch.float32 if windows.device.type == "mps" else torch.float64
            level = self._spectrum(windows.to(exact)).abs().float()  # (N, 257, 197)
            return self._decibels(level)
        spectrum = self._spectrum(functional.pad(windows, self.padding))  # (N, 1025, 199)
        if self.of_power:
            power = spectrum.real.square() + spectrum.imag.square()
            level = torch.matmul(self.filters, power).sqrt_()
        else:
            level = torch.matmul(self.filters, spectrum.abs())
        return self._decibels(level)

    def _spectrum(self, windows: Tensor) -> Tensor:
        return torch.stft(
            windows,
            self.n_fft,
            HOP_LENGTH,
            window=self.window.to(windows.dtype).to(windows.device),
            center=False,
            return_complex=True,
        )

    @staticmethod
    def _decibels(level: Tensor) -> Tensor:
        decibels = level.clamp_(min=FLOOR).log10_().mul_(10.0)  # 10, not 20, of the magnitude
        decibels -= decibels.amax(dim=(1, 2), keepdim=True)
        return decibels.clamp_(min=-RANGE_DB)
