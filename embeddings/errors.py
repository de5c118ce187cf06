"""The base of all errors that a user can meet, and the one that belongs to models.

They stand here because nothing in this package may import ``rag``; ``rag.errors`` re-exports them and
draws the whole tree.
"""

from __future__ import annotations


class YoujuError(Exception):
    """Base of all errors with a remedy. ``str(error)`` is one line: what failed, then what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} → {remedy}")


class ModelError(YoujuError):
    """The embedding model is missing, damaged or fails its self-test."""
