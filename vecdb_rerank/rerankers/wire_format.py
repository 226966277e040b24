"""What describes the requests and responses of one kind of rerank server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, get_args

from vecdb_rerank._checks import (
    check_names,
    check_type,
    checked_body,
    integer,
    is_bool,
    one_of,
    shown,
)
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.http.headers import check_headers
from vecdb_rerank.rerankers.wire_template import PLACEHOLDERS, has_stray_document, names

Scale = Literal["relevance", "logits"]
Unit = Literal["search", "query", "token"]
Signing = Literal["aws", "google"]


@dataclass(frozen=True, slots=True)
class WireFormat:
    """The requests and responses of one kind of server.

    In ``body`` and ``instructed_query``, ``{model}``, ``{query}``, ``{documents}``, ``{document}``,
    ``{id}``, ``{queries}``, ``{count}``, ``{instruction}`` and ``{logits}`` stand for their values
    (`vecdb_rerank.rerankers.wire_template`); ``path`` may hold ``{model}``, and
    ``{model_with_underscores}``, in which dots become underscores. Places in responses are the
    names of keys, joined by dots. Raise `ConfigurationError` for a description that cannot work.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str = ""
    """What is appended to the server's address, unless it ends in it already."""
    body: Mapping[str, object] = field(default_factory=dict)
    """The request's JSON, with placeholders."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that every request has."""
    instructed_query: str | None = None
    """The query if there is an instruction, for services that read it there."""
    auth_header: str = "Authorization"
    """The header of the key."""
    auth_prefix: str = "Bearer "
    """What precedes the key in that header."""
    signing: Signing | None = None
    """Whose credentials sign requests if there is no key."""
    results: str = "results"
    """The place of the list of results; ``""``: the response is the list."""
    index: str | None = "index"
    """The place of the document's index in a result; None or ``""``: results are in the documents'
    order."""
    id: str | None = None
    """The place of the document's ``{id}`` in a result, instead of an index."""
    score: str = "relevance_score"
    """The place of the score in a result; ``""``: the result is the score."""
    next_page: str | None = None
    """The key of the token for the next page of results, in responses and requests."""
    scale: Scale = "relevance"
    """What scores are: ``relevance`` (0 to 1) or ``logits``."""
    usage: str | None = None
    """The place of the billed units."""
    error: str = "message"
    """The place of the message in an error response; other places are tried after it."""
    max_documents: int = 1_000
    """The most documents in one request."""
    max_chars: int | None = None
    """The most characters of a document; the rest of a longer one is not sent."""
    max_tokens: int | None = None
    """The most tokens in one request: those of the query with each of the documents."""
    listwise: bool = False
    """Whether a score depends on the other documents, so that no call is split into several."""
    listwise_models: tuple[str, ...] = ()
    """The beginnings of the names of models that are listwise."""
    unit: Unit | None = None
    """What the service bills: ``search`` units, each ``query`` with up to 100 documents, or each
    ``token``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", self.index or None)
        for name in ("path", "auth_header", "auth_prefix", "results", "score", "error"):
            if not isinstance(given := getattr(self, name), str):
                raise ConfigurationError(f"custom.{name}", f"must be a str, got {shown(given)}")
        for name in ("index", "id", "next_page", "usage", "instructed_query"):
            check_type(f"custom.{name}", getattr(self, name), str)
        check_headers(self.headers, key="custom.headers")
        check_headers({self.auth_header: f"{self.auth_prefix}key"}, key="custom.auth_header")
        one_of("custom.scale", self.scale, get_args(Scale))
        for name, words in (("signing", get_args(Signing)), ("unit", get_args(Unit))):
            if (given := getattr(self, name)) is not None:
                one_of(f"custom.{name}", given, words)
        is_bool("custom.listwise", self.listwise)
        models = self.listwise_models
        if not isinstance(models, list | tuple) or not all(isinstance(m, str) for m in models):
            raise ConfigurationError("custom.listwise_models", "must be a list of str")
        object.__setattr__(self, "listwise_models", tuple(models))
        for name in ("max_documents", "max_chars", "max_tokens"):
            if (given := getattr(self, name)) is not None or name == "max_documents":
                integer(f"custom.{name}", given, 1)
        if self.path and (not self.path.startswith("/") or names(self.path) - {"model"}):
            raise ConfigurationError("custom.path", "must begin with /, and may hold {model}")
        checked_body(self.body, "custom.body")
        found = names(self.body)
        if not found & {"query", "queries"} or not found & {"documents", "document"}:
            raise ConfigurationError(
                "custom.body",
                "must hold {query} (or {queries}) and {documents}, or a list with {document}; "
                f"placeholders: {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}",
            )
        if has_stray_document(self.body):
            raise ConfigurationError(
                "custom.body",
                "{document} and {id} must be in a list of one item, which is repeated",
            )
        if self.id is not None and "id" not in found:
            raise ConfigurationError("custom.id", "needs {id} beside {document} in the body")
        if not self.score and (self.index or self.id):
            raise ConfigurationError("custom.index", 'must be "" if a result is the score itself')
        query = self.instructed_query
        if query is not None and not names(query) >= {"query", "instruction"}:
            raise ConfigurationError(
                "custom.instructed_query", "must hold {query} and {instruction}"
            )

    @classmethod
    def of(cls, given: Mapping[str, object]) -> WireFormat:
        """Return the format with these fields; raise `ConfigurationError` for wrong names."""
        check_type("custom", given, Mapping)
        check_names(given, {each.name for each in fields(cls)}, "custom")
        return cls(**given)  # type: ignore[arg-type]  # checked when it is made

    @property
    def needs_model(self) -> bool:
        """Whether requests name the model."""
        return "model" in names(self.body) or "{model" in self.path

    @property
    def takes_instruction(self) -> bool:
        """Whether requests have a place for an instruction."""
        return self.instructed_query is not None or "instruction" in names(self.body)

    def is_listwise(self, model: str | None) -> bool:
        """Return whether a score of ``model`` depends on the other documents."""
        return self.listwise or (model or "").startswith(self.listwise_models)
