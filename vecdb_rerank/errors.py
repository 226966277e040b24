"""The errors of this package.

::

    VecdbRerankError
    ├── ConfigurationError           a setting or an argument is wrong (also a ValueError)
    │   ├── InvalidRerankerError     a third-party reranker did not return scores
    │   └── MissingDependencyError   an optional library is not installed (also an ImportError)
    ├── SchemaError                  an existing collection or index does not fit
    ├── DatabaseError                the database refused or could not be reached
    │   └── FirstPassError           ... in a search, or the query could not be embedded
    │       └── FirstPassTimeoutError    ... or was late (also a TimeoutError)
    ├── EmbedderError                an embedding service did not return vectors
    │   └── EmbedderTimeoutError     ... or was late (also a TimeoutError)
    ├── RerankError                  the reranker failed (raised under ``on_error="raise"``)
    │   ├── RerankTimeoutError       ... or was late (also a TimeoutError)
    │   └── RerankerSkippedError     ... or was left out: breaker, budget, too little time
    └── IngestError                  a batch could not be written and retrying is over

The foreign error that caused one is its ``__cause__``.
"""

from __future__ import annotations


class VecdbRerankError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(VecdbRerankError, ValueError):
    """A setting, an argument or an input is wrong.

    ``key`` names it (``policy.deadline``, ``query_vector``, a file's path), ``problem`` is what
    is wrong and what to do; the message is ``key: problem``.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[str, str]]:
        return type(self), (self.key, self.problem)

    def within(self, section: str) -> ConfigurationError:
        """Return the same error about a key of ``section``."""
        return ConfigurationError(f"{section}.{self.key}", self.problem)


class InvalidRerankerError(ConfigurationError):
    """A third-party reranker did not return one score per text.

    It is raised under every ``policy.on_error``, because a retry cannot help.
    """


class MissingDependencyError(ConfigurationError, ImportError):
    """An optional library is not installed; the message names the extra to install."""

    @classmethod
    def for_extra(cls, library: str, extra: str) -> MissingDependencyError:
        """The error for ``library``, which ``pip install "vecdb-rerank[extra]"`` brings."""
        return cls(library, f'not installed; run: pip install "vecdb-rerank[{extra}]"')


class SchemaError(VecdbRerankError):
    """An existing collection or index does not fit; the message names what differs."""


class DatabaseError(VecdbRerankError):
    """The database refused a request or could not be reached; the message names the fix."""


class FirstPassError(DatabaseError):
    """The first pass failed: there are no hits to return."""


class FirstPassTimeoutError(FirstPassError, TimeoutError):
    """The first pass did not answer before the deadline."""


class EmbedderError(VecdbRerankError):
    """An embedding service did not return vectors.

    In mode ``hybrid``, a search goes on with BM25 alone. In mode ``dense``, and under
    ``on_error="raise"``, this becomes a `FirstPassError`. Vectors of another dimension than the
    embedder has raise it in every mode; ``is_outage`` is False for them.
    """

    is_outage: bool = True


class EmbedderTimeoutError(EmbedderError, TimeoutError):
    """An embedding service did not answer before the deadline."""


class RerankError(VecdbRerankError):
    """The reranker failed; the first-pass order is still available.

    ``billed`` is the number of units that it charged nevertheless. ``request_rejected`` means that
    the server refused this request; the next one may succeed.
    """

    billed: float = 0.0
    request_rejected: bool = False


class RerankTimeoutError(RerankError, TimeoutError):
    """The reranker did not answer before the deadline."""


class RerankerSkippedError(RerankError):
    """The reranker was left out: it keeps failing, is too slow, or would exceed the budget."""


class IngestError(VecdbRerankError):
    """Writing stopped before all documents were stored; what was stored stays stored."""
