"""Choose settings on judged queries: `collect` calls the models once, `evaluate` tries settings."""

from vecdb_rerank.evaluation.tuning.choose import Choice, choose, evaluate
from vecdb_rerank.evaluation.tuning.collect import collect, sections
from vecdb_rerank.evaluation.tuning.collected import Collected, Scorer
from vecdb_rerank.evaluation.tuning.grid import Setting, current, grid
from vecdb_rerank.evaluation.tuning.summary import TuningSummary, summary
from vecdb_rerank.evaluation.tuning.write_config import configuration

__all__ = [
    "Choice",
    "Collected",
    "Scorer",
    "Setting",
    "TuningSummary",
    "choose",
    "collect",
    "configuration",
    "current",
    "evaluate",
    "grid",
    "sections",
    "summary",
]
