"""The schemas of requests and answers, in JSON Schema."""

from __future__ import annotations

from vecdb_rerank.server.errors import Json


def named(schema: str | Json) -> Json:
    """Return a reference to the schema of a name; others as they are."""
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def one_of(*names: str) -> Json:
    """Return the schema of a value that has one of these."""
    return {"oneOf": [named(name) for name in names]}


def _of(kind: str, description: str = "", **more: object) -> Json:
    return {"type": kind, **({"description": description} if description else {}), **more}


def _object(required: str, properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: Json | str, description: str = "") -> Json:
    return _of("array", description, items=named(items))


_TEXTS = _list(_of("string"))
_TEXT_OR_TEXTS: Json = {"oneOf": [_of("string"), _TEXTS]}
_MODEL = _of("string", "A name or an alias; by default the default model")
_INSTRUCTION = _of("string", "What counts as relevant")
_SCORE = _of("number")
_INDEX = _of("integer", "The place of the document in the request", minimum=0)
_MILLISECONDS = _of("integer", "How long the caller waits, in milliseconds", minimum=1)

PARAMETERS: list[Json] = [
    {"name": "x-request-timeout-ms", "in": "header", "schema": _MILLISECONDS},
    {"name": "x-request-id", "in": "header", "schema": _of("string")},
]

SCHEMAS: Json = {
    "Document": {"oneOf": [_of("string"), _of("object")]},
    "RerankRequest": _object(
        "query documents",
        {
            "model": _MODEL,
            "query": _of("string"),
            "documents": _list("Document"),
            "top_n": _of("integer", "How many results to return; 0 for all", minimum=0),
            "return_documents": _of("boolean"),
            "rank_fields": _list(_of("string"), "The fields of objects to read"),
            "max_tokens_per_doc": _of("integer", "0 for no limit", minimum=0),
            "max_tokens_per_query": _of("integer", "0 for no limit", minimum=0),
            "truncate_prompt_tokens": {
                **_of("integer", "-1 for as much as the model reads", minimum=-1),
                "not": {"const": 0},
            },
            "truncation_side": _of("string", enum=["left", "right"]),
            "max_chunks_per_doc": _of("integer", minimum=1),
            "instruction": _INSTRUCTION,
        },
    ),
    "RerankAnswer": _object(
        "id model results",
        {
            "id": _of("string"),
            "object": _of("string"),
            "model": _of("string"),
            "results": _list(
                _object(
                    "index relevance_score",
                    {
                        "index": _INDEX,
                        "relevance_score": _of("number", "From 0 to 1"),
                        "document": named("Document"),
                    },
                ),
                "Best first",
            ),
            "meta": _of("object"),
            "usage": _of("object"),
        },
    ),
    "TeiRerankRequest": _object(
        "query texts",
        {
            "query": _of("string"),
            "texts": _TEXTS,
            "raw_scores": _of("boolean"),
            "return_text": _of("boolean"),
            "truncate": _of("boolean", "Whether to cut long texts, or to refuse them"),
            "truncation_direction": _of("string", enum=["Left", "Right"]),
        },
    ),
    "TeiRerankAnswer": _list(
        _object("index score", {"index": _INDEX, "score": _SCORE, "text": _of("string")})
    ),
    "ScoreRequest": _object(
        "text_1 text_2",
        {
            "model": _MODEL,
            "text_1": _TEXT_OR_TEXTS,
            "text_2": _TEXT_OR_TEXTS,
            "instruction": _INSTRUCTION,
        },
    ),
    "ScoreAnswer": _object(
        "id model data",
        {
            "id": _of("string"),
            "object": _of("string"),
            "created": _of("integer"),
            "model": _of("string"),
            "data": _list(
                _object(
                    "index score",
                    {"index": _INDEX, "object": _of("string"), "score": _SCORE},
                )
            ),
            "usage": _of("object"),
        },
    ),
    "SearchRequest": _object(
        "query",
        {
            "query": _of("string"),
            "k": _of("integer", "Candidates to rerank", minimum=1),
            "limit": _of("integer", minimum=1),
            "offset": _of("integer", minimum=0),
            "mode": _of("string", enum=["hybrid", "dense", "bm25"]),
            "filter": {
                "description": "In the database's own JSON",
                "type": ["object", "array"],
            },
            "explain": _of("boolean"),
        },
    ),
    "SearchAnswer": _of("object", "The database's own response"),
    "Models": _object(
        "data",
        {"object": _of("string"), "data": _list(_object("id", {"id": _of("string")}))},
    ),
    "Info": _object("model_id", {"model_id": _of("string")}),
    "Health": _object("status", {"status": _of("string")}),
    "Error": _of("object", "The sentence is in `message`, `detail` and `error.message`"),
}
