"""What the site shows of docstrings: ``:func:`name``` without its role."""

from __future__ import annotations

import re
from typing import Any

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs with the content of each page."""
    return ROLE.sub("", html)
