"""The files that were added in the page, kept in the knowledge-base folder under their own names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rag.errors import KnowledgeBaseError
from rag.load import printable
from rag.store import StoredDocument

FOLDER = "files"


class Originals:
    """The folder ``files/`` of a knowledge base, where a re-reading finds what was added in the page."""

    def __init__(self, kb: Path) -> None:
        self.folder = kb.absolute() / FOLDER

    def path(self, name: str) -> Path:
        return self.folder / name

    @contextmanager
    def placed(self, files: Mapping[str, Path]) -> Iterator[list[Path]]:
        """Copies of ``files``, by name, in place; an error inside brings back what was there before.

        Raises KnowledgeBaseError if they cannot be written.
        """
        with ExitStack() as undo:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                former = [self._place(name, source, undo) for name, source in files.items()]
            except OSError as error:
                raise KnowledgeBaseError(
                    f"文件存不进 {self.folder} (cannot be kept: {error.strerror})",
                    "检查权限和磁盘空间 (check permissions and space)",
                ) from None
            yield [self.path(name) for name in files]
            undo.pop_all()
        for path in former:
            path.unlink(missing_ok=True)

    def drop_unused(self, names: Iterable[str], documents: Iterable[StoredDocument]) -> None:
        """Remove those files that no document was read from: copies of what is stored from elsewhere."""
        used = {document.path for document in documents}
        for path in map(self.path, names):
            if str(path) not in used:
                path.unlink(missing_ok=True)

    def remove(self, document: StoredDocument) -> None:
        """Remove a document's file, if it was added in the page: others are not ours."""
        path = Path(document.path)
        if str(path.parent) == printable(str(self.folder)):
            path.unlink(missing_ok=True)

    def _place(self, name: str, source: Path, undo: ExitStack) -> Path:
        """Put a file in place whole, at no moment half; where the former one of that name went."""
        target, new, former = (self.folder / part for part in (name, f".{name}.new", f".{name}.old"))
        undo.callback(new.unlink, missing_ok=True)
        with source.open("rb") as read, new.open("wb") as written:
            shutil.copyfileobj(read, written)
            written.flush()
            os.fsync(written.fileno())
        if target.exists():
            target.replace(former)
            undo.callback(former.replace, target)
        else:
            undo.callback(target.unlink, missing_ok=True)
        new.replace(target)
        return former
