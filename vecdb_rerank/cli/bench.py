"""``vecdb-rerank bench``: measure how fast rerankers are on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.config.settings import RerankerSettings
    from vecdb_rerank.evaluation.speed import Speed

_REMOTE = ("http", "cohere", "llm")


def command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Cross-encoder to measure too (folder or hub id). Can be repeated.",
        ),
    ] = None,
    config: common.ConfigOption = None,
    budget: Annotated[
        float, typer.Option(min=0, help="Time for one rerank call, p95 in milliseconds.")
    ] = 300.0,
    k: Annotated[
        str, typer.Option("--k", help="Documents per call, separated by commas.")
    ] = "10,20,50,100",
    words: Annotated[int, typer.Option(min=1, help="Approximate words per document.")] = 60,
    seconds: Annotated[
        float, typer.Option(min=0, help="Seconds to measure each reranker and k.")
    ] = 3.0,
    remote: Annotated[
        bool, typer.Option("--remote", help="Also call configured services, which may cost money.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure the rerankers on this machine, and recommend one and its k for a time budget.

    The command measures the bundled ONNX model, the configured rerankers and
    those given with --model, each in its own process, on texts that are
    not cached. It skips services unless --remote is given.

    Example: vecdb-rerank bench --budget 150 --model BAAI/bge-reranker-base
    """
    from vecdb_rerank.evaluation import speed

    sections = _sections(model or [], config, remote)
    with common.progress() as shown:
        speeds = speed.measure(
            sections,
            ks=_numbers(k),
            words=words,
            seconds=seconds,
            on_progress=common.Bars(shown),
        )
    if as_json:
        common.write_json(speed.as_json(speeds))
    else:
        common.out.print(_table(speeds))
        k_of_search = common.settings(config).settings.search.k
        common.out.print_line(_advice(speeds, budget, k_of_search))
        for line in _slow_dtypes(sections):
            common.out.print_line(line)
    if all(each.error for each in speeds):
        raise typer.Exit(1)


def _sections(models: Sequence[str], config: Path | None, remote: bool) -> list[RerankerSettings]:
    """Return the rerankers to measure, each once."""
    from vecdb_rerank.config.settings import (
        CrossEncoderSettings,
        NoneSettings,
        OnnxRerankerSettings,
        inside,
    )

    chain = common.settings(config).settings.chain
    wanted = [OnnxRerankerSettings(), *chain, *(CrossEncoderSettings(model=m) for m in models)]
    found: list[RerankerSettings] = []
    for section in wanted:
        if isinstance(section, NoneSettings) or section in found:
            continue
        if not remote and any(part.type in _REMOTE for _, part in inside(section)):
            common.err.print_line(f"{section.type}: a service, skipped; --remote measures it too")
            continue
        found.append(section)
    return found


def _slow_dtypes(sections: Sequence[RerankerSettings]) -> Iterator[str]:
    """Yield a line for each cross-encoder that another number format would make faster here."""
    from vecdb_rerank.config.settings import CrossEncoderSettings, inside

    parts = [part for section in sections for _, part in inside(section)]
    for part in parts:
        if isinstance(part, CrossEncoderSettings) and find_spec("torch") and not part.compile:
            from vecdb_rerank.torch_engine.products import faster_dtype

            if (faster := faster_dtype(part.dtype, part.device)) is not None:
                yield f'{part.model}: set dtype = "{faster[0]}"; {faster[1]}.'


def _numbers(given: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in given.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise typer.BadParameter(f"expected numbers such as 10,50, got {given!r}", param_hint="--k")
    return numbers


def _table(speeds: Sequence[Speed]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    ks = next((speed.latencies for speed in speeds if speed.latencies), ())
    shown = Table(
        title="p50 / p95 in milliseconds by documents per call",
        caption="pairs/s and tokens/s with the most documents; a token counts as four characters",
    )
    shown.add_column("reranker")
    for name in (*(f"k={each.k}" for each in ks), "pairs/s", "tokens/s", "load", "memory"):
        shown.add_column(name, justify="right")
    for speed in speeds:
        shown.add_row(escape(speed.name), *_cells(speed, len(ks)))
        if speed.error:
            shown.add_row(f"  [red]{escape(speed.error)}[/]")
    return shown


def _cells(speed: Speed, ks: int) -> list[str]:
    if speed.error:
        return ["-"] * (ks + 4)
    times = [f"{each.p50:,.0f} / {each.p95:,.0f}" for each in speed.latencies]
    memory = "?" if speed.peak_mb is None else f"{speed.peak_mb:,.0f} MB"
    if speed.gpu_mb is not None:
        memory += f" + {speed.gpu_mb:,.0f} MB GPU"
    return [*times, f"{speed.pairs:,.0f}", f"{speed.tokens:,.0f}", f"{speed.load:.1f} s", memory]


def _advice(speeds: Sequence[Speed], budget: float, k: int) -> str:
    from vecdb_rerank.evaluation.speed import recommended

    best = recommended(speeds, budget)
    if best is None:
        return f"No reranker is within {budget:g} ms (p95): raise the budget, or lower --k."
    speed, pairs = best
    advice = f"Within {budget:g} ms (p95): {speed.name} with k = {pairs}"
    if pairs >= k:
        return f"{advice}."
    return (
        f"{advice}, or with k = {k} and policy.effort = {{ pairs = {pairs} }}, which reads the "
        f"{pairs} most promising candidates."
    )
