"""The command line. Importing it is quick: each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from rag.errors import ConfigError, QuestionError, YoujuError

if TYPE_CHECKING:
    from rag.config import Settings

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="youju",
    help="有据: 问文档, 每句话都有出处。Ask Chinese documents; every sentence of an answer is cited.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Kb = Annotated[
    Path | None,
    typer.Option(
        "--kb", metavar="DIR", help="知识库文件夹 (knowledge-base folder; default: user data folder)"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="输出 JSON (print JSON)")]


def main() -> None:
    """Entry point of ``youju``."""
    from eval.cli import app as evaluation  # of the command line alone: rag does without eval
    from eval.cli import feedback
    from ui.cli import keys, sites

    for commands in (evaluation, feedback, keys, sites):
        app.add_typer(commands)
    app()


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print an error that a user can mend as one line on stderr and exit with code 2."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except YoujuError as error:
            complain(str(error))
            raise typer.Exit(2) from None

    return wrapped


def complain(message: str) -> None:
    # Not by typer.echo: while a progress bar is shown, sys.stderr stands for a stream that prints above it.
    print("youju: " + " ".join(message.splitlines()), file=sys.stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"youju {version('youju')}")
        except PackageNotFoundError:
            typer.echo("youju (未安装, not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="版本 (show the version)"),
    ] = False,
) -> None:
    pass


# -- documents ----------------------------------------------------------------------------------------------


@app.command()
@one_line_errors
def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="文件或文件夹 (files and folders)")],
    kb: Kb = None,
    json: Json = False,
) -> None:
    """加入或更新文档; 未变的跳过。Add or update files and folders; unchanged files are skipped.

    文件夹里已删除的文件不会自动移除, 用 youju remove。Files gone from a folder stay until `youju remove`.
    """
    from rag import terminal
    from rag.ingest import ingest as run

    with terminal.progress_bars() as show:
        report = run(paths, _settings(kb=kb), progress=show)
    if json:
        print_json(report.as_json())
    else:
        terminal.print_report(report)


@app.command()
@one_line_errors
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="文档名 (names of documents)")],
    kb: Kb = None,
) -> None:
    """移除文档。Remove documents from the knowledge base."""
    from rag.ingest import remove as run

    for name in run(names, _settings(kb=kb)):
        typer.echo(f"已移除 (removed): {name}")


@app.command()
@one_line_errors
def documents(kb: Kb = None, json: Json = False) -> None:
    """列出文档。List the documents."""
    from rag import terminal
    from rag.store import Store

    with Store.open(_settings(kb=kb).kb) as store:
        found = store.documents()
    if json:
        print_json([document.as_json() for document in found])
    else:
        terminal.print_documents(found)


@app.command()
@one_line_errors
def articles(kb: Kb = None, json: Json = False) -> None:
    """列出文章及其章节。List the articles with their sections."""
    from rag import terminal
    from rag.store import Store

    with Store.open(_settings(kb=kb).kb) as store:
        store.require_documents()
        found = store.articles()
    if json:
        print_json([article.as_json() for article in found])
    else:
        terminal.print_articles(found)


@app.command()
@one_line_errors
def prepare() -> None:
    """准备默认向量模型(不联网)。Prepare the default embedding model, offline."""
    from embeddings.bundled import prepare as run

    folder = run(_settings().model_home, report=lambda message: typer.echo(message, err=True))
    typer.echo(f"模型已就绪 (model ready): {folder}")


@app.command()
@one_line_errors
def doctor(kb: Kb = None, json: Json = False) -> None:
    """检查模型、知识库和语言模型, 说明怎么修。Examine the installation and say what to mend."""
    from rag import terminal
    from rag.doctor import examine

    found = []
    for finding in examine(_settings(kb=kb)):
        found.append(finding)
        if not json:
            terminal.print_finding(finding)
    if json:
        print_json([finding.as_json() for finding in found])
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


# -- questions ----------------------------------------------------------------------------------------------


@app.command()
@one_line_errors
def search(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="问题 (question)")],
    kb: Kb = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="条数 (number of passages)")] = 10,
    json: Json = False,
) -> None:
    """只检索, 不回答。Retrieval alone."""
    settings = _ready(kb)
    from rag import terminal
    from rag.chain import open_chain
    from rag.load import printable

    passages = open_chain(settings).search(printable(question), limit)
    if json:
        print_json({"passages": [passage.as_json() for passage in passages]})
    else:
        terminal.print_passages(passages)


@app.command()
@one_line_errors
def ask(
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="问题 (question)")] = None,
    kb: Kb = None,
    article: Annotated[
        list[str] | None,
        typer.Option(
            "--article", metavar="N", help="只问这篇: 编号或 文档:编号 (only this article; repeatable)"
        ),
    ] = None,
    json: Json = False,
    batch: Annotated[
        Path | None,
        typer.Option(
            "--batch", metavar="IN.jsonl", help="逐行回答 {id, question, history?, articles?, within?}"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT.jsonl", help="批量回答的输出 (answers of --batch)")
    ] = None,
) -> None:
    """提问; 答案逐句注明出处。Ask; every sentence of the answer is cited."""
    from rag.load import printable
    from rag.records import Question

    if batch is not None:
        if question is not None or out is None:
            raise ConfigError(
                "--batch 需要 --out, 且不带问题 (--batch goes with --out and without a question)",
                "youju ask --batch IN.jsonl --out OUT.jsonl",
            )
        _ask_batch(batch, out, _ready(kb))
        return
    if question is None or out is not None:
        raise QuestionError(
            "没有问题 (no question)", 'youju ask "问题" 或 youju ask --batch IN.jsonl --out OUT.jsonl'
        )
    asked = Question(printable(question), articles=tuple(parse_article(value) for value in article or ()))
    settings = _ready(kb)
    from rag import terminal
    from rag.chain import open_chain

    chain = open_chain(settings)
    if json:
        print_json(chain.invoke(asked).as_json())
    else:
        terminal.print_events(chain.stream(asked))


@app.command()
@one_line_errors
def serve(
    kb: Kb = None,
    host: Annotated[str | None, typer.Option("--host", help="地址 (default 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option("--port", help="端口 (default 7860; 0: any free)")] = None,
    allow_upload: Annotated[
        bool,
        typer.Option(
            "--allow-upload",
            help="网页上可加入、重读、移除文档 (the page may add, re-read and remove documents)",
        ),
    ] = False,
    no_keys: Annotated[
        bool,
        typer.Option("--no-keys", help="任何人都可使用, 不要密钥 (open to whoever reaches it, without keys)"),
    ] = False,
    root_path: Annotated[
        str | None,
        typer.Option(
            "--root-path", metavar="PATH", help="反向代理下的子路径 (sub-path behind a proxy): /youju"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="进程数 (number of processes; default 1)")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="text|json", help="日志格式 (form of the log)")
    ] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="在 /mcp 提供 MCP 工具 (MCP tools at /mcp)")] = False,
) -> None:
    """网页对话、接口与嵌入组件。Serve the chat at /, the API under /api and the widget."""
    settings = _settings(
        kb=kb,
        host=host,
        port=port,
        allow_upload=allow_upload or None,
        no_keys=no_keys or None,
        root_path=root_path,
        workers=workers,
        log_format=log_format,
        mcp=mcp or None,
    )
    if settings.allow_upload:
        _ensure_kb(settings)
    else:
        _require_documents(settings)
    _check_access(settings)
    listener = _listen(settings.host, settings.port)
    from ui.serving import serve as run

    def ready() -> None:
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{shown}:{listener.getsockname()[1]}{settings.root_path}"
        typer.echo(f"有据 Youju: {address}", err=True)

    with listener:
        run(settings, listener, ready)


def _check_access(settings: Settings) -> None:
    """Raise ConfigError where strangers could come in, or where it is unclear whether they may."""
    from ui.access import AccessStore
    from ui.keys import Keys
    from ui.local import is_loopback

    keyed = Keys(AccessStore(settings.kb)).exist()
    if settings.no_keys and keyed:
        raise ConfigError(
            "知识库有密钥, 不能以 --no-keys 启动 (the knowledge base has keys: --no-keys does not go with them)",
            "去掉 --no-keys, 或撤销全部密钥 (leave it out, or revoke all keys: youju keys list)",
        )
    if is_loopback(settings.host) or keyed:
        return
    if not settings.no_keys:
        raise ConfigError(
            f"在 {settings.host} 上别的机器也能访问, 而知识库还没有密钥 (other machines reach it, and there is no key)",
            "youju keys add 名称, 或 --no-keys 允许任何人使用 (add a key, or let everybody in with --no-keys)",
        )
    complain("警告: 任何能访问本机的人都可使用, 不要密钥 (warning: open to whoever reaches this machine)")


@app.command()
@one_line_errors
def mcp(kb: Kb = None) -> None:
    """MCP 工具, 经标准输入输出 (供本机的助手启动)。MCP tools on stdin and stdout, for an assistant on this machine."""
    settings = _ready(kb)
    from rag.chain import open_chain
    from ui.app import mcp_tools
    from ui.logs import configure
    from ui.service import Service

    tools = mcp_tools().tools
    configure(settings.log_format)
    service = Service(open_chain(settings), settings.max_answers, log_questions=settings.log_questions)
    tools(service, settings.max_question).run("stdio")


def _ask_batch(source: Path, target: Path, settings: Settings) -> None:
    from rag.batch import answer_all
    from rag.chain import open_chain
    from rag.terminal import progress_bar

    def bad_row(line: int, problem: str) -> None:
        complain(f"{source} 第 {line} 行 (line {line}): {problem}")

    with progress_bar("answer") as show:
        counts = answer_all(source, target, open_chain(settings), bad_row, show)
    typer.echo(f"已回答 {counts.answered} 行, 出错 {counts.failed} 行 (answered, failed): {target}", err=True)
    if counts.failed:
        raise typer.Exit(2)


def parse_article(value: str) -> int | tuple[str, int]:
    document, _, number = value.rpartition(":")
    if not number.isascii() or not number.isdigit():
        raise QuestionError(
            f"文章编号不对 (bad article): {value}", "写编号或 文档:编号, 见 youju articles (see the list)"
        )
    return (document, int(number)) if document else int(number)


# -- settings -----------------------------------------------------------------------------------------------


def _settings(**flags: Any) -> Settings:
    from rag.config import read_settings

    return read_settings(**flags)


def _ready(kb: Path | None) -> Settings:
    """The settings, once it is sure that the knowledge base has something to ask about."""
    settings = _settings(kb=kb)
    _require_documents(settings)
    return settings


def _require_documents(settings: Settings) -> None:
    from rag.store import Store

    with Store.open(settings.kb) as store:
        store.require_documents()


def _ensure_kb(settings: Settings) -> None:
    """Make the knowledge base if there is none: its first document may come through the page."""
    from rag.errors import EmptyError
    from rag.store import Store

    try:
        Store.open(settings.kb).close()
    except EmptyError:
        Store.open(settings.kb, writable=True, create=True).close()


def _listen(host: str, port: int) -> Any:
    """A listening socket, so that a port in use is an error of one line."""
    import socket

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"无法监听 {host}:{port} (cannot listen: {error})",
            "换一个端口, 例如 --port 7861 (use another port)",
        ) from None


def print_json(value: Any) -> None:
    """JSON on stdout, in UTF-8 whatever the terminal's encoding."""
    from json import dumps

    typer.echo(dumps(value, ensure_ascii=False, indent=2).encode())
