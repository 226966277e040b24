"""Files: whether they changed, and how many may be open."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

State = tuple[int, int, int]
log = logging.getLogger("vecdb_rerank")


def state(file: Path | None) -> State | None:
    """Return what changes when a file is written or replaced; None if it cannot be read."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def allow_files(wanted: int) -> None:
    """Let this process open ``wanted`` files, sockets included; warn if the system does not."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning(
                "%d files may be open, and %d may be needed: raise the limit (ulimit -n), or "
                "lower serve.connections",
                allowed,
                wanted,
            )
