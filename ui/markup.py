"""Text to HTML."""

from __future__ import annotations

import html


def escape(text: str) -> str:
    """``text`` for HTML content or a quoted attribute; carriage returns survive the parser."""
    return html.escape(text).replace("\r", "&#13;")
