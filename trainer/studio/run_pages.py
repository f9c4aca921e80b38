"""Routes about runs: cards that a page exchanges when they change, and protected pictures of the ledgers."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from trainer.reporting.markup import fill
from trainer.studio.answers import in_thread
from trainer.studio.runs import compared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from trainer.studio.runs import Run, RunState

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WIDE, _HIGH = 240.0, 48.0
"""Size of the small drawing of the area under the front, in CSS pixels."""


class RunRoutes:
    """Answers requests about runs.

    Args:
        runs: Runs, each known by its place.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            Route("/runs/cards", self.cards),
            Route("/runs/{number:int}/pictures/{digest}", self.picture),
        ]

    async def cards(self, _: Request) -> Response:
        """Draw a card for each run, and one that compares them; each with a version that changes with its content."""
        states = await in_thread(lambda: [run.state() for run in self._runs])
        cards = [("compared", fill("front_card.html", package=__package__ or "", chart=compared(states)))]
        cards += [
            (
                f"run-{number}",
                fill(
                    "run_card.html",
                    package=__package__ or "",
                    number=number,
                    run=state,
                    line=line_of(state.hypervolumes),
                    wide=_WIDE,
                    high=_HIGH,
                ),
            )
            for number, state in enumerate(states)
        ]
        said = "; ".join(map(_sentence, states))
        return JSONResponse(
            {
                "cards": [
                    {"key": key, "html": html, "version": hashlib.sha256(html.encode()).hexdigest()[:16]}
                    for key, html in cards
                ],
                "said": said,
            }
        )

    async def picture(self, request: Request) -> Response:
        """Show a protected picture of a ledger."""
        number, digest = request.path_params["number"], request.path_params["digest"]
        if number < len(self._runs) and _DIGEST.fullmatch(digest):
            data = await in_thread(self._runs[number].picture, digest)
            if data is not None:
                return Response(data, media_type=ENCODED_MIME_TYPE)
        return PlainTextResponse("There is no such picture.", 404)


def line_of(points: Sequence[tuple[int, float]]) -> str:
    """Return the points of a polyline of the area under the front against steps; empty if there are fewer than two.

    Example:
        >>> line_of([(0, 0.0), (10, 1.0)])
        '2.0,46.0 238.0,2.0'
    """
    if len(points) < 2:
        return ""
    low, high = points[0][0], points[-1][0]
    return " ".join(
        f"{2 + (step - low) / max(1, high - low) * (_WIDE - 4):.1f},"
        f"{2 + (1 - min(1.0, max(0.0, area))) * (_HIGH - 4):.1f}"
        for step, area in points
    )


def _sentence(state: RunState) -> str:
    """Tell a run in a few words, for people who don't see the page."""
    words = [f"{state.name}: {state.state}", f"step {state.step}"]
    if state.spending is not None:
        words.append(f"{state.spending.queries} queries")
    if state.area is not None:
        words.append(f"area under the front {state.area:.2f}")
    return ", ".join(words)
