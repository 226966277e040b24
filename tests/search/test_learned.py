"""Facts about a database that are forgotten after a while."""

from __future__ import annotations

from vecdb_rerank.search.learned import Learned


def test_a_value_is_known_until_it_expires() -> None:
    now = [100.0]
    learned: Learned[int] = Learned(10.0, lambda: now[0])
    assert learned.get("a") is None
    learned.set("a", 1)
    now[0] = 106.0
    learned.set("b", 2)
    assert (learned.get("a"), learned.get("b")) == (1, 2)
    now[0] = 111.0
    assert (learned.get("a"), learned.get("b")) == (None, 2)
    learned.set("a", 3)
    assert learned.get("a") == 3
