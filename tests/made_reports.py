"""Reports with chosen figures."""

from __future__ import annotations

from langchain_vpp.artifact import FrontPoint, Manifest
from trainer.evaluation.results import ItemsShown, OperatingPoint, OtherPictures, QueryCount, Reading, Report
from trainer.statistics import ConfidenceInterval

HOSTILE = (
    "</title></style><script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(2)>{{ 7*7 }}"
)
"""Text that would break out of most places of a page."""

MANIFEST = Manifest(
    protector={"working_resolution": 384},
    private_attributes={"hair": ("dark", "fair")},
    questions=("Which gate is on the card?",),
    trained_against="model",
    access="logprobs",
    queries=3,
    cost_usd=None,
    steps=1,
    seed=0,
    data_digest="0" * 64,
    front=(FrontPoint(level=0.5, leak=0.1, utility=0.9, answers=10),),
    presets={"balanced": 0.5},
    created_with="langchain-vpp",
)


def estimate(value: float) -> ConfidenceInterval:
    return ConfidenceInterval(value=value, low=value - 0.05, high=value + 0.05)


def reading(
    subject: str,
    accuracy: float,
    *,
    reader: str = "fresh classifier",
    chance: float = 0.27,
    scaled: float | None = 0.5,
    count: int = 100,
    unusable: int = 0,
) -> Reading:
    return Reading(
        subject=subject,
        reader=reader,
        accuracy=estimate(accuracy),
        balanced_accuracy=accuracy - 0.01,
        chance=chance,
        scaled=scaled,
        count=count,
        unusable=unusable,
    )


def point(engine: str, level: float, leak: float, utility: float | None) -> OperatingPoint:
    return OperatingPoint(
        engine=engine,
        level=level,
        leak=estimate(leak),
        utility=None if utility is None else estimate(utility),
        attributes=(reading("hair", leak, scaled=leak),),
        tasks=()
        if utility is None
        else (reading("How many?", utility, reader="chat model", scaled=utility, unusable=7),),
    )


def report(*, asked: bool = True) -> Report:
    points = [
        point("ours", 0.0, 0.5, 1.0),
        point("ours", 1.0, 0.25, 0.5),
        point("blur", 0.5, 0.75, 1.0),
        point("blur", 0.8, -0.1, -0.1),
    ]
    if not asked:
        points = [point(each.engine, each.level, 0.5, None) for each in points]
    return Report(
        created_with={},
        artifact_digest="a",
        data_digest="d",
        seed=0,
        model="Fake:fake" if asked else None,
        images={"test": 100},
        attacker="fresh",
        originals=point("none", 0.0, 1.0, 1.0 if asked else None),
        points=tuple(points),
        queries=QueryCount(tasks=400, originals=100, paid=400) if asked else QueryCount(),
    )


def other_pictures(*kinds: str, subject: str = "name") -> tuple[OtherPictures, ...]:
    """Counts of 20 pictures of each kind: all originals, 9 and 3 at two levels, and none of grey show a name."""

    def count(subject: str, pictures: int, shown: int) -> ItemsShown:
        return ItemsShown(subject=subject, pictures=pictures, shown=shown, by_chance=shown // 3)

    return tuple(
        OtherPictures(
            kind=kind,
            engine=engine,
            level=level,
            shown=count("any", 20, shown),
            items=(count(subject, 20, shown), count(f"{subject} of a pet", 10, shown // 2)),
            taken=(count("screenshot", 15, shown // 3 * 2), count("turned", 5, shown // 4)),
        )
        for kind in kinds
        for engine, level, shown in (("none", 0.0, 20), ("ours", 0.5, 9), ("ours", 1.0, 3), ("grey", 1.0, 0))
    )


def full_report() -> Report:
    """Everything that a report can hold, at levels 0, 0.5 and 1."""
    points = [
        point("ours", level, leak, utility).model_copy(
            update={
                "attributes": (
                    reading("hair", leak + 0.20, scaled=leak),
                    reading("skin", leak + 0.31, scaled=leak),
                ),
                "private_answers": (reading("hair", leak + 0.12, reader="chat model", count=37, unusable=3),),
            }
        )
        for level, leak, utility in ((0.0, 0.6, 0.98), (0.5, 0.4, 0.9), (1.0, 0.1, 0.4))
    ]
    originals = points[0].model_copy(
        update={"engine": "none", "leak": estimate(1.0), "utility": estimate(1.0)}
    )
    return report().model_copy(
        update={
            "points": (*points, *report().points[2:]),
            "originals": originals,
            "other_pictures": other_pictures("letter", "chat"),
            "warnings": ("few images",),
            "not_tested": ("words in the pictures",),
        }
    )


def hostile_report() -> Report:
    """A full report with :data:`HOSTILE` in the place of every text."""
    readings = (reading(HOSTILE, 0.5, reader=HOSTILE),)
    points = tuple(
        each.model_copy(
            update={"attributes": readings, "tasks": readings, "private_answers": readings, "engine": engine}
        )
        for each, engine in zip(full_report().points, ("ours", "ours", "ours", HOSTILE, HOSTILE), strict=True)
    )
    return full_report().model_copy(
        update={
            "points": points,
            "originals": points[0].model_copy(update={"engine": "none"}),
            "other_pictures": other_pictures(HOSTILE, subject=HOSTILE),
            "model": HOSTILE,
            "judge": HOSTILE,
            "attacker": HOSTILE,
            "artifact_digest": HOSTILE,
            "data_digest": HOSTILE,
            "created_with": {HOSTILE: HOSTILE},
            "images": {HOSTILE: 1},
            "warnings": (HOSTILE,),
            "not_tested": (HOSTILE,),
        }
    )
