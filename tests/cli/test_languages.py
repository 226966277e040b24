"""German and Japanese collections, from the command, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import FILE, Ended
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import DEFAULT_FILE, load
from vecdb_rerank.testing.base import new_name

Run = Callable[..., Ended]
GERMAN = {
    "brot": "Sauerteigbrot muss über Nacht ruhen, bevor es in den heißen Ofen geschoben wird.",
    "fuchs": "Der Fuchs jagt in der Dämmerung Mäuse und schläft tagsüber in seinem Bau.",
    "miete": "Der Vermieter darf die Kaution erst nach der Abnahme der Wohnung einbehalten.",
    "fahrrad": "Eine gerissene Fahrradkette lässt sich mit einem Kettennieter reparieren.",
    "steuer": "Die Steuererklärung ist bis Ende Juli beim zuständigen Finanzamt abzugeben.",
    "kaffee": "Fein gemahlener Kaffee schmeckt bitter, wenn das Wasser zu heiß ist.",
    "garten": "Tomaten werden im Mai ausgepflanzt, sobald kein Frost mehr zu erwarten ist.",
    "zug": "Bei einer Verspätung von sechzig Minuten erstattet die Bahn ein Viertel des Preises.",
    "arzt": "Gegen hohes Fieber helfen Wadenwickel und viel Flüssigkeit.",
    "schach": "In der Eröffnung entwickelt man zuerst Springer und Läufer.",
}
JAPANESE = {
    "pan": "サワードウのパンは一晩寝かせてから熱いオーブンで焼きます。",
    "kitsune": "キツネは夕暮れに野ネズミを狩り、昼間は巣穴で眠ります。",
    "yachin": "敷金は部屋の明け渡しが済んでから返還されます。",
    "jitensha": "切れた自転車のチェーンは専用の工具で直せます。",
    "zeikin": "確定申告の書類は三月十五日までに税務署へ提出します。",
    "kohi": "お湯が熱すぎると細かく挽いたコーヒーは苦くなります。",
    "niwa": "トマトの苗は霜の心配がなくなる五月に植えます。",
    "densha": "新幹線が二時間以上遅れた場合は特急料金が払い戻されます。",
    "isha": "高い熱が出たら水分を十分に取り、首や脇を冷やします。",
    "shogi": "将棋の序盤では飛車と角の働きを考えて駒を組みます。",
}
# Inflected words, or others of the same text: each question has one answer.
QUESTIONS = {
    "german": {
        "Wann werden die Kautionen der Mieter zurückgezahlt?": "miete",
        "Wie repariert man Fahrradketten?": "fahrrad",
        "Welche Maus jagt der Fuchs?": "fuchs",
        "Steuererklärungen beim Finanzamt": "steuer",
    },
    "japanese": {
        "自転車のチェーンが切れた": "jitensha",
        "確定申告はいつまで": "zeikin",
        "敷金の返還": "yachin",
        "コーヒーが苦い": "kohi",
        "将棋の序盤": "shogi",
    },
}
TEXTS = {"german": GERMAN, "japanese": JAPANESE}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
def test_a_collection_in_another_language_is_searched_from_the_command(
    kind: str,
    language: str,
    run: Run,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = FILE
    if kind == "opensearch":
        url = request.getfixturevalue("opensearch_url")
        backend = f'[backend]\ntype = "opensearch"\nurl = "{url}"\n'
    Path(DEFAULT_FILE).write_text(
        f'{backend}collection = "{new_name()}"\nlanguage = "{language}"\n', encoding="utf-8"
    )
    lines = [json.dumps({"id": key, "text": text}) for key, text in TEXTS[language].items()]
    Path("documents.jsonl").write_text("\n".join(lines))
    try:
        assert run("index", "documents.jsonl").code == 0
        assert "English" in caplog.text  # is all that the bundled models read
        for mode in ("bm25", "hybrid"):
            best = {}
            for question in QUESTIONS[language]:
                ended = run("search", question, "--mode", mode, "--json", "--limit", "1")
                assert ended.code == 0, ended
                best[question] = _first_id(ended.out)
            assert best == QUESTIONS[language], mode
    finally:
        with closing(factory.build(load().settings)) as connector:
            connector.delete()


def test_no_language_is_warned_of_without_a_model_that_cannot_read_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    Path("documents.jsonl").write_text('{"text": "Der Fuchs"}')
    for models in ('[search]\nmode = "bm25"\n[reranker]\ntype = "none"\n', ""):
        Path(DEFAULT_FILE).write_text(f'{FILE}language = "german"\n{models}')
        assert run("index", "documents.jsonl").code == 0
        assert ("English" in caplog.text) == (not models)


def _first_id(response: str) -> object:
    found = json.loads(response)
    if "hits" in found:
        return found["hits"]["hits"][0]["_id"]
    return found["points"][0]["payload"]["_doc_id"]
