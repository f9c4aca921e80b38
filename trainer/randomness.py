"""Randomness keyed by what it is for, so that neither the order of calls nor parallel work matters."""

from __future__ import annotations

import hashlib

import torch


def keyed_generator(*key: object) -> torch.Generator:
    """Return a generator of its own for a key, such as seed, purpose and step.

    Example:
        >>> int(torch.randint(1000, (), generator=keyed_generator(0, "batch", 1)))
        446
    """
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))
