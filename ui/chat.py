"""The chat page: Gradio serves it, the page's own script and style make it, and the server adds fragments of HTML.

Gradio's Chatbot is not used. It keeps a conversation on the server, so that a restart loses it; it strips what assistive
technology needs from messages; and it cannot put a source beside an answer (docs/architecture.md, "The pages").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"

# Fonts are those of the reader's machine: nothing is fetched for the page.
_SANS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "Noto Sans Mono CJK SC", "monospace")

# gr.HTML without Gradio's prose styles and click handler
_BARE: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme over system fonts; the look itself is in the page's own style sheets."""
    return gr.themes.Base(primary_hue="blue", neutral_hue="stone", font=_SANS, font_mono=_MONO)


def chat() -> gr.Blocks:
    """The page's Blocks: conversations and documents on the left, the talk, the source on the right."""
    page = gr.Blocks(title="有据 Youju", analytics_enabled=False, fill_width=True, fill_height=True)
    with page:
        gr.HTML(_part("top"), elem_id="top", **_BARE)
        with gr.Row(elem_id="desk"):
            for name in ("documents", "talk", "source"):
                gr.HTML(_part(name), elem_id=name, **_BARE)
    return page


def _part(name: str) -> str:
    return (STATIC / "parts" / f"{name}.html").read_text("utf-8")
