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
KEY = "0123456789abcdef-one"
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
    ("allowed", "default", "root"),
    [
        ([], "second", ["second", "first", "first", "third"]),
        (["first"], "first", ["first", "first"]),
        (["third", "first"], "third", ["third", "first", "first"]),
        (["third", "second"], "second", ["second", "third"]),
        (["gone", "third"], "third", ["third"]),
        (["gone"], None, []),
    ],
)
def test_a_key_has_a_model_for_requests_without_a_name(
    allowed: list[str], default: str | None, root: list[str]
) -> None:
    third = {"name": "third", "reranker": {**WORDS, "name": "c"}}
    keys = [{"key": KEY, "models": allowed}]
    with serving({"models": [*MODELS, third], "keys": keys}) as running:
        headers = {"authorization": f"Bearer {KEY}"}
        pairs = {"text_1": "q", "text_2": ["d"]}
        tei = {"query": "q", "texts": ["d"]}
        for path, body in (("/v1/rerank", BODY), ("/rerank", BODY), ("/v1/score", pairs)):
            for own in (body, {**body, "model": None}, {**body, "model": ""}):
                answer = running.client.post(path, json=own, headers=headers)
                assert answer.json().get("model") == default
                assert answer.status_code == (404 if default is None else 200)
        answer = running.client.post("/rerank", json=tei, headers=headers)
        assert answer.status_code == (404 if default is None else 200)
        listed = running.client.get("/v1/models", headers=headers).json()["data"]
        assert [one["root"] for one in listed] == root
        info = running.client.get("/info", headers=headers)
        assert info.json().get("model_id") == default


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
