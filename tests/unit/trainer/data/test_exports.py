"""Names that users import from ``trainer.data``."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trainer.data


@pytest.mark.parametrize("name", trainer.data.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(trainer.data, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = trainer.data.nothing


def test_the_format_and_the_package_load_no_torch():
    code = "import trainer.data, trainer.data.format, sys\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
