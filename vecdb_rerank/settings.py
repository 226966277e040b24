"""Configuration: ``vecdb_rerank.toml``, then environment, then arguments; the last one wins.

Environment variables are ``VECDB_RERANK__SECTION__KEY``, such as
``VECDB_RERANK__BACKEND__TYPE=opensearch``.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

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
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vecdb_rerank import registry
from vecdb_rerank.blending import Blend
from vecdb_rerank.documents import Documents
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.search import Bm25Params, Fusion, SearchDefaults

DEFAULT_FILE = "vecdb_rerank.toml"
ENV_PREFIX = "VECDB_RERANK__"
ENV_DELIMITER = "__"


_SECRET_KEY = re.compile(r"(^|_)(key|password|secret|token)$", re.IGNORECASE)


def concealed(key: str, value: Any) -> Any:
    """``value`` as it may be shown: without what a plug-in's key or a URL keeps secret."""
    if isinstance(value, Mapping):
        return {inner: concealed(str(inner), shown) for inner, shown in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(concealed(key, shown) for shown in value)
    if not isinstance(value, str):
        return value
    if _SECRET_KEY.search(key):
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
    # Python's own words for a wrong URL quote parts of it, which may be the password.
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        usable = parts.scheme in ("", "http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
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
    format: Literal["cohere", "cohere_v1", "jina", "tei", "voyage"] = "cohere"
    model: str | None = None
    api_key: SecretStr | None = None
    timeout: float = Field(10.0, gt=0)
    retries: int = Field(2, ge=0)
    batch_size: int | None = Field(None, ge=1)
    scale: Literal["relevance", "logits"] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    http2: bool = False
    verify: Verify = True

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


def _tag(known: tuple[str, ...], default: str) -> Discriminator:
    def tag(value: Any) -> str:
        given = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
        chosen = default if given is None else str(given)
        return chosen if chosen in known else "plugin"

    return Discriminator(tag)


Plugin = Annotated[PluginSettings, Tag("plugin")]
NoneType_ = Annotated[NoneSettings, Tag("none")]
BackendSettings = Annotated[
    Annotated[QdrantSettings, Tag("qdrant")]
    | Annotated[OpenSearchSettings, Tag("opensearch")]
    | Plugin,
    _tag(("qdrant", "opensearch"), "qdrant"),
]
EmbedderSettings = Annotated[
    Annotated[OnnxEmbedderSettings, Tag("onnx")]
    | Annotated[SentenceTransformersSettings, Tag("sentence_transformers")]
    | NoneType_
    | Plugin,
    _tag(("onnx", "sentence_transformers", "none"), "onnx"),
]
RerankerSettings = Annotated[
    Annotated[OnnxRerankerSettings, Tag("onnx")]
    | Annotated[HttpRerankerSettings, Tag("http")]
    | Annotated[CohereRerankerSettings, Tag("cohere")]
    | NoneType_
    | Plugin,
    _tag(("onnx", "http", "cohere", "none"), "onnx"),
]


class Settings(BaseSettings):
    """All settings, by section. `load` reads them from where they are kept."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )

    backend: BackendSettings = Field(default_factory=QdrantSettings)
    embedder: EmbedderSettings = Field(default_factory=OnnxEmbedderSettings)
    reranker: RerankerSettings = Field(default_factory=OnnxRerankerSettings)
    documents: Documents = Field(default_factory=Documents)
    search: SearchDefaults = Field(default_factory=SearchDefaults)
    policy: Policy = Field(default_factory=Policy)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `load` merges the sources itself, to tell where a value is from."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, and the layers they came from: name to nested values, strongest first."""

    settings: Settings
    layers: Mapping[str, Mapping[str, Any]] = field(repr=False)  # as given, secrets in clear

    def origin(self, *path: str) -> str:
        """The name of the layer that decided the value at ``path``."""
        for name, layer in self.layers.items():
            value: Any = layer
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                return name
        return "default"


def load(file: Path | str | None = None, **arguments: Any) -> Loaded:
    """Read the settings from ``file``, the environment and ``arguments`` (nested mappings).

    Without ``file``, ``vecdb_rerank.toml`` in this folder is read if it is there. Raises
    `ConfigurationError` that names the key, where it stands and, for a typo, what was meant.
    """
    path = Path(file) if file is not None else Path(DEFAULT_FILE)
    layers = {
        "arguments": arguments,
        "environment": _environment(),
        str(path): _toml(path, required=file is not None),
    }
    layers = _for_backend(layers)
    merged: dict[str, Any] = {}
    for layer in reversed(layers.values()):
        merged = _merged(merged, layer)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, merged, Loaded(Settings(), layers))) from None
    loaded = Loaded(settings, layers)
    for kind in get_args(registry.Kind):
        name = kind.removesuffix("s").replace("connector", "backend")
        section = getattr(settings, name)
        if isinstance(section, PluginSettings) and section.type not in registry.names(kind):
            why = registry.unknown(kind, section.type)
            raise ConfigurationError(f"{name}.type: {why} ({loaded.origin(name, 'type')})")
    return loaded


def _for_backend(layers: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each layer with the keys of the chosen backend's own table, ``[backend.qdrant]`` say."""
    given = {n: v["backend"] for n, v in layers.items() if isinstance(v.get("backend"), Mapping)}
    chosen = next((b["type"] for b in given.values() if "type" in b), "qdrant")
    flat = dict(layers)
    for name, backend in given.items():
        tables = {
            kind: backend[kind]
            for kind in registry.names("connectors")
            if isinstance(backend.get(kind), Mapping)
        }
        shared = {key: value for key, value in backend.items() if key not in tables}
        own = tables.pop(str(chosen), {})
        for kind, table in tables.items():
            _require_known(kind, table, name)
        flat[name] = {**layers[name], "backend": {**shared, **own}}
    return flat


def _require_known(kind: str, table: Mapping[str, Any], layer: str) -> None:
    """A typo in a backend's table is one, also while another backend is chosen."""
    known = _keys({"qdrant": QdrantSettings, "opensearch": OpenSearchSettings}.get(kind))
    for key in table:
        if known and key not in known:
            why = registry.nearest(key, known)
            raise ConfigurationError(f"backend.{kind}.{key}: no such key; {why} ({layer})")


def _merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, that of ``strong``."""
    both = {
        key: _merged(weak[key], value)
        for key, value in strong.items()
        if isinstance(value, Mapping) and isinstance(weak.get(key), Mapping)
    }
    return {**weak, **strong, **both}


def _toml(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise ConfigurationError(f"configuration file {path} does not exist")
        return {}
    try:
        return TomlConfigSettingsSource(Settings, path)()
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error


def _environment() -> dict[str, Any]:
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            section = name[len(ENV_PREFIX) :].lower().split(ENV_DELIMITER)[0]
            if section not in Settings.model_fields:
                hint = registry.nearest(section, list(Settings.model_fields))
                raise ConfigurationError(f"environment variable {name}: no such section; {hint}")
    return {name: _decoded(value) for name, value in _Environment(Settings)().items()}


class _Environment(EnvSettingsSource):
    """Leaves what is not JSON as it is: the check of its type then names the key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _decoded(value: Any) -> Any:
    """Lists and objects in a variable are JSON; pydantic-settings leaves those of unions alone."""
    if isinstance(value, Mapping):
        return {key: _decoded(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _explain(error: ValidationError, given: Mapping[str, Any], loaded: Loaded) -> str:
    """One line a problem: where the value stands, its key, what is wrong with it."""
    problems = [_explain_one(dict(problem), given, loaded) for problem in error.errors()]
    return "; ".join(dict.fromkeys(problems))


def _explain_one(problem: Mapping[str, Any], given: Mapping[str, Any], loaded: Loaded) -> str:
    path = _path(problem["loc"], given)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"no such key; {registry.nearest(path[-1], _known_keys(problem['loc']))}"
    if problem["type"] == "value_error":  # a section's own check names the field itself
        head, _, rest = message.partition(": ")
        named = head.rpartition(".")[2]
        if named in _keys(_SECTIONS.get(str(problem["loc"][-1]))):
            path, message = [*path, named], rest
    origin = loaded.origin(*(path[:-1] if problem["type"] == "missing" else path))
    return f"{'.'.join(path)}: {message} ({origin})"


def _path(location: Sequence[str | int], given: Any) -> list[str]:
    """The keys of a location, without the tag of a union and what is inside a value."""
    tagged = location[0] in _TAGGED and len(location) > 1 and location[1] in _TAGS
    path: list[str] = []
    for part in [location[0], *location[2 if tagged else 1 :]]:
        if not isinstance(given, Mapping):
            break
        path.append(str(part))
        given = given.get(part)
    return path


_SECTIONS: dict[str, type[Any]] = {
    "qdrant": QdrantSettings,
    "opensearch": OpenSearchSettings,
    "onnx": OnnxRerankerSettings,
    "http": HttpRerankerSettings,
    "cohere": CohereRerankerSettings,
    "onnx_embedder": OnnxEmbedderSettings,
    "sentence_transformers": SentenceTransformersSettings,
    "none": NoneSettings,
    "documents": Documents,
    "search": SearchDefaults,
    "policy": Policy,
    "bm25": Bm25Params,
    "fusion": Fusion,
    "blend": Blend,
}
_TAGGED = {"backend", "embedder", "reranker"}
_TAGS = {
    "qdrant",
    "opensearch",
    "onnx",
    "http",
    "cohere",
    "sentence_transformers",
    "none",
    "plugin",
}


def _known_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed where the unknown one stands."""
    *parents, _ = [str(part) for part in location]
    if not parents:
        return list(Settings.model_fields)
    name = "onnx_embedder" if parents == ["embedder", "onnx"] else parents[-1]
    tables = registry.names("connectors") if parents[:-1] == ["backend"] else []
    return [*_keys(_SECTIONS[name]), *tables]


def _keys(section: type[Any] | None) -> list[str]:
    if section is None:
        return []
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [entry.name for entry in fields(section)]
