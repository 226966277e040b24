"""The caches of token ids and results: bounded, least recently used first, safe for threads."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tokenization.test_pairs import texts
from tests.tokenization.tokenizers import backend, make
from vecdb_rerank.tokenization.pairs import pair_template
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest
from vecdb_rerank.torch_engine.tokens import CachedEncoder


def entry(n: int, size: int = 0) -> tuple[bytes, bytes]:
    return digest(str(n)), bytes(size)


def test_the_least_recently_used_is_evicted() -> None:
    cache: LruCache[bytes] = LruCache(3 * 300, len)
    cache.put(entry(n, 100) for n in range(3))
    cache.get([digest("0")])
    cache.put([entry(3, 100)])
    kept = cache.get([digest(str(n)) for n in range(4)])
    assert [value is not None for value in kept] == [True, False, True, True]
    assert cache.used == 900


def test_a_replaced_value_counts_once_and_one_too_large_is_not_stored() -> None:
    cache: LruCache[bytes] = LruCache(1_000, len)
    cache.put([entry(1, 100), entry(1, 500)])
    assert cache.used == 700
    cache.put([entry(2, 5_000)])
    assert (len(cache), cache.used) == (0, 0)


def test_digests_differ() -> None:
    found = texts(5_000, 10, 9)
    assert len(set(map(digest, found))) == len(set(found))


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return sorted(set(texts(200, 30, 4)))


def encoder(cache_bytes: int) -> CachedEncoder:
    tokenizer = backend(make("wordpiece"))
    return CachedEncoder(tokenizer, pair_template(tokenizer, typed=True), 64, cache_bytes)


def test_a_cached_document_has_the_same_ids(documents: list[str]) -> None:
    cached, fresh = encoder(10**6), encoder(0)
    first, again = cached.documents(documents), cached.documents(documents)
    assert all(a.ids is b.ids for a, b in zip(first, again, strict=True))
    assert [t.ids.tolist() for t in fresh.documents(documents)] == [t.ids.tolist() for t in first]
    assert len(fresh.cache) == 0


def test_threads_get_the_same_ids_while_documents_are_evicted(documents: list[str]) -> None:
    expected = [text.ids.tolist() for text in encoder(0).documents(documents)]
    ours = encoder(20_000)

    def read(seed: int) -> bool:
        order = random.Random(seed).sample(range(len(documents)), len(documents))
        found = ours.documents([documents[n] for n in order])
        return [text.ids.tolist() for text in found] == [expected[n] for n in order]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(24)))
    assert 0 < ours.cache.used <= 20_000
