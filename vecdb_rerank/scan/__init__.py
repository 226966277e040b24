"""List the search calls of a code base, and say which ones a drop-in client reranks."""

from vecdb_rerank.scan.rulings import Verdict
from vecdb_rerank.scan.scan import Call, Report, scan

__all__ = ["Call", "Report", "Verdict", "scan"]
