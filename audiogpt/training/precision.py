"""Whether a run computes in bfloat16: halves of the time where the hardware has it, but emulated it
takes many times as long as float32."""

from __future__ import annotations

import torch

# Instructions that multiply matrices of bfloat16, on x86 and ARM, as PyTorch names them.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def computes_in_bfloat16(chosen: bool | None = None) -> bool:
    """What was chosen; None: as the hardware does, the GPU where PyTorch sees one, else the CPU."""
    if chosen is not None:
        return chosen
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in INSTRUCTIONS)
