"""Check the filters of callers who are not trusted, and add those they cannot escape: pure.

Qdrant's filters read the payloads, ids and vectors of the searched collection, and nothing else, so
every filter of the client's model passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from qdrant_client.http import models

from vecdb_rerank._checks import json_kind
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_qdrant.queries import native_filter

Given = models.Filter | Mapping[str, object] | None


def combined(given: object, required: object = None) -> models.Filter | None:
    """Return the filter of a caller's search: ``required`` and ``given`` have to match.

    Each of the two is a condition of its own, so no ``should`` in ``given`` widens ``required``.
    Raises `ConfigurationError` (key ``filter…``) if ``given`` is not a filter.
    """
    if not isinstance(given, Mapping | models.Filter | None):
        raise ConfigurationError("filter", f"must be an object, got {json_kind(given)}")
    filters = [native_filter(cast("Given", one)) for one in (required, given)]
    present: list[models.Condition] = [one for one in filters if one is not None]
    return models.Filter(must=present) if present else None
