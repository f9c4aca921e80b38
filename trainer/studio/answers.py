"""Requests of the studio's pages: what they may say, and answers that tell errors without content."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from langchain_vpp.errors import VPPError
from trainer.studio.access import SESSION
from trainer.studio.protectors import SentSize  # noqa: TC001  pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
_Body = TypeVar("_Body", bound=BaseModel)
_LONGEST_FORM: Final = 2**20
"""Longest body of a request that brings no file, in bytes."""


class RefusedError(VPPError):
    """The page, or whoever stands in its place, asks for something that there is not."""


class Wish(BaseModel):
    """How a picture is to be protected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protector: str = Field(max_length=300)
    level: float = Field(ge=0, le=1)
    size: SentSize = "fit"


class Question(Wish):
    """A question to a chat model about a protected picture."""

    question: str = Field(max_length=4_000)
    model: str = Field(max_length=300)


def session_of(request: Request) -> str:
    """Return the name of the session that a request belongs to."""
    return cast("str", request.scope[SESSION])


async def body_of(request: Request, most: int) -> bytes:
    """Read the body of a request.

    Raises:
        RefusedError: If it has more than ``most`` bytes. Nothing of it is kept then.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise RefusedError(
                f"The file is larger than {most // 1_000_000} MB. Make it smaller, then drop it again."
            )
    return bytes(body)


async def form_of(request: Request, kind: type[_Body]) -> _Body:
    """Read the JSON body of a request.

    Raises:
        RefusedError: If it is not what the page sends.
    """
    text = await body_of(request, _LONGEST_FORM)
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        pass
    raise RefusedError("The request is not what the page sends; nothing was done. Reload the page.")


def wish_of(request: Request) -> Wish:
    """Read how a picture is to be protected from the query of a request.

    Raises:
        RefusedError: If it is not what the page sends.
    """
    query = request.query_params
    try:
        level = float(query.get("level", "nan"))
        if math.isfinite(level):
            return Wish(
                protector=query.get("protector", ""),
                level=level,
                size="same" if query.get("size") == "same" else "fit",
            )
    except ValueError:  # ValidationError is one, too
        pass
    raise RefusedError("The request is not what the page sends; nothing was done. Reload the page.")


def number_of(request: Request, name: str) -> int:
    """Return a number of the path of a request, which its route has checked."""
    return int(request.path_params[name])


async def in_thread(
    work: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    """Do long work in a thread, so that other requests are answered meanwhile."""
    return await run_in_threadpool(work, *arguments, **named)


def telling(
    endpoint: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request], Awaitable[Response]]:
    """Answer our own errors, whose messages carry no content, with status 400."""

    @functools.wraps(endpoint)
    async def told(self: Any, request: Request) -> Response:
        message = ""
        try:
            return await endpoint(self, request)
        except VPPError as error:
            message = str(error)
        return JSONResponse({"error": message[:1].upper() + message[1:]}, 400)

    return told
