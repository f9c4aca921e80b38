"""Answers and labels are proposed by models and detectors; originals go nowhere without consent."""

from __future__ import annotations

import json

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.cli.options import InputError
from langchain_vpp.engines.faces import Face
from trainer.cli.data_proposals import Consent, proposers
from trainer.data.groups import Traits
from trainer.data.making import Asked
from trainer.data.proposals import FaceProposals, ModelProposals, WordProposals, is_local
from trainer.data.review import Said
from trainer.data.sources import Source
from trainer.oracle.ledger import Budget

COLOUR = Asked("What colour?", ("red", "blue"))
OPEN = Asked("What is it?")


@pytest.fixture
def sources(tmp_path):
    made = []
    for number in range(3):
        Image.effect_noise((16, 8), 50 + number).convert("RGB").save(tmp_path / f"{number}.png")
        made.append(Source(f"{number}.jpg", f"{number}.png", Traits(str(number), "", None, None)))
    return made


def local(url):
    return ChatOpenAI(model="m", base_url=url, api_key="k")


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://10.0.0.4/v1", False),
    ],
)
def test_a_model_is_local_only_by_its_address(url, here):
    assert is_local(local(url)) is here


def test_a_model_whose_address_nobody_knows_is_not_local():
    assert not is_local(FakeListChatModel(responses=["red"]))


def test_a_model_with_one_address_elsewhere_is_not_local(monkeypatch):
    both = {"http://127.0.0.1:8000/v1", "https://models.example/v1"}
    monkeypatch.setattr("trainer.data.proposals.addresses", lambda _: both)
    assert not is_local(local("http://127.0.0.1:8000/v1"))


def test_a_model_elsewhere_needs_consent_before_it_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    there = Consent("openai:gpt-4o-mini", "https://models.example/v1", None, given=False)
    with pytest.raises(InputError, match=r"would see your pictures UNPROTECTED.*--i-know-it-sees-originals"):
        proposers(there, (None, None, None), (), tmp_path, None)
    assert len(proposers(there._replace(given=True), (None, None, None), (), tmp_path, None)) == 1
    here = there._replace(base_url="http://127.0.0.1:9/v1")
    assert len(proposers(here, (None, None, None), (), tmp_path, None)) == 1


def test_the_command_sends_nothing_without_consent(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.effect_noise((16, 8), 50 + number).convert("RGB").save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "q.txt").write_text("What colour? | red | blue\n")
    arguments = ["data", "init", str(tmp_path / "photos"), "--questions", str(tmp_path / "q.txt")]
    done = CliRunner().invoke(app, [*arguments, "--propose-with", "openai:gpt-4o-mini"])
    assert done.exit_code == 2
    assert "nothing was sent" in done.stderr
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["data"], shown["pictures"], shown["unanswered"]) == (str(tmp_path / "photos-data"), 3, 3)


def test_answers_are_marked_asked_once_and_only_where_none_is_known(sources, tmp_path):
    model = FakeListChatModel(responses=["It is red.", "I can't help with that.", "a sign", "never reached"])
    known = [
        Said("0.png", COLOUR.question, "blue"),
        Said("2.png", OPEN.question, "a door"),
        Said("1.png", OPEN.question, "x"),
    ]
    progress = []

    def propose():
        made = ModelProposals(model, tmp_path, Budget(10), None, lambda n, of: progress.append((n, of)))
        return made(sources, [COLOUR, OPEN], known)

    first = propose()
    assert sorted(progress) == [(1, 3), (2, 3), (3, 3)]
    assert {each.source for each in first} == {"proposed by FakeListChatModel:fake-list-chat-model"}
    assert {(each.image, each.what) for each in first} <= {
        ("1.png", "What colour?"),
        ("2.png", "What colour?"),
        ("0.png", "What is it?"),
    }
    assert propose() == first  # from the ledger
    assert len(progress) == 3


def test_faces_and_words_are_proposed_by_local_detectors(sources, tmp_path):
    counts = iter([0, 1, 3])
    face = Face(1, 1, 4, 4, 0.9)
    faces = FaceProposals(tmp_path, lambda _image, _threshold: [face] * next(counts), lambda *_: None)
    assert [each.value for each in faces(sources, [], [])] == ["none", "one", "several"]
    words = WordProposals(
        tmp_path, lambda _: [("name", "Ada"), ("name", "Bo"), ("iban", "DE1")], lambda *_: None
    )
    found = words(sources[:1], [], [])
    assert [(each.what, each.value) for each in found] == [
        ("text:name", "Ada"),
        ("text:name 2", "Bo"),
        ("text:iban", "DE1"),
    ]
    assert all(each.is_proposed for each in found)
    for known in ("Ada", ""):  # also one that somebody has emptied
        assert words(sources[:1], [], [Said("0.png", "text:name", known)]) == []
        assert faces(sources[:1], [], [Said("0.png", "faces", known)]) == []
