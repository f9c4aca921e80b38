"""Only the pages of the studio, opened by whoever has its address, are answered."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.unit.trainer.studio.conftest import HOST, OWN, encoded
from trainer.studio.access import COOKIE, Access, Guarded, failed
from trainer.studio.app import Settings, create_studio
from trainer.studio.uploads import MOST_SESSIONS, Sessions


def test_the_address_gives_a_cookie_for_a_path_that_no_other_server_has(open_studio):
    browser = open_studio()
    said = browser.opened.headers["set-cookie"]
    assert browser.opened.status_code == 303
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert f"Path={browser.base}" in said
    assert len(browser.base) > 10
    assert "token" not in browser.base


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?token=%ff"])
def test_without_the_token_there_is_no_session(open_studio, path):
    browser = open_studio()
    browser.cookies.clear()
    refused = browser.get(path)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_without_the_cookie_nothing_is_shown_or_done(open_studio):
    browser = open_studio()
    name = browser.bring(encoded())
    cookie = browser.cookies[COOKIE]
    for given in ({}, {"cookie": f"{COOKIE}=wrong"}, {"cookie": f"{COOKIE}="}):
        browser.cookies.clear()
        assert browser.see("picture", headers=given).status_code == 403
        assert browser.see(f"pictures/{name}/0/original", headers=given).status_code == 403
        assert browser.do("pictures", content=encoded(), headers=given).status_code == 403
    assert browser.see("pictures", headers={"cookie": f"{COOKIE}={cookie}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8642", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8642.evil.example", ""],
)
def test_another_host_name_is_refused_with_the_right_cookie(open_studio, host):
    browser = open_studio()
    assert browser.see("picture").status_code == 200
    assert browser.see("picture", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://127.0.0.1:9999", "https://127.0.0.1:8642", "http://evil.example", f"{HOST}"],
)
def test_a_post_of_another_origin_or_of_none_is_refused(open_studio, origin):
    browser = open_studio()
    headers = {} if origin is None else {"origin": origin}
    assert browser.post(f"{browser.base}pictures", content=encoded(), headers=headers).status_code == 403
    assert browser.see("pictures").json() == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_port_reads_nothing(open_studio, site):
    """To a browser, all ports of a host are one site, so the cookie alone does not tell them apart."""
    browser = open_studio()
    assert browser.see("pictures", headers={"sec-fetch-site": site}).status_code == 403
    assert browser.see("pictures", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_every_answer_forbids_caching_framing_and_everything_from_elsewhere(open_studio):
    browser = open_studio()
    name = browser.bring(encoded())
    wish = "protector=blur&level=0.5"
    answers = [
        browser.opened,
        browser.get("/?token=wrong"),
        browser.see("picture"),
        browser.see("static/studio.js"),
        browser.see("nothing"),
        browser.see(f"pictures/{name}/0/original"),
        browser.see(f"pictures/{name}/0/protected?{wish}"),
        browser.see(f"pictures/{name}/0/download?{wish}"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"
        assert not {"etag", "last-modified", "access-control-allow-origin"} & answer.headers.keys()


def test_an_unexpected_error_is_answered_and_logged_without_its_text(caplog):
    async def fail(_):
        raise RuntimeError("SECRET of the picture")

    sessions = Sessions()
    access = Access([HOST], sessions)
    routes = [Route("/fail", fail), Route("/fine", _fine)]
    app = Guarded(Starlette(routes=routes, exception_handlers={Exception: failed}), access)
    browser = TestClient(app, base_url=f"http://{HOST}")
    base = browser.get(access.opening_path, follow_redirects=False).headers["location"]
    with caplog.at_level(logging.DEBUG):
        answer = browser.get(f"{base}fail")
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["error"]
    assert "SECRET" not in answer.text + caplog.text
    assert browser.get(f"{base}fine").text == "fine"


async def _fine(_):
    return PlainTextResponse("fine")


def test_two_browsers_see_nothing_of_each_other(open_studio):
    one, other = open_studio(browsers=2)
    name = one.bring(encoded())
    assert [each["id"] for each in one.see("pictures").json()] == [name]
    assert other.see("pictures").json() == []
    assert other.see(f"pictures/{name}/0/original").status_code == 400
    assert other.base == one.base


def test_the_oldest_session_makes_room_with_its_pictures():
    studio = create_studio(Settings(), [HOST])
    sessions = [TestClient(studio.app, base_url=f"http://{HOST}") for _ in range(MOST_SESSIONS + 1)]
    bases = [each.get(studio.opening_path, follow_redirects=False).headers["location"] for each in sessions]
    states = [each.get(f"{base}pictures").status_code for each, base in zip(sessions, bases, strict=True)]
    assert states == [403] + [200] * MOST_SESSIONS


def test_a_websocket_is_closed(open_studio):
    from starlette.websockets import WebSocketDisconnect

    browser = open_studio()
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect(f"{browser.base}picture"):
        pass


@pytest.mark.parametrize(
    "path", ["static/../app.py", "static/%2e%2e/app.py", "static/..%2fapp.py", "static/app.py"]
)
def test_only_the_files_of_pages_are_served(open_studio, path):
    browser = open_studio()
    answer = browser.get(f"{browser.base}{path}", headers=OWN)
    assert answer.status_code in {403, 404}
