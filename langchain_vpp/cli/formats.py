"""Formats that commands read besides those of the library."""

from __future__ import annotations

from langchain_vpp.extras import find


def open_heic() -> None:
    """Read HEIC from now on, where pillow-heif (extra ``heic``) is installed.

    Only a command may do so: it is a process of its own, and a library must not change Pillow for its whole process.
    """
    heif = find("pillow_heif")
    if heif is not None:
        heif.register_heif_opener()
