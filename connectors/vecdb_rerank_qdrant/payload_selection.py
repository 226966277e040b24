"""Which parts of a payload come, and which the caller sees of it: pure functions.

Qdrant's selectors are paths: keys joined by dots, ``[]`` for all items of a list, a key in quotes
where it holds anything but letters, digits, ``_`` and ``-``. A selection of a selection is the
smaller one, so a caller's own selector applied once more to a payload that came with more gives
what Qdrant would have sent alone (tested against a server).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qdrant_client.conversions.conversion import GrpcToRest
from qdrant_client.http import models

# A key, quoted or not, or the index of a list's item; without a number, all items.
_STEP = re.compile(r'"([^"]*)"|([\w-]+)|\[(\d*)\]')
# A key, None for the items of a list, or an item's index, which selects nothing in Qdrant.
Step = str | int | None
Tree = dict[Step, Any]
Show = Literal["all", "none", "only", "without"]


@dataclass(frozen=True, slots=True)
class Projection:
    """A payload selector that brings the text to rerank, and what of the payload to ``show``."""

    selector: Any
    show: Show = "all"
    paths: tuple[str, ...] = ()

    def shown(self, payloads: Sequence[Any], over_grpc: bool = False) -> list[Any]:
        """Payloads as the caller asked for them. gRPC has no empty one: there it is None."""
        if self.show == "all":
            return list(payloads)
        if self.show == "none":
            return [None for _ in payloads]
        apply, tree = (_only if self.show == "only" else _without), _tree(self.paths)
        found = [payload if payload is None else apply(payload, tree) for payload in payloads]
        return [payload or None for payload in found] if over_grpc else found


def project(selector: Any, paths: Sequence[str]) -> Projection:
    """Widen the caller's ``with_payload`` so that the fields ``paths`` come too.

    A selector of a kind that is not known is left alone: what the client says of it, it says to
    the caller.
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


def _as_rest(selector: Any) -> Any:
    """A selector of gRPC's as REST's, which a gRPC client takes as well."""
    if type(selector).__name__ == "WithPayloadSelector":
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


def _including(selector: Any, include: Sequence[str], paths: Sequence[str]) -> Projection:
    asked = _tree(include)
    needed = (path for name in paths for path in selections(name))
    missing = [path for path in needed if not _covered(asked, _steps(path))]
    if not missing:
        return Projection(selector)
    wider = models.PayloadSelectorInclude(include=[*include, *missing])
    return Projection(wider, "only", tuple(include))


def selections(name: str) -> Iterator[str]:
    """The paths under which `vecdb_rerank.text_fields.lookup` finds a dotted ``name``."""
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
    """A path's keys as a dotted name has them."""
    return [key for step in _steps(path) if isinstance(step, str) for key in step.split(".")]


def _meet(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one of two paths leads to the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _tree(paths: Iterable[str]) -> Tree:
    """Steps to what comes after them; True is everything."""
    root: Tree = {}
    for path in paths:
        node: Any = root
        *parents, last = _steps(path) or [""]
        for step in parents:
            node = node.setdefault(step, {})
            if node is True:
                break
        else:
            node[last] = True
    return root


def _covered(tree: Any, steps: Sequence[Step]) -> bool:
    for step in steps:
        if tree is True:
            return True
        tree = tree.get(step, {})
    return tree is True


def _only(value: Any, tree: Tree) -> Any:
    """``value`` with nothing but what is selected; values that hold no others stay."""
    if isinstance(value, Mapping):
        found = {key: (item, tree[key]) for key, item in value.items() if key in tree}
        return {k: item if sub is True else _only(item, sub) for k, (item, sub) in found.items()}
    if isinstance(value, list):
        below = tree.get(None)
        if below is None or below is True:
            return [] if below is None else value
        return [_only(item, below) for item in value]
    return value


def _without(value: Any, tree: Tree) -> Any:
    """``value`` less what is selected."""
    if isinstance(value, Mapping):
        return {
            key: _without(item, tree[key]) if key in tree else item
            for key, item in value.items()
            if tree.get(key) is not True
        }
    if isinstance(value, list):
        below = tree.get(None)
        if below is None or below is True:
            return value if below is None else []
        return [_without(item, below) for item in value]
    return value
