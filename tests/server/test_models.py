"""Named models, aliases and what the service says about itself."""

from __future__ import annotations

import pytest

from tests.server.running import WORDS, serving
from vecdb_rerank.config.loading import check
from vecdb_rerank.errors import ConfigurationError

MODELS = [
    {"name": "first", "aliases": ["rerank-v3.5"], "reranker": {**WORDS, "name": "a"}},
    {"name": "second", "default": True, "rerankers": [{**WORDS, "name": "b"}]},
]
BODY = {"query": "q", "documents": ["d"]}


def test_a_request_names_its_model() -> None:
    with serving({"models": MODELS}) as running:

        def used(**more: object) -> tuple[str, str]:
            response = running.client.post("/v1/rerank", json={**BODY, **more})
            return response.json()["model"], response.headers["x-vecdb-rerank-reranker"]

        assert used() == ("second", "b")
        assert used(model="first") == ("first", "a")
        assert used(model="rerank-v3.5") == ("first", "a")
        unknown = running.client.post("/v1/rerank", json={**BODY, "model": "rerank-v4"})
        assert unknown.status_code == 404
        assert unknown.json()["error"]["param"] == "model"
        listed = running.client.get("/v1/models").json()["data"]
        assert {one["id"]: one["root"] for one in listed} == {
            "first": "first",
            "rerank-v3.5": "first",
            "second": "second",
        }
        assert running.client.get("/info").json()["model_id"] == "second"
        assert running.client.get("/health").status_code == 200
        running.live.draining = True
        assert running.client.get("/health").status_code == 503


@pytest.mark.parametrize(
    ("models", "key"),
    [
        ([], "serve.models"),
        ([{"name": "a"}, {"name": "b", "aliases": ["a"]}], "serve.models"),
        ([{"reranker": {"type": "none"}}], "serve.models.0.reranker"),
        ([{"reranker": {"type": "onnx", "max_length": 1}}], "serve.models.0.reranker.max_length"),
        ([{"reranker": WORDS, "rerankers": [WORDS]}], "serve.models.0.rerankers"),
    ],
)
def test_wrong_models_are_named(models: object, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(serve={"models": models})
    assert caught.value.key == key
