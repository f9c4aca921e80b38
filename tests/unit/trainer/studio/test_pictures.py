"""What is shown is what would be sent, never below the floor, and kept in bounded memory alone."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from langchain_vpp.engines import Pixelate
from langchain_vpp.image_protector import ImageProtector
from langchain_vpp.images.codec import decode_image
from tests.digital_pdf import digital_pdf
from tests.unit.trainer.studio.conftest import encoded
from trainer.studio.answers import RefusedError, body_of
from trainer.studio.uploads import MOST_FILES, Recent, Session


def facts_of(answer) -> dict:
    return json.loads(answer.headers["x-studio-facts"])


@pytest.mark.parametrize("protector", ["blur", "downscale", "staff-cards"])
@pytest.mark.parametrize("size", [(64, 48), (1500, 900)])
def test_the_picture_that_is_shown_is_the_one_that_would_be_sent(open_studio, protector, size):
    browser = open_studio()
    name = browser.bring(encoded(*size, kind="JPEG"))
    wish = f"?protector={protector}&level=0.7"
    shown = browser.see(f"pictures/{name}/0/protected{wish}")
    sent = browser.see(f"pictures/{name}/0/download{wish}&size=fit")
    assert shown.content == sent.content
    receipt = browser.see(f"pictures/{name}/receipt{wish}").json()
    assert receipt["images"][0]["sha256"] == hashlib.sha256(shown.content).hexdigest()
    assert receipt["images"][0]["level"] == facts_of(shown)["level"] == 0.7


def test_a_picture_leaves_at_its_own_size_if_that_is_wanted(open_studio):
    browser = open_studio()
    name = browser.bring(encoded(1500, 900, kind="JPEG"), "holidays/a.png")
    answer = browser.see(f"pictures/{name}/0/download?protector=blur&level=0.7&size=same")
    assert decode_image(answer.content).size == (1500, 900)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a-protected.jpg"


def test_no_request_goes_below_the_floor_of_the_owner(open_studio):
    browser = open_studio(min_level=0.6)
    data = encoded()
    name = browser.bring(data)
    wanted = ImageProtector(Pixelate(), level=0.6, output_size="fit").protect_encoded(data)
    wish = "?protector=pixelate&level=0.1"
    assert browser.see(f"pictures/{name}/0/protected{wish}").content == wanted
    assert browser.see(f"pictures/{name}/0/download{wish}").content == wanted
    assert browser.see(f"pictures/{name}/receipt{wish}").json()["images"][0]["level"] == 0.6
    for more in ("", "&small"):
        assert facts_of(browser.see(f"pictures/{name}/0/protected{wish}{more}"))["level"] == 0.6


@pytest.mark.parametrize("level", ["-0.1", "1.1", "nan", "inf", "x", ""])
def test_a_level_that_is_none_shows_nothing(open_studio, level):
    browser = open_studio()
    name = browser.bring(encoded())
    answer = browser.see(f"pictures/{name}/0/protected?protector=blur&level={level}")
    assert answer.status_code == 400
    assert "not what the page sends" in answer.json()["error"]


def test_a_protector_that_there_is_not_shows_nothing(open_studio):
    browser = open_studio()
    name = browser.bring(encoded())
    answer = browser.see(f"pictures/{name}/0/protected?protector=/etc/passwd&level=1")
    assert answer.status_code == 400
    assert "passwd" not in answer.text


@pytest.mark.parametrize(
    "data", [b"", b"SECRET nothing", encoded()[:200], b"%PDF-1.7 SECRET", b"GIF89a SECRET" + bytes(40)]
)
def test_a_corrupt_file_is_refused_without_its_content(open_studio, data):
    browser = open_studio()
    answer = browser.do("pictures", content=data, params={"name": "SECRET.png"})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert "SECRET" not in answer.text
    assert browser.see("pictures").json() == []


def test_a_body_that_is_too_large_is_refused_as_it_comes():
    read = []

    class Coming:
        async def stream(self):
            for piece in (b"x" * 600, b"y" * 600, b"z" * 600):
                read.append(piece[:1])
                yield piece

    with pytest.raises(RefusedError, match="larger than"):
        asyncio.run(body_of(Coming(), 1_000))
    assert read == [b"x", b"y"]


def test_pages_of_a_document_are_shown_and_sent_one_by_one(open_studio):
    browser = open_studio()
    name = browser.bring(digital_pdf([("One", 40, 60, True)], [("Two", 40, 60, True)]), "a.pdf")
    (described,) = browser.see("pictures").json()
    assert (described["is_document"], len(described["pages"])) == (True, 2)
    wish = "?protector=pixelate&level=0.5"
    for page in range(2):
        assert browser.see(f"pictures/{name}/{page}/protected{wish}").status_code == 200
        assert browser.see(f"pictures/{name}/{page}/download{wish}").status_code == 200
    assert browser.see(f"pictures/{name}/2/protected{wish}").status_code == 400
    assert len(browser.see(f"pictures/{name}/receipt{wish}").json()["images"]) == 2


def test_costs_name_what_is_saved(open_studio):
    browser = open_studio()
    data = encoded(2000, 1500, kind="JPEG")
    name = browser.bring(data)
    wish = "?protector=blur&level=1"
    costs = browser.see(f"pictures/{name}/0/costs{wish}").json()
    sent = browser.see(f"pictures/{name}/0/download{wish}").content
    assert costs["bytes"] == [len(data), len(sent)]
    assert costs["size"] == [2000, 1500]
    assert costs["sent_size"] == [1024, 768]
    patches = next(each for each in costs["families"] if each["model"] == "gpt-5.4")
    assert patches["tokens"][0] > patches["tokens"][1]
    assert patches["dollars"][0] == pytest.approx(patches["tokens"][0] * 2.5 / 1000, abs=1e-4)
    same = browser.see(f"pictures/{name}/0/costs{wish}&size=same").json()
    assert all(each["tokens"][0] == each["tokens"][1] for each in same["families"])


def test_a_file_that_is_forgotten_is_gone(open_studio):
    browser = open_studio()
    name = browser.bring(encoded())
    assert browser.do(f"pictures/{name}/forget").status_code == 200
    assert browser.see("pictures").json() == []
    answer = browser.see(f"pictures/{name}/0/protected?protector=blur&level=1")
    assert answer.status_code == 400
    assert "no longer in memory" in answer.json()["error"]


def test_a_session_keeps_a_few_files(monkeypatch):
    session = Session()
    data = encoded(16, 16)
    names = [session.add(data, str(number)).id for number in range(MOST_FILES + 3)]
    assert [each.id for each in session] == names[3:]
    monkeypatch.setattr("trainer.studio.uploads._MOST_BYTES", 2 * len(data))
    names.append(session.add(data, "last").id)
    assert [each.id for each in session] == names[-2:]


def test_values_that_were_used_last_are_kept():
    recent = Recent(most=10)
    made = []

    def value(name, size=4):
        return recent.get(name, lambda: (made.append(name) or name, size))

    for name in ("a", "b", "a", "c", "a", "b"):
        assert value(name) == name
    assert made == ["a", "b", "c", "b"]
    assert value("large", 11) == "large"  # it is used though nothing else fits beside it
    value("a")
    assert made[-2:] == ["large", "a"]


def test_nothing_is_written_to_disk(open_studio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    browser = open_studio()
    name = browser.bring(encoded())
    for what in ("protected", "download", "costs", "original"):
        assert browser.see(f"pictures/{name}/0/{what}?protector=blur&level=0.5").status_code == 200
    assert [*tmp_path.iterdir()] == []
