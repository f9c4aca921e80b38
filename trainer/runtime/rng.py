"""Random generators keyed by purpose, so that neither the order of calls nor parallel work matters."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_drawing: Final = threading.Lock()


def keyed_generator(*key: object) -> torch.Generator:
    """Create a generator for a key, such as seed, purpose and step: the same key gives the same numbers.

    Example:
        >>> int(torch.randint(1000, (), generator=keyed_generator(0, "batch", 1)))
        446
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


@contextmanager
def reproducible_layers(generator: torch.Generator) -> Iterator[None]:
    """Let a generator decide the initial weights of layers that are created in the context.

    Layers draw from torch's global generator, where two threads would draw from each other's seeds. So one thread at a
    time is in the context, and the global generator is left as it was.

    Args:
        generator: One number is drawn from it.
    """
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield
