"""Find the Python sources that are a code base's own."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from vecdb_rerank.errors import ConfigurationError

# Other people's code, and what tools leave behind.
SKIPPED = ("__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist")


def sources(root: Path, exclude: Sequence[str] = ()) -> Iterator[Path]:
    """Yield the Python files under ``root`` (a folder, or one file), in order.

    Hidden folders, virtual environments and `SKIPPED` are left out, and so is what matches a
    pattern in ``exclude`` by its name or its path under ``root``. Raises `ConfigurationError` if
    ``root`` does not exist.
    """
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise ConfigurationError(str(root), "no such file or folder")
    for folder, inner, names in os.walk(root):
        here = Path(folder)
        inner[:] = sorted(name for name in inner if _is_own(here / name, root, exclude))
        for name in sorted(names):
            if name.endswith((".py", ".pyi")) and not _excluded(here / name, root, exclude):
                yield here / name


def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a file; raise `ConfigurationError` if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of the code that is read, not of ours
            return ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise ConfigurationError(
            str(file), f"not valid Python, line {error.lineno}: {error.msg}"
        ) from None
    except (ValueError, RecursionError) as error:  # a null byte; nested too deeply
        raise ConfigurationError(str(file), f"not valid Python: {error}") from None
    except OSError as error:
        raise ConfigurationError(str(file), str(error.strerror)) from None


def _is_own(folder: Path, root: Path, exclude: Sequence[str]) -> bool:
    if folder.name.startswith(".") or folder.name in SKIPPED:
        return False
    return not (folder / "pyvenv.cfg").exists() and not _excluded(folder, root, exclude)


def _excluded(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    names = (path.name, path.relative_to(root).as_posix())
    return any(fnmatch(name, pattern.rstrip("/")) for pattern in exclude for name in names)
