"""Routes about pictures: take them in, show them, tell about them, send them."""

from __future__ import annotations

import io
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from trainer.studio import preview
from trainer.studio.answers import (
    Question,
    RefusedError,
    Wish,
    body_of,
    form_of,
    in_thread,
    number_of,
    session_of,
    telling,
    wish_of,
)
from trainer.studio.asking import leaving
from trainer.studio.findings import MachineReaders, cost_of
from trainer.studio.uploads import BUDGET

if TYPE_CHECKING:
    from starlette.requests import Request

    from trainer.studio.asking import ChatModels, Leaving
    from trainer.studio.protectors import Protectors
    from trainer.studio.uploads import Session, Sessions, Upload

_LONGEST_NAME = 120
_DRAWN_SIDE = 512
_PAGE = "/pictures/{id}/{page:int}"


class PictureRoutes:
    """Answers requests about the pictures of a session.

    Args:
        sessions: Sessions with their pictures.
        protectors: Protectors that can be chosen.
        models: Chat models that can be asked.
    """

    def __init__(self, sessions: Sessions, protectors: Protectors, models: ChatModels) -> None:
        self._sessions, self._protectors, self._models = sessions, protectors, models
        self._readers = MachineReaders()

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            Route("/pictures", self.listed),
            Route("/pictures", self.take, methods=["POST"]),
            Route("/pictures/sample", self.sample, methods=["POST"]),
            Route("/pictures/{id}/forget", self.forget, methods=["POST"]),
            Route("/pictures/{id}/send", self.send, methods=["POST"]),
            Route("/pictures/{id}/receipt", self.receipt),
            Route(f"{_PAGE}/original", self.original),
            Route(f"{_PAGE}/protected", self.protected),
            Route(f"{_PAGE}/costs", self.costs),
            Route(f"{_PAGE}/download", self.download),
            Route(f"{_PAGE}/check", self.check, methods=["POST"]),
            Route("/models", self.models, methods=["POST"]),
        ]

    @telling
    async def listed(self, request: Request) -> Response:
        """Tell the pictures of the session, for a page that was loaded again."""
        return JSONResponse([_described(each) for each in self._session(request)])

    @telling
    async def take(self, request: Request) -> Response:
        """Take a file in: the body, and its name in the query."""
        name = request.query_params.get("name", "")[:_LONGEST_NAME]
        data = await body_of(request, BUDGET.bytes)
        if not data:
            raise RefusedError("The file is empty. Drop a picture or a PDF.")
        upload = await in_thread(self._session(request).add, data, name)
        return JSONResponse(_described(upload))

    @telling
    async def sample(self, request: Request) -> Response:
        """Draw a scene of an invented person, for whoever has no picture at hand."""
        upload = await in_thread(lambda: self._session(request).add(_drawn(), "drawn scene.png"))
        return JSONResponse(_described(upload))

    @telling
    async def forget(self, request: Request) -> Response:
        """Forget a file."""
        self._session(request).forget(request.path_params["id"])
        return JSONResponse({})

    @telling
    async def original(self, request: Request) -> Response:
        """Show the original to the browser that has brought it."""
        upload, page = self._page(request)
        small = "small" in request.query_params
        return _picture(await in_thread(preview.original, upload, page, small=small))

    @telling
    async def protected(self, request: Request) -> Response:
        """Show a page at a level."""
        upload, page = self._page(request)
        wish = wish_of(request)
        shown = await in_thread(
            preview.protected,
            preview.View(self._session(request), upload, page),
            self._protectors,
            wish.protector,
            wish.level,
            small="small" in request.query_params,
        )
        facts = {
            "level": shown.level,
            "milliseconds": round(shown.milliseconds, 1),
            "bytes": len(shown.encoded),
            "hidden": dict(shown.hidden),
        }
        return _picture(shown.encoded, {"X-Studio-Facts": json.dumps(facts)})

    @telling
    async def costs(self, request: Request) -> Response:
        """Tell what sending a page costs."""
        upload, page = self._page(request)
        wish = wish_of(request)
        sent = await in_thread(self._leaving, upload, wish, "")
        picture = sent.pictures[page]
        facts = cost_of(upload.size(page), len(upload.data), len(picture), wish.size)
        record = sent.receipt.as_metadata()
        return JSONResponse(facts | {"receipt": record | {"images": [record["images"][page]]}})

    @telling
    async def check(self, request: Request) -> Response:
        """Count what machines find in a page, and in its protected copy."""
        upload, page = self._page(request)
        wish = await form_of(request, Wish)
        level = self._protectors.offer(wish.protector).levels.effective(wish.level)

        def compare() -> dict[str, Any]:
            engine = self._protectors.engine(wish.protector)
            before, after = preview.pixels(upload, page, engine, level)
            if before.size != upload.shown_size(page):
                before = upload.copy(page, upload.shown_size(page))
                after = after.resize(before.size)
            return self._readers.compare(before, after)

        return JSONResponse(await in_thread(compare))

    @telling
    async def download(self, request: Request) -> Response:
        """Give a protected page away, exactly as it would be sent."""
        upload, page = self._page(request)
        sent = await in_thread(self._leaving, upload, wish_of(request), "")
        return _picture(sent.pictures[page], _as_file(upload, page, "protected", "jpg"))

    @telling
    async def receipt(self, request: Request) -> Response:
        """Give the receipt of a file away."""
        upload = self._upload(request)
        sent = await in_thread(self._leaving, upload, wish_of(request), "")
        text = json.dumps(sent.receipt.as_metadata(), indent=2) + "\n"
        return Response(text, media_type="application/json", headers=_as_file(upload, 0, "receipt", "json"))

    @telling
    async def send(self, request: Request) -> Response:
        """Ask a chat model about the protected file."""
        upload = self._upload(request)
        wish = await form_of(request, Question)
        if not wish.question.strip():
            raise RefusedError("There is no question, so nothing was sent. Write one.")

        def ask() -> dict[str, Any]:
            sent = self._leaving(upload, wish, wish.question)
            return self._models.ask(wish.model, sent, upload)._asdict()

        return JSONResponse(await in_thread(ask))

    @telling
    async def models(self, _: Request) -> Response:
        """Start the sandbox, and tell which models it serves."""
        return JSONResponse({"models": await in_thread(self._models.sandbox_models)})

    def _session(self, request: Request) -> Session:
        return self._sessions.get(session_of(request))

    def _upload(self, request: Request) -> Upload:
        return self._session(request).upload(request.path_params["id"])

    def _page(self, request: Request) -> tuple[Upload, int]:
        upload, page = self._upload(request), number_of(request, "page")
        upload.size(page)
        return upload, page

    def _leaving(self, upload: Upload, wish: Wish, question: str) -> Leaving:
        return leaving(
            upload, self._protectors, wish.protector, level=wish.level, size=wish.size, question=question
        )


def _drawn() -> bytes:
    from trainer.sandbox.drawing.scenes import draw_scene  # noqa: PLC0415  only where a scene is drawn

    scene, _ = draw_scene(np.random.default_rng())
    file = io.BytesIO()
    scene.resize((_DRAWN_SIDE, _DRAWN_SIDE), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def _described(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "name": upload.name,
        "bytes": len(upload.data),
        "is_document": upload.is_document,
        "pages": [
            {"size": upload.size(page), "shown": upload.shown_size(page)} for page in range(len(upload.sizes))
        ],
    }


def _picture(encoded: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(encoded, media_type=ENCODED_MIME_TYPE, headers=headers)


def _as_file(upload: Upload, page: int, what: str, ending: str) -> dict[str, str]:
    stem = upload.name.rpartition("/")[2].rpartition(".")[0] or "picture"
    number = f"-{page + 1}" if upload.is_document and what != "receipt" else ""
    name = urllib.parse.quote(f"{stem}-{what}{number}.{ending}", safe="")
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
