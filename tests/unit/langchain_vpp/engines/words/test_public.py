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
    ],
)
def test_what_belongs_to_everybody_is_found_by_no_recognizer(text):
    assert is_public(text)
    assert list(FormRecognizer().find(text)) == []


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
    ],
)
def test_what_belongs_to_somebody_is_not_public(text):
    assert not is_public(text)
