"""The stages of `policy.after` order a window besides relevance."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.model import Candidate, RankedHit, Ranking
from vecdb_rerank.policy.after import (
    Boost,
    Bury,
    Decay,
    FieldSignal,
    MaxPer,
    Mmr,
    Pin,
    Stage,
)
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking import after
from vecdb_rerank.ranking.after_steps import prepare

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
WORDS = "wing flow shock heat pipe valve plate jet".split()


def hit(n: int, score: float, text: str = "", **payload: Any) -> RankedHit:
    return RankedHit(Candidate(n, n, text, 0.0, payload), score)


def arranged(
    hits: Sequence[RankedHit],
    *stages: Stage,
    query: str = "",
    matching: Sequence[Collection[int]] = (),
    placed: Sequence[int] = (),
    trace: list[after.Traced] | None = None,
) -> Ranking:
    candidates = [one.candidate for one in hits]
    prepared = prepare(stages, query, candidates, matching, NOW)
    scores = [one.score for one in hits]
    numbered = dict(enumerate(hits))
    return after.arrange(numbered, scores, prepared, placed, trace) or Ranking.of(hits)


def ids(ranking: Ranking) -> list[Any]:
    return [one.candidate.id for one in ranking.hits]


def scores(ranking: Ranking) -> list[float]:
    return [one.score for one in ranking.hits]


# -- properties


numbers = st.one_of(st.none(), st.floats(-10, 1e6), st.integers(-5, 10**12), st.just("no number"))
ids_of = st.lists(st.integers(0, 14), min_size=1, max_size=5, unique=True).map(tuple)
stages = st.one_of(
    st.builds(Boost, st.just("f"), factor=st.floats(0, 10)),
    st.builds(Boost, st.just("f"), add=st.floats(-1, 1)),
    st.builds(
        Decay,
        st.just("number"),
        scale=st.floats(0.1, 100),
        weight=st.floats(0, 1),
        origin=st.floats(-5, 50),
        offset=st.floats(0, 5),
        shape=st.sampled_from(["exp", "gauss", "linear"]),
    ),
    st.builds(
        FieldSignal,
        st.just("number"),
        pivot=st.floats(0.1, 100),
        weight=st.floats(0, 1),
        curve=st.sampled_from(["saturation", "log"]),
    ),
    st.builds(Pin, ids_of, place=st.integers(1, 10)),
    st.builds(Bury, ids_of),
    st.builds(Mmr, st.floats(0, 1)),
    st.builds(MaxPer, st.just("brand"), n=st.integers(1, 4)),
)


@st.composite
def windows(draw: st.DrawFn) -> list[RankedHit]:
    rng = random.Random(draw(st.integers(0, 10_000)))
    falling = sorted(
        (draw(st.floats(-0.01, 1)) for _ in range(draw(st.integers(0, 14)))), reverse=True
    )
    return [
        hit(
            n,
            score,
            " ".join(rng.choices(WORDS, k=3)),
            number=draw(numbers),
            brand=rng.choice([None, "a", "b", ["a", "b"]]),
        )
        for n, score in enumerate(falling)
    ]


@given(windows(), st.lists(stages, max_size=5), st.sets(st.integers(0, 14)))
def test_no_hit_is_lost_or_doubled_and_scores_never_increase(
    hits: list[RankedHit], given_stages: list[Stage], matches: set[int]
) -> None:
    boosts = [matches for stage in given_stages if isinstance(stage, Boost)]
    found = arranged(hits, *given_stages, matching=boosts)
    assert sorted(ids(found)) == [one.candidate.id for one in hits]
    assert scores(found) == sorted(scores(found), reverse=True)
    assert all(type(score) is float and math.isfinite(score) for score in scores(found))


@given(windows(), st.sets(st.integers(0, 14)))
def test_stages_without_weight_change_nothing(hits: list[RankedHit], matches: set[int]) -> None:
    window = max(1, len(hits))
    neutral: list[Stage] = [
        Boost("f", factor=1),
        Boost("f", add=0.0),
        Decay("number", scale=1, weight=0, origin=0),
        FieldSignal("number", pivot=1, weight=0),
        Mmr(1.0),
        MaxPer("brand", n=window),
        Pin(("nobody",)),
        Bury(("nobody",)),
    ]
    for stage in (*neutral, Pin((0,), query="another")):
        assert arranged(hits, stage, query="q", matching=[matches]) == Ranking.of(hits)
    assert arranged(hits, *neutral, query="q", matching=[matches] * 2) == Ranking.of(hits)


@given(windows(), st.integers(1, 3))
def test_no_value_of_a_field_has_more_hits_before_the_others_are_over(
    hits: list[RankedHit], n: int
) -> None:
    found = arranged(hits, MaxPer("brand", n))
    seen: dict[str, int] = {}
    past = False
    for one in found.hits:
        brand = repr(one.candidate.payload["brand"])
        seen[brand] = seen.get(brand, 0) + 1
        limited = one.candidate.payload["brand"] is not None and seen[brand] > n
        past = past or limited
        assert limited or not past


@given(windows(), st.lists(stages, max_size=4), st.integers(1, 6), st.data())
def test_placed_hits_stay_before_the_others(
    hits: list[RankedHit], given_stages: list[Stage], count: int, data: st.DataObject
) -> None:
    placed = data.draw(st.permutations(range(len(hits))))[:count]
    boosts: list[set[int]] = [{1, 2} for stage in given_stages if isinstance(stage, Boost)]
    found = ids(arranged(hits, *given_stages, matching=boosts, placed=placed))
    if found != [one.candidate.id for one in hits]:
        assert found[: len(placed)] == list(placed)
    assert sorted(found) == list(range(len(hits)))


# -- each stage


def test_a_boost_multiplies_or_adds() -> None:
    hits = [hit(0, 0.8), hit(1, 0.6), hit(2, 0.5)]
    assert scores(arranged(hits, Boost("f", factor=1.5), matching=[{2}])) == [0.8, 0.75, 0.6]
    assert ids(arranged(hits, Boost("f", add=0.4), matching=[{2}])) == [2, 0, 1]
    assert ids(arranged(hits, Boost("f", factor=0), matching=[{0}])) == [1, 2, 0]


def test_a_factor_does_not_lower_a_score_below_0() -> None:
    hits = [hit(0, 0.0), hit(1, -1e-6), hit(2, -2e-6)]
    assert ids(arranged(hits, Boost("f", factor=2), matching=[{1, 2}])) == [0, 1, 2]


def test_boosts_take_their_own_matches() -> None:
    hits = [hit(0, 0.6), hit(1, 0.5), hit(2, 0.4)]
    found = arranged(hits, Boost("a", factor=2), Mmr(1.0), Boost("b", add=0.9), matching=[{1}, {2}])
    assert ids(found) == [2, 1, 0]
    assert scores(found) == pytest.approx([1.3, 1.0, 0.6])


@pytest.mark.parametrize(
    ("shape", "at_offset", "at_scale", "at_twice"),
    [("exp", 1, 0.5, 0.25), ("gauss", 1, 0.5, 0.0625), ("linear", 1, 0.5, 0)],
)
def test_decay_follows_its_curve(
    shape: Any, at_offset: float, at_scale: float, at_twice: float
) -> None:
    days = [0, 10, 40, 70]
    dates = [datetime.fromtimestamp(NOW, UTC) - timedelta(days=n) for n in days]
    hits = [hit(n, 0.8, published=date.isoformat()) for n, date in enumerate(dates)]
    stage = Decay("published", scale="30d", offset="10d", weight=1, shape=shape)
    expected = [0.8 * v for v in (1, at_offset, at_scale, at_twice)]
    assert scores(arranged(hits, stage)) == pytest.approx(expected, abs=2e-3)
    half = replace(stage, weight=0.5)
    assert scores(arranged(hits, half)) == pytest.approx(
        [0.8 - (0.8 - e) / 2 for e in expected], abs=2e-3
    )


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-02",
        "2026-05-02T00:00:00Z",
        "2026-05-02T02:00:00+02:00",
        "20260502",
        1_777_680_000,
        1_777_680_000_000,
        "1777680000000",
        ["2020-01-01", "2026-05-02"],
    ],
)
def test_dates_are_read_in_the_forms_that_databases_keep(value: object) -> None:
    found = arranged([hit(0, 1.0, day=value)], Decay("day", scale="30d", weight=1))
    assert scores(found) == pytest.approx([0.5], abs=2e-3)


@pytest.mark.parametrize(
    "value",
    [
        {"lat": 52.52, "lon": 13.405},
        "52.52,13.405",
        [13.405, 52.52],
        {"lat": "52.52", "lon": "13.405"},
        {"type": "Point", "coordinates": [13.405, 52.52]},
        {"type": "Point", "coordinates": [13.405, 52.52, 34.0]},
        "POINT (13.405 52.52)",
        [{"lat": 0.0, "lon": 0.0}, {"lat": 52.52, "lon": 13.405}],
    ],
)
def test_places_are_read_in_the_forms_that_databases_keep(value: object) -> None:
    paris = Decay("at", scale="878km", weight=1, origin=[48.8566, 2.3522])
    assert scores(arranged([hit(0, 1.0, at=value)], paris)) == pytest.approx([0.5], abs=2e-3)


@pytest.mark.parametrize(
    "value", [None, "soon", True, {"lat": 91, "lon": 0}, [], math.nan, 10**400]
)
def test_a_value_that_cannot_be_read_counts_as_missing(value: Any) -> None:
    hits = [hit(0, 1.0, x=value)]
    for origin, scale in (("now", "1d"), (5, 1), ([0, 0], "1km")):
        stage = Decay("x", scale=scale, weight=1, origin=origin, missing=0.25)
        assert scores(arranged(hits, stage)) == [0.25]
    assert scores(arranged(hits, FieldSignal("x", pivot=1, weight=1, missing=0.25))) == [0.25]


def test_a_signal_is_one_half_at_its_pivot() -> None:
    hits = [hit(0, 1.0, sales=[1, 10]), hit(1, 1.0, sales="10"), hit(2, 1.0, sales=0), hit(3, 1.0)]
    for curve in ("saturation", "log"):
        stage = FieldSignal("sales", pivot=10, weight=0.5, curve=curve)
        assert scores(arranged(hits, stage)) == pytest.approx([0.75, 0.75, 0.5, 0.5])
    many = [hit(0, 1.0, sales=1e12)]
    log = FieldSignal("sales", pivot=10, weight=0.5, curve="log")
    assert scores(arranged(many, log)) == [1.0]


@pytest.mark.parametrize("shape", ["exp", "gauss", "linear"])
def test_numbers_may_be_as_large_as_numbers_are(shape: Any) -> None:
    hits = [hit(0, 1.0, x=1e308), hit(1, 0.5, x=-1e308)]
    decay = Decay("x", scale=1e-3, weight=0.5, origin=0, shape=shape)
    assert scores(arranged(hits, decay)) == [0.5, 0.25]
    saturating = FieldSignal("x", pivot=1e308, weight=0.5)
    assert scores(arranged(hits, saturating, replace(saturating, curve="log"))) == [0.375, 0.125]


def test_pins_take_their_places_and_the_scores_of_those() -> None:
    hits = [hit(n, 0.9 - n / 10) for n in range(5)]
    found = arranged(hits, Pin(("3", 9, 2)), query="returns")
    assert ids(found) == [3, 2, 0, 1, 4]
    assert scores(found) == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert ids(arranged(hits, Pin((4,), place=2))) == [0, 4, 1, 2, 3]
    assert ids(arranged(hits, Pin((4,), place=10))) == [0, 1, 2, 3, 4]


def test_pins_and_burials_are_for_some_queries_only() -> None:
    hits = [hit(n, 0.9 - n / 10) for n in range(3)]
    pin, bury = Pin((2,), query=r"\breturns?\b"), Bury((0,), query="sale$")
    assert ids(arranged(hits, pin, bury, query="Return an item")) == [2, 0, 1]
    assert ids(arranged(hits, pin, bury, query="winter SALE")) == [1, 2, 0]


def test_documents_are_pinned_by_the_id_they_were_added_under() -> None:
    hits = [hit(0, 0.9), hit(1, 0.8, _doc_id="sku-1")]
    assert ids(arranged(hits, Pin(("sku-1",)))) == [1, 0]


def test_mmr_puts_other_texts_before_similar_ones() -> None:
    texts = ["red wool scarf", "red wool scarf", "red wool scarf", "green cotton shirt", "blue hat"]
    hits = [hit(n, 0.9 - n / 100, text) for n, text in enumerate(texts)]
    assert ids(arranged(hits, Mmr(0.5)))[:3] in ([0, 3, 4], [0, 4, 3])
    assert ids(arranged(hits, Mmr(0.5), placed=[3]))[:2] != [3, 4]
    assert scores(arranged(hits, Mmr(0.5))) == [one.score for one in hits]


def test_mmr_takes_the_best_of_a_large_window() -> None:
    hits = [hit(n, 1 - n / 200, f"word{n % 7} other") for n in range(150)]
    found = ids(arranged(hits, Mmr(0.3)))
    assert sorted(found[:128]) == list(range(128))
    assert found[128:] == list(range(128, 150))


def test_at_most_n_hits_of_a_host() -> None:
    urls = ["https://www.a.org/1", "a.org/2", "http://a.org:80/3", "https://b.org", "//", None]
    hits = [hit(n, 0.9 - n / 10, url=url) for n, url in enumerate(urls)]
    assert ids(arranged(hits, MaxPer("url", 1, part="host"))) == [0, 3, 4, 5, 1, 2]


def test_a_list_of_one_value_counts_as_the_value() -> None:
    brands = ["a", ["a"], ["a", None, "a"], ["a", "b"], ["b", "a"], [], None]
    hits = [hit(n, 0.9 - n / 10, brand=brand) for n, brand in enumerate(brands)]
    assert ids(arranged(hits, MaxPer("brand"))) == [0, 3, 5, 6, 1, 2, 4]


def test_a_trace_has_the_state_after_each_stage() -> None:
    trace: list[after.Traced] = []
    hits = [hit(0, 0.8, x=0), hit(1, 0.6, x=5), hit(2, 0.5, x=0)]
    stage = Decay("x", scale=1, weight=0.5, origin=5)
    arranged(hits, stage, Boost("f", add=0.5), matching=[{2}], trace=trace)
    assert [traced.step.name for traced in trace] == ["decay(x)", "boost"]
    assert [traced.order for traced in trace] == [[1, 0, 2], [2, 1, 0]]
    assert trace[1].step.values == [None, None, 0.5]


def test_slopes_tell_how_much_a_score_matters() -> None:
    candidates = [hit(n, 0, x=0).candidate for n in range(3)]
    given_stages: list[Stage] = [
        Boost("f", factor=2),
        Decay("x", scale=1, weight=0.5, origin=9),
        Pin((2,)),
    ]
    prepared = prepare(given_stages, "", candidates, [{0}], NOW)
    assert prepared.slopes() == pytest.approx([1.0, 0.5, 0.0], abs=1e-2)


def test_scores_come_to_one_scale() -> None:
    best = [1 / 11, 1 / 22]
    assert after.on_scale(best, Blend("rrf"), calibrated=True) == pytest.approx([1, 0.5])
    assert after.on_scale([12.0, 3.0], Blend("replace"), calibrated=False)[0] == 0.6
    assert after.on_scale([0.7, 0.3], Blend(), calibrated=False) == [0.7, 0.3]
    assert after.by_rank(2) == [1, pytest.approx(5 / 6)]
