"""CPU precision: bfloat16 autocast where the hardware supports it, denormals flushed to zero."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision = Literal["auto", "float32", "bfloat16"]


@contextmanager
def cpu_precision(precision: Precision = "auto") -> Iterator[None]:
    """Compute convolutions in bfloat16 where the processor supports it, and flush denormals to zero.

    Saturated softmaxes give denormal gradients, with which processors compute very slowly.

    Args:
        precision: ``auto`` decides by the processor.
    """
    # Autocast's cache would keep the weights of the first step as long as the context is open.
    half = torch.autocast("cpu", torch.bfloat16, enabled=_is_half(precision), cache_enabled=False)
    torch.set_flush_denormal(True)
    try:
        with half:
            yield
    finally:
        torch.set_flush_denormal(False)


def _is_half(precision: Precision) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
