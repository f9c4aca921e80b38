"""Routes of the labelling page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langchain_vpp.errors import DataError, VPPError
from langchain_vpp.images.codec import ENCODED_MIME_TYPE, decode_scaled, encode_image
from langchain_vpp.providers import within
from trainer.studio.answers import form_of, in_thread, telling
from trainer.studio.label_files import Given
from trainer.studio.uploads import BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from trainer.studio.label_files import Labelled
    from trainer.studio.labels import Labels

_SHOWN = (1600, 1200)
"""Box in which a picture is shown, in pixels."""
_SUGGESTED = 30


class _Form(BaseModel):
    """What the page sends when a picture is saved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(max_length=4_000)
    version: str = Field(max_length=64)
    answers: dict[str, str]
    private: dict[str, str]
    texts: dict[str, str]


class LabelRoutes:
    """Answers requests of the labelling page.

    Args:
        labels: The data set.
        page: Fills a page by its name.
    """

    def __init__(self, labels: Labels, page: Callable[..., Response]) -> None:
        self._labels, self._page = labels, page

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            Route("/labels", self.page),
            Route("/labels/all", self.all),
            Route("/labels/picture", self.picture),
            Route("/labels/save", self.save, methods=["POST"]),
            Route("/labels/undo", self.undo, methods=["POST"]),
        ]

    async def page(self, _: Request) -> Response:
        """Open the page."""
        return self._page(
            "labels", folder=self._labels.folder.resolve().name, is_review=self._labels.is_review
        )

    @telling
    async def all(self, _: Request) -> Response:
        """Tell what is said about all pictures, and the classes that are used."""
        return JSONResponse(await in_thread(self._everything))

    @telling
    async def picture(self, request: Request) -> Response:
        """Show a picture of the data set."""
        image = request.query_params.get("image", "")
        return Response(await in_thread(self._shown, image), media_type=ENCODED_MIME_TYPE)

    @telling
    async def save(self, request: Request) -> Response:
        """Write what a person says about a picture."""
        form = await form_of(request, _Form)

        def save() -> dict[str, Any]:
            self._labels.save(form.image, form.version, Given(form.answers, form.private, form.texts))
            return self._everything()

        return JSONResponse(await in_thread(save))

    @telling
    async def undo(self, _: Request) -> Response:
        """Take the last save back."""

        def undo() -> dict[str, Any]:
            image = self._labels.undo()
            return self._everything() | {"undone": image}

        return JSONResponse(await in_thread(undo))

    def _everything(self) -> dict[str, Any]:
        pictures = self._labels.pictures()
        return {
            "pictures": [
                each._asdict() | {"answers": [one._asdict() for one in each.answers], "version": each.version}
                for each in pictures
            ],
            "attributes": _classes(pictures),
            "suggestions": _suggestions(pictures),
            "kinds": sorted({kind for each in pictures for kind in each.texts}),
        }

    def _shown(self, image: str) -> bytes:
        data, failure = self._labels.file(image), ""
        try:
            scaled = decode_scaled(
                data, lambda width, height: within(width, height, _SHOWN), bounds=BUDGET.open()
            )
            return encode_image(scaled.image, quality=90)
        except VPPError as error:
            failure = str(error)
        raise DataError(f"the picture can't be shown. {failure}")


def _suggestions(pictures: Sequence[Labelled]) -> dict[str, list[str]]:
    """Collect the commonest answers to each open question."""
    counts: dict[str, Counter[str]] = {}
    for answer in (answer for each in pictures for answer in each.answers):
        if answer.answer and not answer.choices:
            counts.setdefault(answer.question, Counter())[answer.answer] += 1
    return {name: [answer for answer, _ in count.most_common(_SUGGESTED)] for name, count in counts.items()}


def _classes(pictures: Sequence[Labelled]) -> dict[str, list[str]]:
    """Collect private attributes with the classes that are used, sorted."""
    classes: dict[str, set[str]] = {}
    for each in pictures:
        for name, value in each.private.items():
            classes.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in sorted(classes.items())}
