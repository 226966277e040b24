"""Choosing settings on judged queries: `collect` is dear, trying settings on it is cheap."""

from vecdb_rerank.evaluation.tuning.choose import Choice, choose, evaluate
from vecdb_rerank.evaluation.tuning.collect import Collected, Scorer, collect, sections
from vecdb_rerank.evaluation.tuning.grid import Setting, current, grid
from vecdb_rerank.evaluation.tuning.summary import summary
from vecdb_rerank.evaluation.tuning.write_config import configuration

__all__ = [
    "Choice",
    "Collected",
    "Scorer",
    "Setting",
    "choose",
    "collect",
    "configuration",
    "current",
    "evaluate",
    "grid",
    "sections",
    "summary",
]
