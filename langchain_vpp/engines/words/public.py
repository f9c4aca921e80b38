"""Public identifiers: hosts, channels, paths and mentions that look private and belong to everybody."""

from __future__ import annotations

import re
from typing import Final

from langchain_vpp.engines.words.vocabulary import code_parts, is_code, is_given_name, listed

_HOST: Final = re.compile(r"(?:https?|wss?)://([\w.\-]+)(?::\d{2,5})?(/\S*)?|([\w.\-]+)(?::\d{2,5})?(/\S*)?")
_PROMPT: Final = re.compile(r"(?<![\w\-])([a-z][\w\-]*+)@([a-z0-9\-]+)(?::(?:~|(~?/\S*)))?[$#%]?")
"""Prompt of a shell: user, machine and folder."""
_OWNED: Final = re.compile(r"(?:^|[/\\])(?:home|users)[/\\]|[~@]\w", re.IGNORECASE)
"""Part of a path that tells whose folder follows."""
_ROOT: Final = re.compile(r"/[a-z]+/?")
"""A folder at the root, such as ``/tmp``."""
_NAMED_HOST: Final = re.compile(
    r"\.(?:com|org|net|io|dev|app|ai|co|example|cloud|edu|gov|info|biz|[a-z]{2})$(?<!\.(?:py|js|ts|md|sh|rs|go|rb|cs|kt|gz|db|vb))"
)
"""Host of somebody, by its last part; other such parts are endings of files."""
_KEYS: Final = r"(?:ctrl|control|cmd|command|alt|option|opt|shift|win|super|fn)"
_FORMS: Final = re.compile(
    rf"""(?:us|eu|ap|sa|ca|me|af|il|cn)-(?:gov-)?(?:north|south|east|west|central|(?:north|south)(?:east|west))-\d[a-f]?
    |{_KEYS}(?:\+{_KEYS})*\+(?:[a-z0-9]|f\d{{1,2}}|enter|return|tab|esc|space|delete|backspace|up|down|left|right)
    |f(?:[1-9]|1[0-2])|https?/[123](?:\.[01])?|\d{{3,4}}x\d{{3,4}}|fy\d{{2}}|h[12]""",
    re.VERBOSE,
)
"""Forms that name nobody: regions of clouds, keys of keyboards, versions of protocols, sizes of screens, years."""
_WRAPPING: Final = " \"'`()[]{}<>,;*"


def is_public(text: str) -> bool:
    """Say whether an identifier belongs to everybody.

    A channel that most workspaces have is one, such as ``#general``; a mention of everybody; a host that everybody
    knows, with a path or without; a path or file whose names are words of interfaces and code; and technical names such
    as ``us-east-1``, ``Ctrl+C``, ``HTTP/1.1`` and ``1920x1080``.

    Args:
        text: The identifier.

    Example:
        >>> is_public("#general"), is_public("/var/log/app.log"), is_public("http://localhost:3000/settings")
        (True, True, True)
        >>> is_public("#bluebird"), is_public("/home/mark/notes.txt"), is_public("github.com/bluebird/api")
        (False, False, False)
    """
    bare = text.strip(_WRAPPING).rstrip(".:!?").casefold()
    if bare.startswith("#"):
        return bare[1:].strip() in listed("channels")
    if _FORMS.fullmatch(bare) or not listed("public").isdisjoint((bare, bare.replace(" ", ""))):
        return True
    prompt = _PROMPT.fullmatch(bare)
    if prompt is not None and prompt[1] in listed("accounts"):
        return is_public_path(f"at/{prompt[2]}") and _is_public_path(prompt[3] or "")
    host = _HOST.fullmatch(bare)
    if host is not None and (host[1] or host[3]) in listed("public"):
        return _is_public_path(host[2] or host[4] or "")
    if host is not None and _NAMED_HOST.search(host[1] or host[3] or ""):
        return False
    return is_public_path(text.strip(_WRAPPING).rstrip(".:!?"))


def is_public_path(text: str) -> bool:
    """Say whether a path, file or other identifier is made of words of interfaces and code alone, none of them a name.

    Args:
        text: The identifier.

    Example:
        >>> is_public_path("markAsRead.ts"), is_public_path("getUserById"), is_public_path("012-34-567")
        (False, True, False)
    """
    parts = [part.casefold() for part in code_parts(text)]
    if _OWNED.search(text) or any(is_given_name(each) and each not in listed("code_names") for each in parts):
        return False
    return is_code(text) or (_ROOT.fullmatch(text) is not None and parts[0] in listed("code"))


def token_around(text: str, start: int, end: int) -> str:
    """Return what stands around a part of a text without a space in it; nothing if the part has one.

    Example:
        >>> token_around("see https://github.com/settings today", 12, 22)
        'https://github.com/settings'
    """
    if any(letter.isspace() for letter in text[start:end]):
        return ""
    before = max(text.rfind(space, 0, start) for space in " \t\n") + 1
    return text[before:].split(maxsplit=1)[0]


def _is_public_path(path: str) -> bool:
    return not path.strip("/") or is_public_path(path if path.count("/") > 1 else f"path{path}")
