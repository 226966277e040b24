"""The embedding models at hand, compared with the vectors of a collection, for ``adopt``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vecdb_rerank.adopt.description import Description
    from vecdb_rerank.adopt.embedders import Candidate
    from vecdb_rerank.protocols import Embedder

_BUNDLED = "bundled"
_LOCAL = ("onnx", "torch", "sentence_transformers")  # embedders that send no text anywhere
_SERVICES = ("openai", "cohere", "voyage", "jina", "tei")  # asked only if they are named


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


def _sections(given: str | None) -> list[Mapping[str, str | int]]:
    """Return the settings of the embedders to compare."""
    from vecdb_rerank.config.loading import load_environment
    from vecdb_rerank.errors import ConfigurationError

    bundled: Mapping[str, str | int] = {"type": "onnx", "model": _BUNDLED}
    if given == "none":
        return []
    if given == _BUNDLED:
        return [bundled]
    if given is None:
        section = load_environment(_named_sections()).embedder
        own: Mapping[str, str | int] = {
            "type": section.type,
            "model": str(getattr(section, "model", "")),
        }
        return [bundled, *([own] if section.type in _LOCAL and own != bundled else [])]
    kind, colon, model = str(given).partition(":")
    if not colon or kind not in (*_LOCAL, *_SERVICES):
        kinds = ", ".join(f"{kind}:MODEL" for kind in (*_LOCAL, *_SERVICES[:-1]))
        raise ConfigurationError("--embedder", f"must be bundled, none, tei:URL or one of {kinds}")
    return [{"type": kind, "url" if kind == "tei" else "model": model}]


def _named_sections() -> Collection[str]:
    """Return the section of the embedder if the environment names one, not only a key for it."""
    from vecdb_rerank.config.settings import ENV_PREFIX

    named = {f"{ENV_PREFIX}EMBEDDER__{key}" for key in ("TYPE", "MODEL")}
    return ("embedder",) if named & set(map(str.upper, os.environ)) else ()


def _compared(
    section: Mapping[str, str | int],
    description: Description,
    vector: str,
    size: int | None,
    paths: Sequence[str],
) -> Candidate | None:
    """Return an embedder with how well it agrees; None if its vectors are of another size.

    A service is asked for vectors of the stored size if its model makes others by default.
    """
    from vecdb_rerank.adopt.embedders import Candidate, agreement
    from vecdb_rerank.embedders.flows import closing
    from vecdb_rerank.errors import EmbedderError
    from vecdb_rerank.flow.drivers import run

    is_service = section["type"] in _SERVICES
    if (embedder := _made(section, is_service)) is None:
        return None
    try:
        if size in (None, embedder.dimension):
            return Candidate(section, agreement(embedder, description.samples, vector, paths))
    finally:
        run(closing(embedder))
    if not is_service or size is None or "dimensions" in section:
        return None
    try:
        return _compared({**section, "dimensions": size}, description, vector, size, paths)
    except EmbedderError:  # the model has one size
        return None


def _made(section: Mapping[str, str | int], is_service: bool) -> Embedder | None:
    """Return the embedder of a section; the key and address of a service are the environment's."""
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.loading import check, load_environment

    if not is_service:
        return factory.embedder(check(embedder=section))
    return factory.embedder(load_environment(("embedder",), embedder=section))
