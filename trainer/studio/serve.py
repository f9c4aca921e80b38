"""The studio in this process, until it is asked to stop."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from langchain_vpp.errors import TrainingError
from langchain_vpp.extras import require
from trainer.runtime.serving import listen, serve_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.studio.app import Settings


def serve_studio(settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the studio until the process is asked to stop.

    Args:
        settings: What it offers.
        host: IPv4 address to listen on.
        port: TCP port; 0 picks a free one.
        on_ready: Called once, when connections are accepted, with the address that opens the studio.

    Raises:
        OSError: If the address is in use or not of this machine.
        VPPError: As :func:`~trainer.studio.app.create_studio`.
    """
    require("starlette", "uvicorn", extra="studio", undone="the studio was not started")
    from trainer.studio.app import create_studio  # noqa: PLC0415  extra `studio`

    with listen(host, port) as listener:
        name = f"{host}:{listener.getsockname()[1]}"
        hosts = [name, f"localhost:{listener.getsockname()[1]}"] if is_loopback(host) else [name]
        studio = create_studio(settings, hosts)
        serve_app(
            studio.app,
            listener,
            extra="studio",
            on_ready=lambda: on_ready(f"http://{name}{studio.opening_path}"),
        )


def is_loopback(host: str) -> bool:
    """Say whether an address is of this machine alone.

    Raises:
        TrainingError: If it is no IPv4 address of one interface.
    """
    try:
        address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified:
        raise TrainingError(
            f"the studio was not started: {host!r} is not the IPv4 address of one interface. The studio checks the "
            "name that a browser asks for, so it needs one: 127.0.0.1, or such as 192.168.1.20."
        )
    return address.is_loopback
