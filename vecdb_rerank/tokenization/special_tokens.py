"""Read special tokens in queries and documents as plain text.

``[SEP]``, ``</s>`` or ``<|im_end|>`` in an untrusted text would end the document and
start something else. Only templates may contain special tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vecdb_rerank.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


def disable_special_tokens(tokenizer: Tokenizer, used: Iterable[int] = ()) -> None:
    """Make ``tokenizer`` encode special tokens in a text as the characters they are written with.

    ``used`` are the ids of a template: added tokens among them count as special, even if the
    tokenizer's file does not say so (such as Qwen3's ``</think>``). What the tokenizer's
    post-processor adds around a text stays.
    """
    ids = set(used)
    template_tokens = [
        added for number, added in tokenizer.get_added_tokens_decoder().items() if number in ids
    ]
    tokenizer.add_special_tokens(template_tokens)
    tokenizer.encode_special_tokens = True
    found = [token for token in special_tokens(tokenizer) if _is_encoded(tokenizer, token)]
    if found:
        _split_in_normalizer(tokenizer, found)


def disable_in_transformers(tokenizer: PreTrainedTokenizerBase) -> None:
    """Do the same for a tokenizer of transformers, which sets the option anew for each call."""
    from transformers import PreTrainedTokenizerFast

    tokenizer.split_special_tokens = True
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        disable_special_tokens(tokenizer.backend_tokenizer)


def special_tokens(tokenizer: Tokenizer) -> list[str]:
    """Return the text of each special token."""
    added = tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in added if token.special and token.content.strip()]


def check_no_special_tokens(tokenizer: Tokenizer, key: str, text: str) -> None:
    """Raise `ConfigurationError` if ``text``, the setting ``key``, contains a special token."""
    for token in special_tokens(tokenizer):
        if token in text:
            raise ConfigurationError(
                key,
                f"must not contain the special token {token}; put it in before, between or after",
            )


def _is_encoded(tokenizer: Tokenizer, token: str) -> bool:
    """Check whether the model itself has the token in its vocabulary, as unigram models do."""
    number = tokenizer.token_to_id(token)
    texts = (token, f"a{token}a", f"a {token} a")
    return any(number in tokenizer.encode(t, add_special_tokens=False).ids for t in texts)


def _split_in_normalizer(tokenizer: Tokenizer, tokens: Iterable[str]) -> None:
    """Insert a space after the first character of each token.

    The normalizer keeps track of offsets, and runs after those that could form a token, such as
    NFKC, which maps fullwidth letters to ASCII.
    """
    from tokenizers import Regex, normalizers

    own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
    split = [
        normalizers.Replace(
            Regex(f"{re.escape(token[0])}(?={re.escape(token[1:])})"), f"{token[0]} "
        )
        for token in tokens
        if len(token) > 1
    ]
    tokenizer.normalizer = normalizers.Sequence([*own, *split])
