"""``youju eval``: the sub-commands. Importing it is quick: each imports what it needs when it runs."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, cast, get_args

import typer

from rag.cli import Json, Kb, one_line_errors
from rag.errors import ConfigError, PathError
from rag.records import Mode

if TYPE_CHECKING:
    from eval.bench import Bench
    from eval.cases import GoldCase, Library
    from eval.chains import Answers
    from eval.metrics import Estimate
    from rag.config import Settings
    from rag.feedback import Feedback
    from rag.store import Store

P = ParamSpec("P")
R = TypeVar("R")

MODES = get_args(Mode)

app = typer.Typer(
    name="eval",
    help="评测: 答案有多少依据。Measure how well answers are grounded, with no judge model.",
    no_args_is_help=True,
)

feedback = typer.Typer(
    name="feedback",
    help="读者对回答的评价。What readers said of answers in the chat.",
    no_args_is_help=True,
)

Cases = Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="评测题 (gold questions)")]
NewCases = Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="写到 (write to)")]
JsonOut = Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="结果 (write the result)")]
Paragraphs = Annotated[Path, typer.Option("--paragraphs", metavar="P.jsonl", help="段落 (paragraphs)")]
Questions = Annotated[Path, typer.Option("--questions", metavar="Q.jsonl", help="问题 (their questions)")]
Chain = Annotated[
    str | None,
    typer.Option(
        "--chain", metavar="MODULE:FUNCTION", help="评测别的链或检索器 (measure another chain or retriever)"
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="只问这么多题 (ask only so many)")]


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Print what a user can mend and exit with code 2: a line for each fault of a file of cases, else one line."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        from eval.cases import CasesError

        try:
            return command(*args, **kwargs)
        except CasesError as error:
            for fault in error.faults:
                print(f"youju: {error.path}: {' '.join(str(fault).split())}", file=sys.stderr)
            raise typer.Exit(2) from None

    return one_line_errors(wrapped)


@app.command()
@told
def cases(
    file: Cases,
    kb: Kb = None,
    json: JsonOut = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="OUT.html", help="网页报告 (write a report)")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="OLD.json", help="与先前的结果比较 (compare)")
    ] = None,
    gate: Annotated[
        Path | None, typer.Option("--gate", metavar="GATE.toml", help="门槛, 不达则退出码 1 (fail below it)")
    ] = None,
    retriever: Annotated[
        str | None, typer.Option("--retriever", help=f"检索方式 (which retriever): {', '.join(MODES)}")
    ] = None,
    chain: Chain = None,
) -> None:
    """用评测题评测问答。Answer gold questions and measure the answers.

    中断后用同样的设置再运行, 会接着做。An interrupted run with --json goes on where it stopped.
    """
    from eval import gate as gates

    bounds = gates.read_gate(gate) if gate else []
    old = gates.read_result(baseline) if baseline else None
    if chain and retriever:
        raise ConfigError(
            "--retriever 只用于有据自己的链 (is for the project's own chain)",
            "去掉其中一个 (give one of the two)",
        )
    result = _run_cases(file, _settings(kb), chain or _mode(retriever or "hybrid"), json)
    if json:
        _write(json, _as_text(result))
    if report:
        from eval.report import write_report

        write_report(result, report)
    _print_estimates("指标 metric", result["metrics"])
    if old is not None:
        _print_differences(gates.against(result, old))
    failed = gates.faults(result, bounds)
    for line in failed:
        typer.echo(f"未达门槛 (below the gate): {line}", err=True)
    if failed:
        raise typer.Exit(1)
    if bounds:
        typer.echo(f"达到门槛 (the gate holds): {len(bounds)}", err=True)


@app.command()
@told
def check(file: Cases, kb: Kb = None) -> None:
    """检查评测题, 逐行指出错处。Check a file of cases and name each fault by its line."""
    gold, _ = _load(file, _settings(kb))
    typer.echo(f"{len(gold)} 题, 无误 (cases, no fault); 草稿 {_drafts(gold)} 题 (drafts): {file}")


@app.command()
@told
def draft(
    out: NewCases,
    kb: Kb = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="最多多少题 (at most so many)")] = 60,
) -> None:
    """从文档拟出评测题, 供人修改。Propose cases from the documents for a person to edit."""
    from eval.cases import Library
    from eval.draft import drafts
    from rag.store import Store

    _require_new(out)
    with Store.open(_settings(kb).kb) as store:
        store.require_documents()
        rows = drafts(store.articles(), Library.of(store), limit)
    _write_rows(out, rows)
    typer.echo(f"拟出 {len(rows)} 题 (cases proposed): {out}", err=True)


@app.command()
@told
def retrieval(
    paragraphs: Paragraphs,
    questions: Questions,
    limit: Limit = None,
    json: JsonOut = None,
    chain: Chain = None,
) -> None:
    """段落检索 (CMRC, DRCD)。Open retrieval: find the paragraph of each question."""
    from eval.retrieval import run

    with _bench(json, chain) as bench:
        result = run(paragraphs, questions, bench, limit)
    _written(json, result)
    for name, found in result["retrievers"].items():
        _print_estimates(name, found)
    for name, found in result["differences"].items():
        _print_estimates(name, found)


@app.command()
@told
def openqa(
    paragraphs: Paragraphs,
    questions: Questions,
    withheld: Annotated[
        float, typer.Option("--withheld", min=0, max=1, help="拿掉多少段落 (share of paragraphs withheld)")
    ] = 0.5,
    limit: Limit = None,
    json: JsonOut = None,
    chain: Chain = None,
) -> None:
    """开放问答, 部分段落拿掉, 其问题应拒答。Open question answering with paragraphs withheld."""
    from eval.openqa import run

    with _bench(json, chain) as bench:
        result = run(paragraphs, questions, bench, withheld, limit=limit)
    _written(json, result)
    _print_estimates("指标 metric", result["metrics"])


@app.command()
@told
def rgb(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="RGB 的题 (rows of RGB)")],
    noise: Annotated[
        str, typer.Option("--noise", metavar="0,0.2,…", help="噪声比例 (noise rates)")
    ] = "0,0.2,0.4,0.6,0.8,1.0",
    limit: Limit = None,
    json: JsonOut = None,
    chain: Chain = None,
) -> None:
    """RGB: 噪声、拒答、整合、反事实。RGB's protocols: noise, rejection, integration, counterfactual."""
    from eval.rgb import run

    with _bench(json, chain) as bench:
        result = run(file, bench, _rates(noise), limit=limit)
    _written(json, result)
    for rate, found in result["noise"].items():
        _print_estimates(f"noise {rate}", found)


# -- feedback -----------------------------------------------------------------------------------------------


@feedback.command()
@told
def export(out: NewCases, kb: Kb = None) -> None:
    """把读者的评价写成评测题: 有用的为正式题, 其余为草稿。Write feedback as cases: helpful answers as gold, others as drafts.

    草稿须由人改好, 再去掉 draft。A person must complete a draft and take its mark off.
    """
    from eval.cases import Library
    from eval.feedback import export as run
    from rag.store import Store

    _require_new(out)
    settings = _settings(kb)
    with Store.open(settings.kb) as store:
        found = run(_given(settings), Library.of(store))
    _write_rows(out, found.rows)
    drafts = sum("draft" in row for row in found.rows)
    typer.echo(
        f"写出 {len(found.rows)} 题, 其中草稿 {drafts} 题 (cases, of which drafts to complete): {out}",
        err=True,
    )
    for key in found.gone:
        typer.echo(f"略去 (left out): {key}, 引文已不在知识库中 (what it cites is gone)", err=True)


@feedback.command("list")
@told
def list_feedback(kb: Kb = None, json: Json = False) -> None:
    """列出读者的评价。List the feedback: id, verdict, question, comment."""
    from rag.terminal import safe

    given = _given(_settings(kb))
    if json:
        typer.echo(_as_text([{"id": one.id, **one.as_json()} for one in given]).encode(), nl=False)
        return
    for one in given:
        parts = (one.id, one.verdict, one.question, one.comment)
        typer.echo("  ".join(safe(" ".join(part.split())) for part in parts if part))


def _given(settings: Settings) -> list[Feedback]:
    """All feedback on answers from the settings' knowledge base; raises PathError if there is none."""
    from rag.feedback import FeedbackLog

    log = FeedbackLog(settings.kb)
    given = log.read(report=lambda problem: typer.echo(f"youju: {problem}", err=True))
    if not given:
        raise PathError(
            f"还没有反馈 (no feedback yet): {log.path}", "先在网页上评价回答 (rate answers in the chat)"
        )
    return given


# -- running ------------------------------------------------------------------------------------------------


def _run_cases(file: Path, settings: Settings, which: str, out: Path | None) -> dict[str, Any]:
    """The result of the cases, answered by ``which`` retriever or other chain; resumable beside ``out``."""
    import time

    gold, library = _load(file, settings)
    if drafts := _drafts(gold):
        typer.echo(f"草稿 {drafts} 题也计入, 宜先由人看过 (drafts count too: look at them first)", err=True)
    from eval.chains import OWN
    from eval.provenance import documents, provenance
    from eval.run import evaluate

    begun = time.perf_counter()
    chain, store = _chain(which, settings, library)
    made_by = {"chain": OWN, "retriever": which} if which in MODES else {"chain": which}
    about = {**provenance(settings, [file]), **documents(store), **made_by}
    with _bars() as show:
        result = evaluate(
            chain, gold, library, about, out, lambda done, total: show("回答 answer", done, total)
        )
    result["settings"]["seconds"] = round(time.perf_counter() - begun, 1)
    return _dated(result)


def _chain(which: str, settings: Settings, library: Library) -> tuple[Answers, Store]:
    """The chain with a retriever of its own, or ``module:function``, over the settings' knowledge base."""
    from rag import chain as own
    from rag.ingest import sentence_encoder
    from rag.store import Store

    if which in MODES:
        opened = own.open_chain(settings)
        opened.retriever.mode = _mode(which)
        return opened, opened.store
    from eval.chains import as_chain, named

    make, store = named(which), Store.open(settings.kb)
    return as_chain(make(store, sentence_encoder(settings), settings), library), store


@contextmanager
def _bench(out: Path | None, chain: str | None) -> Iterator[Bench]:
    """What a run over public rows is given, with bars for its progress."""
    from eval.bench import Bench
    from eval.chains import named

    with _bars() as show:
        bench = Bench(_settings(), out=out, progress=show)
        yield replace(bench, make=named(chain), name=chain) if chain else bench


def _load(file: Path, settings: Settings) -> tuple[list[GoldCase], Library]:
    from eval.cases import Library, load_cases
    from rag.store import Store

    with Store.open(settings.kb) as store:
        store.require_documents()
        library = Library.of(store)
    return load_cases(file, library), library


def _drafts(gold: Sequence[GoldCase]) -> int:
    return sum(one.case.draft for one in gold)


def _settings(kb: Path | None = None) -> Settings:
    from rag.config import read_settings

    return read_settings(kb=kb)


def _mode(name: str) -> Mode:
    """The retriever of that name."""
    if name not in MODES:
        raise ConfigError(f"没有这种检索 (no such retriever): {name}", f"--retriever {'|'.join(MODES)}")
    return cast(Mode, name)


def _rates(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--noise 不可用 (cannot be used): {text}", "--noise 0,0.2,0.4") from None


def _dated(result: Mapping[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {**result, "settings": {**result.get("settings", {}), "date": now}}


# -- output -------------------------------------------------------------------------------------------------


def _written(path: Path | None, result: Mapping[str, Any]) -> None:
    if path:
        _write(path, _as_text(_dated(result)))


def _as_text(result: Any) -> str:
    return jsons.dumps(result, ensure_ascii=False, indent=1) + "\n"


def _require_new(path: Path) -> None:
    if path.exists():
        raise PathError(
            f"文件已存在 (it exists already): {path}", "换一个名字, 以免覆盖改过的题 (use another name)"
        )


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    _write(path, "".join(jsons.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise PathError(
            f"无法写入 (cannot write): {path} ({error.strerror})", "检查路径和权限 (check the path)"
        ) from None


def _print_estimates(title: str, estimates: Mapping[str, Any]) -> None:
    """A line for each figure: mean, interval, number of cases. What has no interval is left out."""
    rows = {name: found for name, found in estimates.items() if isinstance(found, dict) and "mean" in found}
    _print_table((title, "mean", "95%", "n"), [(name, *_cells(found)) for name, found in rows.items()])


def _print_differences(found: Mapping[str, Estimate]) -> None:
    """A line for each difference; ``*`` where its interval does not hold 0."""
    rows = []
    for name, estimate in found.items():
        mean, interval, n = _cells(estimate.as_json())
        clear = "*" if estimate.low > 0 or estimate.high < 0 else ""
        rows.append((name, f"{estimate.mean:+.4f}{clear}" if mean else "", interval, n))
    _print_table(("与基线之差 new − baseline", "mean", "95%", "n"), rows)


def _cells(found: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{found['mean']:.4f}", f"{found['low']:.4f} – {found['high']:.4f}", str(found["n"])


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from rag.terminal import stdout

    table = Table(box=None, pad_edge=False)
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A callback ``(label, done, total)`` that draws a bar for each label, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda label, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield show


@app.command("scripted-llm")
@told
def scripted_llm(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="行为 (how it behaves)")] = "quoting",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8089,
) -> None:
    """照脚本回答的假语言模型, 用来试装好的系统。A scripted language model to try an installation with.

    PRESET: quoting, wrong-citation, hallucinating, refusing, in-form-only, no-marks, slow, cut, malformed, hang, endless,
    busy, broken.
    """
    from eval.scripted import PRESETS, ScriptedServer

    if preset not in PRESETS:
        raise ConfigError(f"没有这种行为 (no such preset): {preset}", "可用 (one of): " + ", ".join(PRESETS))
    try:
        server = ScriptedServer(PRESETS[preset], port)
    except OSError as error:
        raise ConfigError(f"端口 {port} 不可用 (port cannot be used): {error}", "换一个 --port") from None
    typer.echo(f"YOUJU_LLM=openai:scripted YOUJU_LLM_BASE_URL={server.address}")
    with suppress(KeyboardInterrupt):
        server.serve()
