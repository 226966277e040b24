"""The ids of pairs are those of the tokenizer itself; long queries keep both ends."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.tokenizers import MAKERS, backend, make
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import PairEncoder, keep_ends, pair_template, split_limit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PIECES = [
    *"the of file class object statement extraterritoriality Größe naïve".split(),
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
    """Return texts of at most ``longest`` pieces; every fourth consists of random characters."""
    chosen = random.Random(seed)
    join = [" ", "", "\t"]

    def text(n: int) -> str:
        size = chosen.randint(0, longest)
        if n % 4 == 0:
            return "".join(map(chr, chosen.choices(CODE_POINTS, k=size)))
        return chosen.choice(join).join(chosen.choices(PIECES, k=size))

    return [text(n) for n in range(count)]


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return make(request.param)


def encoder(tokenizer: PreTrainedTokenizerFast, max_length: int = 64) -> PairEncoder:
    own = backend(tokenizer)
    typed = "token_type_ids" in tokenizer.model_input_names
    return PairEncoder(own, pair_template(own, typed=typed), max_length)


@pytest.mark.parametrize("max_length", [16, 33, 512])
def test_ids_are_those_of_the_pair(tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
    edges = ["", " ", "a", "class object " * 40]
    pairs = [*zip(texts(80, 40, 1), texts(80, 60, max_length), strict=True)]
    pairs += product(edges, edges)
    ours = encoder(tokenizer, max_length)
    theirs = tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, max_length=max_length)
    truncated = set()
    for n, (query, document) in enumerate(pairs):
        (pair,) = ours.pairs(ours.query(query), ours.documents([document]))
        assert pair.length == len(theirs["input_ids"][n])
        truncated.add((pair.query_truncated, pair.truncated))
        if pair.query_truncated:
            continue
        assert ours.template.ids_of([pair]).tolist() == theirs["input_ids"][n]
        if "token_type_ids" in theirs:
            assert ours.template.types_of([pair]).tolist() == theirs["token_type_ids"][n]
    assert len(truncated) == 4 or max_length == 512


def test_a_long_query_keeps_both_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    ours = encoder(tokenizer, 32)
    query = ours.query("first words " + "class object " * 40 + " last words")
    (pair,) = ours.pairs(query, ours.documents(["file " * 40]))
    half = len(pair.query) // 2
    assert pair.query_truncated
    assert pair.query[:half].tolist() == query.ids[:half].tolist()
    assert pair.query[half:].tolist() == query.ids[half - len(pair.query) :].tolist()
    assert pair.length == 32


def test_a_document_cut_to_its_limit_is_read_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    ours = encoder(tokenizer)
    query, long = "file of a class", "class object statement " * 90
    offsets = ours.offsets(long)
    fits = long[: offsets[ours.document_limit(query) - 1][1]]
    (whole, cut) = ours.pairs(ours.query(query), ours.documents([fits, long]))
    assert not whole.truncated
    assert cut.truncated
    assert abs(whole.length - cut.length) <= 1  # a word's last token may differ at the cut


def test_packed_ids_are_one_after_another(tokenizer: PreTrainedTokenizerFast) -> None:
    ours = encoder(tokenizer)
    pairs = ours.pairs(ours.query("file"), ours.documents(["class", "an object of it"]))
    apart = [ours.template.ids_of([pair]) for pair in pairs]
    assert ours.template.ids_of(pairs).tolist() == np.concatenate(apart).tolist()


def test_a_max_length_below_the_template_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    added = encoder(tokenizer).template.added
    with pytest.raises(ConfigurationError) as caught:
        encoder(tokenizer, added + 1)
    assert caught.value.key == "max_length"


@given(st.integers(0, 700), st.integers(0, 700), st.integers(2, 600))
def test_query_and_document_share_the_limit(query: int, document: int, limit: int) -> None:
    kept, read = split_limit(query, document, limit)
    assert kept + read == min(limit, query + document)
    assert min(query, limit // 2) <= kept <= query
    assert min(document, limit - limit // 2) <= read <= document


@given(st.integers(0, 50), st.integers(0, 60))
def test_both_ends_are_kept(count: int, limit: int) -> None:
    ids = np.arange(count, dtype=np.int32)
    kept = keep_ends(ids, limit).tolist()
    assert len(kept) == min(count, limit)
    assert kept == sorted(set(kept))
    if 0 < limit < count:
        assert kept[-1] == count - 1
        assert kept[: limit // 2] == list(range(limit // 2))
