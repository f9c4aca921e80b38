"""Commands are found among the installed packages; one that is broken does not take the others with it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points, version

import pytest
import typer
from typer.testing import CliRunner

from langchain_vpp.cli.app import app, main
from langchain_vpp.errors import BudgetExhaustedError, OracleError

OURS = (
    "data",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "inspect",
    "protect",
    "sandbox",
    "studio",
    "train",
    "transfer",
)


def run(*arguments):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package on the path: ``install("its-name", {"command": "module:object"}, module="its code")``."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(package, commands, **modules):
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
            monkeypatch.delitem(sys.modules, name, raising=False)
        folder = tmp_path / f"{package}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        lines = [f"{name} = {target}" for name, target in commands.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[vpp.commands]", *lines]))

    return make


def test_our_commands_are_entry_points():
    found = {entry.name: entry for entry in entry_points(group="vpp.commands")}
    assert set(OURS) <= set(found)
    for name in OURS:
        loaded = found[name].load()
        assert isinstance(loaded, typer.Typer) or callable(loaded)


def test_help_lists_all_commands_and_each_has_its_own():
    shown = run("--help").stdout
    assert all(name in shown for name in OURS)
    for name in OURS:
        done = run(name, "--help")
        assert done.exit_code == 0
        assert f"Usage: vpp {name}" in done.stdout.replace("root", "vpp")


def test_the_version_is_that_of_the_package():
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"vpp {version('langchain-vpp')}\n")


def test_another_package_adds_commands(install):
    code = """
    import typer

    def count(word: str, twice: bool = False) -> None:
        "Count letters."
        typer.echo(len(word) * (2 if twice else 1))

    group = typer.Typer(help="More words.")

    @group.command("first")
    def first(word: str) -> None:
        typer.echo(word[0])
    """
    install("vpp-words", {"count": "words_of_vpp:count", "words": "words_of_vpp:group"}, words_of_vpp=code)
    shown = run("--help").stdout
    assert "Count letters." in shown
    assert "More words." in shown
    assert run("count", "four", "--twice").stdout == "8\n"
    assert run("words", "first", "four").stdout == "f\n"
    assert run("protect", "--help").exit_code == 0


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_module_that_nobody_has", "a_module_that_nobody_has can't be imported"),
        ("from json import nothing", "json can't be imported"),
        ("1 / 0", "broken_for_vpp fails with ZeroDivisionError"),
        ("something_else = 1", "broken_for_vpp fails with AttributeError"),
    ],
)
def test_a_command_that_can_not_be_loaded_says_why_and_the_others_work(install, code, reason):
    install("vpp-broken", {"broken": "broken_for_vpp:command"}, broken_for_vpp=code)
    assert all(name in run("--help").stdout for name in (*OURS, "broken", "Not available"))
    assert run("inspect", "--help").exit_code == 0
    done = run("broken", "file", "--option", "value")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "vpp: nothing was done: the command 'broken' of the package vpp-broken is not"
    )
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_package_can_not_replace_a_command_of_ours(install):
    install("vpp-impostor", {"protect": "impostor_of_vpp:run"}, impostor_of_vpp="def run() -> None: pass")
    assert "protected copies" in run("protect", "--help").stdout


@pytest.mark.parametrize(
    ("kind", "code"), [("BudgetExhaustedError", 3), ("OracleError", 4), ("DataError", 2)]
)
def test_errors_of_any_command_become_a_line_and_an_exit_code(install, kind, code):
    failing = f"""
    from langchain_vpp import errors

    def fail() -> None:
        raise errors.{kind}("it is so.")
    """
    install(f"vpp-{kind}", {"fail": f"fails_with_{kind}:fail"}, **{f"fails_with_{kind}": failing})
    done = run("fail")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", "vpp: it is so.\n")
    debugged = run("--debug", "fail")
    assert isinstance(debugged.exception, (BudgetExhaustedError, OracleError, Exception))
    assert type(debugged.exception).__name__ == kind


def test_a_misspelt_command_is_answered_with_those_that_are_near():
    done = run("protetc")
    assert done.exit_code == 2
    assert "protect" in done.stderr


@pytest.mark.slow(seconds=2)
def test_completion_names_commands_and_their_options():
    def complete(words, number):
        environment = {"_VPP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        code = f"import sys; sys.argv[0] = 'vpp'; from {main.__module__} import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert complete("vpp tra", 1) == ["train", "transfer"]
    assert complete("vpp protect --en", 2) == ["--engine"]
    assert set(complete("vpp sandbox ", 2)) >= {"make-data", "serve"}


HEAVY = ("torch", "onnxruntime", "matplotlib", "langchain_openai", "PIL", "langchain_core.messages")


@pytest.mark.slow(seconds=3)
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments):
    code = f"""
    import sys
    from langchain_vpp.cli.app import app
    try:
        app({arguments!r}, prog_name="vpp")
    except SystemExit as ended:
        assert not ended.code
    print([name for name in {HEAVY!r} if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
