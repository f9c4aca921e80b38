"""The studio in a real browser: by mouse and by keyboard, in light and dark, on a screen and on a phone."""

from __future__ import annotations

import hashlib
import io
import json
import re
import signal
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.digital_pdf import digital_pdf
from tests.e2e.commands import wait_until
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.query import Answer, Query
from trainer.sandbox.drawing.scenes import draw_scene

if TYPE_CHECKING:
    from tests.e2e.commands import Command

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
RULES = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map(each => `${each.id} (${each.impact}): ${each.nodes.map(node => node.target).join(' | ')}`)"""
LONGEST_MS = 60_000
"""Longest wait for the browser: the machine may have much else to do."""


def scene(seed: int = 0, side: int = 256) -> bytes:
    drawn, _ = draw_scene(np.random.default_rng(seed))
    file = io.BytesIO()
    drawn.resize((side, side)).save(file, "PNG")
    return file.getvalue()


def file(data: bytes, name: str = "scene.png", kind: str = "image/png") -> dict:
    return {"name": name, "mimeType": kind, "buffer": data}


class Served:
    """A running ``vpp studio``."""

    def __init__(self, vpp, *options: object) -> None:
        self.command: Command = vpp.start("studio", "--no-open", *options)
        out = self.command._out
        wait_until(lambda: (out.exists() and out.read_text().endswith("\n")) or not self.command.running())
        self.address = out.read_text().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.command._err.read_text()

    def stop(self) -> None:
        if self.command.running():
            self.command.signal(signal.SIGTERM)
        self.command._process.join(20)


@pytest.fixture(scope="module")
def label_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    question = {"question": "What colour is the sign?", "choices": ["red", "green", "blue"]}
    lines = []
    for number in range(3):
        (folder / f"{number}.png").write_bytes(scene(number))
        lines.append({"image": f"{number}.png", "split": "train", "tasks": [question], "private": {}})
    (folder / "data.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    with Ledger(folder / "ledger.sqlite", model="m") as ledger:
        query = Query(scene(1), "What colour is the sign?", ("red", "blue"))
        ledger.reserve([query], purpose="train", budget=Budget(10))
        ledger.record(query, Answer("red", {"red": -0.6, "blue": -0.8}, 1, 1))
    return folder


@pytest.fixture(scope="module")
def serve(vpp):
    """Starts studios, which end with the module."""
    started = []

    def start(*options: object) -> Served:
        started.append(Served(vpp, *options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def studio(serve, server, run_folder, label_folder) -> Served:
    return serve(
        "--model", "sandbox", "--base-url", server.base_url, "--run", run_folder, "--label", label_folder,
        "--min-level", 0.1,
    )  # fmt: skip


class Visit:
    """A page of its own context, and everything that it said and asked for."""

    def __init__(self, browser, address: str, page: str, width: int = 1280, scheme: str = "light") -> None:
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme)
        self.context.set_default_timeout(LONGEST_MS)
        self.page = self.context.new_page()
        self.said, self.requested = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(address)
        self.page.goto(re.match(r"http://[^/]+/\w+/", self.page.url)[0] + page)

    def faults(self) -> list[str]:
        """Return the faults that axe-core finds."""
        self.page.evaluate(AXE)
        return self.page.evaluate(RULES)

    def until(self, expression: str) -> None:
        """Wait until an expression is true. The policy of the page lets nobody evaluate text within it."""
        deadline = time.monotonic() + LONGEST_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"it did not happen in time: {expression}"
            self.page.wait_for_timeout(50)

    def bring(self, *files: dict) -> None:
        self.page.set_input_files("#files", [*files])
        self.until(
            "document.getElementById('protected').naturalWidth > 0 && !!document.querySelector('#costs .digest')"
        )

    def pixels(self, name: str) -> str:
        """Pixels of a picture as it is shown, small."""
        return self.page.evaluate(
            """name => {
                const canvas = document.createElement('canvas');
                canvas.width = canvas.height = 32;
                canvas.getContext('2d').drawImage(document.getElementById(name), 0, 0, 32, 32);
                return canvas.toDataURL();
            }""",
            name,
        )

    def digest(self) -> str:
        """Digest of the protected picture that was asked for last."""
        asked = [each for each in self.requested if "/protected?" in each and "small" not in each][-1]
        return self.page.evaluate(
            """async asked => {
                const data = await (await fetch(asked)).arrayBuffer();
                return [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))]
                    .map(each => each.toString(16).padStart(2, '0')).join('');
            }""",
            asked,
        )

    def width(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth")

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def visit(browser):
    opened = []

    def go(*arguments, **options) -> Visit:
        opened.append(Visit(browser, *arguments, **options))
        return opened[-1]

    yield go
    for each in opened:
        each.close()


@pytest.mark.slow(seconds=15)
def test_a_person_brings_a_picture_slides_compares_and_asks(visit, studio):
    seen = visit(studio.address, "picture")
    page = seen.page
    assert seen.faults() == []
    page.select_option("#protector", "staff-cards")
    seen.bring(file(scene()))
    seen.until("document.getElementById('unfamiliar').innerText.includes('covers the whole picture')")
    page.select_option("#protector", "pixelate")
    seen.until("document.getElementById('facts').innerText.includes('0.50')")
    seen.until("document.getElementById('unfamiliar').hidden")
    before = seen.pixels("protected")
    assert before != seen.pixels("original")

    page.focus("#level")
    page.keyboard.press("Home")  # by keyboard, to the floor of the owner and not below
    assert page.inner_text("#level-shown") == "0.10"
    seen.until("document.getElementById('facts').innerText.includes('0.10')")
    assert seen.pixels("protected") != before
    after = seen.digest()
    seen.until(f"document.getElementById('costs').innerText.includes('{after}')")

    page.focus("#split")
    page.keyboard.press("End")
    assert page.evaluate("document.getElementById('stage').style.getPropertyValue('--split')") == "100%"
    page.click("#as-pair")
    assert page.get_attribute("#as-pair", "aria-pressed") == "true"
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("original", "protected")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 3

    page.fill("#question", "What colour is the sign?")
    page.click("#send")
    page.wait_for_selector("#answers h3")
    assert "sandbox answered" in page.inner_text("#answers")
    assert after[:16] in page.inner_text("#answers")
    with page.expect_download() as download:
        page.click("#download")
    assert hashlib.sha256(Path(download.value.path()).read_bytes()).hexdigest() == after

    page.set_input_files("#files", [file(b"no picture", "broken.png")])
    seen.until("document.getElementById('toast').innerText.includes('broken.png')")
    pdf = digital_pdf([("One", 40, 60, True)], [("Two", 40, 60, True)])
    page.set_input_files("#files", [file(pdf, "two.pdf", "application/pdf")])
    seen.until("document.getElementById('page-number').innerText === 'Page 1 of 2'")
    page.click("#page-on")
    seen.until("document.getElementById('page-number').innerText === 'Page 2 of 2'")
    seen.until("document.querySelectorAll('#strip button').length === 3")
    assert seen.faults() == []

    page.reload()
    seen.until("document.getElementById('look-title').innerText === 'two.pdf'")
    page.click("#forget")
    seen.until("document.getElementById('look-title').innerText === 'scene.png'")
    ours = studio.address.partition("/?")[0]
    assert [each for each in seen.requested if not each.startswith((f"{ours}/", f"blob:{ours}/"))] == []
    assert [each for each in seen.said if "400" not in each] == []  # the refused file


@pytest.mark.slow(seconds=4)
def test_everything_can_be_done_by_keyboard(visit, studio):
    seen = visit(studio.address, "picture")
    page = seen.page

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("document.activeElement.matches(':focus-visible')"), selector
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no key leads to {selector}")

    tab_to("#drop [data-choose=sample]")
    page.keyboard.press("Enter")
    seen.until("!!document.querySelector('#costs .digest')")
    page.select_option("#protector", "pixelate")  # the list itself is the browser's
    tab_to("#as-pair")
    page.keyboard.press("Space")
    assert page.get_attribute("#as-pair", "aria-pressed") == "true"
    tab_to("#level")
    shown = float(page.inner_text("#level-shown"))
    page.keyboard.press("ArrowRight")
    assert float(page.inner_text("#level-shown")) == pytest.approx(shown + 0.01)
    tab_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to("#question")
    page.keyboard.type("What colour is the sign?")
    tab_to("#send")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers h3")
    assert seen.said == []


@pytest.mark.slow(seconds=6)
def test_a_phone_in_the_dark_and_a_camera(visit, studio):
    seen = visit(studio.address, "picture", width=390, scheme="dark")
    assert seen.width() == 390
    seen.page.click("#drop [data-choose=camera]")
    seen.until("document.getElementById('video').videoWidth > 0")
    seen.page.click("#shoot")
    seen.until("document.getElementById('look-title').innerText === 'photo.jpg'")
    seen.until("!!document.querySelector('#costs .digest')")
    assert seen.width() == 390
    assert seen.faults() == []
    assert seen.said == []
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


@pytest.mark.slow(seconds=4)
def test_two_browsers_and_another_server_on_this_machine_see_nothing_of_it(visit, studio):
    one, other = (visit(studio.address, "picture") for _ in range(2))
    one.bring(file(scene()))
    assert other.page.is_visible("#drop")
    name = one.page.evaluate("fetch('pictures').then(each => each.json()).then(each => each[0].id)")
    assert other.page.evaluate(f"fetch('pictures/{name}/0/original').then(each => each.status)") == 400
    with _Listening() as elsewhere:
        one.page.goto(elsewhere.address)
        # Whoever lures the browser to another port gets no cookie, and reads no picture.
        read = one.page.evaluate(
            "address => fetch(address, {credentials: 'include'}).then(() => 'read', () => 'refused')",
            f"{studio.address.partition('/?')[0]}/{_prefix(other)}/pictures",
        )
        assert read == "refused"
    assert elsewhere.headers
    assert all("cookie" not in each.lower() for each in elsewhere.headers)


@pytest.mark.slow(seconds=5)
def test_a_studio_that_ends_is_told_and_a_new_one_has_a_new_address(serve, visit):
    served = serve()
    seen = visit(served.address, "picture")
    seen.bring(file(scene()))
    served.command.signal(signal.SIGKILL)
    served.command._process.join(20)
    seen.page.focus("#level")
    seen.page.keyboard.press("End")
    seen.until("document.getElementById('toast').innerText.includes('Start it again')")
    again = serve("--port", served.address.rpartition(":")[2].partition("/")[0])
    assert again.address != served.address
    assert visit(again.address, "picture").page.is_visible("#drop")
    assert seen.page.goto(served.address).status == 403


@pytest.mark.slow(seconds=4)
def test_a_run_is_followed_as_it_grows_and_goes_on_after_it_was_killed(visit, studio, run_folder):
    seen = visit(studio.address, "runs", width=390)

    def grow(*rows: dict) -> None:
        with (run_folder / "metrics.jsonl").open("a") as metrics:
            metrics.writelines(json.dumps(each) + "\n" for each in rows)

    def front(step: int, area: float) -> dict:
        return {"step": step, "hypervolume": area, "leak/0": 1 - area, "utility/0": 1.0}

    seen.page.wait_for_selector(".queries img")
    grow({"step": 10, "utility_loss": 1.0}, front(15, 0.4))
    seen.until("document.getElementById('news').innerText.includes('under the front 0.40')")
    seen.page.click("summary")
    grow(front(30, 0.6))
    seen.until("document.getElementById('news').innerText.includes('under the front 0.60')")
    grow({"step": 20, "utility_loss": 0.8}, front(30, 0.5))  # resumed from step 15
    seen.until("document.getElementById('news').innerText.includes('under the front 0.50')")
    assert seen.page.evaluate("document.querySelector('details').open")  # what somebody reads stays open
    assert seen.page.evaluate("document.querySelector('.queries img').naturalWidth") > 0
    assert seen.width() == 390
    assert seen.faults() == []
    assert seen.said == []


@pytest.mark.slow(seconds=4)
def test_pictures_are_labelled_by_keyboard_and_taken_back(visit, studio, label_folder):
    seen = visit(studio.address, "labels")
    keyboard = seen.page.keyboard

    def answers() -> list[str]:
        lines = (label_folder / "data.jsonl").read_text().splitlines()
        return [json.loads(each)["tasks"][0].get("answer", "") for each in lines]

    seen.until("document.getElementById('picture').naturalWidth > 0")
    assert seen.faults() == []
    for place, (key, answer) in enumerate((("2", "green"), ("3", "blue"))):
        seen.until(f"document.getElementById('picture-name').innerText.startsWith('{place + 1} of')")
        keyboard.press(key)
        keyboard.press("Control+Enter")
        wait_until(lambda place=place, answer=answer: answers()[place] == answer)
    seen.page.fill("#new-attribute", "age group")
    keyboard.press("Enter")
    keyboard.type("30-39")
    keyboard.press("Control+Enter")
    wait_until(lambda: '"age group": "30-39"' in (label_folder / "data.jsonl").read_text())
    for _ in range(2):
        keyboard.press("Control+Alt+z")
        seen.until("document.getElementById('toast').innerText.startsWith('Took back')")
        seen.page.evaluate("document.getElementById('toast').textContent = ''")
    wait_until(lambda: answers() == ["green", "", ""])
    again = visit(studio.address, "labels", width=390, scheme="dark")
    again.until("document.getElementById('picture-name').innerText.startsWith('2 of 3')")
    again.until("document.getElementById('picture').naturalWidth > 0")
    assert again.width() == 390
    assert again.faults() == []
    assert seen.said + again.said == []


def _prefix(seen: Visit) -> str:
    return re.match(r"http://[^/]+/(\w+)/", seen.page.url)[1]


class _Listening:
    """Another server on this machine, which notes the heads of requests."""

    def __enter__(self):
        from http.server import BaseHTTPRequestHandler, HTTPServer

        headers = self.headers = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                headers.append(str(self.headers))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello")

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
