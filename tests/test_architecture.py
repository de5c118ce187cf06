"""Dependencies point one way, nothing is unpickled, and only the edges read the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("embeddings", "rag", "ui", "eval")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# embeddings <- rag <- ui, eval: what each may import of the others when it is imported itself.
ALLOWED = {
    "embeddings": {"embeddings"},
    "rag": {"embeddings", "rag"},
    "ui": {"embeddings", "rag", "ui"},
    "eval": {"embeddings", "rag", "eval"},
}
# The command line starts the servers and the evaluation: inside its commands only.
LAZY = {"rag/cli.py": {"ui", "eval"}}
READS_ENVIRONMENT = {"rag/config.py", "rag/cli.py", "ui/app.py", "ui/serving.py", "embeddings/bundled.py"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports, in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [node.module or ""]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
        return [
            arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
        ]
    return []


def imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Each imported module, and whether it is imported within a function, when that runs."""
    for node in ast.iter_child_nodes(tree):
        yield from ((module, inside) for module in imported(node))
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(node, inside or lazy)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_dependencies_point_one_way(path: Path) -> None:
    allowed = ALLOWED[path.relative_to(ROOT).parts[0]]
    for module, lazy in imports(parsed(path)):
        package = module.partition(".")[0]
        if package in PACKAGES and package not in allowed:
            assert lazy and package in LAZY.get(name(path), set()), f"{name(path)} imports {module}"
        assert package not in ("tests", "benchmarks"), f"{name(path)} imports {module}"


def test_what_is_allowed_to_be_lazy_is_there() -> None:
    found = {(module.partition(".")[0], lazy) for module, lazy in imports(parsed(ROOT / "rag" / "cli.py"))}
    assert ("ui", True) in found
    assert ("ui", False) not in found


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_is_unpickled(path: Path) -> None:
    unpicklers = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    assert not {module.partition(".")[0] for module, _ in imports(parsed(path))} & unpicklers
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr != "load_local"
            assert (getattr(node.value, "id", ""), node.attr) != ("torch", "load")
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            assert "allow_dangerous_deserialization" not in given
            pickles = given.get("allow_pickle")
            assert pickles is None or (isinstance(pickles, ast.Constant) and pickles.value is False)


@pytest.mark.parametrize("path", [p for p in MODULES if name(p) not in READS_ENVIRONMENT], ids=name)
def test_only_the_edges_read_the_environment(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        attribute = node.attr if isinstance(node, ast.Attribute) else ""
        taken = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        assert attribute not in ("environ", "environb", "getenv"), f"{name(path)}:{node.lineno}"
        assert not taken & {"environ", "environb", "getenv"}, f"{name(path)}:{node.lineno}"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after ``statement``."""
    code = f"import sys; {statement}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


HEAVY = {"torch", "transformers", "sentence_transformers", "gradio", "faiss", "fastapi", "jieba", "opencc"}


def test_the_command_line_imports_nothing_heavy() -> None:
    loaded = loaded_by("import rag.cli")
    assert not loaded & (HEAVY | {"langchain", "langchain_core", "numpy"})


def test_the_pure_steps_import_nothing_heavy() -> None:
    assert not loaded_by("import rag.outline, rag.chunk, rag.intent, rag.records") & (
        HEAVY | {"langchain_core"}
    )


def test_importing_the_chain_loads_no_model() -> None:
    assert not loaded_by("import rag.chain") & {"gradio", "fastapi", "sentence_transformers", "transformers"}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=name)
def test_every_module_says_what_it_does(path: Path) -> None:
    assert ast.get_docstring(parsed(path))
