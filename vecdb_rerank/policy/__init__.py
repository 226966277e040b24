"""The rules of a search: frozen values with their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

from vecdb_rerank._checks import above, check_names, in_range, is_bool, is_mapping, one_of, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy.after import Stage
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.policy.effort import Effort, EffortName
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.passages import HEAD, Passages
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.policy.stages import stages

T = TypeVar("T")
OnError = Literal["fallback", "raise"]

_PARTS = {
    "blend": Blend,
    "breaker": Breaker,
    "cost": Cost,
    "skip": Skip,
    "exact_terms": ExactTerms,
    "effort": Effort,
    "passages": Passages,
}
_WORDS = {"effort": get_args(EffortName)}  # what may stand for a part
_MAY_BE_NONE = {"breaker", "exact_terms"}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of searches, for a connector or client, or for one call.

    Raises `ConfigurationError` if a value is outside its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    deadline: float | None = 10.0
    """Seconds for embedding the query, first pass and rerank together; None sets no limit."""
    on_error: OnError = "fallback"
    """If rerankers fail, ``fallback`` keeps the first-pass order, ``raise`` raises their error.

    If the embedder fails in mode ``hybrid``, ``fallback`` searches BM25 alone.
    """
    min_relevance: float | None = None
    """Drop hits with a lower relevance (0 to 1); hits that were not scored stay."""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    """Calibrations by reranker name; they map its relevance to the common scale."""
    blend: Blend = field(default_factory=Blend)
    """How the final score is computed from relevance and first pass."""
    branch_evidence: bool = True
    """Fetch each candidate's rank and score in both branches, in the same round trip.

    Without them the blend uses the fused order alone.
    """
    effort: Effort | EffortName = "auto"
    """How many candidates the reranker reads: ``auto`` reads until the page is settled, where that
    was measured (calibrated local rerankers with branch evidence), else all; ``full`` reads all."""
    breaker: Breaker | None = field(default_factory=Breaker)
    """When a failing reranker is no longer called; None always calls it."""
    cost: Cost = field(default_factory=Cost)
    """Prices and budgets."""
    skip: Skip = field(default_factory=Skip)
    """Which searches are not reranked."""
    exact_terms: ExactTerms | None = None
    """Keep hits with rare exact terms of the query near the top; None turns it off."""
    passages: Passages = HEAD
    """What is read of long documents: by default, as much of the beginning as fits."""
    after: Sequence[Stage] = ()
    """Stages between the final score and the page, in this order: boosts, decay, pins, variety."""
    record_query: bool = False
    """Record the query in traces and log records."""
    on_outcome: Callable[[Outcome], None] | None = field(default=None, repr=False)
    """Called with every `Outcome`; an exception it raises reaches the caller."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Policy:
        """Return the policy with these fields; its parts may be mappings, too.

        Raises `ConfigurationError` for an unknown field, as for a value outside its range.
        """
        is_mapping("policy", given, "field")
        values = dict(given)
        for name, kind in _PARTS.items():
            if isinstance(part := values.get(name), Mapping):
                values[name] = _made(kind, part, f"policy.{name}")
        if isinstance(calibration := values.get("calibration"), Mapping):
            values["calibration"] = {
                name: _made(Calibration, each, f"policy.calibration.{name}")
                if isinstance(each, Mapping)
                else each
                for name, each in calibration.items()
            }
        return _made(cls, values, "policy")

    def __post_init__(self) -> None:
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if isinstance(part, str) and name in _WORDS:
                one_of(f"policy.{name}", part, _WORDS[name])
            elif not isinstance(part, kind) and not (part is None and name in _MAY_BE_NONE):
                raise ConfigurationError(
                    f"policy.{name}", f"must be {kind.__name__}(...), got {shown(part)}"
                )
        object.__setattr__(self, "after", stages(self.after))
        is_mapping("policy.calibration", self.calibration)
        is_bool("policy.branch_evidence", self.branch_evidence)
        is_bool("policy.record_query", self.record_query)
        if self.on_outcome is not None and not callable(self.on_outcome):
            raise ConfigurationError(
                "policy.on_outcome",
                f"must be a function of an Outcome, got {shown(self.on_outcome)}",
            )
        for name, calibration in self.calibration.items():
            if not isinstance(calibration, Calibration):
                raise ConfigurationError(
                    f"policy.calibration.{name}",
                    f"must be Calibration(...), got {shown(calibration)}",
                )
        if self.deadline is not None:
            above("policy.deadline", self.deadline, 0, "seconds")
        one_of("policy.on_error", self.on_error, get_args(OnError))
        if self.min_relevance is not None:
            in_range("policy.min_relevance", self.min_relevance, 0, 1)


def _made(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    check_names(values, {field.name for field in fields(kind)}, where)  # type: ignore[arg-type]
    return kind(**values)
