"""Settings of the documentation. Build it with ``make docs``."""  # noqa: INP001

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "langchain-vpp"
author = "The langchain-vpp authors"
release = metadata.version("langchain-vpp")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "rooms",
]
html_theme = "furo"
html_title = "langchain-vpp"
html_extra_path = ["llms.txt"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_use_type_comments = False  # there are none, and the search takes a tenth of the build
napoleon_numpy_docstring = False
napoleon_use_ivar = True
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!(langchain_vpp|trainer)\.).*"),  # names of other packages and unqualified ones
    ("py:.*", r".*\._\w+.*"),  # private ones in signatures
    ("py:class", r".*\.(Payload|Annotated|[A-Z])"),  # type variables
]
suppress_warnings = ["ref.python"]  # an unqualified name that several classes have
if "DOCS_ONLINE" in os.environ:  # offline it would warn, and a warning fails the build
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "pillow": ("https://pillow.readthedocs.io/en/stable", None),
    }
