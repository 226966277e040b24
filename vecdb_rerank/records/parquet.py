"""Read Parquet with pyarrow, a few rows at a time."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.records.model import STDIN, Record

_ROWS = 256


def parquet_records(path: Path, name: str) -> Iterator[Record]:
    """Yield the rows, with their numbers from 1, as values that JSON has.

    Times are written as ISO 8601, decimals as strings, bytes as UTF-8 or base64; NaN is None.
    Raises `ConfigurationError` if the file is not a Parquet file that can be read.
    """
    parquet = require("pyarrow.parquet", "files")
    if str(path) == STDIN:
        raise ConfigurationError(name, "Parquet is read from a file, not from a stream")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(f"{name}:row {number}", {k: plain(v) for k, v in row.items()})
    except (OSError, require("pyarrow", "files").ArrowException) as error:
        raise ConfigurationError(name, f"cannot be read as Parquet: {error}") from error


def plain(value: object) -> object:
    """Return ``value`` as one that JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    return value
