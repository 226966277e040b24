"""What remote rerankers bill: units counted per process, prices and budgets from the policy."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from vecdb_rerank.errors import RerankError, RerankerSkippedError
from vecdb_rerank.policy.cost import Cost

log = logging.getLogger("vecdb_rerank")


_ROUNDING = 1 + 1e-9  # ten times a tenth is the budget, not above it


@dataclass(slots=True)
class Bill:
    """One call's units: those reserved in a budget, and those the service billed.

    ``units`` is what the service reports; the caller fills it in. ``kept`` are units of requests
    that were late, which the service may have billed: they count against the budgets, and not as
    billed.
    """

    name: str
    reserved: float
    units: float = 0.0
    kept: float = 0.0


@dataclass(slots=True)
class _OpenBill:
    """A bill whose call is under way, and the budgets that it was reserved in."""

    ledger: Ledger
    bill: Bill
    cost: Cost
    periods: list[tuple[_Period, int]]


_open_bill: ContextVar[_OpenBill | None] = ContextVar("open_bill", default=None)


def reserve_more(units: float) -> bool:
    """Reserve ``units`` beyond those predicted for the call under way.

    Return False, and reserve nothing, if a budget is too small. Return True outside of calls that
    a ledger counts.
    """
    return (current := _open_bill.get()) is None or current.ledger.extend(current, units)


def keep_reservation(units: float) -> None:
    """Keep ``units`` of the call under way reserved when it ends: the service may bill them."""
    if (current := _open_bill.get()) is not None:
        current.ledger.keep(current.bill, units)


class Ledger:
    """Billed units by reranker, in total and in the current minute and day; shared by threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Start from zero, as a forked process does: its parent's units are its parent's."""
        self._total: dict[str, float] = {}
        self._minute = _Period(60.0)
        self._day = _Period(86_400.0)
        self._lock = threading.Lock()

    def units(self) -> dict[str, float]:
        """Return the units billed so far, by the reranker's name."""
        with self._lock:
            return dict(self._total)

    @contextmanager
    def bill(self, name: str, predicted: float, cost: Cost) -> Iterator[Bill]:
        """Reserve ``predicted`` units for the block.

        Raise `RerankerSkippedError` if a budget is too small.

        The reservation is replaced by the units on the bill at the end of the block, which are
        none if it fails. A block that was late or cancelled keeps the rest of its reservation,
        since the service may have done the work.
        """
        bill = Bill(name, predicted)
        current = _OpenBill(self, bill, cost, self._reserve(bill, cost))
        outer = _open_bill.get()
        _open_bill.set(current)
        is_late = True
        try:
            yield bill
            is_late = False
        except Exception as error:
            is_late = isinstance(error, TimeoutError)
            bill.units = error.billed if isinstance(error, RerankError) else bill.units
            raise
        finally:
            # Not by a token: a flow may be closed in another context than it was started in.
            _open_bill.set(outer)
            with self._lock:
                if is_late:
                    bill.kept = max(bill.kept, bill.reserved - bill.units)
                if bill.units:
                    self._total[name] = self._total.get(name, 0.0) + bill.units
                for period, index in current.periods:
                    if period.index == index:
                        period.add(name, bill.units + bill.kept - bill.reserved)

    def extend(self, current: _OpenBill, units: float) -> bool:
        """Reserve ``units`` more for an open bill; return False if a budget is too small."""
        more = Bill(current.bill.name, units)
        try:
            self._reserve(more, current.cost)
        except RerankerSkippedError:
            return False
        with self._lock:
            current.bill.reserved += units
        return True

    def keep(self, bill: Bill, units: float) -> None:
        """Keep ``units`` of an open bill reserved at its end."""
        with self._lock:
            bill.kept += units

    def _reserve(self, bill: Bill, cost: Cost) -> list[tuple[_Period, int]]:
        with self._lock:
            now = self._clock()
            for period, budget, word in (
                (self._minute, cost.per_minute, "minute"),
                (self._day, cost.per_day, "day"),
            ):
                period.advance(now)
                if budget is not None and period.cost_with(bill, cost) > budget * _ROUNDING:
                    period.warn(f"policy.cost.per_{word} ({budget:g}) is used up")
                    raise RerankerSkippedError(
                        f"{bill.name} would go over policy.cost.per_{word} ({budget:g})"
                    )
            for period in (self._minute, self._day):
                period.add(bill.name, bill.reserved)
            return [(period, period.index) for period in (self._minute, self._day)]


class _Period:
    """Units by reranker in the current period of a fixed length in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.index = -1
        self._units: dict[str, float] = {}
        self._warned = False

    def advance(self, now: float) -> None:
        """Start from zero if a new period has begun."""
        index = int(now // self._seconds)
        if index != self.index:
            self.index, self._units, self._warned = index, {}, False

    def warn(self, message: str) -> None:
        """Log ``message`` once per period."""
        if not self._warned:
            self._warned = True
            log.warning("%s", message)

    def add(self, name: str, units: float) -> None:
        """Add units, or take reserved ones back."""
        self._units[name] = self._units.get(name, 0.0) + units

    def cost_with(self, bill: Bill, cost: Cost) -> float:
        """Return the price of the period with one more bill; 0 if the bill is free."""
        price = cost.of({bill.name: bill.reserved})
        return cost.of(self._units) + price if price else 0.0


LEDGER = Ledger()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LEDGER.clear)


def billed_units() -> dict[str, float]:
    """Return the units that remote rerankers billed in this process so far, by reranker name."""
    return LEDGER.units()
