"""The checker that the settings name: words alone, or a model that was trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.errors import ConfigError
from rag.lexicon import natural
from rag.read import heading
from rag.verify import Checker, LexicalChecker, Source

if TYPE_CHECKING:
    from embeddings.checker import SupportModel

LEXICAL = "lexical"


class ModelChecker:
    """A trained model's word, below the headings as it learned to read."""

    def __init__(self, model: SupportModel) -> None:
        self._model = model

    def supports(self, pairs: Sequence[tuple[str, Source]]) -> list[float]:
        return self._model.supports(
            [
                (
                    natural(sentence),
                    " ".join(heading(path[0], path[1:]) for path in source.above),
                    natural(source.text),
                )
                for sentence, source in pairs
            ]
        )


def support_checker(settings: Settings) -> Checker:
    """Raises ConfigError where the file of weights that the settings name is not there."""
    if settings.checker == LEXICAL:
        return LexicalChecker()
    from embeddings.checker import SupportModel

    weights = Path(settings.checker).expanduser()
    if not weights.is_file():
        raise ConfigError(
            f"没有核对模型的权重 (no such weights): {weights}",
            f"写 {LEXICAL}, 或 benchmarks/train_checker.py 训练出的文件 (or a file that it trained)",
        )
    return ModelChecker(SupportModel(settings.model_home, weights))
