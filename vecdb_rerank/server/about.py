"""The routes that say what is served, and whether it is ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from vecdb_rerank._version import __version__
from vecdb_rerank.server.errors import ApiError, Json
from vecdb_rerank.server.models import Model
from vecdb_rerank.server.requests.exchange import exchange_of
from vecdb_rerank.server.requests.replies import JsonResponse
from vecdb_rerank.server.service import Live

_OWNER = "vecdb-rerank"
_TOKENS = 512  # what most cross-encoders read


async def models(request: Request) -> Response:
    """List the models that the caller may use, in OpenAI's shape; an alias names its ``root``.

    The first one is that of requests without a name.
    """
    exchange = exchange_of(request)
    found: list[Json] = []
    for model in exchange.service.models.usable(exchange.caller):
        names = (model.name, *(alias for alias in model.aliases if alias != "*"))
        found += [_model(name, model) for name in names]
    return JsonResponse({"object": "list", "data": found})


def _model(name: str, model: Model) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": _OWNER,
        "root": model.name,
        "capabilities": ["rerank"],
    }


async def info(request: Request) -> Response:
    """Describe the caller's default model as text-embeddings-inference does."""
    exchange = exchange_of(request)
    serve = exchange.service.settings.serve
    model = exchange.service.models.find(None, exchange.caller)
    # Before it is loaded, a model would have to be.
    room = model.chain.rerankers[0].room("") if exchange.service.loaded else None
    described: Json = {
        "model_id": model.name,
        "model_sha": None,
        "model_dtype": "float32",
        "served_model_name": model.name,
        "model_type": {"reranker": {"id2label": {"0": "relevance"}, "label2id": {"relevance": 0}}},
        "max_concurrent_requests": serve.running + serve.queue,
        "max_input_length": room or _TOKENS,
        "max_batch_tokens": serve.max_documents * (room or _TOKENS),
        "max_batch_requests": None,
        "max_client_batch_size": serve.max_documents,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
    return JsonResponse(described)


async def health(request: Request) -> Response:
    """Say whether requests are served: 200, or 503 while models load and at the end."""
    live: Live = request.app.state.live
    if not live.ready:
        raise ApiError(503, "not ready")
    return JsonResponse({"status": "ok"})
