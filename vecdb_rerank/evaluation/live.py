"""Compare judgments with the collection that is searched, before any query is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vecdb_rerank.errors import ConfigurationError, DatabaseError, VecdbRerankError
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.document_ids import document_id, fields
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.search.store import Store

_SAMPLE = 16  # documents


def check(store: Store[Any], dataset: Dataset) -> list[str]:
    """Return sentences about judged documents that the collection lacks; write nothing.

    Raises `ConfigurationError` if it lacks all of them, or if the payloads have no field of that
    name.
    """
    try:
        return run(_check(store, dataset))
    except VecdbRerankError:
        raise
    except Exception as error:
        raise DatabaseError(store.describe_error(error)) from error


def count(store: Store[Any]) -> int:
    """Return the number of documents (or chunks) of the collection."""
    try:
        return run(store.count())
    except Exception as error:
        raise DatabaseError(store.describe_error(error)) from error


def _check(store: Store[Any], dataset: Dataset) -> Flow[list[str]]:
    ids = dataset.ids
    sample = yield from store.sample(_SAMPLE)
    if not sample:
        raise ConfigurationError("backend.collection", "the collection has no documents")
    notes: list[str] = []
    if ids.field is not None:
        stored = [each for p in sample if (each := document_id(p, ids.field)) is not None]
        if not stored:
            raise ConfigurationError(
                ids.option,
                f"no document has a value in {ids.field!r}; their fields are {fields(sample[0])}",
            )
        if len(stored) < len(sample):
            notes.append(
                f"{len(sample) - len(stored)} of {len(sample)} sampled documents have no value in "
                f"{ids.field!r}: they count as not judged."
            )
        # What is not found of the ids that are there cannot be searched for.
        known = yield from store.held(stored, ids.field)
        if known is None or not known.issuperset(stored):
            return [
                *notes,
                f"Whether all judged documents exist was not checked: {ids.field!r} "
                "cannot be searched for exact values.",
            ]
    judged = list(dict.fromkeys(d for q in dataset.queries for d in dataset.qrels.get(q, {})))
    held = yield from store.held(judged, ids.field)
    assert held is not None
    missing = [each for each in judged if each not in held]
    if not missing:
        return notes
    variants = {v: each for each in missing for v in _variants(each)}
    similar = yield from store.held(list(variants), ids.field)
    said = _missing(dataset, missing, {variants[v]: v for v in similar or ()}, len(judged))
    if len(missing) == len(judged):
        names = "" if ids.field else f"; the fields of a document are {fields(sample[0])}"
        raise ConfigurationError(
            "qrels",
            f"{said} Name the field that holds the judged ids: --id-field or --judge-by{names}",
        )
    return [*notes, said]


def _variants(document: str) -> set[str]:
    """Return other spellings of an id: in lower and upper case, and without outer spaces."""
    return {document.lower(), document.upper(), document.strip()} - {document, ""}


def _missing(dataset: Dataset, missing: Sequence[str], similar: dict[str, str], judged: int) -> str:
    example = next((each for each in missing if each in similar), missing[0])
    where = f" ({dataset.judged_at[example]})" if example in dataset.judged_at else ""
    but = f"; the collection has {similar[example]!r}" if example in similar else ""
    return (
        f"{len(missing):,} of {judged:,} judged documents are not in the collection, such as "
        f"{example!r}{where}{but}."
    )
