"""Reading code bases: which calls are found, and what becomes of each.

The code carries what is expected: ``# -> verdict: reason`` behind a call, one for each request.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.scan import Report, scan

TEXT = 'models.Document(text="what?", model="qdrant/bm25")'
QDRANT = """
from qdrant_client import QdrantClient, models

from vecdb_rerank import Policy

client = QdrantClient("http://localhost:6333")
"""
OPENSEARCH = """
from opensearchpy import OpenSearch

client = OpenSearch()
"""
Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(code: Mapping[str, str]) -> Path:
        for name, text in code.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


def found(report: Report) -> list[tuple[str, int, str, str]]:
    return [(Path(c.file).name, c.line, c.verdict, c.reason) for c in report.calls]


def expected(folder: Path) -> list[tuple[str, int, str, str]]:
    marked = []
    for file in sorted(folder.rglob("*.py")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            for verdict, reason in re.findall(r"# -> (\w+): (.*?)(?= # -> |$)", line):
                marked.append((file.name, number, verdict, reason))
    return marked


def check(folder: Path) -> None:
    wanted = expected(folder)
    assert wanted
    assert found(scan(folder)) == wanted


LATER = "decided at run time; without a text: give rerank_query="
NONE = "passed_through: no query text in the request: give rerank_query="


@pytest.mark.parametrize(
    "call",
    [
        f"query_points('c', query={TEXT})  # -> reranked: by the text in the query",
        f"query_points('c', {TEXT}, limit=3)  # -> reranked: by the text in the query",
        "query_points('c', query=models.NearestQuery(nearest=" + TEXT + "))"
        "  # -> reranked: by the text in the query",
        "query_points('c', prefetch=[models.Prefetch(query=" + TEXT + "), models.Prefetch("
        "query=[0.1])], query=models.FusionQuery(fusion=models.Fusion.RRF))"
        "  # -> reranked: by the text in its prefetch",
        f"query_points_groups('c', 'author', {TEXT})  # -> reranked: by the text in the query",
        f"query_points('c', query=[0.1, 0.2])  # -> {NONE}",
        "query_points('c', query=model.encode(text).tolist())"
        f"  # -> unclear: model.encode(text).tolist() is {LATER}",
        "query_points('c', query=[0.1], rerank_query=text)  # -> reranked: by rerank_query",
        f"query_points('c', query={TEXT}, rerank=False)  # -> passed_through: rerank=False",
        "query_points('c', query=models.OrderByQuery(order_by='at'), rerank_query='x')"
        "  # -> passed_through: order_by: the order is that of a field",
        "query_points('c', query=models.RecommendQuery(recommend=x))"
        "  # -> passed_through: recommend: hits resemble other points",
        "query_points('c', query=models.SampleQuery(sample=models.Sample.RANDOM))"
        "  # -> passed_through: sample: hits are drawn at random",
        "query_points('c', query=models.NearestQuery(nearest=v, mmr=models.Mmr()), "
        "rerank_query='x')  # -> passed_through: mmr: the order favours variety",
        "query_points('c', [0.1], prefetch=models.Prefetch(query=models.SampleQuery(sample=x)))"
        "  # -> passed_through: sample: hits of a prefetch are drawn at random",
        f"query_points('c', {TEXT}, limit=0)  # -> passed_through: limit: 0, no hits are wanted",
        "query_points('c')  # -> passed_through: no query: points come in the order of their ids",
        f"query_points('c', query=given)  # -> unclear: given is {LATER}",
        f"query_points(**given)  # -> unclear: ** is {LATER}",
        f"query_batch_points('c', [models.QueryRequest(query={TEXT}), models.QueryRequest("
        f"query=[0.1])])  # -> reranked: by the text in the query # -> {NONE}",
        f"query_batch_points('c', given)  # -> unclear: given is {LATER}",
        f"query_points('c', query={TEXT}, **given)  # -> unclear: ** is {LATER}",
        f"query_points('c', query={TEXT}, limit=v)  # -> reranked: by the text in the query",
        f"query_points('c', query={TEXT}, rerank=given)  # -> unclear: given is {LATER}",
        "query_points('c', query=v, rerank_query=text, rerank=Policy())"
        "  # -> reranked: by rerank_query",
        "query_points('c', query=models.FusionQuery(fusion=models.Fusion.RRF), prefetch=["
        "models.Prefetch(query=v, limit=x), models.Prefetch(query=model(text))], rerank_query=text)"
        "  # -> reranked: by rerank_query",
        f"query_points('c', query={TEXT}, rerank_query=7)"
        "  # -> refused: rerank_query: expected a text",
        f"query_points('c', query={TEXT}, prefetch=given)  # -> unclear: given is {LATER}",
        "query_points('c', query=models.FormulaQuery(formula=models.SumExpression(sum=['$score', "
        "'likes'])), prefetch=models.Prefetch(query=v), rerank_query=text)"
        "  # -> reranked: by rerank_query",
        "query_points('c', query=models.FormulaQuery(formula='likes'), "
        "prefetch=models.Prefetch(query=v), rerank_query=text)"
        "  # -> passed_through: formula: it holds no $score",
        "query_points('c', query=models.FormulaQuery(formula=v), prefetch=models.Prefetch("
        "query=[0.1]), rerank_query=text)  # -> unclear: v is decided at run time",
        "query_points('c', query=[0.1], offset=60, rerank_query=text)"
        "  # -> passed_through: the page lies past the 50 hits that are reranked",
        "scroll('c')  # -> passed_through: scroll: no ranking",
        "retrieve('c', [1])  # -> passed_through: retrieve: points by id",
        "search('c', [0.1])  # -> refused: search: qdrant-client removed it; use query_points",
    ],
)
def test_calls_of_a_qdrant_client(write: Write, call: str) -> None:
    check(write({"a.py": f"{QDRANT}\ndef f(given, text, model, x, v):\n    client.{call}\n"}))


MATCH = '{"match": {"title": text}}'
BY_QUERY = "reranked: by the text in the query"


@pytest.mark.parametrize(
    "call",
    [
        f'search(body={{"query": {MATCH}}}, index="i")  # -> {BY_QUERY}',
        f'search({{"query": {{"match": {{"title": {{"query": "x"}}}}}}}})  # -> {BY_QUERY}',
        'search(body={"query": {"multi_match": {"query": text, "fields": ["a"]}}})'
        f"  # -> {BY_QUERY}",
        'search(body={"query": {"hybrid": {"queries": [' + MATCH + ', {"neural": {"v": '
        f'{{"query_text": text, "k": 5}}}}}}]}}}}}})  # -> {BY_QUERY}',
        'search(body={"query": {"bool": {"must": [' + MATCH + '], "filter": [{"match": '
        f'{{"kind": "note"}}}}]}}}}}})  # -> {BY_QUERY}',
        'search(body={"query": {"bool": {"should": [' + MATCH + ', {"match": {"a": other}}]}}})'
        "  # -> passed_through: several query texts in the request: give rerank_query=",
        f'search(body={{"query": {{"knn": {{"v": {{"vector": v, "k": 5}}}}}}}})  # -> {NONE}',
        'search(body={"query": {"knn": {"v": {"vector": v}}}}, rerank_query=text)'
        "  # -> reranked: by rerank_query",
        'search(body={"query": {"match_all": {}}, "ext": {"rerank": {"query_context": '
        '{"query_text": text}}}})  # -> reranked: by the text in ext.rerank.query_context',
        f'search(body={{"query": {MATCH}, "sort": ["at"]}})'
        "  # -> passed_through: sort: other than by score alone",
        f'search(body={{"query": {MATCH}, "sort": ["_score"]}})  # -> {BY_QUERY}',
        f'search(body={{"query": {MATCH}, "search_after": [1]}})'
        "  # -> passed_through: search_after: the database owns the order",
        f'search(body={{"query": {MATCH}}}, scroll="1m")'
        "  # -> passed_through: scroll: the database owns the order",
        f'search(body={{"query": {MATCH}}}, params={{"filter_path": "took"}})'
        "  # -> passed_through: filter_path: hides hits.hits._id, or the text to rerank",
        f'search(body={{"query": {MATCH}, "size": 0}})'
        "  # -> passed_through: size: 0, no hits are wanted",
        f'search(body={{"query": {MATCH}}}, rerank=False)  # -> passed_through: rerank=False',
        f"search(index='i')  # -> {NONE}",
        """search(body='{"query": {"match": {"a": "x"}}}')  # -> """ + BY_QUERY,
        "search(body='no json')  # -> passed_through: body: not a JSON object",
        f'search(body={{"query": {MATCH}}}, format="yaml")'
        "  # -> passed_through: format: the answer is yaml, not JSON",
        f'search(body={{"query": {MATCH}, "stored_fields": "_none_"}})'
        "  # -> passed_through: stored_fields: _none_ hides the ids",
        f'msearch(body=[{{}}, {{"query": {MATCH}}}], rerank_query=["a", "b"])'
        "  # -> refused: rerank_query: 2 values for 1 requests",
        f"search(index='i', q=text)  # -> {BY_QUERY}",
        'search(body={"query": ' + MATCH + f', "sort": given}})  # -> unclear: given is {LATER}',
        'search(body={"query": ' + MATCH + ', "sort": [{"_score": "asc"}]})'
        "  # -> passed_through: sort: other than by score alone",
        f'search(body={{"query": {MATCH}, "_source": given}})  # -> unclear: given is {LATER}',
        f'search(body={{"query": {MATCH}, "size": v}}, from_=v)  # -> {BY_QUERY}',
        f'search(body={{"query": {MATCH}, "aggs": given, "highlight": v}})  # -> {BY_QUERY}',
        f'search(body={{"query": {MATCH}}}, filter_path=given)  # -> unclear: given is {LATER}',
        f'search(body={{"query": {MATCH}}}, params=given)  # -> unclear: given is {LATER}',
        f'search(body={{"query": {MATCH}, "rescore": {{"window_size": 3}}}})'
        "  # -> passed_through: rescore: several, or not by a query",
        'search(body={"query": {"bool": {"must": '
        + MATCH
        + ', "should": {"term": {"a": given}}}}})'
        f"  # -> {BY_QUERY}",
        'search(body={"query": {"function_score": {"query": '
        + MATCH
        + f', "weight": v, "boost": v}}}}}})  # -> {BY_QUERY}',
        'search(body={"query": {"function_score": {"query": '
        + MATCH
        + f', "functions": given}}}}}})  # -> unclear: given is {LATER}',
        'search(body={"query": {"function_score": {"query": ' + MATCH + ', "random_score": {}}}})'
        "  # -> passed_through: function_score: random_score computes a score",
        'search(body={"query": {"bool": {"must": ' + MATCH + ', "should": {"term": {"a": text}}}}})'
        f"  # -> {BY_QUERY}",
        f'search({{"query": {{"bool": {{"must": {MATCH}, "filter": given}}}}}})  # -> {BY_QUERY}',
        f'search(body={{"query": {{"bool": {{"must": given}}}}}})  # -> unclear: given is {LATER}',
        "search_template(body=given)"
        "  # -> passed_through: search_template: the server makes the body of a template",
        f"search(body=given)  # -> unclear: given is {LATER}",
        'search(body={**given, "size": 3})  # -> unclear: ** is decided at run time;'
        " without a text: give rerank_query=",
        f'msearch(body=[{{}}, {{"query": {MATCH}}}, {{}}, {{"query": {{"match_all": {{}}}}}}])'
        f"  # -> {BY_QUERY} # -> {NONE}",
        "scroll(scroll_id='x')  # -> passed_through: scroll: a page of the database's order",
        "count(index='i')  # -> passed_through: count: a count",
    ],
)
def test_calls_of_an_opensearch_client(write: Write, call: str) -> None:
    code = f"{OPENSEARCH}\ndef f(given, text, other, v):\n    client.{call}\n"
    check(write({"a.py": code}))


def test_a_request_is_followed_through_names(write: Write) -> None:
    code = f"""{OPENSEARCH}
SIZE = {{"size": 0}}

def f(text, more):
    body = {{"query": {{"match_all": {{}}}}}}
    body["query"] = {{"match": {{"title": text}}}}
    client.search(body=body)  # -> {BY_QUERY}
    both = dict(**SIZE, query=body["query"])
    client.search(body=both)  # -> passed_through: size: 0, no hits are wanted
    changed = {{"size": 3}}
    changed.update(more)
    client.search(body=changed)  # -> unclear: ** is {LATER}
    twice = {{"query": {{"match": {{"a": text}}}}}}
    twice = more
    client.search(body=twice)  # -> unclear: twice is {LATER}
"""
    check(write({"a.py": code}))


CLIENTS = """
from __future__ import annotations
import qdrant_client as q
import opensearchpy
from dataclasses import dataclass
from typing import Annotated, Optional
from opensearchpy import AsyncOpenSearch as Async, helpers
from vecdb_rerank_qdrant import RerankingQdrantClient

class Base:
    def __init__(self, client: "q.QdrantClient | None" = None):
        self.client = client or q.QdrantClient(":memory:")

    @property
    def same(self):
        return self.client

class Store(Base):
    def __init__(self):
        self.other = Async()

    async def both(this):
        this.client.scroll("c")  # -> passed_through: scroll: no ranking
        this.same.scroll("c")  # -> passed_through: scroll: no ranking
        await this.other.count()  # -> passed_through: count: a count

@dataclass
class Held:
    store: Store
    raw: Optional[q.AsyncQdrantClient] = None

    async def all(self):
        self.store.client.count("c")  # -> passed_through: count: a count
        await self.raw.count("c")  # -> passed_through: count: a count

async def annotated(a: Annotated[Async, "x"], b: list[Async], *, c: q.AsyncQdrantClient):
    await a.count()  # -> passed_through: count: a count
    b.count()
    await c.count("c")  # -> passed_through: count: a count

async def blocks():
    async with Async() as one, q.AsyncQdrantClient() as two:
        await one.count()  # -> passed_through: count: a count
        await two.count("c")  # -> passed_through: count: a count
    with q.QdrantClient() as three:
        three.upsert("c", [])
    (four := q.QdrantClient()).count("c")  # -> passed_through: count: a count
    [four.count(n) for n in "cd"]  # -> passed_through: count: a count
    RerankingQdrantClient(four).count("c")  # -> passed_through: count: a count
    four.http.points_api.scroll_points()  # -> passed_through: http: not a method of the client
    run(four.query_points, "c")  # -> unclear: handed on as a function

def made():
    return opensearchpy.OpenSearch()

def given():
    client = made()
    yield client

def uses(client):
    client.count()
    made().count()  # -> passed_through: count: a count
    next(given()).count()
    helpers.scan(made())  # -> passed_through: a scroll: no ranking
    opensearchpy.Search(using=made())  # -> unclear: reranked if its body has one text
"""


def test_clients_are_followed_to_where_they_are_used(write: Write) -> None:
    folder = write({"a.py": CLIENTS})
    check(folder)
    assert scan(folder).others == 1


def test_clients_are_followed_from_file_to_file(write: Write) -> None:
    wanted = "# -> passed_through: count: a count"
    folder = write(
        {
            "app/__init__.py": "from .db import client as exported",
            "app/db.py": f"{QDRANT}\ndef get() -> QdrantClient: ...",
            "app/a.py": f"from .db import client as c, get\nc.count('c')  {wanted}\n"
            f"get().count('c')  {wanted}",
            "app/b.py": f"import app.db\napp.db.client.count('c')  {wanted}",
            "app/inner/c.py": f"from .. import exported\nexported.count('c')  {wanted}",
            "app/inner/d.py": f"from app import db\ndb.get().count('c')  {wanted}",
        }
    )
    check(folder)
    assert len(scan(folder / "app").calls) == 5  # also where the packages' root is not known


def test_names_of_other_libraries_are_left_alone(write: Write) -> None:
    folder = write(
        {
            "a.py": """
            from elsewhere import QdrantClient, OpenSearch
            from opensearchpy import helpers
            QdrantClient().query_points("c")
            OpenSearch().search(body={})
            class Other:
                def search(self): ...
                def f(self):
                    client = OpenSearch()
                    self.search()
                    client.search()
            def loop(client):
                client = client.client
                client.search()
            """
        }
    )
    assert scan(folder) == Report(1, (), 0, {})


def test_only_a_code_bases_own_files_are_read(write: Write) -> None:
    code = f"{QDRANT}client.count('c')\n"
    others = [
        "venv/a.py",
        ".git/a.py",
        "mine/lib/a.py",
        "node_modules/x/a.py",
        "x/__pycache__/a.py",
    ]
    folder = write({"src/own.py": code, "src/stub.pyi": code, "a.txt": code, "mine/pyvenv.cfg": ""})
    write(dict.fromkeys(others, code))
    assert [Path(call.file).name for call in scan(folder).calls] == ["own.py", "stub.pyi"]
    assert scan(folder, exclude=["*.pyi"]).files == 1
    assert scan(folder, exclude=["src"]).files == 0
    assert scan(folder, exclude=["src/own.py"]).files == 1


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_read(write: Write) -> None:
    folder = write({"good.py": f"{QDRANT}client.count('c')\n", "bad.py": "def (:\n"})
    (folder / "binary.py").write_bytes(b"\xff\xfe\x00")
    (folder / "gone.py").symlink_to(folder / "nowhere")
    (folder / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000, encoding="utf-8")
    report = scan(folder)
    assert len(report.calls) == 1
    reasons = {Path(file).name: why for file, why in report.unreadable.items()}
    assert reasons.keys() == {"bad.py", "binary.py", "gone.py", "deep.py"}
    assert reasons["bad.py"] == "not valid Python, line 1: invalid syntax"
    assert reasons["gone.py"] == "No such file or directory"


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file or folder"):
        scan(tmp_path / "nothing")


def test_what_has_no_text_is_refused_where_the_clients_are_to_raise(write: Write) -> None:
    folder = write({"a.py": f"{QDRANT}client.query_points('c', [0.1])\nclient.scroll('c')\n"})
    verdicts = [call.verdict for call in scan(folder, on_missing_query="raise").calls]
    assert verdicts == ["refused", "passed_through"]
    with pytest.raises(ConfigurationError) as raised:
        scan(folder, on_missing_query="ask")  # type: ignore[arg-type]
    assert raised.value.key == "on_missing_query"


def test_scanning_needs_no_client_library(write: Write) -> None:
    folder = write({"a.py": f"{QDRANT}client.query_points('c', {TEXT})\n"})
    write({"b.py": OPENSEARCH + 'client.search(body={"query": {"match": {"a": "x"}}})\n'})
    code = f"""
import sys
from pathlib import Path
sys.modules["qdrant_client"] = sys.modules["opensearchpy"] = None
from vecdb_rerank.scan import scan
report = scan(Path({str(folder)!r}))
assert report.counts == {{"reranked": 2}}, report
import vecdb_rerank_qdrant, vecdb_rerank_opensearch
for package in (vecdb_rerank_qdrant, vecdb_rerank_opensearch):
    for name in package.__all__:
        try:
            getattr(package, name)
        except ImportError as error:
            assert "pip install" in str(error), error
        else:
            assert name == "deepen", name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
