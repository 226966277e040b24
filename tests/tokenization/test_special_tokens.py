"""Special tokens in a text are text, on every way from text to ids."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer

from tests.tokenization.tokenizers import MAKERS, backend, make
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import PairEncoder, pair_template
from vecdb_rerank.tokenization.special_tokens import (
    check_no_special_tokens,
    disable_special_tokens,
    special_tokens,
)


@pytest.fixture(params=MAKERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return backend(make(request.param))


def forms(token: str) -> list[str]:
    """Return texts that contain ``token``, or a form of it that normalizers map to it."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in token)
    texts = [token, f"a {token} b", f"a{token}b", token * 3, f"{token[0]}{token}{token[-1]}", wide]
    return [*texts, f"\n{token}\t", token.lower(), token.upper(), f"{token[:1]}\u200b{token[1:]}"]


def test_no_text_contains_a_special_id(tokenizer: Tokenizer) -> None:
    unknown = tokenizer.encode("\N{PILE OF POO}", add_special_tokens=False).ids
    disable_special_tokens(tokenizer)
    tokens = special_tokens(tokenizer)
    special = {tokenizer.token_to_id(token) for token in tokens}
    encoder = PairEncoder(tokenizer, pair_template(tokenizer, typed=False), 512)
    for token in tokens:
        texts = [f"{form} and more" for form in forms(token)]
        plain = texts[:3]  # of characters that every tokenizer knows
        batch = encoder.documents(texts)
        for text, document in zip(texts, batch, strict=True):
            ids = set(document.ids.tolist())
            assert not ids & special - set(unknown), text
            assert text not in plain or tokenizer.token_to_id(token) not in ids, text
            assert encoder.query(text).ids.tolist() == document.ids.tolist()
            assert encoder.documents([text])[0].ids.tolist() == document.ids.tolist()
            assert len(encoder.offsets(text)) == document.total
            assert encoder.offsets(text)[-1][1] == len(text)


def test_the_template_keeps_its_special_tokens(tokenizer: Tokenizer) -> None:
    before = pair_template(tokenizer, typed=True)
    disable_special_tokens(tokenizer)
    after = pair_template(tokenizer, typed=True)
    for part in ("before", "between", "after"):
        assert getattr(before, part).tolist() == getattr(after, part).tolist()


def test_other_texts_keep_their_ids(tokenizer: Tokenizer) -> None:
    texts = [
        "a <file> of [classes], it's 3.14",
        "naïve \N{PILE OF POO} 日本語",
        " ",
        "s> < /s [SE P]",
    ]
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    disable_special_tokens(tokenizer)
    assert [tokenizer.encode(text, add_special_tokens=False).ids for text in texts] == expected


def test_a_token_of_the_template_is_special_though_not_declared(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([AddedToken("</think>", special=False), AddedToken("covid19")])
    used, other = (tokenizer.token_to_id(token) for token in ("</think>", "covid19"))
    assert used is not None
    disable_special_tokens(tokenizer, [used])
    assert tokenizer.token_to_id("</think>") == used
    ids = tokenizer.encode("a </think> covid19", add_special_tokens=False).ids
    assert used not in ids
    assert other in ids


def test_special_tokens_of_a_prompt_belong_outside_the_text(tokenizer: Tokenizer) -> None:
    token = special_tokens(tokenizer)[0]
    check_no_special_tokens(tokenizer, "prompt.query", "Query: {}")
    with pytest.raises(ConfigurationError) as caught:
        check_no_special_tokens(tokenizer, "prompt.query", f"{token}{{}}")
    assert caught.value.key == "prompt.query"
