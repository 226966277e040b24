"""Configuration: ``vecdb_rerank.toml``, then environment, then arguments; the last one wins.

Environment variables are ``VECDB_RERANK__SECTION__KEY``, such as
``VECDB_RERANK__BACKEND__TYPE=opensearch``.
"""

from __future__ import annotations

import re
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

from vecdb_rerank.documents import Documents
from vecdb_rerank.policy import Policy
from vecdb_rerank.rerankers.formats import FormatName, Scale
from vecdb_rerank.search import Bm25Params, Language, SearchDefaults
from vecdb_rerank.urls import is_secret, names_server

ENV_PREFIX = "VECDB_RERANK__"
ENV_DELIMITER = "__"


def concealed(key: str, value: Any) -> Any:
    """``value`` as it may be shown: without what a plug-in's key or a URL keeps secret."""
    if isinstance(value, Mapping):
        return {inner: concealed(str(inner), shown) for inner, shown in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(concealed(key, shown) for shown in value)
    if not isinstance(value, str):
        return value
    if is_secret(key):
        return "**********"
    return re.sub(r"(?<=//)[^/]*@", "**********@", value)


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
    url: Url | None = None
    path: Path | None = None
    api_key: SecretStr | None = None
    prefer_grpc: bool = False
    grpc_port: int = 6334
    timeout: float = Field(30.0, gt=0)
    verify: Verify = True
    dense_vector: str | None = "dense"
    bm25_vector: str = "bm25"
    language: Language = "english"
    bm25: Bm25Params = Field(default_factory=Bm25Params)

    @model_validator(mode="after")
    def _one_place(self) -> QdrantSettings:
        if self.url is not None and self.path is not None:
            raise ValueError("give url (a server) or path (embedded), not both")
        return self


class OpenSearchSettings(Section):
    """An OpenSearch server; ``collection`` is the index, an alias or a pattern."""

    type: Literal["opensearch"] = "opensearch"
    collection: str = Field("documents", min_length=1)
    url: Url = "http://127.0.0.1:9200"
    user: str | None = None
    password: SecretStr | None = None
    timeout: float = Field(30.0, gt=0)
    verify: Verify = True
    dense_vector: str = "dense"
    bm25_fields: tuple[str, ...] = Field(("bm25_text",), min_length=1)
    language: Language = "english"


class OnnxRerankerSettings(Section):
    """A local cross-encoder in ONNX Runtime: ``bundled``, a folder, or a hub id."""

    type: Literal["onnx"] = "onnx"
    model: str = "bundled"
    revision: str | None = None
    file: str | None = None
    max_length: int = Field(512, ge=8)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class OnnxEmbedderSettings(OnnxRerankerSettings):
    """A local bi-encoder in ONNX Runtime: ``bundled``, a folder, or a hub id."""

    pooling: Literal["cls", "mean"] = "cls"
    query_prefix: str | None = None


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
    format: FormatName = "cohere"
    model: str | None = None
    api_key: SecretStr | None = None
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int | None = Field(None, ge=1)
    scale: Scale | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    hedge: bool = False
    http2: bool = False
    verify: Verify = True

    @model_validator(mode="after")
    def _two_urls(self) -> HttpRerankerSettings:
        if self.hedge and len(self.url) < 2:
            raise ValueError("hedge: needs a second url")
        return self

    @model_validator(mode="after")
    def _named_model(self) -> HttpRerankerSettings:
        if not self.model and self.format != "tei":
            raise ValueError(f"model: the format {self.format!r} needs the model's name")
        return self


class CohereRerankerSettings(Section):
    """Cohere's API through its SDK; the key may also be in ``CO_API_KEY``."""

    type: Literal["cohere"] = "cohere"
    model: str = Field("rerank-v3.5", min_length=1)
    api_key: SecretStr | None = None
    base_url: ServiceUrl | None = None
    max_tokens_per_doc: int | None = Field(None, ge=1)
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int = Field(1_000, ge=1, le=1_000)
    http2: bool = False
    verify: Verify = True


class SentenceTransformersSettings(Section):
    """A model of the sentence-transformers library."""

    type: Literal["sentence_transformers"] = "sentence_transformers"
    model: str
    revision: str | None = None
    device: str | None = None
    query_prefix: str | None = None
    batch_size: int = Field(32, ge=1)
    trust_remote_code: bool = False


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
    | NoneType_
    | Plugin,
    _tag("reranker"),
]


class Settings(BaseSettings):
    """All settings, by section; `vecdb_rerank.loading` reads them from where they are kept."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    backend: BackendSettings = Field(default_factory=QdrantSettings)
    embedder: EmbedderSettings = Field(default_factory=OnnxEmbedderSettings)
    reranker: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    rerankers: tuple[RerankerSettings, ...] = ()  # instead of one: a chain
    documents: Documents = Field(default_factory=Documents)
    search: SearchDefaults = Field(default_factory=SearchDefaults)
    policy: Policy = Field(default_factory=Policy)

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
