"""Fit a reranker's calibration to judged queries."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vecdb_rerank._optional import require
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import Noted, Progress, evaluated_connector
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.queries import PLAIN
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.calibration import Calibration, logit

Pair = tuple[float, bool]
"""The reranker's own relevance of a document, and whether it is judged relevant."""
MIN_RELEVANT = 20  # with fewer relevant pairs, a fit is not reliable


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration with the number of pairs it was fitted to.

    ``loss_before`` and ``loss_after`` are the mean log loss (in nats) of the relevance.
    """

    reranker: str
    calibration: Calibration
    pairs: int
    relevant: int
    loss_before: float
    loss_after: float

    @property
    def toml(self) -> str:
        """The settings that apply the calibration."""
        return (
            f'[policy.calibration."{self.reranker}"]\n'
            f"slope = {self.calibration.slope:.3f}\n"
            f"intercept = {self.calibration.intercept:.3f}"
        )


def calibrate(
    settings: Settings,
    dataset: Dataset,
    *,
    k: int = 50,
    on_progress: Progress = lambda *_: None,
    on_note: Noted = lambda _: None,
) -> Fitted:
    """Search every query and fit the first reranker's relevance to the judgments.

    Candidates without a judgment count as not relevant, as they do in NDCG. If chunks are stored
    and documents judged, a document has the relevance of its best chunk.

    Raises `ConfigurationError` if no reranker is configured or no candidate is relevant.
    """
    pairs: list[Pair] = []
    with evaluated_connector(settings, dataset, on_progress, on_note=on_note) as connector:
        pipeline = connector.pipeline
        if pipeline.chain is None:
            raise ConfigurationError(
                "reranker.type", "must not be 'none': there is nothing to calibrate"
            )
        for one in pipeline.chain.rerankers:
            if one.by_rank:
                raise ConfigurationError(
                    "reranker.mode", f"{one.name} returns an order; 'pointwise' has a relevance"
                )
        name = pipeline.chain.name
        plain = {one.name: Calibration() for one in pipeline.chain.rerankers}
        policy = Policy(
            deadline=None,
            on_error="raise",
            cost=pipeline.policy.cost,
            calibration=plain,
            effort="full",
        )
        for done, (query_id, text) in enumerate(dataset.queries.items(), start=1):
            with observe() as outcomes:
                info = dataset.info.get(query_id, PLAIN)
                response = runs.search(connector, query_id, text, info, k=k, limit=k, rerank=policy)
            judged = dataset.qrels.get(query_id, {})
            [outcome] = outcomes
            if outcome.reranker == name:
                documents = dataset.ids.of_hits(connector.candidates(response))
                relevance = runs.best_relevance(outcome.relevance, documents)
                pairs += [(value, judged.get(d, 0) > 0) for d, value in relevance.items()]
            on_progress("searching", done, len(dataset.queries))
    return fitted(name, pairs)


def fitted(reranker: str, pairs: Sequence[Pair]) -> Fitted:
    """Return the calibration with the smallest log loss, with Platt's (1999) softened targets."""
    optimize = require("scipy.optimize", "evaluation")
    relevant = sum(judged for _, judged in pairs)
    if not 0 < relevant < len(pairs):
        raise ConfigurationError(
            "qrels",
            f"{relevant} of {len(pairs)} candidates are relevant; a calibration needs both kinds",
        )
    yes, no = (relevant + 1) / (relevant + 2), 1 / (len(pairs) - relevant + 2)
    points = [(logit(given), yes if judged else no) for given, judged in pairs]

    def loss(parameters: Sequence[float]) -> float:
        slope, intercept = math.exp(parameters[0]), parameters[1]
        return statistics.fmean(_loss(slope * x + intercept, target) for x, target in points)

    found = optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead")
    calibration = Calibration(math.exp(found.x[0]), float(found.x[1]))
    return Fitted(reranker, calibration, len(pairs), relevant, loss([0.0, 0.0]), float(found.fun))


def _loss(x: float, target: float) -> float:
    """Return the log loss of ``sigmoid(x)`` for a target from 0 to 1, without overflow."""
    return max(x, 0.0) - x * target + math.log1p(math.exp(-abs(x)))
