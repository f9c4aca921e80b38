"""Findings of ``vpp doctor``, and everything about an installation that it looks at."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from PIL import Image, features

from langchain_vpp.errors import VPPError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PACKAGE: Final = "langchain-vpp"
_TOOLS: Final = frozenset({"test", "docs", "dev", "all"})
_OLDEST: Final = (3, 11)
_LITTLE_SPACE: Final = 2_000_000_000
_NO_SPACE: Final = 100_000_000
GIVES: Final[Mapping[str, str]] = {
    "agents": "the middleware of agents, and models other than OpenAI's by name",
    "data": "vpp data: pictures that look alike, and data sets of Hugging Face",
    "demo": "vpp demo and vpp sandbox serve",
    "distributed": "training by several processes",
    "documents": "PDF pages",
    "export": "graphs that run without PyTorch",
    "faces": "blurring of faces, and their detection in reports",
    "fast": "faster JPEG and base64",
    "huggingface": "vision models of Hugging Face, in this process",
    "identities": "vpp data: faces of the same person, found on this machine",
    "heic": "HEIC pictures of phones",
    "ocr": "the attack that reads text",
    "pareto": "further ways to combine privacy and utility in training",
    "ray": "the same work on a cluster, and pictures in stores such as S3",
    "photos": "the sandbox's model of photographs",
    "studio": "vpp studio, a page to look at",
    "tensorboard": "curves of a training run",
    "train": "vpp train, evaluate, transfer",
    "vault": "conversations kept encrypted in a store",
    "video": "videos, as frames or whole",
    "words": "the protector of screens, letters and documents",
}
"""Extra -> what it gives."""
_CLASHES: Final = (
    (
        ("opencv-python", "opencv-python-headless"),
        "they write into one folder: uninstall both, then install opencv-python-headless",
    ),
)


class Finding(NamedTuple):
    """One line of the checkup.

    Attributes:
        what: What was looked at.
        state: ``ok``; ``warn`` for something that may be wrong; ``fail`` for something that does not work.
        told: What was found, without a full stop.
        remedy: What to do, without a full stop; empty if nothing.
    """

    what: str
    state: Literal["ok", "warn", "fail"]
    told: str
    remedy: str = ""


def check_installation() -> Iterator[Finding]:
    """Look at Python, the package, its extras and packages that clash."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST:
        yield Finding("python", "fail", python, f"install Python {'.'.join(map(str, _OLDEST))} or later")
    else:
        yield Finding("python", "ok", python)
    yield Finding(_PACKAGE, "ok", version(_PACKAGE))
    needed = _requirements()
    missing = [name for name in needed.get("", ()) if _version(name) is None]
    if missing:
        yield Finding("base packages", "fail", f"{', '.join(missing)} missing", f"pip install {_PACKAGE}")
    else:
        shown = ", ".join(f"{name} {_version(name)}" for name in needed.get("", ()))
        yield Finding("base packages", "ok", shown)
    for extra in sorted(set(needed) - _TOOLS - {""}):
        yield _look_at_extra(extra, needed)
    for names, remedy in _CLASHES:
        if all(_version(name) is not None for name in names):
            yield Finding("packages", "warn", f"{' and '.join(names)} are both installed", remedy)


def check_machine() -> Iterator[Finding]:
    """Look at fonts, the places where files are written, the disk, and the processors."""
    from langchain_vpp.guard.pool import usable_cpus  # noqa: PLC0415

    if features.check("freetype2"):
        yield Finding("fonts", "ok", f"FreeType {features.version('freetype2')}, with Pillow's own font")
    else:
        yield Finding(
            "fonts", "warn", "Pillow has no FreeType, so labels are drawn coarsely", "install Pillow's wheel"
        )
    for what, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        yield _look_at_folder(what, folder)
    yield Finding("processors", "ok", str(usable_cpus()))


def check_protector() -> Iterator[Finding]:
    """Load the protector that comes along, with all its digests, and protect a small picture."""
    told = ""
    try:
        from langchain_vpp.image_protector import ImageProtector  # noqa: PLC0415  loads ONNX Runtime

        picture = Image.linear_gradient("L").convert("RGB").resize((64, 48))
        changed = ImageProtector.from_pretrained("staff-cards").protect_image(picture)
        told = "" if changed.size == picture.size else "it returns a picture of another size"
    except VPPError as error:
        told = str(error).rstrip(".")
    if told:
        yield Finding("shipped protector", "fail", told, f"reinstall {_PACKAGE}")
    else:
        yield Finding("shipped protector", "ok", "every file has its digest, and a picture was protected")


def _requirements() -> dict[str, list[str]]:
    """Names of the packages of each extra, and under the empty name those that are always needed."""
    found: dict[str, list[str]] = {"": []}
    for line in requires(_PACKAGE) or ():
        requirement, _, marker = line.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if name:
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _look_at_extra(extra: str, needed: Mapping[str, list[str]]) -> Finding:
    names = [name for name in needed[extra] if name != _PACKAGE]
    missing = [name for name in names if _version(name) is None]
    gives = GIVES.get(extra, "")
    install = f"pip install '{_PACKAGE}[{extra}]'"
    if not missing:
        return Finding(f"extra {extra}", "ok", f"installed: {gives}")
    others = {name for other in needed.keys() - {extra} - _TOOLS for name in needed[other]}
    if len(missing) < len(names) and set(names) - set(missing) - others:
        return Finding(f"extra {extra}", "warn", f"{', '.join(missing)} missing: {gives}", install)
    return Finding(f"extra {extra}", "ok", f"not installed: {gives}", install)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _look_at_folder(what: str, folder: Path) -> Finding:
    failure = ""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"vpp")
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        return Finding(
            what, "fail", f"{folder} can't be written: {failure}", "choose another, as with TMPDIR"
        )
    free = shutil.disk_usage(folder).free
    told = f"{folder} can be written, {free / 1e9:.1f} GB free"
    if free < _NO_SPACE:
        return Finding(what, "fail", told, "free some disk")
    if free < _LITTLE_SPACE:
        return Finding(what, "warn", told, "free some disk before you train")
    return Finding(what, "ok", told)
