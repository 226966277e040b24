"""Find the files of a checkpoint, in a folder or on the Hugging Face hub; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.spec import Spec

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.metadata", "README.md")


class Module(TypedDict):
    """An entry of a sentence-transformers checkpoint's modules.json: a class and its folder."""

    type: str
    path: str


def is_hub_id(model: str) -> bool:
    """Check whether ``model`` is not a folder and reads ``organisation/name``."""
    is_path = model.startswith((".", "/", "~")) or Path(model).is_dir()
    return model.count("/") == 1 and not is_path


def download(spec: Spec) -> None:
    """Download the model of a hub id, so that no search does; do nothing for a folder.

    Raises `ConfigurationError` if that fails and the hub's cache does not have it either, and if
    the folder is missing.
    """
    if is_hub_id(spec.model):
        _snapshot(spec, local_files_only=False)
    elif not Path(spec.model).expanduser().is_dir():
        raise _neither(spec)


def find_folder(spec: Spec) -> Path:
    """Return the folder of the model: the one named, or that of the hub's cache.

    Raises `ConfigurationError` if there is none, or it has no config.json or no safetensors.
    """
    folder = Path(spec.model).expanduser()
    if not folder.is_dir():
        if not is_hub_id(spec.model):
            raise _neither(spec)
        folder = _snapshot(spec, local_files_only=True)
    if not (folder / "config.json").is_file():
        raise ConfigurationError(
            "model", f"{folder} contains no config.json of a transformers model"
        )
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            "model",
            f"{folder} contains no *.safetensors; other formats may run code when they are "
            "opened: load the model once with transformers and save it with save_pretrained()",
        )
    return folder


def _neither(spec: Spec) -> ConfigurationError:
    return ConfigurationError(
        "model",
        f"must be a folder that exists, or a hub id (organisation/name); got {spec.model!r}",
    )


def _snapshot(spec: Spec, *, local_files_only: bool) -> Path:
    if spec.trust_remote_code and spec.revision is None:
        raise ConfigurationError(
            "revision",
            "must be a commit if trust_remote_code is set: the code on the hub may change any day",
        )
    patterns = [*_FILES, "*.py"] if spec.trust_remote_code else list(_FILES)
    snapshot_download = require("huggingface_hub", "torch").snapshot_download
    try:
        return Path(
            snapshot_download(
                spec.model,
                revision=spec.revision,
                allow_patterns=patterns,
                local_files_only=local_files_only,
            )
        )
    except Exception as error:
        raise ConfigurationError(
            "model",
            f"{spec.model!r} cannot be downloaded from the hub ({type(error).__name__}: {error}); "
            "download it on a machine with network access and give its folder",
        ) from error


def read_json(path: Path) -> Mapping[str, object]:
    """Return the object in a JSON file of a checkpoint."""
    content = _content(path)
    if not isinstance(content, Mapping):
        raise ConfigurationError("model", f"{path} is not a JSON object")
    return content


def read_modules(folder: Path) -> list[Module]:
    """Return the entries of modules.json, in order; none if there is no such file."""
    path = folder / "modules.json"
    modules = _content(path) if path.is_file() else []
    if not isinstance(modules, list) or not all(map(_is_module, modules)):
        raise ConfigurationError("model", f"{path} is not a list of modules")
    return cast("list[Module]", modules)


def _is_module(entry: object) -> bool:
    keys = ("type", "path")
    return isinstance(entry, Mapping) and all(isinstance(entry.get(key), str) for key in keys)


def _content(path: Path) -> object:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError("model", f"{path} is not valid JSON: {error}") from error
    return content
