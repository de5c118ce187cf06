"""The chat page: a Gradio conversation, and the fragments of HTML that its panels are filled with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from rag.errors import YoujuError
from rag.records import Answer, AnswerSentence, Citation, Cited, Discarded, Done, Question, Said, Turn
from ui import render
from ui.service import Service

EXAMPLES = 6  # example questions on the first screen
_LOG = logging.getLogger(__name__)

# Fonts are those of the reader's machine: nothing is fetched for the page.
_SANS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "Noto Sans Mono CJK SC", "monospace")

_HEADER = """
<header id="masthead">
  <button type="button" id="show-documents" aria-controls="documents">目录<small>Documents</small></button>
  <p class="brand"><span class="seal" aria-hidden="true">据</span>有据 <small>Youju</small></p>
  <p class="motto">逐句有出处的文件问答 <small>Answers with their evidence</small></p>
</header>
<button type="button" id="shade" tabindex="-1" aria-hidden="true"></button>
"""
_DOCUMENTS = """
<nav aria-label="文件目录 Documents">
  <div class="bar"><button type="button" id="close-documents" class="close" aria-label="关闭目录 Close">×</button></div>
  <div id="tree"></div>
</nav>
"""
_SOURCE = """<aside id="source-panel" aria-label="原文 Source"></aside>"""


# gr.HTML without Gradio's prose styles and click handler
_BARE: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
_UNFORESEEN = ("服务内部出错，已记入日志。(Internal error, see the log.)", "请再问一次。(Please ask again.)")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what came of it: as shown, and as later questions refer to it."""

    shown: tuple[str, str]  # HTML of the question and of the answer
    turns: tuple[Turn, ...] = ()
    cited: tuple[Citation, ...] = ()


Conversation = tuple[Exchange, ...]
Messages = list[dict[str, Any]]


def theme() -> gr.themes.Base:
    """Gradio's plainest theme over system fonts; the look itself is in ``chat.css``."""
    return gr.themes.Base(primary_hue="blue", neutral_hue="stone", font=_SANS, font_mono=_MONO)


def chat(service: Service) -> gr.Blocks:
    """The page's Blocks: documents on the left, the conversation, the source on the right."""
    page = gr.Blocks(title="有据 Youju", analytics_enabled=False, fill_width=True, fill_height=True)
    with page:
        gr.HTML(_HEADER, elem_id="top", **_BARE)
        with gr.Row(elem_id="desk"):
            gr.HTML(_DOCUMENTS, elem_id="documents", **_BARE)
            with gr.Column(elem_id="talk"):
                transcript, box, again = _talk()
            gr.HTML(_SOURCE, elem_id="source", **_BARE)
        conversation = gr.State(())
        scope = gr.JSON(visible=False)  # filled in by chat.js when a question is sent

        def converse(
            asked: str, within: Any, past: Conversation
        ) -> Iterator[tuple[Messages, str, Conversation]]:
            for exchange in exchanges(service, asked.strip(), chosen(within), past):
                yield messages((*past, exchange)), "", (*past, exchange)

        outputs = [transcript, box, conversation]
        box.submit(
            converse,
            [box, scope, conversation],
            outputs,
            js="(asked, within, past) => [asked, window.youju.scope(), past]",
            show_progress="hidden",
            concurrency_limit=8,
            api_visibility="private",
        )
        again.click(lambda: ([], "", ()), None, outputs, queue=False, api_visibility="private")
    return page


def _talk() -> tuple[gr.Chatbot, gr.Textbox, gr.Button]:
    """The middle column: first screen, conversation, what the question is restricted to, question box."""
    gr.HTML('<div class="content"></div>', elem_id="welcome", **_BARE)
    transcript = gr.Chatbot(
        elem_id="conversation",
        show_label=False,
        container=False,
        height="100%",
        buttons=[],
        autoscroll=False,  # chat.js keeps the question in view instead
        render_markdown=False,  # messages are HTML, sanitised by Gradio once more
        latex_delimiters=[],
        feedback_options=None,
        layout="panel",
    )
    gr.HTML('<div class="content" aria-live="polite"></div>', elem_id="scope", **_BARE)
    with gr.Row(elem_id="compose"):
        box = gr.Textbox(
            elem_id="question",
            placeholder="写下问题，回车发送",
            label="问题 Question",
            show_label=False,
            container=False,
            lines=1,
            max_lines=8,
            submit_btn="提问",
        )
        again = gr.Button("新对话", elem_id="again", size="sm", variant="secondary")
    return transcript, box, again


# --- The conversation --------------------------------------------------------------------------------


def exchanges(
    service: Service, asked: str, within: Sequence[tuple[str, int]], past: Conversation
) -> Iterator[Exchange]:
    """The exchange as it grows: waiting, sentence by sentence, finished; errors are its last state."""
    question = render.question_html(asked, titles(service, within))
    yield Exchange((question, render.waiting_html()))
    history = tuple(turn for exchange in past for turn in exchange.turns)
    earlier = tuple({c.n: c for exchange in past for c in exchange.cited}.values())
    said: list[AnswerSentence] = []
    cited: list[Citation] = []
    try:
        for event in service.stream(Question(asked, history, tuple(within), earlier)):
            match event:
                case Cited(citation):
                    cited.append(citation)
                case Said(sentence):
                    said.append(sentence)
                    yield Exchange((question, render.draft_html(said, cited)))
                case Discarded():
                    said.clear()
                    cited.clear()
                case Done(answer):
                    shown = question, render.answer_html(answer)
                    yield Exchange(shown, _turns(asked, answer), answer.citations)
    except YoujuError as error:
        yield Exchange((question, render.failure_html(error.problem, error.remedy)))
    except Exception:  # the page must say it; the log has the rest
        _LOG.exception("a question failed")
        yield Exchange((question, render.failure_html(*_UNFORESEEN)))


def _turns(asked: str, answer: Answer) -> tuple[Turn, ...]:
    return Turn("user", asked), Turn("assistant", "".join(s.text for s in answer.sentences))


def messages(conversation: Conversation) -> Messages:
    """The conversation as the Chatbot takes it."""
    return [
        {"role": role, "content": [{"type": "text", "text": shown}]}
        for exchange in conversation
        for role, shown in zip(("user", "assistant"), exchange.shown, strict=True)
    ]


def chosen(within: Any) -> list[tuple[str, int]]:
    """The ticked articles as the page sends them; what has another shape is left out."""
    pairs = within if isinstance(within, list) else []
    return [
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
    ]


def titles(service: Service, within: Sequence[tuple[str, int]]) -> list[str]:
    """Titles of the chosen articles that there are."""
    if not within:
        return []
    wanted = set(within)
    return [a.article.title for a in service.store.articles() if (a.document, a.article.number) in wanted]


# --- Fragments ---------------------------------------------------------------------------------------


def fragments(service: Service) -> APIRouter:
    """HTML that ``chat.js`` puts into the panels."""
    router = APIRouter(prefix="/chat", default_response_class=HTMLResponse)

    @router.get("/welcome")
    def welcome() -> str:
        store = service.store
        return render.welcome_html(store.documents(), store.articles(), service.examples(EXAMPLES))

    return router
