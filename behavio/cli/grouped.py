"""What `behavio segments RUN` prints beside the labels: rules, proof, another segmentation."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from behavio.cli import show

SHOWN = 12


def warn(source: str) -> None:
    """Say on stderr when the day of review has passed, or a note says that the segments are shaky."""
    from behavio import api
    from behavio.folder import run_folder

    folder = run_folder(source)
    if folder is None or not (folder / "segments" / "profiles.json").is_file():
        return
    page = api.segments_page(folder)
    if page.get("review") and date.today() > date.fromisoformat(page["review"]):
        owner = f", owner {page['owner']}" if page.get("owner") else ""
        click.echo(f"note: the segments were to be reviewed on {page['review']}{owner}", err=True)
    for text in page.get("notes", []):
        if "stable" in text:
            click.echo(f"note: {text}", err=True)


def page(source: str, form: str | None, what: str) -> None:
    """The typing tool or the proof of a run."""
    from behavio import api
    from behavio.segments.rules import told

    if form == "csv":
        raise click.UsageError(f"--{what} prints text or --json")
    if what == "rules":
        found = api.segment_rules(source)
        return show.value(found, form, lambda f: click.echo(told(f)))
    warn(source)
    page = api.segments_page(source)
    keys = ("method", "k", "curve", "proof", "owner", "review", "notes")
    show.value({k: page.get(k) for k in keys}, form, _proof)


def _proof(page: dict[str, Any]) -> None:
    import polars as pl

    proof = page["proof"]
    click.echo(f"{page['k']} segments by {page['method']}\n")
    if page["curve"]:
        click.echo("Number of segments: held-out likelihood (lower is better) and stability")
        columns = ["k", "held_out_nll_per_event", "gain", "stability", "smallest_share"]
        show.table(pl.DataFrame(page["curve"]).select(columns), None)
    if not proof:
        return
    n, low = proof["resamples"], proof["stability_low"]
    click.echo(f"\nFound again in {n} resamples: agreement {proof['stability']:.2f}, worst {low:.2f}")
    click.echo(f"Told apart: {proof['separation']:.2f} (1: every case surely belongs to one)")
    click.echo("\nWhat simpler ways give; explains: nats per event of unseen cases")
    own = {"method": "these segments", "k": page["k"], "agreement": 1.0, "explains": proof["explains"]}
    show.table(pl.DataFrame([own | {"stability": proof["stability"]}, *proof["methods"]]), None)
    for row in proof.get("without", []):
        click.echo(f"Without {row['without']}: {_left(row)}")
    for note in page["notes"]:
        click.echo(f"· {note}")


def _left(row: dict[str, Any]) -> str:
    if row["gain"] <= 0:
        return "no groups are left"
    return f"groups of another kind, agreement {row['agreement']:.2f}, gain {row['gain']:.3f} nats per event"


def against(source: str, form: str | None, other: str, seed: int) -> None:
    """Another segmentation beside that of the run."""
    from behavio import api

    found = api.challenge(source, other, seed=seed)
    tables = {"table": found.table, "misplaced": found.misplaced, "explains": found.explains}
    if form == "json":
        facts = {"agreement": found.agreement, "common": found.common}
        rows = {n: t.to_dicts() for n, t in tables.items()}
        return show.value(facts | rows | {"notes": found.notes}, form, lambda _: None)
    if form == "csv":
        return show.table(found.table, form)
    click.echo(
        f"{found.common:,} cases in both, agreement {found.agreement:.2f} (1: the same, 0: by chance)\n"
    )
    show.table(found.table, None)
    n = found.misplaced.height
    click.echo(
        f"\n{n:,} cases are elsewhere than most of their segment" + (f", the surest {SHOWN}:" if n else "")
    )
    if n:
        show.table(found.misplaced.head(SHOWN), None)
    if found.explains.height:
        click.echo("\nShare of what cases do later that each explains, and adds to the other (95 %)")
        show.table(found.explains, None)
    for note in found.notes:
        click.echo(f"· {note}")
