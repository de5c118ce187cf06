"""The errors that a user can meet, each saying what failed, on what, and what to do.

::

    YoujuError
    ├── InputError              what was given cannot be used
    │   ├── PathError           a path is missing, or holds nothing that can be read
    │   ├── FormatError         a file is empty, binary or of an unknown encoding
    │   ├── QuestionError       a question is empty or too long, or names an article or place that is not there
    │   └── ConfigError         a setting is unknown or has a value that cannot be used
    ├── KnowledgeBaseError      the knowledge base cannot be used as it is
    │   ├── EmptyError          there is none yet, or it holds no document
    │   ├── ModelMismatchError  it was made with another embedding model
    │   ├── LockedError         another process is writing to it
    │   └── DamagedError        its database is not readable
    ├── ModelError              the embedding model is missing, damaged or fails its self-test
    └── LanguageModelError      the language model cannot be reached, fails or takes too long
"""

from __future__ import annotations

from embeddings.errors import ModelError, YoujuError

__all__ = [
    "ConfigError",
    "DamagedError",
    "EmptyError",
    "FormatError",
    "InputError",
    "KnowledgeBaseError",
    "LanguageModelError",
    "LockedError",
    "ModelError",
    "ModelMismatchError",
    "PathError",
    "QuestionError",
    "YoujuError",
]


class InputError(YoujuError):
    """What was given cannot be used."""


class PathError(InputError):
    """A path is missing, or holds nothing that can be read."""


class FormatError(InputError):
    """A file is empty, binary or of an unknown encoding."""


class QuestionError(InputError):
    """A question is empty or too long, or names an article or place that is not there."""


class ConfigError(InputError):
    """A setting is unknown or has a value that cannot be used."""


class KnowledgeBaseError(YoujuError):
    """The knowledge base cannot be used as it is."""


class EmptyError(KnowledgeBaseError):
    """There is no knowledge base yet, or it holds no document."""


class ModelMismatchError(KnowledgeBaseError):
    """The knowledge base was made with another embedding model."""


class LockedError(KnowledgeBaseError):
    """Another process is writing to the knowledge base."""


class DamagedError(KnowledgeBaseError):
    """The knowledge base's database is not readable."""


class LanguageModelError(YoujuError):
    """The language model cannot be reached, fails or takes too long."""
