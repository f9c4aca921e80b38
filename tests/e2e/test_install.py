"""The base install alone: small, without torch, and it protects."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
MOST_MB = 350
NOT_IN_THE_BASE = ("torch", "torchvision", "openai", "langchain-openai", "safetensors", "jinja2", "onnx")

pytestmark = [pytest.mark.network, pytest.mark.slow(seconds=60)]


class Environment(NamedTuple):
    """A virtual environment."""

    folder: Path

    def run(self, name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "bin" / name), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env={"PATH": ""}, capture_output=True, text=True, check=False)

    @property
    def packages(self) -> Path:
        (folder,) = self.folder.glob("lib/*/site-packages")
        return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An empty environment with a wheel of this source tree in it, and with what the wheel asks for."""
    folder = tmp_path_factory.mktemp("install")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    reached = subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--dest", folder / "probe", "filelock"],
        capture_output=True,
        check=False,
    )
    if reached.returncode:
        pytest.skip("pip reaches no package index")
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", ROOT], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    environment = Environment(folder / "venv")
    python = environment.folder / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--quiet", wheel], check=True)
    return environment


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.effect_mandelbrot((1200, 900), (-2, -1, 1, 1), 30).convert("RGB").save(path)
    return path


def test_it_is_small_and_brings_no_torch(installed):
    files = [path for path in installed.packages.rglob("*") if path.is_file() and not path.is_symlink()]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    assert megabytes <= MOST_MB
    names = {path.name.split("-")[0].lower() for path in installed.packages.glob("*.dist-info")}
    assert "langchain_vpp" in names
    assert not names & {name.replace("-", "_") for name in NOT_IN_THE_BASE}


def test_pictures_are_protected_by_the_artifact_that_comes_along(installed, photo, tmp_path):
    done = installed.run("vpp", "protect", photo, "--out", tmp_path / "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "x" / "photo.jpg") as protected, Image.open(photo) as original:
        assert protected.size == original.size
        assert protected.tobytes() != original.tobytes()


def test_help_version_and_completion_work(installed, tmp_path):
    shown = installed.run("vpp", "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Not available" not in shown.stdout
    for command in ("protect", "inspect", "train", "evaluate", "demo", "sandbox"):
        assert command in shown.stdout
        assert installed.run("vpp", command, "--help", cwd=tmp_path).returncode == 0
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed.run("vpp", "--version", cwd=tmp_path).stdout == f"vpp {version}\n"
    # The shell is found among the parents of the process: without the second command it would be replaced by vpp.
    asked = ["bash", "-c", f"{installed.folder}/bin/vpp --show-completion && echo shown"]
    shown = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "COMP_WORDS" in shown.stdout, shown.stderr


def test_the_readmes_first_code_runs(installed, tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    done = installed.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("train", "--data", "d", "--model", "sandbox", "--out", "run"), "train"),
        (("evaluate", "staff-cards", "--data", "d", "--out", "report.json"), "train"),
        (("export", "staff-cards", "--data", "d"), "export"),
        (("demo",), "demo"),
        (("sandbox", "serve"), "demo"),
        (("protect", "photo.jpg", "--engine", "face-blur", "--out", "y"), "faces"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(installed, photo, arguments, extra):
    done = installed.run("vpp", *arguments, cwd=photo.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pip install 'langchain-vpp[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_same_is_said_in_code(installed, tmp_path):
    for statement, extra in (
        ("from trainer import Trainer", "train"),
        ("import langchain_vpp.middleware", "agents"),
    ):
        done = installed.run("python", "-c", statement, cwd=tmp_path)
        assert done.stderr.splitlines()[-1].startswith("langchain_vpp.errors.MissingExtraError: ")
        assert f"pip install 'langchain-vpp[{extra}]'" in done.stderr
