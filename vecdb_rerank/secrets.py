"""Which values may be shown, and how the others are hidden."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit, urlunsplit

HIDDEN = "**********"
_SECRET = re.compile(
    r"(^|[_-])(api|access|secret|private)?[_-]?"
    r"(key|password|passwd|passphrase|pwd|pass|secret|token|auth|authorization|credentials?|"
    r"signature|sig|code|cookie)$",
    re.IGNORECASE,
)
# The names of settings whose texts are shown. A name that is not listed may be that of a plug-in's
# or a service's secret, so that its texts are hidden.
SHOWN = frozenset(
    """
    aliases auth_header backend base_url bm25_fields bm25_vector collection combination
    dense_vector device document document_kind document_prefix dtype endpoint engine error field
    fields file format fusion host hosts id index instructed_query instruction join kind label
    language level listwise_models method mode model models name native next_page normalization
    note on_error origins path payload pooling precision prices prompt query query_kind
    query_prefix reason reranker results revision rule scale score signing technique template
    terms text text_index tokenizer type unit url url_prefix usage user verify version weights
    window
    """.split()
)
# Mappings whose values are all secret, whatever they are called.
_SECRET_VALUES = frozenset({"headers", "query_params"})
# Parameters of a URL that name a version, a region or the like.
_SHOWN_PARAMETERS = frozenset({"version", "api-version", "api_version", "model", "region", "ssl"})


def is_secret(name: str) -> bool:
    """Return whether the name of a setting or a parameter is one that secrets commonly have."""
    return _SECRET.search(name) is not None


def shown(key: str, value: object) -> object:
    """Return ``value``, a setting called ``key``, as it may be printed and logged.

    Texts are shown under the names in `SHOWN` alone, numbers under every name that is not one of
    secrets. URLs lose their password, and the values of their parameters. The result has the
    structure of ``value``, which is not changed.
    """
    if isinstance(value, Mapping):
        if key in _SECRET_VALUES:
            return dict.fromkeys(value, HIDDEN)
        return {inner: shown(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(shown(key, each) for each in value)
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, int | float):
        return HIDDEN if is_secret(key) else value
    if isinstance(value, str):
        return without_secrets(value) if key in SHOWN else HIDDEN
    if isinstance(value, bytes):
        return HIDDEN
    return value


def concealed(key: str, value: object) -> object:
    """Return ``value`` without what its name, or its form as a URL, shows to be a secret.

    For settings that are kept and compared rather than shown; see `shown`.
    """
    if isinstance(value, Mapping):
        if key in _SECRET_VALUES:
            return dict.fromkeys(value, HIDDEN)
        return {inner: concealed(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(concealed(key, each) for each in value)
    if not isinstance(value, str):
        return value
    return HIDDEN if is_secret(key) else without_secrets(value)


def without_secrets(text: str) -> str:
    """Return ``text`` with the user's part and the secret parameters hidden if it is a URL."""
    text = re.sub(r"(?<=//)[^/]*@", f"{HIDDEN}@", text)
    if "://" not in text or "?" not in text:
        return text
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return HIDDEN
    query = "&".join(
        f"{name}={value if name.lower() in _SHOWN_PARAMETERS else HIDDEN}" for name, value in pairs
    )
    return urlunsplit(parts._replace(query=query))
