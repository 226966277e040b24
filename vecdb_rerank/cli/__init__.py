"""The ``vecdb-rerank`` command, one module per subcommand.

This module imports neither typer nor rich: they come with the extra ``cli``.
"""

from __future__ import annotations

import sys

from vecdb_rerank._optional import require_installed
from vecdb_rerank.errors import MissingDependencyError


def main() -> None:
    """Run the command; without the extra ``cli``, say how to install it and exit with 2."""
    try:
        for library in ("typer", "rich"):
            require_installed(library, "cli")
    except MissingDependencyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        from vecdb_rerank.cli.app import run

        run()
    except KeyboardInterrupt:  # while modules are imported; `app` says more of later ones
        print("interrupted", file=sys.stderr)
        sys.exit(130)
