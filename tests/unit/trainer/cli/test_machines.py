"""Options for several processes and machines that do not go together are refused before anything is sent."""

import pytest

from langchain_vpp.cli.options import InputError
from trainer.cli.machines import Machines


@pytest.mark.parametrize(
    ("machines", "engine", "told"),
    [
        (Machines(1, None, ("http://127.0.0.1:1/v1",)), "network", "--endpoint needs --ray"),
        (Machines(2, "auto", ()), "network", "either --processes or --ray"),
        (Machines(2, None, ()), "words", "in one process"),
        (Machines(1, "auto", ()), "words", "in one process"),
    ],
)
def test_options_that_do_not_go_together_are_refused(machines, engine, told):
    with pytest.raises(InputError, match=told):
        machines.check(engine)


@pytest.mark.parametrize(
    "machines",
    [Machines(1, None, ()), Machines(2, None, ()), Machines(1, "auto", ("http://127.0.0.1:1/v1",))],
)
def test_others_are_taken(machines):
    machines.check("network")
