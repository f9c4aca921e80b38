"""Rules that every test keeps to, and that fail it where it breaks one.

A test that fits a network carries the mark ``trains``, so that the fast tests can leave it out. A unit test opens no
socket, unless its mark ``allow_hosts`` names the hosts that it may reach.
"""

from __future__ import annotations

import sys

import pytest


class FitGuard:
    """Fails a test in which an optimizer takes a step although the test is not marked ``trains``.

    Watches this process alone: a command that trains in another one has to be marked by hand.
    """

    def __init__(self) -> None:
        self._running: pytest.Item | None = None
        self._watching = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        self._watch()
        self._running = item
        try:
            return (yield)
        finally:
            self._running = None

    def _watch(self) -> None:
        # Tests of the runtime alone never load torch, and must not be made to.
        if not self._watching and "torch" in sys.modules:
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            register_optimizer_step_pre_hook(self._before_step)
            self._watching = True

    def _before_step(self, *_: object) -> None:
        if self._running is not None and self._running.get_closest_marker("trains") is None:
            pytest.fail(f"{self._running.nodeid} fits a network: mark it with @pytest.mark.trains")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FitGuard())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unit_tests = config.rootpath / "tests" / "unit"
    for item in items:
        if unit_tests in item.path.parents and item.get_closest_marker("allow_hosts") is None:
            item.add_marker(pytest.mark.disable_socket)
