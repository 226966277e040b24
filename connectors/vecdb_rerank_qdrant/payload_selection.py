"""Choose which parts of a payload to fetch, and show the caller those requested: pure functions.

Qdrant's selectors are paths: keys joined by dots, ``[]`` for all items of a list. A key that holds
anything but letters, digits, ``_`` and ``-`` is in quotes. Applied to a payload that came with
more, a caller's selector gives what Qdrant sends for it (tested against a server).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from qdrant_client import grpc
from qdrant_client.conversions.conversion import GrpcToRest
from qdrant_client.http import models

# A key, quoted or not, or the index of a list's item; without a number, all items.
_STEP = re.compile(r'"([^"]*)"|([\w-]+)|\[(\d*)\]')
# A key, None for the items of a list, or an item's index, which selects nothing in Qdrant.
Step = str | int | None
# Steps to what comes after them; True selects everything below.
Tree = dict[Step, "Tree | Literal[True]"]
Payload = dict[str, object] | None
Show = Literal["all", "none", "only", "without"]


@dataclass(frozen=True, slots=True)
class Projection:
    """A payload selector that brings the text to rerank, and what of the payload to ``show``."""

    selector: object
    show: Show = "all"
    paths: tuple[str, ...] = ()

    def shown(self, payloads: Sequence[Payload], over_grpc: bool = False) -> list[Payload]:
        """Return payloads as the caller requested them; over gRPC, None instead of an empty one."""
        if self.show == "all":
            return list(payloads)
        if self.show == "none":
            return [None for _ in payloads]
        apply, tree = (_only if self.show == "only" else _without), _tree(self.paths)
        found = [None if p is None else cast(Payload, apply(p, tree)) for p in payloads]
        return [payload or None for payload in found] if over_grpc else found


def project(selector: object, paths: Sequence[str]) -> Projection:
    """Extend the caller's ``with_payload`` so that the fields ``paths`` come too.

    A selector of an unknown kind is returned as it is: the client refuses it.
    """
    selector = _as_rest(selector)
    if selector is None or isinstance(selector, bool):
        return _all_or_nothing(selector, paths)
    if isinstance(selector, models.PayloadSelectorExclude):
        return _excluding(selector, paths)
    include = selector if isinstance(selector, list | tuple) else getattr(selector, "include", None)
    if include is None or not all(isinstance(path, str) for path in include):
        return Projection(selector)
    return _including(selector, include, paths)


def _as_rest(selector: object) -> object:
    """Return gRPC's selector as REST's, which a gRPC client takes as well."""
    if isinstance(selector, grpc.WithPayloadSelector):
        return GrpcToRest.convert_with_payload_selector(selector)
    return selector


def _all_or_nothing(selector: bool | None, paths: Sequence[str]) -> Projection:
    if selector is False:
        include = [path for name in paths for path in selections(name)]
        return Projection(models.PayloadSelectorInclude(include=include), "none")
    return Projection(True)


def _excluding(selector: models.PayloadSelectorExclude, paths: Sequence[str]) -> Projection:
    names = [name.split(".") for name in paths]
    kept = [e for e in selector.exclude if not any(_meet(_keys(e), name) for name in names)]
    if len(kept) == len(selector.exclude):
        return Projection(selector)
    wider = models.PayloadSelectorExclude(exclude=kept)
    return Projection(wider, "without", tuple(selector.exclude))


def _including(selector: object, include: Sequence[str], paths: Sequence[str]) -> Projection:
    asked = _tree(include)
    needed = (path for name in paths for path in selections(name))
    missing = [path for path in needed if not _covered(asked, _steps(path))]
    if not missing:
        return Projection(selector)
    wider = models.PayloadSelectorInclude(include=[*include, *missing])
    return Projection(wider, "only", tuple(include))


def selections(name: str) -> Iterator[str]:
    """Yield the paths under which `vecdb_rerank.text_fields.lookup` finds a dotted ``name``."""
    head, dot, rest = name.partition(".")
    if '"' in name:
        return  # no path leads there
    yield _quoted(name)
    if dot:
        for tail in selections(rest):
            yield f"{_quoted(head)}.{tail}"
            yield f"{_quoted(head)}[].{tail}"


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'


def _steps(path: str) -> list[Step]:
    return [
        quoted or plain or (int(index) if index else None)
        for quoted, plain, index in _STEP.findall(path)
    ]


def _keys(path: str) -> list[str]:
    """Return a path's keys as a dotted name has them."""
    return [key for step in _steps(path) if isinstance(step, str) for key in step.split(".")]


def _meet(one: Sequence[str], other: Sequence[str]) -> bool:
    """Check whether one of two paths leads to the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _tree(paths: Iterable[str]) -> Tree:
    """Return paths as one tree."""
    root: Tree = {}
    for path in paths:
        node = root
        *parents, last = _steps(path) or [""]
        for step in parents:
            below = node.setdefault(step, {})
            if below is True:
                break
            node = below
        else:
            node[last] = True
    return root


def _covered(tree: Tree, steps: Sequence[Step]) -> bool:
    below: Tree | Literal[True] = tree
    for step in steps:
        if below is True:
            return True
        below = below.get(step, {})
    return below is True


def _only(value: object, tree: Tree) -> object:
    """Return ``value`` with only what is selected; values that hold no others stay."""
    if isinstance(value, Mapping):
        found = {key: (item, tree[key]) for key, item in value.items() if key in tree}
        return {k: item if sub is True else _only(item, sub) for k, (item, sub) in found.items()}
    if isinstance(value, list):
        below = tree.get(None)
        if below is None or below is True:
            return [] if below is None else value
        return [_only(item, below) for item in value]
    return value


def _without(value: object, tree: Tree) -> object:
    """Return ``value`` without what is selected."""
    if isinstance(value, Mapping):
        found = {key: (item, tree.get(key, {})) for key, item in value.items()}
        return {k: _without(item, sub) for k, (item, sub) in found.items() if sub is not True}
    if isinstance(value, list):
        below = tree.get(None)
        if below is None or below is True:
            return value if below is None else []
        return [_without(item, below) for item in value]
    return value
