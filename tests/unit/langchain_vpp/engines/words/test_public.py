"""Identifiers that look private and belong to everybody."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.public import is_public
from langchain_vpp.engines.words.recognizers import FormRecognizer


@pytest.mark.parametrize(
    "text",
    [
        "#general",
        "# random",
        "@channel",
        "@here,",
        "github.com",
        "https://github.com/settings",
        "localhost:3000",
        "/var/log/app.log",
        "src/components/index.ts",
        "root@localhost:~#",
        "node_modules/.bin",
        "git@github.com",
        "/tmp",
        "/usr/share/doc",
        "tests/test_server.py",
        "root@localhost:/opt/app#",
        "https://files.pythonhosted.org/packages/numpy-2.1.0.tar.gz",
        "http://127.0.0.1:3000/api/users",
        "https://console.cloud.google.com/storage",
        "us-east-1",
        "ap-southeast-2a",
        "Ctrl+Shift+P",
        "HTTP/1.1",
        "1920x1080",
        "x86_64",
        "SHA-256",
    ],
)
def test_what_belongs_to_everybody_is_found_by_no_recognizer(text):
    assert is_public(text)
    assert list(FormRecognizer().find(text)) == []
    assert list(FormRecognizer().find(f"see {text}, thanks")) == []


def test_what_is_public_does_not_hide_what_stands_beside_it():
    text = "see https://github.com/settings and bluebird.example/settings"
    assert [text[each.start : each.end] for each in FormRecognizer().find(text)] == [
        "bluebird.example/settings"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "#bluebird",
        "@linus",
        "linus@localhost",
        "root@bluebird-db",
        "github.com/bluebird/api",
        "https://bluebird.example/settings",
        "settings.io",
        "/home/mark/notes",
        "/Users/will/settings",
        r"C:\Users\grace\settings",
        "mark@mail.google.com",
        "DE89",
        "012-34-567",
        "02.33.44.55",
        "$240.00",
        "ID-204",
        "mark.page",
        "MarkPage",
        "bluebird/src/index.ts",
        "/bluebird",
        "max/src/index.ts",
        "page/server.py",
        "https://github.com.bluebird.example/settings",
        "https://bluebird@github.com/settings",
        "us-harbour-1",
        "Ctrl+Mark",
        "120x80",
    ],
)
def test_what_belongs_to_somebody_is_not_public(text):
    assert not is_public(text)
