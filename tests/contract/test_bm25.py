"""The BM25 vectors made here are those that a Qdrant server makes."""

# ruff: noqa: RUF001  (letters that look like others are the point)

from __future__ import annotations

import json
import random
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

import pytest
from qdrant_client import QdrantClient, models

from tests.contract.backends import SERVED
from tests.contract.documents import NESTED
from tests.servers import qdrant_source
from vecdb_rerank.request import UNSPACED, Language
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import Bm25

pytestmark = pytest.mark.skipif(not qdrant_source(), reason="there is no Qdrant server here")

TEXTS = [
    "",
    " \n\t ",
    "the of and to",
    "Don't, can't, won't; it's John's dogs' bones: O'Neill",
    "don\u2019t can\u2019t it\u2019s \u2018quoted\u2019 \u201cdouble\u201d",
    "running runs ran runner easily fairly generously happiness organisations organization",
    "Straße STRASSE Größe GRÖSSE weiß WEISS ẞ",
    "İstanbul ISPARTA ığdır Iğdır DİYARBAKIR i̇",
    "ΣΊΣΥΦΟΣ σίσυφος ΟΔΥΣΣΕΥΣ Ὀδυσσεύς",
    "naïve café cafe\u0301 résumé re\u0301sume\u0301 Å Å",
    "Привет мир ПРИВЕТ Ёлка ёж",
    "日本語のテキスト 東京タワー ひらがな カタカナ ｶﾀｶﾅ",
    "中文 分词 测试 繁體字",
    "한국어 텍스트 검색",
    "العربية نص ١٢٣ و عِبْرِيت",
    "עברית שָׁלוֹם",
    "हिन्दी में पाठ १२३",
    "ภาษาไทย ข้อความ",
    "emoji \N{GRINNING FACE} \N{FAMILY}\u200d\N{WOMAN} \U0001f1e9\U0001f1ea ok\N{THUMBS UP SIGN}ok",
    "0 1 12 123 1234567890 1.5 1,000,000 3.14e-10 0xFF 1st 2nd ½ ² ③ Ⅷ",
    "def f(x: int) -> int: return x**2 + self._private.__dunder__[0]  # comment_with_underscore",
    "snake_case camelCase PascalCase kebab-case SCREAMING_CASE a.b.c a/b/c a::b C++ C# .NET",
    "https://example.com/path?q=1&r=two#frag user@example.com 127.0.0.1 C:\\dir\\file.txt",
    "<p class='x'>html &amp; entities</p> {json: [1, 2]} $100 50% #tag @name ~/.config",
    "zero\u200bwidth soft\u00adhyphen non\u00a0breaking en\u2013dash em\u2014dash \ufeffbom",
    "combining a\u0308o\u0308u\u0308 enclosing a\u20dd variation \u2764\ufe0f",
    "ﬁne ﬂow oﬃce ŉ ǅ ǆ Ǆ ﬀ",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝐛𝐨𝐥𝐝 𝟏𝟐𝟑 ⒶⒷ ⓐ",
    "control\u0000null\u0007bell\u001besc\u0085nel",
    "same same same same different different once",
    "word " * 3_000,
    "x" * 5_000,
    "y" * 100_000,
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "skies sky dying dies news innings proceed exceed succeed herring early only bias",
    "sses ies ational tional enci anci izer abli alli entli eli ousli ization ation ator",
]


def diverse() -> list[str]:
    """A few hundred texts: the ones above, docstrings, code, and any characters at all."""
    dice = random.Random(7)
    prose = [f"{d['title']} {d['text']}" for d in NESTED]
    docs = [m.__doc__ or "" for m in (json, random, re, textwrap, str.join, dict.get, re.sub)]
    code = [str(source) for source in (SERVED, json.dumps(NESTED[0]), repr(TEXTS[:3]))]
    planes = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x530, 0x2000), (0x2000, 0xD7FF)]
    planes += [(0xE000, 0xFFFF), (0x10000, 0x1FFFF)]
    letters = [[chr(c) for c in range(*plane) if _is_assigned(c)] for plane in planes]
    anything = [
        "".join(
            dice.choice(plane) if dice.random() < 0.8 else dice.choice(" -'_.\n")
            for _ in range(dice.randrange(5, 120))
        )
        for plane in letters
        for _ in range(30)
    ]
    words = " ".join(prose).split()
    mixed = [" ".join(dice.choices(words, k=dice.randrange(1, 400))) for _ in range(60)]
    return [*TEXTS, *prose, *docs, *code, *anything, *mixed]


def _is_assigned(code: int) -> bool:
    """Whether Python knows the character: servers know other editions of Unicode."""
    return unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")


@pytest.fixture(scope="module")
def client(qdrant_server: tuple[str, int]) -> Iterator[QdrantClient]:
    client = QdrantClient(url=qdrant_server[0], timeout=30)
    yield client
    client.close()


ENCODERS = {
    "default": Bm25(),
    "other": Bm25(k=0.9, b=0.4, avg_len=30),
    **{
        language: Bm25(language=language)
        for language in get_args(Language)
        if language not in UNSPACED  # which the server has no name for
    },
}


@pytest.mark.parametrize("bm25", ENCODERS.values(), ids=ENCODERS)
def test_same_vectors_as_the_server(client: QdrantClient, bm25: Bm25) -> None:
    texts, name = diverse(), new_name()
    assert len(texts) > 300
    sparse: dict[str, Any] = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    client.create_collection(name, vectors_config={}, sparse_vectors_config=sparse)
    try:
        client.upsert(
            name,
            [
                models.PointStruct(id=n, vector={"bm25": on_server(bm25, text)})
                for n, text in enumerate(texts)
            ],
            wait=True,
        )
        found = client.retrieve(name, list(range(len(texts))), with_vectors=True)
        theirs = {point.id: (point.vector or {}).get("bm25") for point in found}  # type: ignore[union-attr]
        wrong = [text for n, text in enumerate(texts) if not same(bm25, text, theirs.get(n))]
        assert wrong == []

        for query in ["bread yeast", "Straße İstanbul ΣΊΣΥΦΟΣ", "the sky", *texts[40:60]]:
            arguments: dict[str, Any] = {"using": "bm25", "limit": 500}
            served = client.query_points(name, query=on_server(bm25, query), **arguments)
            here = bm25.query(query)
            local = client.query_points(name, query=here, **arguments) if here.indices else None
            ours = {p.id: p.score for p in local.points} if local else {}
            assert ours == pytest.approx({p.id: p.score for p in served.points}, rel=1e-5)
    finally:
        client.delete_collection(name)


def on_server(bm25: Bm25, text: str) -> models.Document:
    """The text for the server to encode; options are a plain dict, as gRPC wants them."""
    options = asdict(bm25)
    if bm25.language != "english":
        options["stopwords"] = []
    return models.Document(text=text, model="qdrant/bm25", options=options)


def same(bm25: Bm25, text: str, theirs: Any) -> bool:
    """Whether our vector is theirs, up to the precision of 32 bits, with only our terms more."""
    ours = bm25.document(text)
    more = bm25.more_terms(text)
    mine = {i: w for i, w in zip(ours.indices, ours.values, strict=True) if i not in more}
    if theirs is None:
        return not mine
    return mine == pytest.approx(dict(zip(theirs.indices, theirs.values, strict=True)), rel=1e-5)
