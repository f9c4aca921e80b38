"""The studio's application: its pages, its files, and the routes of each part."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from trainer.reporting.markup import fill
from trainer.studio.access import Access, Guarded, failed
from trainer.studio.asking import ChatModels
from trainer.studio.label_pages import LabelRoutes
from trainer.studio.pictures import PictureRoutes
from trainer.studio.protectors import Protectors
from trainer.studio.reports import Reports
from trainer.studio.run_pages import RunRoutes
from trainer.studio.runs import Run, front_chart
from trainer.studio.uploads import BUDGET, MOST_FILES, Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from starlette.requests import Request

    from trainer.studio.labels import Labels
    from trainer.studio.protectors import Offer

PACKAGE: Final = "trainer.studio"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Settings(NamedTuple):
    """Everything that a studio is started with."""

    artifacts: tuple[Path, ...] = ()
    """Folders of protectors beside those that come along."""
    min_level: float = 0.0
    """Level below which nothing is shown or sent."""
    models: tuple[str, ...] = ()
    """Chat models beside the sandbox's, as in ``vpp train --model``."""
    base_url: str | None = None
    runs: tuple[Path, ...] = ()
    """Folders of runs to follow."""
    reports: tuple[Path, ...] = ()
    """Files and folders of reports."""
    labels: Labels | None = None
    """Data set to label."""


class Studio(NamedTuple):
    """An application and the path that opens it."""

    app: Guarded
    opening_path: str


def create_studio(settings: Settings, hosts: Iterable[str]) -> Studio:
    """Build the application.

    Args:
        settings: What it offers.
        hosts: Values of the header ``Host`` that it answers to.

    Raises:
        ArtifactError: If a folder holds no artifact.
        DataError: If a place holds no report.
        TrainingError: If the name of a chat model can't be read.
    """
    protectors = Protectors(settings.artifacts, min_level=settings.min_level)
    models = ChatModels(settings.models, settings.base_url)
    runs = [Run(folder, name) for folder, name in zip(settings.runs, _names(settings.runs), strict=True)]
    sessions = Sessions()
    access = Access(hosts, sessions)
    pages = _Pages(protectors, models, Reports(settings.reports), runs, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            models.close()

    routes = [
        *pages.routes(),
        *PictureRoutes(sessions, protectors, models).routes(),
        *RunRoutes(runs).routes(),
        *(LabelRoutes(settings.labels, pages.page).routes() if settings.labels is not None else ()),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refuse, Exception: failed},
        lifespan=lifespan,
    )
    return Studio(Guarded(app, access), access.opening_path)


class _Pages:
    """Pages that people open, and the files that they load."""

    def __init__(
        self,
        protectors: Protectors,
        models: ChatModels,
        reports: Reports,
        runs: list[Run],
        settings: Settings,
    ) -> None:
        self._protectors, self._models, self._reports, self._runs = protectors, models, reports, runs
        self._tabs = [
            ("picture", "Pictures", True),
            ("runs", "Runs", bool(runs)),
            ("reports", "Reports", bool(reports.names)),
            ("labels", "Labels", settings.labels is not None),
        ]
        self._first = "labels" if settings.labels is not None else "runs" if runs else "picture"

    def routes(self) -> list[Route]:
        return [
            Route("/", self.first),
            Route("/picture", self.picture),
            Route("/runs", self.runs),
            Route("/reports", self.reports),
            Route("/reports/{number:int}", self.report),
            Route("/static/{name}", self.file),
        ]

    async def first(self, _: Request) -> Response:
        return RedirectResponse(self._first, 303)

    async def picture(self, _: Request) -> Response:
        offers = [_offered(offer) for offer in self._protectors.offers.values()]
        return self.page(
            "picture",
            offers=offers,
            models=self._models.names(),
            most_files=MOST_FILES,
            most_megabytes=BUDGET.bytes // 1_000_000,
        )

    async def runs(self, _: Request) -> Response:
        return self.page("runs", names=[run.name for run in self._runs])

    async def reports(self, _: Request) -> Response:
        return self.page("reports", names=self._reports.names)

    async def report(self, request: Request) -> Response:
        shown = self._reports.page(int(request.path_params["number"]))
        if shown is None:
            return PlainTextResponse("There is no such report any more.", 404)
        return HTMLResponse(shown.html, headers={"Content-Security-Policy": shown.policy})

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        data = _files().get(name)
        if data is None:
            return PlainTextResponse("There is no such file.", 404)
        return Response(data, media_type=_TYPES["." + name.rpartition(".")[2]])

    def page(self, name: str, **values: Any) -> Response:
        """Fill a page, with the tabs of all pages."""
        tabs = [(each, title) for each, title, is_there in self._tabs if is_there]
        return HTMLResponse(fill(f"{name}.html", package=PACKAGE, tabs=tabs, current=name, **values))


def _offered(offer: Offer) -> dict[str, Any]:
    """Describe a protector for the page."""
    levels = offer.levels
    chart = front_chart(offer.name, offer.front, levels.presets) if offer.front else None
    points = []
    if chart is not None:
        marks = chart.curves[0].marks
        points = [
            {"level": point.level, "leak": point.leak, "utility": point.utility, "x": mark.x, "y": mark.y}
            for point, mark in zip(offer.front, marks, strict=True)
        ]
    facts = {
        "name": offer.name,
        "default": levels.default,
        "floor": levels.floor,
        "presets": dict(levels.presets),
        "slow": offer.reads_words,
        "front": points,
    }
    return {"facts": facts, "made_for": offer.made_for, "chart": chart, "measured": offer.front_measured_by}


def _names(folders: tuple[Path, ...]) -> list[str]:
    """Name runs by their folders, and by their parents' too where two are alike."""
    short = [folder.resolve().name for folder in folders]
    return [
        name if short.count(name) == 1 else f"{folder.resolve().parent.name}/{name}"
        for folder, name in zip(folders, short, strict=True)
    ]


@cache
def _files() -> dict[str, bytes]:
    """Read the files that pages load."""
    folder = resources.files(PACKAGE) / "static"
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if "." + each.name.rpartition(".")[2] in _TYPES
    }


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": "There is no such page."}, error.status_code, headers=error.headers)
