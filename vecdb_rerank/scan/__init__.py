"""Which search calls of a code base a drop-in client would rerank."""

from vecdb_rerank.scan.rulings import Verdict
from vecdb_rerank.scan.scan import Call, Report, scan

__all__ = ["Call", "Report", "Verdict", "scan"]
