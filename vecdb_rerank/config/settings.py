"""Configuration: ``vecdb_rerank.toml``, then environment, then arguments; the last one wins.

Environment variables are ``VECDB_RERANK__SECTION__KEY``, such as
``VECDB_RERANK__BACKEND__TYPE=opensearch``.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FilePath,
    SecretStr,
    Tag,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from vecdb_rerank.http.urls import names_server
from vecdb_rerank.policy import Policy
from vecdb_rerank.request import Bm25Params, Language, SearchDefaults
from vecdb_rerank.rerankers.wire_formats import FORMATS, FormatName, Scale
from vecdb_rerank.secrets import concealed
from vecdb_rerank.text_fields import TextFields

ENV_PREFIX = "VECDB_RERANK__"


ENV_DELIMITER = "__"


class _Concealing(BaseModel):
    """Shows no secret in its representations."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, concealed(name or "", value)


class Section(_Concealing):
    """A part of the settings in which every key must be known."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _server(url: str) -> str:
    if not names_server(url if "//" in url else f"//{url}", ("", "http", "https")):
        raise ValueError("no URL of a server, such as http://localhost:6333")
    return url


def _certificates(verify: bool | Path) -> bool | Path:
    if not isinstance(verify, bool):
        try:
            ssl.create_default_context(cafile=verify)
        except OSError:
            raise ValueError(f"{verify} holds no certificates (PEM)") from None
    return verify


Url = Annotated[str, AfterValidator(_server)]


Verify = Annotated[bool | FilePath, AfterValidator(_certificates)]


class QdrantSettings(Section):
    """A Qdrant server (``url``), or one embedded in this process under ``path``."""

    type: Literal["qdrant"] = "qdrant"
    collection: str = Field("documents", min_length=1)
    """The collection to search and fill."""
    url: Url | None = None
    """A server, such as ``http://localhost:6333``; without one Qdrant runs embedded."""
    path: Path | None = None
    """The folder of an embedded Qdrant, or ``:memory:``; by default ``.vecdb_rerank/qdrant``."""
    api_key: SecretStr | None = None
    """The server's key; better given in the environment."""
    prefer_grpc: bool = False
    """Speak gRPC instead of REST."""
    grpc_port: int = 6334
    """The server's gRPC port."""
    timeout: float = Field(30.0, gt=0)
    """Seconds for one request; a search has less where its deadline leaves less."""
    verify: Verify = True
    """Check the server's certificate: yes, no, or against the authorities in this file (PEM)."""
    dense_vector: str | None = "dense"
    """The name of the dense vector; ``""`` is the unnamed one."""
    bm25_vector: str = "bm25"
    """The name of the sparse vector of BM25."""
    language: Language = "english"
    """The language of the documents: whose stems and stop words BM25 uses."""
    bm25: Bm25Params = Field(default_factory=Bm25Params)
    """How BM25 vectors are made of documents."""

    @model_validator(mode="after")
    def _one_place(self) -> QdrantSettings:
        if self.url is not None and self.path is not None:
            raise ValueError("give url (a server) or path (embedded), not both")
        return self


class OpenSearchSettings(Section):
    """An OpenSearch server; ``collection`` is the index, an alias or a pattern."""

    type: Literal["opensearch"] = "opensearch"
    collection: str = Field("documents", min_length=1)
    """The index, an alias or a pattern."""
    url: Url = "http://127.0.0.1:9200"
    """The server."""
    user: str | None = None
    """The user of basic authentication."""
    password: SecretStr | None = None
    """The user's password; better given in the environment."""
    timeout: float = Field(30.0, gt=0)
    """Seconds for one request; a search has less where its deadline leaves less."""
    verify: Verify = True
    """Check the server's certificate: yes, no, or against the authorities in this file (PEM)."""
    dense_vector: str = "dense"
    """The ``knn_vector`` field."""
    bm25_fields: tuple[str, ...] = Field(("bm25_text",), min_length=1)
    """The text fields that BM25 searches, with boosts if wanted: ``["title^2", "body"]``."""
    language: Language = "english"
    """The language of the documents: whose stems and stop words BM25 uses."""


class OnnxRerankerSettings(Section):
    """A local cross-encoder in ONNX Runtime: ``bundled``, a folder, or a hub id."""

    type: Literal["onnx"] = "onnx"
    model: str = "bundled"
    """``bundled``, a folder with an ONNX file and ``tokenizer.json``, or a hub id."""
    revision: str | None = None
    """The hub commit to load."""
    file: str | None = None
    """The ONNX file in the folder, where it has several."""
    max_length: int = Field(512, ge=8)
    """Tokens that the model reads; what is longer is cut."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes CUDA where the installed onnxruntime has it."""


class OnnxEmbedderSettings(OnnxRerankerSettings):
    """A local bi-encoder in ONNX Runtime: ``bundled``, a folder, or a hub id."""

    pooling: Literal["cls", "mean"] = "cls"
    """How token vectors become one: the first, or their mean."""
    query_prefix: str | None = None
    """Put before queries; by default bge's with the bundled model, else nothing."""


def _service(url: str) -> str:
    if "://" not in url:
        raise ValueError("no URL of a server, such as http://localhost:8080")
    return _server(url)


def _several(url: Any) -> Any:
    return (url,) if isinstance(url, str) else url


def _any(urls: tuple[str, ...]) -> tuple[str, ...]:
    if not urls:
        raise ValueError("give at least one")
    return urls


ServiceUrl = Annotated[str, AfterValidator(_service)]


ServiceUrls = Annotated[tuple[ServiceUrl, ...], BeforeValidator(_several), AfterValidator(_any)]


class HttpRerankerSettings(Section):
    """A rerank server, or several of one service: TEI, Jina, Voyage, or Cohere's API."""

    type: Literal["http"] = "http"
    url: ServiceUrls
    """The server, or a list of several of one service, asked in turn."""
    format: FormatName = "cohere"
    """How it is spoken to."""
    model: str | None = None
    """The model's name at the service; all formats but ``tei`` need it."""
    api_key: SecretStr | None = None
    """The service's key; better given in the environment."""
    timeout: float = Field(10.0, gt=0)
    """Seconds for one request, within the search's deadline."""
    retries: int = Field(2, ge=0)
    """Further tries per url."""
    batch_size: int | None = Field(None, ge=1)
    """Documents per request; by default as many as the format allows."""
    batch_tokens: int | None = Field(None, ge=1)
    """Estimated tokens per request; by default 100,000 for ``voyage``, else no limit."""
    scale: Scale | None = None
    """What the scores are, where that is not what the format says."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further keys of each request."""
    hedge: bool = False
    """Ask a second url when the first is slower than 95 % of its last 100 calls."""
    http2: bool = False
    """Use HTTP/2 in asynchronous searches."""
    verify: Verify = True
    """Check the server's certificate: yes, no, or against the authorities in this file (PEM)."""
    max_response_bytes: int = Field(8 * 1024 * 1024, ge=1)
    """Size of a response, before and after decompression, above which it is an error."""

    @model_validator(mode="after")
    def _two_urls(self) -> HttpRerankerSettings:
        if self.hedge and len(self.url) < 2:
            raise ValueError("hedge: needs a second url")
        return self

    @model_validator(mode="after")
    def _named_model(self) -> HttpRerankerSettings:
        if not self.model and FORMATS[self.format].model is not None:
            raise ValueError(f"model: the format {self.format!r} needs the model's name")
        return self


class CohereRerankerSettings(Section):
    """Cohere's API through its SDK; the key may also be in ``CO_API_KEY``."""

    type: Literal["cohere"] = "cohere"
    model: str = Field("rerank-v3.5", min_length=1)
    """The model's name."""
    api_key: SecretStr | None = None
    """The key; better given in the environment, also as ``CO_API_KEY``."""
    base_url: ServiceUrl | None = None
    """Another address (Azure, a gateway), with or without ``/v2/rerank``; also ``CO_API_URL``."""
    max_tokens_per_doc: int | None = Field(None, ge=1)
    """Tokens of a document that the model reads; by default what Cohere says."""
    timeout: float = Field(10.0, gt=0)
    """Seconds for one request, within the search's deadline."""
    retries: int = Field(2, ge=0)
    """Further tries."""
    batch_size: int = Field(1_000, ge=1, le=1_000)
    """Documents per request."""
    batch_tokens: int | None = Field(None, ge=1)
    """Estimated tokens per request; by default no limit."""
    http2: bool = False
    """Use HTTP/2 in asynchronous searches."""
    verify: Verify = True
    """Check the server's certificate: yes, no, or against the authorities in this file (PEM)."""
    max_response_bytes: int = Field(8 * 1024 * 1024, ge=1)
    """Size of a response, before and after decompression, above which it is an error."""


class CrossEncoderSettings(Section):
    """A transformers cross-encoder in torch: a folder or a hub id."""

    type: Literal["cross_encoder"] = "cross_encoder"
    model: str = Field(min_length=1)
    """A folder, or a hub id."""
    revision: str | None = None
    """The hub commit to load; a must with ``trust_remote_code``."""
    max_length: int = Field(512, ge=8)
    """Tokens of query and document together; the document is cut."""
    device: str = "auto"
    """``auto`` takes CUDA, else MPS, else the CPU; or such as ``cuda:1``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` takes bfloat16 where the hardware multiplies it."""
    prompt: str | dict[str, str] | None = None
    """For causal models: ``qwen3``, ``gemma``, or a table of one."""
    trust_remote_code: bool = False
    """Run the code that comes with the model."""
    compile: bool = False
    """Use ``torch.compile``: slower on a CPU, and the first calls take minutes."""
    fused: bool = True
    """On a CPU, compute layers of BERT and XLM-RoBERTa in fewer steps."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens computed at once; by default 65,536 on CUDA, 2,048 on a CPU."""
    token_cache_mb: float = Field(64.0, ge=0)
    """Memory for the token ids of documents."""
    score_cache_mb: float = Field(32.0, ge=0)
    """Memory for the scores of pairs that come again; 0 keeps none."""


class LateInteractionSettings(Section):
    """Late interaction (ColBERT) in torch: a folder or a hub id."""

    type: Literal["late_interaction"] = "late_interaction"
    model: str = Field(min_length=1)
    """A folder, or a hub id."""
    revision: str | None = None
    """The hub commit to load."""
    max_length: int = Field(512, ge=8)
    """Tokens of a document; the rest is cut."""
    device: str = "auto"
    """``auto`` takes CUDA, else MPS, else the CPU; or such as ``cuda:1``."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto`` takes bfloat16 where the hardware multiplies it."""
    batch_tokens: int | None = Field(None, ge=1)
    """Tokens computed at once; by default 65,536 on CUDA, 2,048 on a CPU."""
    vector_cache_mb: float = Field(256.0, ge=0)
    """Memory for the token vectors of documents that come again; 0 keeps none."""


class FlagEmbeddingSettings(Section):
    """A reranker of the FlagEmbedding library."""

    type: Literal["flag_embedding"] = "flag_embedding"
    model: str = Field(min_length=1)
    """A folder, or a hub id."""
    kind: Literal["encoder", "llm", "layerwise"] = "encoder"
    """Which of the library's classes runs it."""
    revision: str | None = None
    """The hub commit to load."""
    max_length: int = Field(512, ge=8)
    """Tokens of query and document together."""
    device: str | None = None
    """As torch names it; by default the library chooses."""
    use_fp16: bool = False
    """Compute in 16 bits on a GPU; ``layerwise`` always does."""
    cutoff_layer: int | None = None
    """The layer whose scores count, for ``layerwise``."""
    batch_size: int = Field(32, ge=1)
    """Documents computed at once."""
    trust_remote_code: bool = False
    """Run the code that comes with the model."""


class SentenceTransformersSettings(Section):
    """A model of the sentence-transformers library."""

    type: Literal["sentence_transformers"] = "sentence_transformers"
    model: str
    """A folder or a hub id."""
    revision: str | None = None
    """The hub commit to load."""
    device: str | None = None
    """``cpu``, ``cuda`` ...; by default what the library chooses."""
    query_prefix: str | None = None
    """Put before queries, where the model has no prompt of its own."""
    batch_size: int = Field(32, ge=1)
    """Texts per batch."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""


class CascadeSettings(Section):
    """Two rerankers: ``first`` reads all candidates, ``then`` the best of them.

    Each is a section as ``[reranker]`` is, of any type.
    """

    type: Literal["cascade"] = "cascade"
    first: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    """The cheap one."""
    then: RerankerSettings
    """The strong one."""
    best: int = Field(20, ge=1)
    """How many documents the strong one reads."""

    @model_validator(mode="after")
    def _two(self) -> CascadeSettings:
        for key in ("first", "then"):
            if getattr(self, key).type == "none":
                raise ValueError(f"{key}: a cascade needs a reranker here, not 'none'")
        return self


class NoneSettings(Section):
    """Nothing: no reranking, or vectors that every call brings."""

    type: Literal["none"] = "none"


class PluginSettings(_Concealing):
    """Something another package registered; its factory gets all keys but ``type``."""

    model_config = ConfigDict(extra="allow")

    type: str


PLUGIN = "plugin"


# The types that the package brings itself, by section; the first one is the default.
TYPES: dict[str, dict[str, type[Section]]] = {
    "backend": {"qdrant": QdrantSettings, "opensearch": OpenSearchSettings},
    "embedder": {
        "onnx": OnnxEmbedderSettings,
        "sentence_transformers": SentenceTransformersSettings,
        "none": NoneSettings,
    },
    "reranker": {
        "onnx": OnnxRerankerSettings,
        "http": HttpRerankerSettings,
        "cohere": CohereRerankerSettings,
        "cross_encoder": CrossEncoderSettings,
        "late_interaction": LateInteractionSettings,
        "flag_embedding": FlagEmbeddingSettings,
        "cascade": CascadeSettings,
        "none": NoneSettings,
    },
}


def _tag(section: str) -> Discriminator:
    default, *_ = known = tuple(TYPES[section])

    def tag(value: Any) -> str:
        given = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
        chosen = default if given is None else str(given)
        return chosen if chosen in known else PLUGIN

    return Discriminator(tag)


Plugin = Annotated[PluginSettings, Tag(PLUGIN)]


NoneType_ = Annotated[NoneSettings, Tag("none")]


BackendSettings = Annotated[
    Annotated[QdrantSettings, Tag("qdrant")]
    | Annotated[OpenSearchSettings, Tag("opensearch")]
    | Plugin,
    _tag("backend"),
]


EmbedderSettings = Annotated[
    Annotated[OnnxEmbedderSettings, Tag("onnx")]
    | Annotated[SentenceTransformersSettings, Tag("sentence_transformers")]
    | NoneType_
    | Plugin,
    _tag("embedder"),
]


RerankerSettings = Annotated[
    Annotated[OnnxRerankerSettings, Tag("onnx")]
    | Annotated[HttpRerankerSettings, Tag("http")]
    | Annotated[CohereRerankerSettings, Tag("cohere")]
    | Annotated[CrossEncoderSettings, Tag("cross_encoder")]
    | Annotated[LateInteractionSettings, Tag("late_interaction")]
    | Annotated[FlagEmbeddingSettings, Tag("flag_embedding")]
    | Annotated[CascadeSettings, Tag("cascade")]
    | NoneType_
    | Plugin,
    _tag("reranker"),
]


CascadeSettings.model_rebuild()  # it holds what it is itself one of


def inside(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """``section`` at ``path``, then those in it (a cascade's two) at theirs."""
    yield path, section
    for key, value in section:
        if isinstance(value, Section | PluginSettings):
            yield from inside(value, (*path, key))


class Settings(BaseSettings):
    """All settings, by section; `config.loading` reads them."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    backend: BackendSettings = Field(default_factory=QdrantSettings)
    """The database."""
    embedder: EmbedderSettings = Field(default_factory=OnnxEmbedderSettings)
    """What makes vectors of queries and documents."""
    reranker: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    """What reads the candidates."""
    rerankers: tuple[RerankerSettings, ...] = ()
    """Instead of one, a chain: the next one is asked where one fails."""
    text_fields: TextFields = Field(default_factory=TextFields)
    """What of a stored document is its text."""
    search: SearchDefaults = Field(default_factory=SearchDefaults)
    """What a search does when the call does not say."""
    policy: Policy = Field(default_factory=Policy)
    """What a search may cost and what a failure does."""

    @property
    def chain(self) -> tuple[RerankerSettings, ...]:
        """The rerankers in the order in which they are asked."""
        return self.rerankers or (self.reranker,)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `loading` merges the sources, to tell where a value is from."""
        return (init_settings,)
