"""Tell in which language texts are written, to propose the setting ``backend.language``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice

from vecdb_rerank._optional import require
from vecdb_rerank.request import Language

# ISO 639 codes, and those of close relatives that share a stemmer or an analyzer.
CODES: Mapping[str, Language] = {
    "ar": "arabic",
    "ary": "arabic",
    "arz": "arabic",
    "zh": "chinese",
    "wuu": "chinese",
    "yue": "chinese",
    "da": "danish",
    "nl": "dutch",
    "en": "english",
    "pcm": "english",
    "fi": "finnish",
    "fr": "french",
    "de": "german",
    "el": "greek",
    "hu": "hungarian",
    "it": "italian",
    "ja": "japanese",
    "ko": "korean",
    "no": "norwegian",
    "nn": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "es": "spanish",
    "sv": "swedish",
    "ta": "tamil",
    "th": "thai",
    "tr": "turkish",
}
_CHUNK = 200  # characters that are judged together: a title alone is often misjudged
_CHUNKS = 32
_CONFIDENT = 0.5  # probability from which a judgment counts; code and numbers stay below
_MAJORITY = 2 / 3


def detect_language(texts: Iterable[str]) -> Language | None:
    """Return the language of most of ``texts``, judged by up to some 6,000 characters of them.

    None if they are in several languages, in one that BM25 does not know, or hold few words, as
    code does. Raises `MissingDependencyError` without the extra ``cli``.
    """
    classify = _classifier()
    judged = [classify(chunk) for chunk in islice(_chunks(texts), _CHUNKS)]
    counts = Counter(CODES.get(code) for code, sure in judged if sure >= _CONFIDENT)
    if not counts:
        return None
    [(language, count)] = counts.most_common(1)
    return language if count >= _MAJORITY * counts.total() else None


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """Yield short texts joined, and the beginning of long ones."""
    chunk = ""
    for text in texts:
        chunk = f"{chunk}\n{text[:_CHUNK]}".strip()
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = ""
    if chunk:
        yield chunk


@cache
def _classifier() -> Callable[[str], tuple[str, float]]:
    """Return what judges a text: the ISO 639 code of its language, and the probability."""
    langid = require("py3langid.langid", "cli")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    classify: Callable[[str], tuple[str, float]] = identifier.classify
    return classify
