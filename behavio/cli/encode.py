"""`behavio encode`: a log of any size read once, coded, and answered from then on."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.cli.ask import piped

if TYPE_CHECKING:
    from behavio.encoding import Encoded


@click.command("encode")
@click.argument("source", metavar="LOG", callback=piped)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the encoded log.")
@show.column_options
@click.option(
    "--end", multiple=True, metavar="ACTIVITY", help="Closes a case when it is its last; repeatable."
)
@click.option("--open-within", help="A case silent for longer is closed, for example 90d.")
@click.option(
    "--memory", type=click.FloatRange(0.01), help="Working memory in GB (default 1, at most an eighth)."
)
@click.option("--stream", is_flag=True, help="Write the events in order of time too.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def encode(
    source: str,
    out: Path,
    end: tuple[str, ...],
    open_within: str | None,
    memory: float | None,
    stream: bool,
    form: str | None,
    **columns: Any,
) -> None:
    """Read a log once into a folder of codes; every command takes that folder as its LOG.

    Plain tables are streamed: their texts are never held, so the log may be larger than the memory.

    \b
    Example:
      behavio encode visits.csv --out visits.encoded
      behavio graph visits.encoded --top 20
    """
    if "numpy" not in sys.modules:  # threads that would only wait cost their start
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from behavio import encoding
    from behavio.cli.work import first_compile
    from behavio.sources import LogSettings

    rule = LogSettings(end=end, open_within=open_within)
    with show.screen() as screen:
        first_compile()
        done = encoding.encode(
            source,
            out,
            log=rule,
            memory=int(memory * (1 << 30)) if memory else None,
            progress=screen.progress,
            **show.given(columns),
        )
        if stream:
            from behavio.encoding.timeline import write_stream

            screen.progress("order of time", 0.99)
            write_stream(done.sequences, out)
    show.value(_facts(done), form, lambda facts: _draw(facts, out))


def _facts(done: Encoded) -> dict[str, Any]:
    sequences = done.sequences
    return {
        "n_events": sequences.n_events,
        "n_cases": sequences.n_cases,
        "n_activities": len(sequences.vocabulary.activities),
        "n_distinct": len(sequences.distinct().first),
        "n_open": int(sequences.open_cases().open.sum()),
        "open_within_s": sequences.open_cases().within_s,
        "n_rejected": done.rejected.height,
        "streamed": done.streamed,
        "sources": [asdict(c) for c in done.counts],
    }


def _draw(facts: dict[str, Any], out: Path) -> None:
    import polars as pl

    columns = ("name", "kind", "read", "accepted", "rejected", "merged", "first", "last")
    rows = [{c: s[c][:19] if c in ("first", "last") else s[c] for c in columns} for s in facts["sources"]]
    show.table(pl.DataFrame(rows), None)
    click.echo("")
    told = ("n_events", "n_cases", "n_activities", "n_distinct", "n_open", "open_within_s")
    names = ("events", "cases", "activities", "distinct sequences", "open cases", "open_within_s")
    show.table(pl.DataFrame([{n: facts[t] for n, t in zip(names, told, strict=True)}]), None)
    for source in facts["sources"]:
        for note in source["notes"]:
            click.echo(f"  · {note}", err=True)
    if facts["n_rejected"]:
        click.echo(f"  · rejected rows and why: {out / 'rejected.parquet'}", err=True)
    click.echo(f"\n{out}", err=True)
