"""Checks of the environment for ``vpp doctor``: proxies, certificates, tracing and API keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from langchain_vpp.cli.checkup import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS: Final = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "AWS_ACCESS_KEY_ID",
)
_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def check_surroundings() -> Iterator[Finding]:
    """Look at proxies, certificates, tracing and API keys in the environment; no value is shown."""
    yield from _look_at_proxies()
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if (path := os.environ.get(name)) and not Path(path).is_file():
            yield Finding("certificates", "fail", f"{name} names no file", "correct or unset it")
    if os.environ.get("LANGSMITH_TRACING", os.environ.get("LANGCHAIN_TRACING_V2", "")).lower() == "true":
        yield Finding(
            "tracing",
            "warn",
            "LangSmith traces runs, and one around a protector records its unprotected input",
            "see the guide on tracing: media_anonymizer, or protect the outermost Runnable",
        )
    keys = [name for name in _KEYS if os.environ.get(name)]
    yield Finding("API keys", "ok", ", ".join(keys) or "none in the environment")


def _look_at_proxies() -> Iterator[Finding]:
    named = {name: os.environ.get(name) or os.environ.get(name.lower()) for name in _PROXIES}
    given = {name: value for name, value in named.items() if value}
    if not given:
        yield Finding("proxies", "ok", "none in the environment")
        return
    for name, value in given.items():
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https", "socks5", "socks5h"} or not parts.hostname:
            yield Finding("proxies", "fail", f"{name} is no address of a proxy", "write http://host:port")
        elif parts.scheme.startswith("socks"):
            yield Finding(
                "proxies", "warn", f"{name} is SOCKS at {parts.hostname}", "pip install 'httpx[socks]'"
            )
        else:
            yield Finding("proxies", "ok", f"{name} leads to {parts.hostname}")
    skipped = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    if not any(host in skipped for host in ("localhost", "127.0.0.1", "*")):
        yield Finding(
            "proxies",
            "warn",
            "NO_PROXY leaves out localhost, so a model on this machine may be asked through the proxy",
            "set NO_PROXY=localhost,127.0.0.1",
        )
