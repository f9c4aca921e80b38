from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from trainer.studio.app import Settings, create_studio

HOST = "127.0.0.1:8642"
OWN = {"origin": f"http://{HOST}"}


class Browser(TestClient):
    """A browser that has opened the studio: it keeps the cookie, and names its origin in every POST."""

    def __init__(self, studio) -> None:
        super().__init__(studio.app, base_url=f"http://{HOST}", raise_server_exceptions=True)
        self.opened = self.get(studio.opening_path, follow_redirects=False)
        self.base = self.opened.headers.get("location", "/none/")

    def see(self, path: str, **options):
        return self.get(self.base + path, **options)

    def do(self, path: str, **options):
        return self.post(self.base + path, headers=OWN | options.pop("headers", {}), **options)

    def bring(self, data: bytes, name: str = "a.png") -> str:
        taken = self.do("pictures", content=data, params={"name": name})
        assert taken.status_code == 200, taken.text
        return taken.json()["id"]


def encoded(width: int = 64, height: int = 48, seed: int = 0, kind: str = "PNG") -> bytes:
    """A picture of noise and shapes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


@pytest.fixture
def open_studio():
    """Builds a studio, and opens it in as many browsers as are asked for."""

    def build(*, browsers: int = 1, **settings):
        studio = create_studio(Settings(**settings), [HOST])
        opened = [Browser(studio) for _ in range(browsers)]
        return opened[0] if browsers == 1 else opened

    return build
