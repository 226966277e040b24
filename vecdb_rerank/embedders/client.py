"""One embedding service: requests with one owner of retries, and checked vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vecdb_rerank.embedders.formats import EmbedFormat, EmbedRequest, request_body
from vecdb_rerank.embedders.replies import Array, vectors
from vecdb_rerank.errors import EmbedderError, EmbedderTimeoutError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.endpoint import Endpoint
from vecdb_rerank.http.failures import Errors
from vecdb_rerank.http.json_client import JsonClient
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.service import Service
from vecdb_rerank.protocols import Vector


class EmbedServiceError(ServiceError, EmbedderError):
    """A service did not return vectors."""


ERRORS = Errors(EmbedServiceError, EmbedderTimeoutError, "embedder")


class EmbeddingClient:
    """Makes requests to a service, and remembers the dimension of its vectors."""

    def __init__(
        self,
        wire: EmbedFormat,
        endpoint: Endpoint,
        client: JsonClient,
        *,
        timeout: float,
        normalize: bool,
        extra_body: Mapping[str, object],
        dimension: int | None,
    ) -> None:
        self.dimension = dimension
        self._wire = wire
        self._endpoint = endpoint
        self._client = client
        self._service = Service(ERRORS, timeout, wire.error, endpoint.secrets)
        self._normalize = normalize
        self._extra_body = extra_body

    def send(self, request: EmbedRequest, retries: int, deadline: Deadline) -> Flow[list[Vector]]:
        """Return the vectors of the request's texts.

        Raise `EmbedServiceError` for a wrong answer or none, and `EmbedderTimeoutError` at the
        deadline.
        """
        where, texts = self._endpoint.shown, request.texts
        body = {**request_body(request, self._wire), **self._extra_body}

        def attempt(soon: Deadline) -> Flow[list[Vector]]:
            message = self._endpoint.post(body)
            return (
                yield from self._client.exchange(self._service, message, read, where, texts, soon)
            )

        def parse(answer: object) -> list[Vector]:
            return self._directed(vectors(answer, len(texts), self._wire))

        def read(answer: object) -> Flow[list[Vector]]:
            return self._service.reading(parse, answer, where, texts, deadline)

        found = yield from self._service.attempts(attempt, where, retries, deadline)
        self._check_dimension(len(found[0]), where)
        return found

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from self._client.closing()

    def _check_dimension(self, found: int, where: str) -> None:
        """Raise `EmbedServiceError`, marked as not an outage, unless it is the known dimension."""
        if self.dimension not in (None, found):
            error = EmbedServiceError(
                f"{where}: the vectors have {found} dimensions instead of {self.dimension}; "
                "set embedder.dimensions to what the model makes"
            )
            error.is_outage = False
            raise error
        self.dimension = found

    def _directed(self, found: Array) -> list[Vector]:
        """Return the vectors, normalized if wanted; raise `EmbedderError` if one is zero."""
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not lengths.all():
            raise EmbedderError("a vector of the response is zero, which has no direction")
        rows: list[Vector] = (found / lengths if self._normalize else found).tolist()
        return rows
