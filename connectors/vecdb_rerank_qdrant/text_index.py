"""BM25 over a payload field: Qdrant's ``TextQuery`` and the text index that it needs.

Qdrant ranks by a text index with ``scoring`` since version 1.20. Local mode does too, but only
with the default tokens: words in lower case, neither stemmed nor without stop words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client.http import models

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import UNSPACED, Bm25Params, Language
from vecdb_rerank.search.expiring import Expiring
from vecdb_rerank_qdrant import errors
from vecdb_rerank_qdrant.client import Client, is_local

log = logging.getLogger("vecdb_rerank")

_NEEDS = "needs Qdrant 1.20 or later and a text index with scoring on that field"
# Found in no document, so that whoever returns one has ignored the query.
_NOWHERE = "zzqxvecdbrerankqxzz"
_LOOK_AGAIN_AFTER = 60.0  # seconds; at a text index that could not be searched
# Calls ``query_points`` with these arguments.
Query = Callable[[Mapping[str, Any]], Flow[models.QueryResponse]]


@dataclass(frozen=True, slots=True)
class TextQuery:
    """Makes the queries of a text index, with BM25's ``k`` and ``b``.

    Raises `ConfigurationError` if the installed client is too old for them.
    """

    params: Bm25Params

    def __post_init__(self) -> None:
        if not hasattr(models, "TextQuery"):
            raise ConfigurationError("text_index", "needs qdrant-client 1.20 or later: upgrade it")

    def query(self, text: str) -> models.TextQuery:
        """Return the query; the index makes its terms."""
        scoring = models.Bm25Scoring(bm25=models.Bm25Params(k=self.params.k, b=self.params.b))
        return models.TextQuery(text=models.TextQueryInput(query=text, scoring=scoring))


def problem(query: Query, collection: str, field: str) -> Flow[str]:
    """Return why BM25 cannot search the text index of ``field``; empty if it can.

    Asks for a word that is nowhere: servers before 1.20 refuse the query, or ignore it and return
    any point.
    """
    request = {
        "collection_name": collection,
        "query": models.TextQuery(text=_NOWHERE),
        "using": field,
        "limit": 1,
        "with_payload": False,
    }
    try:
        found = yield from query(request)
    except Exception as error:
        if not errors.is_refused(error):
            raise
        why = errors.reason(error)
    else:
        if not found.points:
            return ""
        why = "the server ignores text queries"
    return f"BM25 cannot search {field!r} ({why}); it {_NEEDS}"


def querying(client: Client) -> Query:
    """Return the function that sends a query by ``client``."""

    def query(request: Mapping[str, Any]) -> Flow[models.QueryResponse]:
        found: models.QueryResponse = yield Call(lambda: client.query_points(**request))
        return found

    return query


class TextIndex:
    """The text index of a field, and whether it can be searched, once that is known."""

    def __init__(self, collection: str, field: str) -> None:
        self._collection = collection
        self._field = field
        self._works: Expiring[bool] = Expiring()
        self._problem: Expiring[str] = Expiring(_LOOK_AGAIN_AFTER)

    def problem(self, query: Query) -> Flow[str]:
        """Return why BM25 cannot search it, as `problem` does; a new one is logged."""
        if self._works.get():
            return ""
        why = self._problem.get()
        if why is None:
            why = yield from problem(query, self._collection, self._field)
            if why:
                self._problem.set(why)
                log.warning("%s", why)
            else:
                self._works.set(True)
        return why


def available(client: Client) -> Flow[bool]:
    """Check whether a text index could be created and searched."""
    if not hasattr(models, "TextQuery"):
        return False
    if is_local(client):
        return True
    server: models.VersionInfo = yield Call(client.info)
    major, minor, *_ = (int(part) for part in server.version.split("-")[0].split("."))
    return (major, minor) >= (1, 20)


def missing(client: Client, language: Language) -> str:
    """Return what a text index lacks in local mode; empty for a server's."""
    if not is_local(client):
        return ""
    if language in UNSPACED:
        return f"local mode does not split {language} text into words; most queries find nothing"
    return "local mode does not stem: queries find words only as they are written"


def create(client: Client, collection: str, field: str, language: Language) -> Flow[None]:
    """Create the text index of ``field``, or replace the one that it has; log what it lacks."""
    if lacks := missing(client, language):
        log.warning("text index of %r: %s", field, lacks)
    params = _params(None if is_local(client) else language)
    yield Call(lambda: client.create_payload_index(collection, field, params, wait=True))


def _params(language: Language | None) -> models.TextIndexParams:
    """Return the index of texts in ``language``; None is the only one that local mode has."""
    plain = models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=True)
    if language is None:
        return plain
    if language in UNSPACED:
        return plain.model_copy(update={"tokenizer": models.TokenizerType.MULTILINGUAL})
    snowball = models.SnowballLanguage(language)
    stemmer = models.SnowballParams(type=models.Snowball.SNOWBALL, language=snowball)
    return plain.model_copy(update={"stemmer": stemmer})
