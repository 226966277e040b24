"""Sign requests with the credentials of a cloud: those that its own library finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import httpx

from vecdb_rerank._optional import require, require_installed
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.http.client_pool import ClientPool, Verify
from vecdb_rerank.http.time_limit import until
from vecdb_rerank.rerankers.remote import RerankServiceError
from vecdb_rerank.rerankers.wire_format import Signing

_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN_SECONDS = 30.0  # for a new token


class Signer(Protocol):
    """Returns the headers that prove who sends a request.

    ``secret_header`` is the one that holds for more than this request: no message may repeat it.
    """

    secret_header: str

    @property
    def ready(self) -> bool:
        """Whether `headers` returns at once, without a request for credentials."""
        ...

    def headers(self, message: httpx.Request, query: str) -> Mapping[str, str]:
        """Return headers for ``message``, whose address has ``query`` added.

        Raise `RerankServiceError` if there are no credentials.
        """
        ...


class AwsSigner:
    """Signs by AWS Signature Version 4; ``arn`` (the model's) names the region.

    botocore finds the credentials, and renews those that expire. Raise `MissingDependencyError`
    without it, `ConfigurationError` if ``arn`` is not one.
    """

    secret_header = "X-Amz-Security-Token"

    def __init__(self, arn: str) -> None:
        parts = arn.split(":")
        if parts[0] != "arn" or len(parts) < 6 or not parts[3]:
            raise ConfigurationError(
                "model",
                "must be an ARN with a region, such as "
                "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0",
            )
        require_installed("botocore", "bedrock")
        self._region = parts[3]
        self._credentials: Any = None

    @property
    def ready(self) -> bool:
        """Whether there are credentials that need not be renewed soon."""
        found = self._credentials
        return found is not None and not getattr(found, "refresh_needed", lambda: False)()

    def headers(self, message: httpx.Request, query: str) -> Mapping[str, str]:
        """Return the headers of the signature."""
        if self._credentials is None:
            self._credentials = require("botocore.session", "bedrock").Session().get_credentials()
        if self._credentials is None:
            raise RerankServiceError("no AWS credentials are found; set them as for the AWS CLI")
        url = f"{message.url}?{query}" if query else str(message.url)
        auth = require("botocore.auth", "bedrock")
        request = require("botocore.awsrequest", "bedrock").AWSRequest(
            method=message.method,
            url=url,
            data=message.content,
            headers={"Content-Type": message.headers["Content-Type"]},
        )
        frozen = self._credentials.get_frozen_credentials()
        auth.SigV4Auth(frozen, "bedrock", self._region).add_auth(request)
        names = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")
        return {name: request.headers[name] for name in names if name in request.headers}


class GoogleSigner:
    """Adds an OAuth token, and the project to bill if the credentials name one.

    google-auth finds the credentials and renews a token in a thread of its own shortly before it
    expires. Raise `MissingDependencyError` without the library.
    """

    secret_header = "authorization"

    def __init__(self, *, verify: Verify = True) -> None:
        require("google.auth", "vertex")
        self._transport = _GoogleTransport(verify)
        self._credentials: Any = None

    @property
    def ready(self) -> bool:
        """Whether there is a token that has not expired."""
        return self._credentials is not None and bool(self._credentials.valid)

    def headers(self, message: httpx.Request, query: str) -> Mapping[str, str]:  # noqa: ARG002 - not signed
        """Return the headers with the token."""
        auth = require("google.auth", "vertex")
        errors = require("google.auth.exceptions", "vertex")
        headers: dict[str, str] = {}
        try:
            if self._credentials is None:
                found, _ = auth.default(scopes=[_GOOGLE_SCOPE])
                found.with_non_blocking_refresh()
                self._credentials = found
            self._credentials.before_request(
                self._transport, message.method, str(message.url), headers
            )
        except errors.GoogleAuthError as error:
            raise RerankServiceError(
                f"no Google credentials ({type(error).__name__}); set them as for gcloud",
                transient=bool(getattr(error, "retryable", False)),
            ) from None
        return headers


class _GoogleTransport:
    """Makes google-auth's requests for tokens by our transport."""

    def __init__(self, verify: Verify) -> None:
        self._clients = ClientPool(lambda c: c, lambda c: c, verify=verify, max_bytes=1024 * 1024)

    def __deepcopy__(self, _memo: object) -> _GoogleTransport:
        return self  # for the thread that renews tokens

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_options: object,
    ) -> Any:
        """Return the response, in google-auth's terms."""
        try:
            with until(Deadline.after(timeout or _TOKEN_SECONDS)):
                response = self._clients.sync().request(
                    method, url, content=body, headers=dict(headers or {})
                )
        except httpx.HTTPError as error:
            raise require("google.auth.exceptions", "vertex").TransportError(
                type(error).__name__
            ) from None
        return _GoogleResponse(response)


class _GoogleResponse:
    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = dict(response.headers)
        self.data = response.content


def make_signer(signing: Signing, model: str, *, verify: Verify) -> Signer:
    """Return the signer of a format."""
    return AwsSigner(model) if signing == "aws" else GoogleSigner(verify=verify)
