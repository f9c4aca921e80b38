"""Templates of pages and drawings: text is escaped, and characters that break or disguise a page are replaced."""

from __future__ import annotations

import re
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_OWN: Final = "trainer.reporting"
# Controls, text direction overrides, surrogates and noncharacters: invalid in HTML and XML, or able to disguise the
# text after them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def fill(template: str, *, package: str = _OWN, **values: Any) -> str:
    """Fill a template.

    Args:
        template: File name in ``templates``.
        package: Package that has the template; it may include templates of this package.
        values: Names that the template uses; an unknown name in the template is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in dict.fromkeys((package, _OWN))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def _printable(value: object) -> object:
    """Replace unprintable characters in a text; the text is escaped after that."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value
