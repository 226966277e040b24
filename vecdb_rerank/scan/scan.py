"""Read a code base: find every search call, and say what a drop-in client makes of it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from vecdb_rerank._checks import one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.scan import files, opensearch, qdrant
from vecdb_rerank.scan.clients import Database, Project
from vecdb_rerank.scan.rulings import Arguments, Clients, Ruling, Verdict, passed, unclear
from vecdb_rerank.scan.scopes import Scope, build, module_name
from vecdb_rerank.scan.values import Open, evaluate, is_unknown, known_part
from vecdb_rerank.text_fields import TextFields

_RULES: Mapping[Database, ModuleType] = {"qdrant": qdrant, "opensearch": opensearch}


@dataclass(frozen=True, slots=True)
class Call:
    """A call (or one request of a batch) at ``line`` (from 1) of ``file``."""

    file: str
    line: int
    database: Database
    method: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a scan found.

    ``calls`` are in order of file and line. ``others`` counts calls of the clients that do not
    search, such as ``upsert``: those stay as they are. ``unreadable`` maps files that could not be
    read to the reason.
    """

    files: int
    calls: tuple[Call, ...]
    others: int
    unreadable: Mapping[str, str]

    @property
    def counts(self) -> Counter[Verdict]:
        """The number of calls by verdict."""
        return Counter(call.verdict for call in self.calls)


def scan(
    root: Path,
    *,
    exclude: Sequence[str] = (),
    on_missing_query: Literal["pass", "raise"] = "pass",
    k: int = SearchDefaults().k,
    text_fields: TextFields | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """List the search calls in the Python files under ``root``, a folder or one file.

    Nothing is imported or run, and no client library is needed. ``exclude`` takes patterns as
    `files.sources` does. ``on_missing_query``, ``k`` and ``text_fields`` are the options with
    which the clients will be wrapped: with ``raise``, a call without a query text is refused. A
    page size that is not literal is taken to be an ordinary one; other values that decide and are
    not literal make a call ``unclear``. ``on_progress`` gets the number of files read. Raises
    `ConfigurationError` if ``root`` does not exist or an option is wrong.
    """
    one_of("on_missing_query", on_missing_query, ("pass", "raise"))
    raises = on_missing_query == "raise"
    clients = Clients(k, text_fields or TextFields())
    modules: dict[Path, Scope] = {}
    unreadable: dict[str, str] = {}
    for n, file in enumerate(files.sources(root, exclude), start=1):
        try:
            name = module_name(file, root)
            modules[file] = build(files.parsed(file), name, is_package=file.stem == "__init__")
        except ConfigurationError as error:
            unreadable[str(file)] = error.problem
        except RecursionError:
            unreadable[str(file)] = "nested too deeply to be read"
        on_progress(n)
    project = Project({scope.module: scope for scope in modules.values()})
    calls: list[Call] = []
    others = 0
    for file, module in modules.items():
        for scope in module.everything():
            for node, database, method, found in _in_scope(scope, project, clients):
                others += not found
                calls += (
                    Call(
                        str(file), node.lineno, database, method, _verdict(one, raises), one.reason
                    )
                    for one in found
                )
    calls.sort(key=lambda call: (call.file, call.line))
    return Report(len(modules), tuple(calls), others, unreadable)


def _verdict(ruling: Ruling, raises: bool) -> Verdict:
    return "refused" if raises and ruling.missing else ruling.verdict


Seen = tuple[ast.expr, Database, str, list[Ruling]]


def _in_scope(scope: Scope, project: Project, clients: Clients) -> Iterator[Seen]:
    called = set()
    for node in scope.nodes():
        if isinstance(node, ast.Call):
            called.add(node.func)
            seen = _call(node, scope, project, clients)
        elif isinstance(node, ast.Attribute) and node not in called:
            seen = _handed_on(node, scope, project, clients)
        else:
            continue
        if seen is not None:
            yield seen


def _call(node: ast.Call, scope: Scope, project: Project, clients: Clients) -> Seen | None:
    if isinstance(node.func, ast.Attribute):
        database = project.client(node.func.value, scope)
        if database is not None:
            method, arguments = node.func.attr, _arguments(node, scope, project)
            return node, database, method, _RULES[database].rulings(method, *arguments, clients)
    return _helper(node, scope, project)


def _arguments(node: ast.Call, scope: Scope, project: Project) -> tuple[list[object], Arguments]:
    """Return the positional and the named arguments, open if ``*`` or ``**`` may bring more."""
    positional: list[object] = []
    named: dict[str, object] = {}
    is_open = False
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            is_open = True
            break
        positional.append(evaluate(argument, scope, project))
    for keyword in node.keywords:
        value = evaluate(keyword.value, scope, project)
        if keyword.arg is not None:
            named[keyword.arg] = value
        elif is_unknown(value) or not isinstance(value, dict | Open):
            is_open = True
        else:
            named |= known_part(value)
            is_open = is_open or isinstance(value, Open)
    return positional, Open(named) if is_open else named


def _handed_on(
    node: ast.Attribute, scope: Scope, project: Project, clients: Clients
) -> Seen | None:
    """Find a method that is referred to but not called, or an object inside the client."""
    if (database := project.client(node.value, scope)) is None:
        return None
    rules = _RULES[database]
    if node.attr in rules.RAW:
        ruling = passed(f"{node.attr}: not a method of the client")
    elif rules.rulings(node.attr, (), {}, clients):
        ruling = unclear("handed on as a function")
    else:
        return None
    return node, database, node.attr, [ruling]


def _helper(node: ast.Call, scope: Scope, project: Project) -> Seen | None:
    """Find functions and classes of opensearch-py that search with a client."""
    path = project.path(node.func, scope)
    name = path.rpartition(".")[2]
    if not path.startswith("opensearchpy."):
        return None
    if name in ("scan", "async_scan"):
        return node, "opensearch", name, [passed("a scroll: no ranking")]
    if name in ("Search", "AsyncSearch", "MultiSearch"):
        return (
            node,
            "opensearch",
            name,
            [unclear("reranked if its body has one text")],
        )
    return None
