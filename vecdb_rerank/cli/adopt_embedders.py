"""The embedding models at hand, compared with the vectors of a collection, for ``adopt``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vecdb_rerank.adopt.description import Description
    from vecdb_rerank.adopt.embedders import Candidate

_BUNDLED = "bundled"
_LOCAL = ("onnx", "sentence_transformers")  # embedders that send no text anywhere


def candidates(
    description: Description, paths: Sequence[str], given: str | None
) -> dict[str, list[Candidate]]:
    """Return the embedders at hand for each vector, compared with what is stored.

    These are the ``given`` one, or the bundled one and that of the environment. Raises
    `ConfigurationError` if the given one fits none of the vectors.
    """
    from vecdb_rerank.adopt.choices import usable
    from vecdb_rerank.errors import ConfigurationError

    found = {
        vector.name: [
            found
            for section in _sections(given)
            if (found := _compared(section, description, vector.name, vector.size, paths))
        ]
        for vector in usable(description)
    }
    if given not in (None, "none") and not any(found.values()):
        sizes = ", ".join(str(vector.size) for vector in usable(description))
        if not sizes:
            raise ConfigurationError("--embedder", "no dense vector here can be searched")
        raise ConfigurationError(
            "--embedder", f"{given} makes vectors of another size than those stored ({sizes})"
        )
    return found


def _sections(given: str | None) -> list[Mapping[str, str]]:
    """Return the settings of the embedders to compare."""
    from vecdb_rerank.config.loading import load_environment
    from vecdb_rerank.errors import ConfigurationError

    bundled = {"type": "onnx", "model": _BUNDLED}
    if given == "none":
        return []
    if given == _BUNDLED:
        return [bundled]
    if given is None:
        section = load_environment().embedder
        own = {"type": section.type, "model": str(getattr(section, "model", ""))}
        return [bundled, *([own] if section.type in _LOCAL and own != bundled else [])]
    kind, colon, model = str(given).partition(":")
    if not colon or kind not in _LOCAL:
        kinds = ", ".join(f"{kind}:MODEL" for kind in _LOCAL)
        raise ConfigurationError("--embedder", f"must be bundled, none or one of {kinds}")
    return [{"type": kind, "model": model}]


def _compared(
    section: Mapping[str, str],
    description: Description,
    vector: str,
    size: int | None,
    paths: Sequence[str],
) -> Candidate | None:
    """Return an embedder with how well it agrees; None if its vectors are of another size."""
    from vecdb_rerank.adopt.embedders import Candidate, agreement
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.loading import check

    embedder = factory.embedder(check(embedder=section))
    if embedder is None or size not in (None, embedder.dimension):
        return None
    return Candidate(section, agreement(embedder, description.samples, vector, paths))
