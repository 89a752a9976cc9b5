"""Whether training computes in bfloat16: as asked, else as the hardware does."""

from __future__ import annotations

import pytest
import torch

from audiogpt.training.precision import computes_in_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "computes"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_bf16": False}, False),
        ({"avx2": True, "avx512_f": True}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(
    capabilities: dict[str, bool], computes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert computes_in_bfloat16() is computes
    assert computes_in_bfloat16(True) is True
    assert computes_in_bfloat16(False) is False


def test_a_gpu_that_emulates_bfloat16_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert computes_in_bfloat16() is False
