"""`behavio erase`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from behavio.cli import show
from behavio.errors import RunError


@click.command("erase")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option(
    "--file", "listed", type=click.Path(path_type=Path), help="Ids, one a line, or a table of them."
)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def erase(folder: Path, ids: tuple[str, ...], listed: Path | None, form: str | None) -> None:
    """Remove people from every file of a finished run, and keep them out of it.

    Their rows go; pages that show them and everything learnt from them is deleted. The job's own files are
    not touched, but the people stay out when it is run again into the same folder, which makes again what
    was deleted. Exit code 1 when an id is not in the run (it is kept out all the same).

    \b
    Example:
      behavio erase runs/demo 0015g00000000OBAAY
      behavio erase runs/demo --file requests.txt
    """
    import polars as pl

    from behavio import api
    from behavio.erase import erased_table, read_id_file

    every = [*ids, *(read_id_file(listed) if listed is not None else [])]
    done = api.erase(folder, every)
    if form == "json":
        click.echo(json.dumps(asdict(done) | {"unknown": len(done.unknown)}, indent=2))
    else:
        if rows := erased_table(done):
            show.table(pl.DataFrame(rows), None)
        click.echo(_told(done.n_erased, done.run_again, folder), err=True)
    if done.unknown:
        n, of = len(done.unknown), len(done.unknown) + done.n_erased
        raise RunError(
            f"{n} of {of} ids are not in this run: {', '.join(done.unknown[:5])}",
            hint="they are kept out of it from now on; check the spelling if you expected them",
        )


def _told(n: int, again: tuple[str, ...], folder: Path) -> str:
    if n == 0:
        return "\nnobody was erased"
    who = "1 person" if n == 1 else f"{n:,} people"
    redo = f"\nto make again ({', '.join(again)}): behavio run JOB --out {folder}" if again else ""
    return f"\n{who} erased from {folder}; no file of it names them{redo}"
