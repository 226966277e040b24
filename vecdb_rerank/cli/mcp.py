"""``vecdb-rerank mcp``: let an agent search the configured collection."""

from __future__ import annotations

from vecdb_rerank.cli import common


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
) -> None:
    """Let an agent search the configured collection, over standard input and output.

    The agent starts this command itself and speaks the Model Context Protocol (MCP) with it. It
    gets two tools: search returns the best documents for a query, fetch returns one in full.
    Nothing is written. Tell it what the documents are with serve.mcp.about.

    Add it to the agent's configuration: {"mcpServers": {"documents": {"command":
    "vecdb-rerank", "args": ["mcp", "--config", "/path/to/vecdb_rerank.toml"]}}}

    For agents on other machines, `vecdb-rerank serve` has the same tools at /mcp.

    Example: vecdb-rerank mcp --config vecdb_rerank.toml
    """
    from vecdb_rerank._optional import require

    require("mcp", "server")
    from vecdb_rerank.server.mcp.stdio import run

    settings = common.settings(config, backend, collection).settings
    settings.backend.require_existing()
    run(settings)
