"""What remote rerankers bill: units counted per process, prices and budgets from the policy."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vecdb_rerank.errors import RerankError, RerankerSkippedError
from vecdb_rerank.policy.cost import Cost

log = logging.getLogger("vecdb_rerank")


_ROUNDING = 1 + 1e-9  # ten times a tenth is the budget, not above it


@dataclass(slots=True)
class Bill:
    """One call's units; the caller writes down what the service really billed."""

    name: str
    predicted: float
    units: float = 0.0


class Ledger:
    """Billed units by reranker, in all and in the current minute and day; shared by threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Begin anew, as a forked process does: its parent's units are its parent's."""
        self._total: dict[str, float] = {}
        self._minute = _Period(60.0)
        self._day = _Period(86_400.0)
        self._lock = threading.Lock()

    def units(self) -> dict[str, float]:
        """The units billed so far, by the reranker's name."""
        with self._lock:
            return dict(self._total)

    @contextmanager
    def bill(self, name: str, predicted: float, cost: Cost) -> Iterator[Bill]:
        """Reserve ``predicted`` units for the block.

        Raises `RerankerSkippedError` if a budget is too small.

        A block that ends without units on its bill, by an error say, is billed none.
        """
        bill = Bill(name, predicted)
        periods = self._reserve(bill, cost)
        try:
            yield bill
        except RerankError as error:
            bill.units = error.billed
            raise
        finally:
            with self._lock:
                if bill.units:
                    self._total[name] = self._total.get(name, 0.0) + bill.units
                for period, index in periods:
                    if period.index == index:
                        period.add(name, bill.units - predicted)

    def _reserve(self, bill: Bill, cost: Cost) -> list[tuple[_Period, int]]:
        with self._lock:
            now = self._clock()
            for period, budget, word in (
                (self._minute, cost.per_minute, "minute"),
                (self._day, cost.per_day, "day"),
            ):
                period.turn(now)
                if budget is not None and period.with_(bill, cost) > budget * _ROUNDING:
                    period.warn(f"policy.cost.per_{word} ({budget:g}) is used up")
                    raise RerankerSkippedError(
                        f"{bill.name} would go over policy.cost.per_{word} ({budget:g})"
                    )
            for period in (self._minute, self._day):
                period.add(bill.name, bill.predicted)
            return [(period, period.index) for period in (self._minute, self._day)]


class _Period:
    """Units by reranker in the current one of periods of so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.index = -1
        self._units: dict[str, float] = {}
        self._warned = False

    def turn(self, now: float) -> None:
        """Begin anew where a new period has begun."""
        index = int(now // self._seconds)
        if index != self.index:
            self.index, self._units, self._warned = index, {}, False

    def warn(self, message: str) -> None:
        """Once in each period."""
        if not self._warned:
            self._warned = True
            log.warning("%s", message)

    def add(self, name: str, units: float) -> None:
        self._units[name] = self._units.get(name, 0.0) + units

    def with_(self, bill: Bill, cost: Cost) -> float:
        """What the period costs with one more bill."""
        price = cost.of({bill.name: bill.predicted})
        return cost.of(self._units) + price if price else 0.0


LEDGER = Ledger()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LEDGER.clear)


def billed_units() -> dict[str, float]:
    """The units that remote rerankers billed in this process so far, by the reranker's name."""
    return LEDGER.units()
