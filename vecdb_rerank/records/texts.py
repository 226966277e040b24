"""Read a Markdown or text file as one record, and find such files in a folder."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.model import MAX_RECORD, Record, Unreadable
from vecdb_rerank.records.opening import is_text

_HEADING = re.compile(r"\s*#{1,6}[ \t]+(?P<title>[^\n]+?)[ \t#]*(?:\n|$)")


def text_record(stream: io.BufferedReader, name: str, doc_id: str) -> Iterator[Record | Unreadable]:
    """Yield the file under ``doc_id``; nothing if it is blank.

    Its title is the heading with which it begins, else the file's name.
    """
    content = stream.read(MAX_RECORD + 1)
    if len(content) > MAX_RECORD:
        yield Unreadable(name, f"is longer than {MAX_RECORD:,} bytes")
        return
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError:
        yield Unreadable(name, "not valid UTF-8")
        return
    heading = _HEADING.match(text)
    title, rest = (heading["title"], text[heading.end() :]) if heading else (_stem(doc_id), text)
    if text:
        yield Record(name, {"_id": doc_id, "title": title, "text": rest.strip()})


def _stem(doc_id: str) -> str:
    name = doc_id.rpartition("/")[2]
    return name.partition(".")[0] or name


def text_files(folder: Path) -> list[Path]:
    """Return the Markdown and text files in a folder and those below it, sorted.

    Hidden files and folders, and links to folders, are left out. Raises `ConfigurationError`,
    which counts the other files, if there is none.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for path in (Path(where, each) for each in sorted(names) if not each.startswith(".")):
            if is_text(path) and path.is_file():
                found.append(path)
            else:
                others[path.suffix or path.name] += 1
    if not found:
        rest = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        raise ConfigurationError(
            str(folder),
            f"holds no Markdown or text files{f' (but {rest})' if rest else ''}; name the files "
            "of other formats",
        )
    return found
