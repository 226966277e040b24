"""The base of the sections of settings, and types that several of them use."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FilePath,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from vecdb_rerank.http.urls import names_server, with_slashes
from vecdb_rerank.secrets import concealed, shown


class Concealing(BaseModel):
    """A model whose representations and dumps show no secret."""

    def require_existing(self) -> None:
        """Raise `ConfigurationError` if it is known, without a request, that nothing is there."""

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, shown(name or "", value)

    @model_serializer(mode="wrap")
    def _without_secrets(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        dumped: dict[str, object] = serialize(self)
        return {name: concealed(name, value) for name, value in dumped.items()}


class Section(Concealing):
    """A part of the settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def server(url: str) -> str:
    """Return ``url`` if it names a server, perhaps without a scheme; else raise ValueError."""
    if not names_server(with_slashes(url), ("", "http", "https")):
        raise ValueError("must be a server's URL, such as http://localhost:6333")
    return url


def _certificates(verify: bool | Path) -> bool | Path:
    if not isinstance(verify, bool):
        try:
            ssl.create_default_context(cafile=verify)
        except OSError:
            raise ValueError(f"expected certificates (PEM) in {verify}") from None
    return verify


Url = Annotated[str, AfterValidator(server)]
Verify = Annotated[bool | FilePath, AfterValidator(_certificates)]
