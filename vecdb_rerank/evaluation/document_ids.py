"""Find the ids that judgments use in the hits of a search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import Candidate, HitId
from vecdb_rerank.text_fields import lookup


@dataclass(frozen=True, slots=True)
class DocumentIds:
    """Which id of a hit the judgments name: by default that of the stored document.

    ``field`` is a dotted path in the payload, in which `lookup` finds the id. With ``chunks``,
    several hits may have the same id: chunks are stored and whole documents judged. A document
    then has the rank of its best chunk.
    """

    field: str | None = None
    chunks: bool = False

    @property
    def option(self) -> str:
        """The option of the command line that names the field."""
        return "--judge-by" if self.chunks else "--id-field"

    def of_hits(self, candidates: Sequence[Candidate]) -> dict[HitId, str]:
        """Return the document's id of each hit, in their order.

        A hit without a value in ``field`` keeps its own id, which no judgment names. Raises
        `ConfigurationError` if no hit has a value, or if two have the same one without ``chunks``.
        """
        if self.field is None:
            return {candidate.id: str(candidate.doc_id) for candidate in candidates}
        found = {c.id: document_id(c.payload, self.field) for c in candidates}
        if candidates and not any(found.values()):
            raise ConfigurationError(
                self.option,
                f"no hit has a value in {self.field!r}; "
                f"the fields of a hit are {fields(candidates[0].payload)}",
            )
        ids = {c.id: found[c.id] or str(c.doc_id) for c in candidates}
        if not self.chunks and (twice := _first_repeated(ids.values())) is not None:
            raise ConfigurationError(
                self.option,
                f"several hits have the id {twice!r}; "
                f"if these are chunks of one document, use --judge-by {self.field}",
            )
        return ids


OWN = DocumentIds()


def document_id(payload: object, field: str) -> str | None:
    """Return the id at a dotted path of a payload; None if there is no string or integer."""
    value = lookup(payload, field)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value) or None


def distinct(ids: Iterable[str]) -> list[str]:
    """Return each id once, where it comes first: a document ranks as its best chunk."""
    return list(dict.fromkeys(ids))


def fields(payload: object, prefix: str = "") -> str:
    """Return the names of a payload's fields, those of inner objects as dotted paths."""
    return ", ".join(_paths(payload, prefix)) or "none"


def _paths(payload: object, prefix: str) -> Iterable[str]:
    if not isinstance(payload, dict):
        return
    for name, value in payload.items():
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _first_repeated(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return None
