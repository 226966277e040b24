"""Bodies of requests as templates: JSON values in which placeholders stand for texts.

``{"input": {"query": "{query}", "documents": ["{document}"]}}`` is one. A text that is a
placeholder alone becomes its value, of any type. In a longer text, placeholders are replaced by
their texts. A list of one item that holds ``{document}`` has such an item for each document. A key
whose value is a placeholder without a value is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Values = Mapping[str, object]
PLACEHOLDERS = {
    "model": "the model's name",
    "query": "the query",
    "documents": "all documents, as a list of texts",
    "document": "one document",
    "id": "the document's id in this request: its index, as a text",
    "queries": "the query as often as there are documents, as a list",
    "count": "the number of documents",
    "instruction": "the instruction",
    "logits": "whether logits are asked for",
}
_NAME = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_OF_ONE_DOCUMENT = ("document", "id")


def names(template: object) -> set[str]:
    """Return the names of the placeholders in ``template``."""
    return {name for text in _texts(template) for name in _NAME.findall(text)}


def fill(template: object, values: Values, documents: Sequence[str]) -> object:
    """Return ``template`` with ``values`` and ``documents`` in the places of the placeholders.

    Texts of queries and documents are inserted as they are, whatever they hold.
    """
    if isinstance(template, Mapping):
        filled = {key: fill(value, values, documents) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value is not None}
    if isinstance(template, list | tuple):
        if "document" not in values and _is_repeated(template):
            return [
                fill(template[0], {**values, "document": text, "id": str(n)}, ())
                for n, text in enumerate(documents)
            ]
        return [fill(value, values, documents) for value in template]
    if not isinstance(template, str):
        return template
    if (alone := _NAME.fullmatch(template)) is not None:
        return values.get(alone[1])
    return _NAME.sub(lambda found: str(values.get(found[1]) or ""), template)


def has_stray_document(template: object) -> bool:
    """Return whether ``{document}`` or ``{id}`` is anywhere but in a list of one item."""
    if isinstance(template, Mapping):
        return any(map(has_stray_document, template.values()))
    if isinstance(template, list | tuple):
        return not _is_repeated(template) and any(map(has_stray_document, template))
    return not names(template).isdisjoint(_OF_ONE_DOCUMENT)


def _is_repeated(template: Sequence[object]) -> bool:
    return len(template) == 1 and not names(template).isdisjoint(_OF_ONE_DOCUMENT)


def _texts(template: object) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from _texts(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from _texts(value)
