"""The models of all settings: their keys, types, ranges and defaults.

Arguments override the environment, and the environment overrides ``vecdb_rerank.toml``. The
variable of a key is ``VECDB_RERANK__SECTION__KEY``, such as
``VECDB_RERANK__BACKEND__TYPE=opensearch``.

The docstring below a field is its help. A section without them describes the arguments of the
class that its ``type`` names, and the class documents them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from vecdb_rerank import registry
from vecdb_rerank.config import schema
from vecdb_rerank.config.section import Concealing, Section, Url, Verify, server
from vecdb_rerank.config.serve import ServerSettings
from vecdb_rerank.embedders.formats import FORMATS as EMBED_FORMATS
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.stages import stages
from vecdb_rerank.request import NONE, Bm25Params, Language, SearchDefaults
from vecdb_rerank.rerankers.wire_format import Scale, WireFormat
from vecdb_rerank.rerankers.wire_formats import FormatName, described
from vecdb_rerank.rerankers.wire_request import one_address
from vecdb_rerank.text_fields import TextFields

ENV_PREFIX = "VECDB_RERANK__"
ENV_DELIMITER = "__"
PLUGIN = "plugin"  # the tag of sections that other packages define
EMBEDDED = Path(".vecdb_rerank/qdrant")


class QdrantSettings(Section):
    """A Qdrant server at ``url``, or Qdrant embedded in this process under ``path``."""

    type: Literal["qdrant"] = "qdrant"
    collection: str = Field("documents", min_length=1)
    """The collection to search and fill."""
    url: Url | None = None
    """The server's URL, such as ``http://localhost:6333``; without one, Qdrant runs embedded."""
    path: Path | None = None
    """The folder of an embedded Qdrant, or ``:memory:``; default: ``.vecdb_rerank/qdrant``."""
    api_key: SecretStr | None = None
    """The server's API key; best set in the environment."""
    prefer_grpc: bool = False
    """Use gRPC instead of REST."""
    grpc_port: int = 6334
    """The server's gRPC port."""
    timeout: float = Field(30.0, gt=0)
    """Seconds for one request; a search's deadline can shorten it."""
    verify: Verify = True
    """Verify the server's certificate; or a file of certificate authorities (PEM) to trust."""
    dense_vector: str | None = "dense"
    """The name of the dense vector; ``""`` is the unnamed vector, ``"none"`` no vector."""
    bm25_vector: str | None = "bm25"
    """The name of the sparse vector for BM25; ``"none"`` if there is none."""
    text_index: str | None = None
    """A payload field with a scoring text index, for BM25 without sparse vectors (Qdrant 1.20)."""
    language: Language = "english"
    """The language of the documents, for BM25's stemmer and stop words."""
    bm25: Bm25Params = Field(default_factory=Bm25Params)
    """Parameters of BM25, for the vectors of documents or the queries of a text index."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.url is not None and self.path is not None:
            raise ConfigurationError("path", "set url (a server) or path (embedded), not both")
        return self

    @model_validator(mode="after")
    def _one_bm25(self) -> Self:
        named = "bm25_vector" in self.model_fields_set and self.bm25_vector not in (None, NONE)
        if named and self.text_index is not None:
            raise ConfigurationError("text_index", "set it or bm25_vector, not both")
        return self

    @property
    def folder(self) -> Path | None:
        """The folder of the embedded Qdrant; None for a server, or in memory."""
        if self.url is not None or str(self.path) == ":memory:":
            return None
        return self.path or EMBEDDED

    def require_existing(self) -> None:
        """Raise `ConfigurationError` if no embedded Qdrant has written the folder yet."""
        if self.folder is not None and not (self.folder / "meta.json").exists():
            what = "Qdrant in the folder" if self.folder.is_dir() else "folder"
            raise ConfigurationError(
                "backend.path",
                f"collection {self.collection!r} is missing: there is no {what} "
                f"{self.folder.absolute()}; fill it with `vecdb-rerank index FILE`, or set "
                "backend.path or backend.url",
            )


class OpenSearchSettings(Section):
    """An OpenSearch server; ``collection`` is the index, an alias or a pattern."""

    type: Literal["opensearch"] = "opensearch"
    collection: str = Field("documents", min_length=1)
    """The index, an alias or a pattern."""
    url: Url = "http://127.0.0.1:9200"
    """The server's URL."""
    user: str | None = None
    """The user name for basic authentication."""
    password: SecretStr | None = None
    """The user's password; best set in the environment."""
    timeout: float = Field(30.0, gt=0)
    """Seconds for one request; a search's deadline can shorten it."""
    verify: Verify = True
    """Verify the server's certificate; or a file of certificate authorities (PEM) to trust."""
    dense_vector: str | None = "dense"
    """The ``knn_vector`` field; ``"none"`` if there is none."""
    bm25_fields: tuple[str, ...] = ("bm25_text",)
    """The text fields that BM25 searches, with optional boosts: ``["title^2", "body"]``; none of
    them for a search by vectors alone."""
    language: Language = "english"
    """The language of the documents, for BM25's stemmer and stop words."""


class OnnxRerankerSettings(Section):
    """A local cross-encoder in ONNX Runtime."""

    type: Literal["onnx"] = "onnx"
    model: str = "bundled"
    revision: str | None = None
    file: str | None = None
    max_length: int = Field(512, ge=8)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class OnnxEmbedderSettings(OnnxRerankerSettings):
    """A local bi-encoder in ONNX Runtime."""

    pooling: Literal["cls", "mean"] = "cls"
    query_prefix: str | None = None


def _service(url: str) -> str:
    if "://" not in url:
        raise ValueError("must be a server's URL, such as http://localhost:8080")
    return server(url)


def _listed(url: object) -> object:
    return (url,) if isinstance(url, str) else url


ServiceUrl = Annotated[str, AfterValidator(_service)]
ServiceUrls = Annotated[tuple[ServiceUrl, ...], BeforeValidator(_listed), Field(min_length=1)]


class HttpRerankerSettings(Section):
    """A rerank service or server, or several addresses of one, with any of the wire formats."""

    type: Literal["http"] = "http"
    url: ServiceUrls | None = None
    endpoint: ServiceUrls | None = None
    format: FormatName = "cohere"
    custom: WireFormat | None = None
    model: str | None = None
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    query_params: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int | None = Field(None, ge=1)
    batch_tokens: int | None = Field(None, ge=1)
    scale: Scale | None = None
    instruction: str | None = None
    listwise: bool | None = None
    extra_body: dict[str, object] = Field(default_factory=dict)
    hedge: bool = False
    http2: bool = False
    verify: Verify = True
    max_response_bytes: int = Field(8 * 1024 * 1024, ge=1)

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        one_address(self.url, self.endpoint)
        if self.hedge and len(self.url or self.endpoint or ()) < 2:
            raise ConfigurationError("hedge", "needs a second url")
        return self

    @model_validator(mode="after")
    def _described(self) -> Self:
        wire = described(self.format, self.custom)
        if not self.model and wire.needs_model:
            raise ConfigurationError("model", f"format {self.format!r} needs the model's name")
        return self


class CohereRerankerSettings(Section):
    """Cohere's API through its SDK."""

    type: Literal["cohere"] = "cohere"
    model: str = Field("rerank-v3.5", min_length=1)
    api_key: SecretStr | None = None
    base_url: ServiceUrl | None = None
    max_tokens_per_doc: int | None = Field(None, ge=1)
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int = Field(1_000, ge=1, le=1_000)
    batch_tokens: int | None = Field(None, ge=1)
    http2: bool = False
    verify: Verify = True
    max_response_bytes: int = Field(8 * 1024 * 1024, ge=1)


class LlmRerankerSettings(Section):
    """A language model behind an OpenAI-compatible chat endpoint."""

    type: Literal["llm"] = "llm"
    url: ServiceUrl
    model: str = Field(min_length=1)
    mode: Literal["listwise", "pointwise"] = "listwise"
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    instruction: str | None = None
    window: int = Field(20, ge=2)
    stride: int = Field(10, ge=1)
    shuffle_seed: int | None = Field(None, ge=0)
    document_tokens: int = Field(400, ge=1)
    answer_tokens: int | None = Field(None, ge=1)
    max_calls: int = Field(100, ge=1)
    max_tokens: int = Field(200_000, ge=1)
    output_weight: float = Field(1.0, ge=0)
    timeout: float = Field(30.0, gt=0)
    retries: int = Field(2, ge=0)
    extra_body: dict[str, object] = Field(default_factory=dict)
    http2: bool = False
    verify: Verify = True
    max_response_bytes: int = Field(8 * 1024 * 1024, ge=1)

    @model_validator(mode="after")
    def _overlapping(self) -> Self:
        if self.stride > self.window:
            raise ConfigurationError("stride", f"must be at most window ({self.window})")
        return self


class CrossEncoderSettings(Section):
    """A transformers cross-encoder in torch."""

    type: Literal["cross_encoder"] = "cross_encoder"
    model: str = Field(min_length=1)
    revision: str | None = None
    max_length: int = Field(512, ge=8)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    prompt: str | dict[str, str] | None = None
    instruction: str | None = None
    trust_remote_code: bool = False
    compile: bool = False
    fused: bool = True
    batch_tokens: int | None = Field(None, ge=1)
    token_cache_mb: float = Field(64.0, ge=0)
    score_cache_mb: float = Field(32.0, ge=0)


class LateInteractionSettings(Section):
    """A late-interaction model (ColBERT) in torch."""

    type: Literal["late_interaction"] = "late_interaction"
    model: str = Field(min_length=1)
    revision: str | None = None
    max_length: int = Field(512, ge=8)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_tokens: int | None = Field(None, ge=1)
    vector_cache_mb: float = Field(256.0, ge=0)


class FlagEmbeddingSettings(Section):
    """A reranker of the FlagEmbedding library."""

    type: Literal["flag_embedding"] = "flag_embedding"
    model: str = Field(min_length=1)
    kind: Literal["encoder", "llm", "layerwise"] = "encoder"
    revision: str | None = None
    max_length: int = Field(512, ge=8)
    device: str | None = None
    use_fp16: bool = False
    cutoff_layer: int | None = None
    batch_size: int = Field(32, ge=1)
    trust_remote_code: bool = False


class RemoteEmbedderSettings(Section):
    """What the embedders of all services take."""

    type: str
    model: str | None = Field(None, min_length=1)
    url: ServiceUrl | None = None
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    dimensions: int | None = Field(None, ge=1)
    query_prefix: str = ""
    document_prefix: str = ""
    query_kind: str | None = None
    document_kind: str | None = None
    normalize: bool = True
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int | None = Field(None, ge=1)
    batch_tokens: int | None = Field(None, ge=1)
    extra_body: dict[str, object] = Field(default_factory=dict)
    http2: bool = False
    verify: Verify = True
    max_response_bytes: int = Field(64 * 1024 * 1024, ge=1)

    @model_validator(mode="after")
    def _named(self) -> Self:
        wire = EMBED_FORMATS[self.type]
        if self.model is None and wire.model is not None:
            raise ConfigurationError("model", "must be the model's name")
        if self.url is None and wire.url is None:
            raise ConfigurationError("url", "must be the server's URL")
        return self


class OpenAIEmbedderSettings(RemoteEmbedderSettings):
    """OpenAI's API, or a server that is compatible with it."""

    type: Literal["openai"] = "openai"


class CohereEmbedderSettings(RemoteEmbedderSettings):
    """Cohere's API."""

    type: Literal["cohere"] = "cohere"


class TeiEmbedderSettings(RemoteEmbedderSettings):
    """A server of text-embeddings-inference."""

    type: Literal["tei"] = "tei"


class VoyageEmbedderSettings(RemoteEmbedderSettings):
    """Voyage AI's API."""

    type: Literal["voyage"] = "voyage"


class JinaEmbedderSettings(RemoteEmbedderSettings):
    """Jina AI's API."""

    type: Literal["jina"] = "jina"


class SentenceTransformersSettings(Section):
    """A model of the sentence-transformers library."""

    type: Literal["sentence_transformers"] = "sentence_transformers"
    model: str
    revision: str | None = None
    device: str | None = None
    query_prefix: str | None = None
    batch_size: int = Field(32, ge=1)
    trust_remote_code: bool = False


class TorchEmbedderSettings(Section):
    """A sentence-transformers checkpoint in torch, without padding."""

    type: Literal["torch"] = "torch"
    model: str = Field(min_length=1)
    revision: str | None = None
    max_length: int | None = Field(None, ge=8)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "float32"
    query_prefix: str | None = None
    document_prefix: str | None = None
    trust_remote_code: bool = False
    batch_tokens: int | None = Field(None, ge=1)


class CascadeSettings(Section):
    """Two rerankers: ``first`` scores all candidates, ``then`` the best of them.

    Each is a section like ``[reranker]``, of any type.
    """

    type: Literal["cascade"] = "cascade"
    first: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    then: RerankerSettings
    best: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _two(self) -> Self:
        for key, section in (("first", self.first), ("then", self.then)):
            if section.type == "none":
                raise ConfigurationError(key, "must be a reranker, got 'none'")
        return self


class NoneSettings(Section):
    """No reranker, or no embedder: dense searches then need a ``query_vector``."""

    type: Literal["none"] = "none"


class PluginSettings(Concealing):
    """A component of another package; its factory gets all keys but ``type``."""

    model_config = ConfigDict(extra="allow")
    kind: ClassVar[registry.Kind]

    type: str

    @field_validator("type")
    @classmethod
    def _installed(cls, type: str) -> str:
        if type not in registry.names(cls.kind):
            raise ValueError(registry.unknown(cls.kind, type))
        return type


class PluginBackend(PluginSettings):
    """A connector of another package."""

    kind = "connectors"


class PluginEmbedder(PluginSettings):
    """An embedder of another package."""

    kind = "embedders"


class PluginReranker(PluginSettings):
    """A reranker of another package."""

    kind = "rerankers"


def _tag(section: str) -> Discriminator:
    """Choose the class of a section by its ``type``; without one, the first class."""

    def tag(value: object) -> str:
        given = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
        default, *_ = known = section_types(section)
        chosen = default if given is None else str(given)
        return chosen if chosen in known else PLUGIN

    return Discriminator(tag)


BackendSettings = Annotated[
    Annotated[QdrantSettings, Tag("qdrant")]
    | Annotated[OpenSearchSettings, Tag("opensearch")]
    | Annotated[PluginBackend, Tag(PLUGIN)],
    _tag("backend"),
]
EmbedderSettings = Annotated[
    Annotated[OnnxEmbedderSettings, Tag("onnx")]
    | Annotated[SentenceTransformersSettings, Tag("sentence_transformers")]
    | Annotated[TorchEmbedderSettings, Tag("torch")]
    | Annotated[OpenAIEmbedderSettings, Tag("openai")]
    | Annotated[CohereEmbedderSettings, Tag("cohere")]
    | Annotated[TeiEmbedderSettings, Tag("tei")]
    | Annotated[VoyageEmbedderSettings, Tag("voyage")]
    | Annotated[JinaEmbedderSettings, Tag("jina")]
    | Annotated[NoneSettings, Tag("none")]
    | Annotated[PluginEmbedder, Tag(PLUGIN)],
    _tag("embedder"),
]
RerankerSettings = Annotated[
    Annotated[OnnxRerankerSettings, Tag("onnx")]
    | Annotated[HttpRerankerSettings, Tag("http")]
    | Annotated[CohereRerankerSettings, Tag("cohere")]
    | Annotated[LlmRerankerSettings, Tag("llm")]
    | Annotated[CrossEncoderSettings, Tag("cross_encoder")]
    | Annotated[LateInteractionSettings, Tag("late_interaction")]
    | Annotated[FlagEmbeddingSettings, Tag("flag_embedding")]
    | Annotated[CascadeSettings, Tag("cascade")]
    | Annotated[NoneSettings, Tag("none")]
    | Annotated[PluginReranker, Tag(PLUGIN)],
    _tag("reranker"),
]


CascadeSettings.model_rebuild()  # a cascade is itself one of the rerankers it can hold


class ModelSettings(Section):
    """A reranker of ``vecdb-rerank serve`` under the names that requests use."""

    name: str = Field("default", min_length=1)
    """The name of the model, in requests and answers."""
    aliases: tuple[str, ...] = ()
    """Other names for it, such as ``rerank-v3.5``; ``*`` is every name that no model has."""
    default: bool = False
    """Whether it serves requests that name no model; the first model does unless one says so."""
    reranker: RerankerSettings | None = None
    """A section like ``[reranker]``; by default the configured reranker or chain."""
    rerankers: tuple[RerankerSettings, ...] = ()
    """A chain instead of one ``reranker``: if one fails, the next one is called."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.reranker is not None and self.rerankers:
            raise ConfigurationError("rerankers", "set these or reranker, not both")
        for one in self.own:
            if one.type == "none":
                raise ConfigurationError("reranker", "must be a reranker, got 'none'")
        return self

    @property
    def own(self) -> tuple[RerankerSettings, ...]:
        """The rerankers in the order in which they are called; none for the configured ones."""
        return self.rerankers or (() if self.reranker is None else (self.reranker,))


class ServeSettings(ServerSettings):
    """Its models, address, keys and limits."""

    models: tuple[ModelSettings, ...] = (ModelSettings(aliases=("*",)),)
    """The rerankers; by default the configured one, under every name."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.models:
            raise ConfigurationError("models", "must not be empty")
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigurationError("models", f"the name {twice!r} is given twice")
        if sum(model.default for model in self.models) > 1:
            raise ConfigurationError("models", "only one of them can be the default")
        return self


def inside(
    section: RerankerSettings, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], RerankerSettings]]:
    """Yield ``section`` with its path, then the rerankers in it with theirs."""
    yield path, section
    if isinstance(section, CascadeSettings):
        yield from inside(section.first, (*path, "first"))
        yield from inside(section.then, (*path, "then"))


def _plain_policy(policy: object) -> object:
    """Read ``breaker = false`` or ``"none"`` as None, which TOML and the environment lack.

    The stages ``after`` are read as `Policy` reads them, which names what is wrong.
    """
    if not isinstance(policy, Mapping):
        return policy
    plain = {**policy}
    if plain.get("breaker") in (False, "false", "none"):
        plain["breaker"] = None
    if "after" in plain:
        plain["after"] = stages(plain["after"])
    return plain


class Settings(BaseSettings):
    """All settings, by section; `config.loading` reads them."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    backend: BackendSettings = Field(default_factory=QdrantSettings)
    """The database."""
    embedder: EmbedderSettings = Field(default_factory=OnnxEmbedderSettings)
    """The model that embeds queries and documents."""
    reranker: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    """The model or service that scores the candidates."""
    rerankers: tuple[RerankerSettings, ...] = ()
    """A chain instead of one ``reranker``: if one fails, the next one is called."""
    text_fields: TextFields = Field(default_factory=TextFields)
    """The fields of a stored document that are its text."""
    search: SearchDefaults = Field(default_factory=SearchDefaults)
    """Defaults for the arguments of a search."""
    policy: Annotated[Policy, BeforeValidator(_plain_policy)] = Field(default_factory=Policy)
    """Deadline, budgets, blending, and what happens on failure."""
    serve: ServeSettings = Field(default_factory=ServeSettings)
    """The service of ``vecdb-rerank serve``."""

    @property
    def chain(self) -> tuple[RerankerSettings, ...]:
        """The rerankers in the order in which they are called."""
        return self.rerankers or (self.reranker,)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.model_fields_set >= {"reranker", "rerankers"}:
            raise ConfigurationError("rerankers", "set these or reranker, not both")
        if "rerankers" in self.model_fields_set and not self.rerankers:
            raise ConfigurationError(
                "rerankers", "must not be empty; for no reranker, set reranker.type = 'none'"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the arguments only: `loading` merges the sources and knows each value's origin."""
        return (init_settings,)


@cache
def section_types(section: str) -> Mapping[str, type[BaseModel]]:
    """Return this package's classes of a section by their ``type``; the first is the default."""
    tagged = schema.tags(Settings.model_fields[section].annotation)
    return {tag: kind for tag, kind in tagged.items() if tag != PLUGIN}
