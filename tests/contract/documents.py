"""Documents with nested fields and two kinds of text, for the native parts of the suites."""

from __future__ import annotations

from typing import Any

from vecdb_rerank.testing import CORPUS

NESTED: tuple[dict[str, Any], ...] = tuple(
    {
        **document,
        "meta": {"summary": f"On {document['subject']}", "author": {"name": "A", "age": n}},
        "tags": ["odd" if n % 2 else "even", None],
    }
    for n, document in enumerate(CORPUS)
)
BY_ID = {document["id"]: document for document in NESTED}

# Two forms of a noun by language, which a stemmer makes one.
FORMS = {
    "arabic": ("كتابان", "كتاب"),
    "danish": ("biler", "bil"),
    "dutch": ("boeken", "boek"),
    "english": ("houses", "house"),
    "finnish": ("taloissa", "talo"),
    "french": ("maisons", "maison"),
    "german": ("Häuser", "Haus"),
    "greek": ("σπίτια", "σπίτι"),
    "hungarian": ("házak", "ház"),
    "italian": ("ragazzi", "ragazzo"),
    "norwegian": ("biler", "bil"),
    "portuguese": ("livros", "livro"),
    "romanian": ("cărți", "cărților"),
    "russian": ("книги", "книга"),
    "spanish": ("libros", "libro"),
    "swedish": ("bilar", "bil"),
    "tamil": ("புத்தகங்கள்", "புத்தகம்"),
    "turkish": ("kitaplar", "kitap"),
}
