"""Ids of pairs are those of the tokenizer itself, and each text is tokenized once."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import checkpoints
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest
from vecdb_rerank.torch_engine.tokens import Template, Tokens, longest_first, pair_template

MAKERS: dict[str, Callable[[], Any]] = {
    "wordpiece": checkpoints.wordpiece_tokenizer,
    "unigram": lambda: checkpoints.unigram_tokenizer(checkpoints.english()[:800], 1_000),
    "roberta": lambda: checkpoints.byte_tokenizer(checkpoints.english()[:800], 800, roberta=True),
    "bare": lambda: checkpoints.byte_tokenizer(checkpoints.english()[:800], 800, roberta=False),
}
PIECES = [
    *"the of file class object statement extraterritoriality [SEP] <s> </s> Größe naïve".split(),
    "日本語",
    "العربية",
    "\N{PILE OF POO}",
    "e\u0301",
    "\u200b",
    "\x00",
    "  ",
    "\n\n",
    "don't",
    "x" * 60,
    "3.14",
]


CODE_POINTS = [*range(0x20, 0xD800), *range(0xE000, 0x30000)]


def texts(count: int, longest: int, seed: int) -> list[str]:
    """So many, of at most ``longest`` pieces each; every fourth of any characters at all."""
    chosen = random.Random(seed)
    join = [" ", "", "\t"]

    def text(n: int) -> str:
        size = chosen.randint(0, longest)
        if n % 4 == 0:
            return "".join(map(chr, chosen.choices(CODE_POINTS, k=size)))
        return chosen.choice(join).join(chosen.choices(PIECES, k=size))

    return [text(n) for n in range(count)]


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]()


def tokens(tokenizer: Any, max_length: int = 64, cache_bytes: int = 10**6) -> Tokens:
    backend = deepcopy(tokenizer.backend_tokenizer)
    typed = "token_type_ids" in tokenizer.model_input_names
    return Tokens(backend, pair_template(backend, typed=typed), max_length, cache_bytes)


@pytest.mark.parametrize("max_length", [16, 33, 64, 512])
def test_ids_are_those_of_the_pair(tokenizer: Any, max_length: int) -> None:
    edges = ["", " ", "a", "class object " * 40]
    pairs = [
        *zip(texts(500, 40, 1), texts(500, 60, max_length), strict=True),
        *product(edges, edges),
    ]
    ours = tokens(tokenizer, max_length)
    theirs = tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, max_length=max_length)
    cuts = set()
    for n, texts_ in enumerate(pairs):
        query, document = ours.query(texts_[0]), ours.documents([texts_[1]])[0]
        (pair,) = ours.pairs(query, [document])
        assert ours.template.ids_of([pair]).tolist() == theirs["input_ids"][n]
        assert pair.length == len(theirs["input_ids"][n])
        if "token_type_ids" in theirs:
            assert ours.template.types_of([pair]).tolist() == theirs["token_type_ids"][n]
        cuts.add((len(pair.query) < query.total, len(pair.document) < document.total))
    assert len(cuts) == 4 or max_length == 512  # none, the one, the other, both


def test_truncated_says_whether_the_document_was_cut(tokenizer: Any) -> None:
    ours = tokens(tokenizer, 32)
    short, long = ours.documents(["class", "class object " * 40])
    query = ours.query("file")
    assert [pair.truncated for pair in ours.pairs(query, [short, long])] == [False, True]


def test_a_document_cut_to_its_room_is_read_whole(tokenizer: Any) -> None:
    ours = tokens(tokenizer, 64)
    query, long = "file of a class", "class object statement " * 90
    offsets = ours.offsets(long)
    fits = long[: offsets[ours.room(query) - 1][1]]
    (whole, cut) = ours.pairs(ours.query(query), ours.documents([fits, long]))
    assert not whole.truncated
    assert cut.truncated
    assert abs(whole.length - cut.length) <= 1  # a word's last token may differ at the cut


def test_packed_ids_are_one_after_another(tokenizer: Any) -> None:
    ours = tokens(tokenizer)
    pairs = ours.pairs(ours.query("file"), ours.documents(["class", "an object of it"]))
    apart = [ours.template.ids_of([pair]) for pair in pairs]
    assert ours.template.ids_of(pairs).tolist() == np.concatenate(apart).tolist()


def test_a_cached_document_has_the_same_ids(tokenizer: Any) -> None:
    ours = tokens(tokenizer)
    documents = sorted(set(texts(50, 20, 3)))
    first = ours.documents(documents)
    again = ours.documents(documents)
    assert [a.ids is b.ids for a, b in zip(first, again, strict=True)] == [True] * len(documents)
    fresh = tokens(tokenizer, cache_bytes=0)
    assert [t.ids.tolist() for t in fresh.documents(documents)] == [t.ids.tolist() for t in first]
    assert len(fresh.cache) == 0


def test_threads_get_the_same_ids_while_documents_are_forgotten(tokenizer: Any) -> None:
    documents = texts(300, 30, 4)
    expected = [text.ids.tolist() for text in tokens(tokenizer).documents(documents)]
    ours = tokens(tokenizer, cache_bytes=20_000)

    def read(seed: int) -> bool:
        order = random.Random(seed).sample(range(300), 300)
        found = ours.documents([documents[n] for n in order])
        return [text.ids.tolist() for text in found] == [expected[n] for n in order]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(24)))
    assert 0 < ours.cache.used <= 20_000


def test_a_window_without_room_is_refused(tokenizer: Any) -> None:
    added = tokens(tokenizer).template.added
    with pytest.raises(ConfigurationError, match="leaves no room"):
        tokens(tokenizer, added + 1)


@given(st.integers(0, 700), st.integers(0, 700), st.integers(2, 600))
def test_longest_first_uses_the_room_and_no_more(query: int, document: int, room: int) -> None:
    kept, read = longest_first(query, document, room)
    assert 0 <= kept <= query
    assert 0 <= read <= document
    assert kept + read == min(room, query + document)


@given(st.integers(0, 700), st.integers(0, 700), st.integers(2, 600))
def test_a_prompt_leaves_the_document_half_of_the_room(
    query: int, document: int, room: int
) -> None:
    none = np.array([], np.int32)
    kept, read = Template(none, none, none, cuts_query=False).cut(query, document, room)
    assert kept <= query
    assert kept + read <= room
    assert read >= min(document, room - room // 2, room - query) or read == document


# -- the cache


def entry(n: int, size: int = 0) -> tuple[bytes, bytes]:
    return digest(str(n)), bytes(size)


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache: LruCache[bytes] = LruCache(3 * 300, len)
    cache.put(entry(n, 100) for n in range(3))
    cache.get([digest("0")])
    cache.put([entry(3, 100)])
    kept = cache.get([digest(str(n)) for n in range(4)])
    assert [value is not None for value in kept] == [True, False, True, True]
    assert cache.used == 900


def test_the_cache_counts_a_replaced_value_once_and_keeps_nothing_too_large() -> None:
    cache: LruCache[bytes] = LruCache(1_000, len)
    cache.put([entry(1, 100), entry(1, 500)])
    assert cache.used == 700
    cache.put([entry(2, 5_000)])
    assert (len(cache), cache.used) == (0, 0)


def test_digests_tell_texts_apart() -> None:
    assert len({digest(text) for text in texts(5_000, 10, 9)}) == len(set(texts(5_000, 10, 9)))
