"""Say in words whether reranking pays on a collection: pure functions of what was measured."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

from vecdb_rerank.evaluation.significance import MIN_QUERIES
from vecdb_rerank.evaluation.yardstick import (
    MIN_HALF,
    RERANKED,
    TUNED_RERANKING,
    Difference,
    Yardstick,
    YardstickRow,
)

WORTH = 0.01  # NDCG@10; a smaller gain is not worth a reranker's time
Answer = Literal["pays", "pays if tuned", "no difference", "does not pay", "uncertain", "none"]


class Verdict(TypedDict):
    """Whether reranking pays, and a paragraph that says why and what to do.

    ``answer`` is ``pays`` or ``pays if tuned`` if the 95 % interval of the gain over the best order
    without a reranker is above 0, ``does not pay`` if it is below 0, ``no difference`` if it holds
    no gain of 0.01, and ``uncertain`` otherwise, or with fewer than 30 queries. It is ``none`` if
    nothing was reranked.
    """

    answer: Answer
    text: str


def verdict(measured: Yardstick, cost_per_1000: float | None = None) -> Verdict:
    """Return what follows from ``measured``; ``cost_per_1000`` is the price of 1,000 searches."""
    rows = {row["name"]: row for row in measured["rows"]}
    answer = _answer(measured)
    if answer == "none":
        return {"answer": answer, "text": "No reranker is configured: nothing was reranked."}
    text = [_claim(answer, measured["queries"]), _numbers(measured, rows)]
    text.append(_price(rows[measured["best"]], rows[RERANKED], cost_per_1000))
    text.append(_advice(answer, measured, rows))
    return {"answer": answer, "text": " ".join(filter(None, text))}


def _answer(measured: Yardstick) -> Answer:
    gain, tuned = measured["gain"], measured["tuned_gain"]
    if gain is None:
        return "none"
    low, high = gain["interval"]
    if measured["queries"] < MIN_QUERIES:
        return "uncertain"
    if low > 0:
        return "pays"
    if tuned is not None and tuned["interval"][0] > 0:
        return "pays if tuned"
    if high < 0:
        return "does not pay"
    return "no difference" if high < WORTH else "uncertain"


def _claim(answer: Answer, queries: int) -> str:
    if queries < MIN_QUERIES:
        judged = "query is" if queries == 1 else "queries are"
        return f"Only {queries} {judged} judged, fewer than {MIN_QUERIES}: nothing is certain yet."
    return {
        "pays": "Reranking pays here.",
        "pays if tuned": "Reranking pays here once it is tuned.",
        "no difference": "Reranking makes no difference here that is worth its time.",
        "does not pay": "Reranking does not pay here.",
    }.get(answer, "It is not certain whether reranking pays here.")


def _numbers(measured: Yardstick, rows: dict[str, YardstickRow]) -> str:
    best = measured["best"]
    text = (
        f"NDCG@10 is {rows[RERANKED]['ndcg@10']:.3f} reranked and {rows[best]['ndcg@10']:.3f} with "
        f"{best}, the best order without a reranker: {_shown(measured['gain'])}, 95 % interval"
    )
    tuned = measured["tuned_gain"]
    if tuned is None:
        return f"{text}."
    return f"{text}. With tuned reranking, it is {_shown(tuned)}."


def _shown(difference: Difference | None) -> str:
    if difference is None:
        return ""
    low, high = difference["interval"]
    return f"{difference['change']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _price(without: YardstickRow, reranked: YardstickRow, cost_per_1000: float | None) -> str:
    before, after = without["p50_ms"], reranked["p50_ms"]
    parts = []
    if before is not None and after is not None:
        parts.append(f"A search takes {after:.0f} ms instead of {before:.0f} ms (median).")
    if cost_per_1000:
        parts.append(f"Reranking 1,000 searches costs {cost_per_1000:.2f}.")
    return " ".join(parts)


def _advice(answer: Answer, measured: Yardstick, rows: dict[str, YardstickRow]) -> str:
    best = rows[measured["best"]]
    setting = f" ({best['setting']})" if best["setting"] else ""
    if answer == "uncertain":
        return f"Judge about {_needed(measured):,} queries to find out."
    if answer == "pays":
        tuned = rows.get(TUNED_RERANKING)
        if tuned is not None and tuned["ndcg@10"] > rows[RERANKED]["ndcg@10"]:
            return "Keep it; vecdb-rerank tune may gain a little more."
        return "Keep it."
    if answer == "pays if tuned":
        return f"Run vecdb-rerank tune; here, {rows[TUNED_RERANKING]['setting']} is best."
    return (
        f"Search with {best['name']}{setting} and reranker.type = 'none', or try a reranker for "
        "this domain."
    )


def _needed(measured: Yardstick) -> int:
    """Return about how many queries make the interval narrow enough to exclude 0, or a gain.

    At least as many as the tuned rows need.
    """
    gain = measured["gain"]
    assert gain is not None
    low, high = gain["interval"]
    # An interval narrows with the square root of the number of queries.
    ratio = (high - low) / 2 / max(abs(gain["change"]), WORTH / 2)
    needed = measured["queries"] * max(1.5, ratio * ratio)
    digits = 10 ** max(1, math.floor(math.log10(needed)) - 1)
    return max(2 * MIN_HALF, math.ceil(needed / digits) * digits)
