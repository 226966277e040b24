"""From a description to settings: pure functions. What they cannot decide becomes a question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.adopt.description import DenseVector, Description
from vecdb_rerank.adopt.embedders import PROVEN, USUAL, Candidate
from vecdb_rerank.adopt.fields import plain_text
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import NONE, UNSPACED, Language

Value = str | int | list[str]
CREATE = "--create-text-index"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the user decided; empty and None leave it to `decide`.

    ``embedder`` is the name of a candidate, or "none". ``text_index`` allows to create one.
    """

    dense_vector: str | None = None
    embedder: str | None = None
    language: Language | None = None
    text_index: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """An open question: the option that answers it, the question, and the usual answers."""

    option: str
    text: str
    answers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting and the reason for it; without a value it is a hint in a comment."""

    section: str
    key: str
    value: Value
    why: str
    is_hint: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search a collection; ``text_index`` is the field of an index to be created first."""

    settings: Sequence[Setting] = ()
    questions: Sequence[Question] = ()
    text_index: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides: the description, the fields of the text, its language, and the candidates.

    ``candidates`` are the embedders at hand for each dense vector.
    """

    description: Description
    paths: Sequence[str]
    language: Language | None
    candidates: Mapping[str, Sequence[Candidate]]


def decide(facts: Facts, answers: Answers) -> Plan:
    """Return how to search the collection, or the questions that are left."""
    found = facts.description
    bm25 = list(_bm25(facts, answers))
    has_bm25 = bm25[0].value not in (NONE, [])
    vector = _vector(facts, answers)
    if isinstance(vector, Question):
        return Plan(questions=(vector,))
    embedder = _embedder(facts, vector, answers, has_bm25)
    if isinstance(embedder, Question):
        return Plan(questions=(embedder,))
    if embedder is None and not has_bm25:
        return Plan(questions=(_nothing_to_search(facts, vector, answers),))
    if answers.text_index and not has_bm25:
        raise ConfigurationError(CREATE, "this database cannot index the text for BM25")
    created = str(bm25[0].value) if answers.text_index and bm25[0].key == "text_index" else None
    return Plan(
        (
            *_dense(found, vector, embedder),
            *bm25,
            *_language(facts, answers, has_bm25),
            Setting("text_fields", "fields", list(facts.paths), "the fields that hold text"),
            *_model(vector, embedder),
        ),
        text_index=created,
    )


def usable(description: Description) -> list[DenseVector]:
    """Return the dense vectors that can be searched."""
    return [vector for vector in description.dense if not vector.problem]


def shown(vector: DenseVector) -> str:
    """Return the vector with its size, as comments and questions name it."""
    size = "" if vector.size is None else f" ({vector.size} dimensions)"
    return f"{vector.name!r}{size}" if vector.name else f"the unnamed vector{size}"


def _vector(facts: Facts, answers: Answers) -> DenseVector | Question | None:
    """Return the dense vector to search; None if there is none."""
    vectors = usable(facts.description)
    if answers.dense_vector == NONE:
        return None
    if answers.dense_vector is not None:
        for vector in vectors:
            if vector.name == answers.dense_vector:
                return vector
        known = ", ".join(repr(vector.name) for vector in vectors)
        raise ConfigurationError("--dense-vector", f"must be one of: {known or 'none'}")
    proven = [v for v in vectors if any(c.proven for c in facts.candidates.get(v.name, ()))]
    if len(vectors) > 1 and len(proven) != 1:
        names = [v.name for v in vectors]
        text = f"Which vector is to be searched: {', '.join(map(shown, vectors))}?"
        return Question("--dense-vector", text, (*names, NONE))
    return next(iter(proven or vectors), None)


def _embedder(
    facts: Facts, vector: DenseVector | None, answers: Answers, has_bm25: bool
) -> Candidate | Question | None:
    """Return the embedder for queries; None for a search without the vector."""
    if vector is None or answers.embedder == NONE:
        return None
    candidates = facts.candidates.get(vector.name, ())
    if answers.embedder is not None:
        return next((c for c in candidates if c.name == answers.embedder), None)
    best = max(candidates, key=lambda c: c.agreement or 0.0, default=None)
    if best is None or not best.likely:
        return None
    if best.proven:
        return best
    otherwise = "only BM25 is searched" if has_bm25 else "the collection cannot be searched"
    text = (
        f"Was {shown(vector)} made by the model {best.name!r}? Probably, with other text around: "
        f"cosine {best.agreement:.2f} on stored texts ({PROVEN} is a proof). If not, {otherwise}."
    )
    return Question("--embedder", text, (best.name, NONE))


def _nothing_to_search(facts: Facts, vector: DenseVector | None, answers: Answers) -> Question:
    """Return the question that makes something searchable; raise if no answer could."""
    can_index = _indexable(facts, answers) is not None
    text = "The collection has nothing that BM25 can search"
    if vector is not None and answers.embedder is None:
        offer = f" Or let BM25 search a text index: {CREATE}." if can_index else ""
        text += f", and no model at hand made {shown(vector)}.{_usual(vector)} Which model did?"
        return Question("--embedder", text + offer)
    option, why = "COLLECTION", "it has no dense vector that can be searched"
    if vector is not None:
        option, why = "--embedder", f"without a model, {shown(vector)} cannot be searched"
    elif answers.dense_vector == NONE and usable(facts.description):
        option, why = "--dense-vector", "no dense vector is to be searched"
    elif others := _problems(facts.description):
        why += f" ({others})"
    if can_index:
        return Question(CREATE, f"{text}, and {why}. Create a text index?", ("yes",))
    raise ConfigurationError(option, f"{text[0].lower()}{text[1:]}, and {why}")


def _problems(found: Description) -> str:
    return ", ".join(f"{shown(v)}: {v.problem}" for v in found.dense if v.problem)


def _usual(vector: DenseVector) -> str:
    names = USUAL.get(vector.size or 0, ())
    return f" Usual models of this size: {', '.join(names)}." if names else ""


def _dense(
    found: Description, vector: DenseVector | None, embedder: Candidate | None
) -> Iterator[Setting]:
    if vector is None:
        others = _problems(found)
        why = f"no vector is searched ({others})" if others else "no dense vector is searched"
        yield Setting("backend", "dense_vector", NONE, why)
    elif embedder is None:
        yield Setting("backend", "dense_vector", NONE, f"no model at hand made {shown(vector)}")
        why = f"brings dense search back, with the model in [embedder].{_usual(vector)}"
        yield Setting("backend", "dense_vector", vector.name, why, is_hint=True)
    else:
        yield Setting("backend", "dense_vector", vector.name, f"{shown(vector)}, {vector.metric}")


def _bm25(facts: Facts, answers: Answers) -> Iterator[Setting]:
    found = facts.description
    if found.analyzers:
        fields = [path for path in facts.paths if path in found.analyzers]
        analyzers = sorted({found.analyzers[field] for field in fields})
        why = f"text fields, analyzed as {', '.join(analyzers)}" if fields else "no text field"
        yield Setting("backend", "bm25_fields", fields, why)
        return
    field = _indexable(facts, answers)
    terms = [vector for vector in found.sparse if vector.idf and vector.language is not None]
    indexed = [path for path in facts.paths if path in found.text_indexes]
    if terms:
        yield Setting("backend", "bm25_vector", terms[0].name, "sparse vector of BM25 terms")
    elif indexed:
        yield Setting("backend", "text_index", indexed[-1], "has a text index with scoring")
    elif answers.text_index and field is not None:
        yield Setting("backend", "text_index", field, "text index that was created for it")
    else:
        names = ", ".join(repr(vector.name) for vector in found.sparse)
        held = f"{names} without BM25 terms of a known language" if names else "no sparse vector"
        yield Setting("backend", "bm25_vector", NONE, f"{held}, no text index with scoring")
        if field is not None:
            why = "for BM25, instead of bm25_vector; create it by doctor --create-text-index"
            yield Setting("backend", "text_index", field, why, is_hint=True)


def _indexable(facts: Facts, answers: Answers) -> str | None:
    """Return the field for a text index, the longest one; None if none could be searched."""
    if not facts.description.splits_all and (answers.language or facts.language) in UNSPACED:
        return None
    payloads = [sample.payload for sample in facts.description.samples]
    plain = {path: sum(len(plain_text(p, path)) for p in payloads) for path in facts.paths}
    longest = max(plain, key=lambda path: plain[path], default="")
    return longest if facts.description.text_queries and plain.get(longest) else None


def _language(facts: Facts, answers: Answers, has_bm25: bool) -> Iterator[Setting]:
    terms = [v.language for v in facts.description.sparse if v.idf and v.language]
    language = answers.language or next(iter(terms), None) or facts.language
    if has_bm25 and language is not None:
        yield Setting("backend", "language", language, "language of the stored texts")


def _model(vector: DenseVector | None, embedder: Candidate | None) -> Iterator[Setting]:
    if embedder is None:
        why = "the models that are at hand did not make the vectors" if vector else "not needed"
        yield Setting("embedder", "type", NONE, why)
        return
    agreed = embedder.agreement
    if agreed is None:
        why = "as given; not compared with the stored vectors"
    elif embedder.proven:
        why = f"proven: made the stored vectors of stored texts (cosine {agreed:.3f})"
    else:
        why = f"not proven: cosine {agreed:.2f} with the stored vectors of stored texts"
    for key, value in embedder.settings.items():
        yield Setting("embedder", key, value, why if key == "type" else "")
