"""Access to the studio: the address with the token, the cookie, and what a browser is told about every answer.

Whoever opens the address gets a session of their own. The cookie with its secret is sent to paths under a random prefix
alone, because a browser sends cookies to *every* port of a host: another program that serves pages on this machine
never sees it.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from trainer.studio.uploads import Sessions

logger = logging.getLogger(__name__)

COOKIE: Final = "vpp_studio"
SESSION: Final = "studio_session"
"""Key of the ASGI scope under which the name of the session is."""
_READING: Final = frozenset({"GET", "HEAD"})
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CLOSED: Final = (
    "This page belongs to whoever started the studio. Open the whole address that `vpp studio` has printed."
)


class Access:
    """The secrets of one studio.

    Args:
        hosts: Values of the header ``Host`` that name this studio, such as ``127.0.0.1:8642``.
        sessions: Sessions of those who have opened it.

    Attributes:
        token: Opens the studio; it is in the address that is printed.
        prefix: First part of every path, without slashes. It is no secret, and differs from start to start.
    """

    def __init__(self, hosts: Iterable[str], sessions: Sessions) -> None:
        self.token = secrets.token_urlsafe(32)
        self.prefix = secrets.token_hex(6)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._sessions = sessions

    @property
    def opening_path(self) -> str:
        """Path and query that open the studio."""
        return f"/?token={self.token}"

    def refusal(self, method: str, headers: Headers) -> Response | None:
        """Return the answer to a request that no page of this studio sends, or ``None``."""
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            # Otherwise a page of a name that is made to lead to this machine (DNS rebinding) could read ours.
            return PlainTextResponse("The studio does not answer to this host name.", 421)
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return PlainTextResponse("The studio answers to its own pages alone.", 403)
        if method not in _READING and headers.get("origin", "").lower() != f"http://{host}":
            return PlainTextResponse("The studio answers to its own pages alone.", 403)
        return None

    def opened(self, query: QueryParams) -> Response:
        """Answer a request for the first page: a session for whoever has the token."""
        given = query.get("token", "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return PlainTextResponse(_CLOSED, 403)
        answer = RedirectResponse(f"/{self.prefix}/", 303)
        answer.set_cookie(
            COOKIE, self._sessions.open(), path=f"/{self.prefix}/", httponly=True, samesite="strict"
        )
        return answer

    def session_of(self, headers: Headers) -> str | None:
        """Return the name of the session that a request belongs to."""
        given = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return given if given in self._sessions else None


class Guarded:
    """ASGI application that lets requests of opened sessions through, and answers all others.

    Errors of the application are answered without their content, and are not logged with it.

    Args:
        app: The studio.
        access: Its secrets.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket, which no page of ours opens
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._answer(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        failure: Exception | None = None
        try:
            await self._app(scope, receive, guarded_send)
        except Exception as error:  # noqa: BLE001  its text may quote a picture's file or an answer
            failure = error
        if failure is not None:
            logger.error("the studio failed with %s", type(failure).__name__)
            if not started:
                await failed(None, failure)(scope, receive, guarded_send)

    def _answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request that does not reach the studio; mark the session of one that does."""
        headers = Headers(scope=scope)
        refusal = self._access.refusal(scope["method"], headers)
        if refusal is not None:
            return refusal
        path: str = scope["path"]
        if path == "/":
            return self._access.opened(QueryParams(scope["query_string"]))
        start = f"/{self._access.prefix}"
        session = self._access.session_of(headers)
        if session is None or not path.startswith(f"{start}/"):
            return _refused(scope["method"])
        scope[SESSION] = session
        scope["path"] = path.removeprefix(start)
        scope["raw_path"] = scope["path"].encode()
        return None


def failed(_: object, error: Exception) -> Response:
    """Answer a request with an error that nobody has foreseen, without its text."""
    kind = type(error).__name__
    return JSONResponse(
        {"error": f"The studio failed ({kind}). Look at the picture and the level, and try again."}, 500
    )


def _refused(method: str) -> Response:
    said: dict[str, Any] = {"error": _CLOSED}
    return PlainTextResponse(_CLOSED, 403) if method in _READING else JSONResponse(said, 403)
