"""A search as a value, checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from vecdb_rerank._checks import above, at_least, in_range, integer, one_of, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.text_fields import valid_unicode

Mode = Literal["hybrid", "dense", "bm25"]
# Languages that Snowball stems, and four that are not stemmed.
Language = Literal[
    "arabic",
    "chinese",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hungarian",
    "italian",
    "japanese",
    "korean",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "spanish",
    "swedish",
    "tamil",
    "thai",
    "turkish",
]
# Written without spaces (Korean: with endings glued to the words), and without a Snowball stemmer.
UNSPACED: tuple[Language, ...] = ("chinese", "japanese", "korean", "thai")
# Which hits of a first pass bring their payload and vectors: all of them, those of the page, or all
# until the payloads prove to be large.
Payload = Literal["auto", "all", "page"]
FusionMethod = Literal["rrf", "dbsf", "min_max", "l2"]
Branch = Literal["bm25", "dense"]
BRANCHES: tuple[Branch, ...] = ("bm25", "dense")
EVIDENCE = ("self_retrieval", "branch_quality")  # the fields of `Fusion` that "auto" reads
_NO_WEIGHTS = "dbsf takes no weights; use min_max or rrf"
NONE = "none"  # instead of the name of a vector: the collection has none
MAX_K = 10_000


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a hybrid search joins its two branches.

    ``rrf`` is reciprocal rank fusion (Cormack et al., 2009): a hit's score is the weighted sum
    of ``1 / (rank_constant + rank)``, rank from 1. ``min_max`` and ``l2`` normalise each
    branch's scores and take their weighted mean. ``dbsf`` is Qdrant's distribution-based fusion.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: FusionMethod = "rrf"
    """The method; ``dbsf`` is Qdrant's own and takes no weights."""
    rank_constant: int = 60
    """For ``rrf``: a larger constant gives the first ranks less weight (at least 1)."""
    weights: tuple[float, float] | Literal["auto"] = "auto"
    """The weights of (bm25, dense), none negative, in fusion and blend. With ``auto``, they are
    equal, unless ``self_retrieval`` or ``branch_quality`` says that a branch is weak in this
    collection."""
    self_retrieval: tuple[float, float] | None = None
    """How well (bm25, dense) find a stored document by a sentence of it (0 to 1 each), for
    ``auto``. `vecdb-rerank doctor` measures it."""
    branch_quality: tuple[float, float] | None = None
    """How good the hits of (bm25, dense) are by the reranker's relevance (NDCG@10, 0 to 1 each),
    for ``auto``. `vecdb-rerank doctor --queries-file` measures it. It counts in the blend alone."""

    def __post_init__(self) -> None:
        one_of("fusion.method", self.method, get_args(FusionMethod))
        at_least("fusion.rank_constant", self.rank_constant, 1)
        for name in EVIDENCE:
            self._check_evidence(name)
        if isinstance(self.weights, str) and self.weights == "auto":
            return
        if self.method == "dbsf":
            raise ConfigurationError("fusion.weights", _NO_WEIGHTS)
        object.__setattr__(self, "weights", _pair("fusion.weights", self.weights))

    @property
    def fixed(self) -> tuple[float, float] | None:
        """The weights of (bm25, dense) that the configuration gives, if it does."""
        return None if self.weights == "auto" else self.weights

    def _check_evidence(self, name: str) -> None:
        key, value = f"fusion.{name}", getattr(self, name)
        if value is None:
            return
        if self.method == "dbsf":
            raise ConfigurationError(key, _NO_WEIGHTS)
        found = _pair(key, value)
        for each in found:
            in_range(key, each, 0, 1)
        object.__setattr__(self, name, found)


@dataclass(frozen=True, slots=True)
class Bm25Params:
    """BM25's parameters for vectors made at ingest (Robertson and Zaragoza, 2009)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    k: float = 1.2
    """Saturation of term frequency: a lower value ignores repetition sooner (at least 0)."""
    b: float = 0.75
    """Normalization by document length (0 to 1)."""
    avg_len: float = 256.0
    """The expected length of a document in terms (above 0)."""

    def __post_init__(self) -> None:
        at_least("bm25.k", self.k, 0)
        in_range("bm25.b", self.b, 0, 1)
        above("bm25.avg_len", self.avg_len, 0)


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """Defaults for the arguments of a connector's ``search``."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    k: int = 50
    """First-pass candidates to rerank (1 to 10,000)."""
    limit: int | None = None
    """Hits returned, at most ``k``; by default 10, or ``k`` if that is less."""
    mode: Mode = "hybrid"
    """The first pass: both branches, or one of them."""
    depth: int | None = None
    """Hits taken from each branch of a hybrid search (1 to 10,000); by default ``k``."""
    fusion: Fusion = field(default_factory=Fusion)
    """The fusion of a hybrid search."""
    payload: Payload = "auto"
    """How payloads come: ``all`` with the first pass; ``page`` in a second request, for the hits
    of the page alone; ``auto`` like ``page`` once they prove to be large (see `Search`)."""
    instruction: str | None = None
    """What counts as relevant, such as ``prefer official documentation``, for rerankers that
    follow instructions; it replaces the reranker's own."""

    def __post_init__(self) -> None:
        for name in ("k", "limit", "depth"):
            if (given := getattr(self, name)) is not None or name == "k":
                object.__setattr__(self, name, integer(name, given, 1, MAX_K))
        if self.limit is not None and self.limit > self.k:
            raise ConfigurationError(
                "limit", f"must be at most k ({self.k}), got {self.limit}; raise k or lower it"
            )
        if not isinstance(self.fusion, Fusion):
            raise ConfigurationError(
                "fusion", f"expected a Fusion such as Fusion('rrf'), got {shown(self.fusion)}"
            )
        if self.instruction is not None:
            check_instruction(self.instruction)
        one_of("mode", self.mode, get_args(Mode))
        one_of("payload", self.payload, get_args(Payload))


@dataclass(frozen=True, slots=True)
class Extras:
    """What a first pass brings for `Policy.after`, besides the text.

    ``fields`` are dotted paths of the payload; they are not shown to the caller unless requested.
    ``filters`` are native filters by their settings' keys; `FirstPass.matching` tells which hits
    match each. With ``vectors``, stored vectors that the caller requests come with the first pass
    (`FirstPass.vectors`).
    """

    fields: tuple[str, ...] = ()
    filters: Mapping[str, object] = field(default_factory=dict)
    vectors: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A checked search.

    ``filter`` and ``native`` (pass-through arguments) are in the database's own terms.
    ``instruction`` is for the reranker alone; None leaves it its own, and ``""`` takes that away.
    ``notes`` are for the outcome.

    With ``payload="page"`` the first pass brings only the text to rerank, and a second request the
    payload and vectors of the hits that are returned. ``auto`` does that if it saves about a
    megabyte, by the payloads of the last first pass that was measured (see
    `vecdb_rerank.search.payload_size`).
    """

    query: str
    k: int
    limit: int
    offset: int
    mode: Mode
    depth: int
    fusion: Fusion
    query_vector: Sequence[float] | None = None
    filter: Any = None
    native: Mapping[str, Any] = field(default_factory=dict)
    evidence: bool = False
    payload: Payload = "auto"
    extras: Extras = field(default_factory=Extras)
    instruction: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_query(self.query)
        if valid_unicode(self.query) != self.query:
            raise ConfigurationError("query", "must not contain a lone surrogate")
        SearchDefaults(self.k, self.limit, self.mode, self.depth, self.fusion, self.payload)
        integer("limit", self.limit, 1, self.k)
        object.__setattr__(self, "offset", integer("offset", self.offset, 0))
        if self.query_vector is not None:
            check_vector("query_vector", self.query_vector)

    @property
    def needs_vector(self) -> bool:
        """Whether the mode has a dense branch."""
        return self.mode != "bm25"

    @property
    def tail_follows(self) -> bool:
        """Whether hits past the window may follow: a window's pages end with it."""
        return False

    @property
    def deterministic_ties(self) -> bool:
        """Whether equal scores come in the same order from call to call: that is not known."""
        return False

    @property
    def note(self) -> str | None:
        """The reason in the outcome if there is no other."""
        return None


@dataclass(frozen=True, slots=True)
class NativeSearch:
    """A search whose first pass is the caller's own request: what the rerank needs to know.

    ``k`` hits are reranked, and the page ``offset`` to ``offset + limit`` is cut from them. With
    ``tail_follows``, the hits past them follow. They are the first by (score, id), or, if the
    database orders ties the same way at every call (``deterministic_ties``), the first in its own
    order. ``mode`` is the first pass in the outcome, ``note`` the outcome's reason if it has no
    other.
    """

    query: str
    k: int
    limit: int
    offset: int = 0
    mode: str = "native"
    tail_follows: bool = False
    deterministic_ties: bool = False
    note: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None


def available(mode: Mode, branches: Sequence[Branch]) -> Mode:
    """Return the mode of a search over a collection that has ``branches``.

    A hybrid search with one branch is that branch alone. Raises `ConfigurationError` for a branch
    that the configuration leaves out.
    """
    if mode == "hybrid":
        return mode if len(branches) > 1 else branches[0]
    if mode not in branches:
        raise ConfigurationError(
            "mode", f"must be {branches[0]}, got {mode}: the collection is configured without it"
        )
    return mode


def check_query(query: object) -> None:
    """Raise `ConfigurationError` unless ``query`` is a text."""
    if not isinstance(query, str):
        is_vector = isinstance(query, Sequence) or hasattr(query, "__array__")
        hint = "; give a vector as query_vector" if is_vector else ""
        raise ConfigurationError("query", f"must be a str, got {shown(query)}{hint}")
    if not query.strip():
        raise ConfigurationError("query", "must not be empty")


def check_instruction(instruction: object) -> None:
    """Raise `ConfigurationError` unless ``instruction`` is a text; it may be empty."""
    if not isinstance(instruction, str):
        raise ConfigurationError("instruction", f"must be a str, got {shown(instruction)}")
    if valid_unicode(instruction) != instruction:
        raise ConfigurationError("instruction", "must not contain a lone surrogate")


def check_vector(key: str, vector: object) -> None:
    """Raise `ConfigurationError` unless ``vector`` is a sequence of finite numbers."""
    try:
        numbers = [float(value) for value in vector]  # type: ignore[attr-defined]
        is_vector = bool(numbers) and not isinstance(vector, str | bytes | Mapping)
    except (OverflowError, TypeError, ValueError):
        is_vector = False
    if not is_vector:
        raise ConfigurationError(
            key, f"must be numbers, of shape (dimension,), got {shown(vector)}"
        )
    if not all(map(math.isfinite, numbers)):
        raise ConfigurationError(key, "must contain only finite values")


def _pair(key: str, values: object) -> tuple[float, float]:
    """Return two numbers, none negative and one above 0; raise `ConfigurationError` for others."""
    try:
        bm25, dense = map(float, values)  # type: ignore[call-overload]
        fit = not isinstance(values, str) and min(bm25, dense) >= 0 and bm25 + dense > 0
    except (OverflowError, TypeError, ValueError):
        fit = False
    if not fit or not math.isfinite(bm25 + dense):
        raise ConfigurationError(
            key, f"must be (bm25, dense), none negative and one above 0, got {values!r}"
        )
    return bm25, dense


def check_language(language: str) -> None:
    """Raise `ConfigurationError` for a language that BM25 does not know."""
    one_of("language", language, get_args(Language))
