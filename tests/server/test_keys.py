"""Keys: who may call, with which models, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.running import WORDS, serving
from vecdb_rerank.config.loading import check, load_environment
from vecdb_rerank.config.serve import KeySettings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.checks import keys
from vecdb_rerank.server.checks.keys import KeyRing
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.service import Service

KEY, OTHER = "0123456789abcdef-one", "0123456789abcdef-two"
BODY = {"query": "q", "documents": ["d"]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_key_opens_its_models() -> None:
    models = [{"name": name, "reranker": {**WORDS, "name": name}} for name in ("a", "b")]
    given = [KEY, {"key": OTHER, "name": "shop", "models": ["b"], "rate": 2}]
    with serving({"models": models, "keys": given}) as running:

        def status(model: str, **headers: str) -> int:
            body = {**BODY, "model": model}
            return running.client.post("/v1/rerank", json=body, headers=headers).status_code

        assert status("a") == 401
        assert status("a", authorization=f"Bearer {KEY[:-1]}") == 401
        assert status("a", authorization=f"Basic {KEY}") == 401
        assert status("a", **bearer(KEY)) == 200
        assert status("a", **{"x-api-key": KEY}) == 200
        assert status("a", **bearer(OTHER)) == 404
        assert status("b", **bearer(OTHER)) == 200
        limited = running.client.get("/v1/models", headers=bearer(OTHER))
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) >= 1
        assert running.client.get("/health").status_code == 200
        assert running.client.get("/nothing").status_code == 401


def test_a_file_of_keys_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOK_AGAIN", 0.0)
    file = tmp_path / "keys.toml"

    def write(text: str) -> None:
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").replace(file)

    write(f'[[keys]]\nkey = "{KEY}"\nname = "one"\n')
    ring = KeyRing((), file)
    assert ring.caller([f"bearer {KEY}"], []).name == "one"
    write(f'keys = ["{OTHER}"]\n')
    assert ring.caller([f"Bearer {OTHER}"], []).name == "key-1"
    for wrong in ("keys = 3", "not toml", f'keys = ["short", "{KEY}"]'):
        write(wrong)
        assert ring.caller([f"Bearer {OTHER}"], []).name == "key-1"
        with pytest.raises(ApiError):
            ring.caller([f"Bearer {KEY}"], [])
        with pytest.raises(ConfigurationError) as caught:
            KeyRing((), file)
        assert caught.value.key == "serve.keys_file"
        assert KEY not in str(caught.value)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECDB_RERANK__SERVE__KEYS", f'["{KEY}", {{"key": "{OTHER}", "rate": 1}}]')
    found = load_environment(["serve"]).serve.keys
    assert [(one.key.get_secret_value(), one.rate) for one in found] == [(KEY, None), (OTHER, 1.0)]
    assert KEY not in repr(found)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_other_machines_need_a_key(plugin: None, host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Service(check(reranker=WORDS, serve={"host": host}))
    assert caught.value.key == "serve.keys"
    Service(check(reranker=WORDS, serve={"host": host, "anonymous": True}))
    Service(check(reranker=WORDS, serve={"host": host, "keys": [KEY]}))


def test_new_settings_give_no_new_rate() -> None:
    key = KeySettings.model_validate({"key": KEY, "rate": 0.001})
    ring = KeyRing((key,), None)
    ring.caller([f"Bearer {KEY}"], [])
    with pytest.raises(ApiError) as caught:
        KeyRing((key,), None, ring).caller([f"Bearer {KEY}"], [])
    assert caught.value.status == 429


def test_a_weak_key_is_refused() -> None:
    for weak in ("short", "with spaces 0123456789"):
        with pytest.raises(ValueError, match="16"):
            KeySettings.model_validate({"key": weak})
