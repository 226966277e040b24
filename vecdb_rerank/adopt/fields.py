"""Find the text in stored payloads, by what the fields hold: pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_DEPTH = 6  # levels of nesting that are looked at
_SHARE = 0.5  # of the documents; a field that fewer have is no text to rely on
_WORDS = 3.0  # on average; ids, paths and categories have fewer
_LONG = 0.3  # of the longest field's length; a field from there on is text as well
_TITLES = ("title", "name", "heading", "headline", "subject", "header", "question")
_SENTENCE = re.compile(r"[A-ZÀ-ÞА-Я.,:;!?。、]")
# Characters of scripts without spaces; about two of them are a word.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class TextField:
    """A field that holds text: the share of documents that have it, its mean size, an example."""

    path: str
    share: float
    words: float
    characters: float
    example: str


def text_fields(payloads: Sequence[Mapping[str, object]]) -> list[TextField]:
    """Return the fields that hold text, longest first.

    Paths are those of `vecdb_rerank.text_fields.TextFields`: dotted, into lists and into strings
    that hold JSON. Of fields with equal texts, the one with the shortest path is returned.
    """
    found: dict[str, dict[int, str]] = {}
    for n, payload in enumerate(payloads):
        for path, text in _leaves(payload, "", _DEPTH):
            texts = found.setdefault(path, {})
            texts[n] = f"{texts[n]}\n{text}" if n in texts else text
    shortest = sorted(found.items(), key=lambda item: (item[0].count("."), len(item[0])))
    unique = {tuple(texts.items()): path for path, texts in reversed(shortest)}
    described = (_described(path, dict(texts), len(payloads)) for texts, path in unique.items())
    texts_only = (
        f for f in described if f.share >= _SHARE and (f.words >= _WORDS or _is_title(f.path, ""))
    )
    return sorted(texts_only, key=lambda f: (-_weight(f), f.path))


def chosen(fields: Sequence[TextField]) -> tuple[str, ...]:
    """Return the paths that make up a document's text: titles first, then the long ones."""
    if not fields:
        return ()
    main = fields[0]
    long = [f for f in fields if _weight(f) >= _LONG * _weight(main) and not _repeats(f, main)]
    titles = [f for f in fields if f not in long and _is_title(f.path, main.path)]
    paths = [f.path for f in (*titles, main, *long)]
    return tuple(dict.fromkeys(sorted(paths, key=lambda path: not _is_title(path, ""))))


def plain_text(payload: Mapping[str, object], path: str) -> str:
    """Return the string at a dotted path of objects alone, as a database's own index reads it."""
    value: object = payload
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        inner = _decoded(value)
        if inner is None:
            if value.strip():
                yield path, value
            return
        value = inner
    if depth == 0:
        return
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key), depth - 1)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, path, depth - 1)


def _decoded(text: str) -> object:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _described(path: str, texts: Mapping[int, str], count: int) -> TextField:
    words = [len(text.split()) + len(_UNSPACED.findall(text)) / 2 for text in texts.values()]
    return TextField(
        path,
        len(texts) / count,
        sum(words) / len(texts),
        sum(map(len, texts.values())) / len(texts),
        next(iter(texts.values())),
    )


def _weight(field: TextField) -> float:
    """Return a field's length; tokens without punctuation, kept beside a text, count half."""
    return field.characters * (1.0 if _SENTENCE.search(field.example) else 0.5)


def _is_title(path: str, beside: str) -> bool:
    parent, _, name = path.rpartition(".")
    near = not beside or parent in ("", beside.rpartition(".")[0], "metadata", "meta")
    return near and name.lower() in _TITLES


def _repeats(field: TextField, main: TextField) -> bool:
    """Check whether a field holds much of the same words as the main one."""
    words, others = set(field.example.lower().split()), set(main.example.lower().split())
    return field is not main and len(words & others) >= 0.6 * len(words)
