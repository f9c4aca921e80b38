"""Randomness keyed by its purpose, so that neither the order of calls nor parallel work matters."""

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
    """Return the generator of a key, such as seed, purpose and step.

    Example:
        >>> int(torch.randint(1000, (), generator=keyed_generator(0, "batch", 1)))
        446
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


@contextmanager
def reproducible_layers(generator: torch.Generator) -> Iterator[None]:
    """Draw the initial weights of all layers made within from one generator, in any number of threads.

    Layers draw from torch's global generator, which two threads at a time would share. Its state is restored on exit.

    Args:
        generator: One number is drawn from it.
    """
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield
