"""Options of commands that train and measure: what they say, and what is refused before anything is sent."""

from __future__ import annotations

import errno
import sys

import pytest
from pydantic import BaseModel, Field

from langchain_vpp.cli.options import InputError
from langchain_vpp.errors import MissingExtraError
from trainer.cli.attacks import read_attacks
from trainer.cli.options import known_price, not_served, read_price, read_settings, require_packages
from trainer.cli.outputs import Outputs
from trainer.cli.spending import Inquiry, Spending


class Settings(BaseModel):
    steps: int = Field(10, ge=1)
    batch: int = 8


def test_options_that_are_given_take_the_place_of_the_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"steps": 20, "batch": 2}')
    assert read_settings(Settings, file, {"steps": 5, "batch": None}) == Settings(steps=5, batch=2)
    assert read_settings(Settings, None, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("no JSON", "is not a JSON object"), ("[]", "JSON object"), ('{"steps": 0}', "steps: ")],
)
def test_settings_that_are_not_valid_are_named(tmp_path, text, reason):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError, match=f"nothing was sent: .*{reason}") as raised:
        read_settings(Settings, file, {})
    assert raised.value.__context__ is None


def test_a_price_is_two_numbers():
    assert read_price("0.15,0.60") == (0.15, 0.6)
    assert read_price(None) is None
    for text in ("1", "1,2,3", "a,b", "1,-1", "", "nan,nan", "1,nan", "inf,1"):
        with pytest.raises(InputError, match="--price must be two numbers"):
            read_price(text)


def test_the_users_price_comes_before_the_list_price():
    assert known_price("openai:gpt-4o-mini", (1.0, 2.0)) == (1.0, 2.0)
    assert known_price("openai:gpt-4o-mini", None) == (0.15, 0.6)
    assert known_price("sandbox", None) is None


def test_a_limit_on_cost_needs_a_price():
    assert Spending.of(None, 5.0, None).charged("gpt-4o") == (2.5, 10.0)
    assert Spending.of(None, None, None).charged("sandbox") is None
    assert Spending.of(7, 1.0, "1,2").budget[:2] == (7, 1.0)
    for limits in ((5.0, None), (0.0, "1,2")):
        with pytest.raises(InputError, match="--max-cost must be above 0 and needs the price"):
            Spending.of(None, *limits).charged("sandbox")


def test_a_report_that_exists_is_not_measured_again(tmp_path):
    spending = Spending.of(None, None, None)
    inquiry = Inquiry(tmp_path, tmp_path / "report.json", spending, None, dry_run=False, as_json=False)
    inquiry.require_new()
    inquiry.out.touch()
    with pytest.raises(InputError, match="exists, and what its ledger holds"):
        inquiry.require_new()
    assert inquiry.ledger == tmp_path / "report.ledger.sqlite"


def test_outputs_that_contradict_each_other_are_refused(tmp_path):
    with_page = Outputs(tmp_path / "r.json", tmp_path / "r.html", with_originals=True, as_json=False)
    with_page.check()
    with pytest.raises(InputError, match="Give --html"):
        with_page._replace(html=None).check()
    with pytest.raises(InputError, match="the same file"):
        with_page._replace(html=tmp_path / "x" / ".." / "r.json").check()
    with pytest.raises(InputError, match="is a folder"):
        with_page._replace(out=tmp_path).prepare()


def test_attacks_become_settings():
    assert read_attacks(()) == {}
    assert read_attacks(["text", "identity"]) == {"attacks": ["identity", "text"]}
    every = read_attacks(["all"])
    assert every["attacks"] == ["identity", "inversion", "repeated", "text"]
    assert len(every["styles"]) > 1
    with pytest.raises(InputError, match="there is no attack 'magic'"):
        read_attacks(["magic"])


def test_all_missing_packages_are_named_at_once(monkeypatch):
    require_packages()
    for module in ("torch", "jinja2", "onnx"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"torch, jinja2, onnx must .*langchain-vpp\[export\]"):
        require_packages("onnx", extra="export")


def test_a_port_in_use_is_named_with_what_to_do():
    told = str(
        not_served("it was not served", OSError(errno.EADDRINUSE, "Address already in use"), "::1", 80)
    )
    assert told.startswith("it was not served: port 80 of ::1 is in use. End the program")
    assert "--port (0 picks a free one)" in told
    other = not_served("it was not served", OSError(errno.EACCES, "Permission denied", "log"), "::1", 80)
    assert str(other) == "it was not served: log: Permission denied. Choose another option."
