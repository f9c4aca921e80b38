"""Serving an ASGI application until the process is asked to stop."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from langchain_vpp.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable

_STOP_SECONDS = 2
"""Longest wait for open connections when the server stops."""


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Args:
        host: IPv4 address or name.
        port: TCP port; 0 picks a free one.

    Raises:
        OSError: If the address is in use or not of this machine.
    """
    # With the protocol named, asyncio turns Nagle's algorithm off; without it each small answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def serve_app(app: Any, listener: socket.socket, *, extra: str, on_ready: Callable[[], None]) -> None:
    """Serve until the process is asked to stop; the socket is closed then.

    Args:
        app: ASGI application.
        listener: From :func:`listen`.
        extra: The extra that brings uvicorn.
        on_ready: Called once, when connections are accepted.

    Raises:
        MissingExtraError: If uvicorn is not installed.
    """
    require("uvicorn", extra=extra, undone="nothing was served")
    import uvicorn  # noqa: PLC0415  an optional package

    class AnnouncingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
    )
    with listener:
        AnnouncingServer(config).run(sockets=[listener])
