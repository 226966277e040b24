"""The cache folder is shown and emptied, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vecdb_rerank import ConfigurationError
from vecdb_rerank.cache_folder import SCORES, VECTORS, cache_folder, clear, size
from vecdb_rerank.cli.app import app
from vecdb_rerank.evaluation.cache import CachedEmbedder
from vecdb_rerank.testing import HashEmbedder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def filled() -> CachedEmbedder:
    embedder = CachedEmbedder(HashEmbedder(), "hash")
    embedder.embed_documents(["one", "two"])
    return embedder


def test_the_folder_is_shown_with_its_size(folder: Path) -> None:
    filled().close()
    shown = CliRunner().invoke(app, ["config"])
    assert shown.exit_code == 0
    assert f"cache: {folder}" in shown.output


def test_clearing_removes_what_was_computed_and_nothing_else(folder: Path) -> None:
    filled().close()
    (folder / f"{SCORES}-journal").write_bytes(b"x")
    (folder / "checkpoints" / "model").mkdir(parents=True)
    (folder / "checkpoints" / "model" / "weights").write_bytes(b"x" * 1_000)
    (folder / "mine" / "collection").mkdir(parents=True)
    (folder / "mine" / "meta.json").write_text("{}")
    assert size() > 1_000
    ended = CliRunner().invoke(app, ["cache", "clear"])
    assert ended.exit_code == 0
    assert str(folder) in ended.output
    assert [entry.name for entry in folder.iterdir()] == ["mine"]
    assert (folder / "mine" / "meta.json").exists()
    assert size() == 0


def test_a_link_is_removed_and_its_target_stays(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "file").touch()
    (folder / "checkpoints").symlink_to(target)
    clear()
    assert not (folder / "checkpoints").exists()
    assert (target / "file").exists()


def test_clearing_twice_or_without_a_folder_works(folder: Path) -> None:
    folder.rmdir()
    assert CliRunner().invoke(app, ["cache", "clear"]).exit_code == 0
    assert not folder.exists()
    filled().close()  # and it is made again when it is needed
    assert (folder / VECTORS).is_file()


def test_what_cannot_be_removed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / VECTORS).touch()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ConfigurationError, match=VECTORS) as raised:
        clear()
    assert raised.value.key == str(folder)
