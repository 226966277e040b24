"""Facts about a database that are forgotten after a while."""

from __future__ import annotations

from vecdb_rerank.search.learned import Learned


def test_a_key_is_known_until_it_expires() -> None:
    now = [100.0]
    learned = Learned(10.0, lambda: now[0])
    assert "a" not in learned
    learned.add("a")
    now[0] = 106.0
    learned.add("b")
    assert "a" in learned
    assert "b" in learned
    now[0] = 111.0
    assert "a" not in learned
    assert "b" in learned
    learned.add("a")
    assert "a" in learned
