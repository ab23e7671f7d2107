"""The command that runs a CRM on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from behavio.cli import show

if TYPE_CHECKING:
    from behavio.targets.emulator import Emulator


@click.command("emulate")
@click.argument("system", type=click.Choice(["salesforce", "vault"]))
@click.option("--port", type=click.IntRange(0, 65535), default=8200, show_default=True, help="0: a free one.")
@click.option(
    "--extracts",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with Account.csv, User.csv, Product_vod__c.csv … to begin with.",
)
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="File that keeps the rows.")
@click.option(
    "--schema", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Objects of your own org."
)
@click.option(
    "--public-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="For signed sign-in."
)
@click.option("--faults", type=click.FloatRange(0, 1), default=0.0, help="Share of requests that go wrong.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the faults.")
def emulate(
    system: str,
    port: int,
    extracts: Path | None,
    state: Path | None,
    schema: Path | None,
    public_key: Path | None,
    faults: float,
    seed: int,
) -> None:
    """Run a Salesforce org or a vault on this machine, to rehearse a load before it is real.

    It listens on 127.0.0.1 only, until Ctrl-C. Sign-in, describe, collections, bulk jobs, queries and limits
    answer as the live system would; --faults makes some requests fail as networks and busy systems do.

    \b
    Example:
      behavio emulate salesforce --port 8200 --extracts data/extracts
      behavio emulate vault --port 8300 --faults 0.05
    """
    from behavio.targets.emulator import Schedule, listen, load_extracts

    made = _made(system, schema, state, public_key, Schedule(seed=seed, rate=faults, most=10**9))
    talk = show.console()
    if extracts is not None:
        loaded = load_extracts(made.store, extracts)
        talk.print(", ".join(f"{rows:,} {object}" for object, rows in loaded.items()), style="dim")
    server = listen(made, port)
    where = f"http://127.0.0.1:{server.server_address[1]}"
    known = {
        "salesforce": {"URL": where, "CLIENT_ID": "behavio", "CLIENT_SECRET": "emulator"},
        "vault": {"URL": where, "USERNAME": "loader@example.com", "PASSWORD": "emulator"},
    }[system]
    for name, value in known.items():
        click.echo(f"export {system.upper()}_{name}={value}")
    talk.print(f"{system} emulated at {where}; Ctrl-C ends it", style="dim")
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        made.close()


def _made(
    system: str, schema: Path | None, state: Path | None, public_key: Path | None, schedule: object
) -> Emulator:
    from behavio.targets.emulator import Keys, SalesforceEmulator, VaultEmulator, new_org, new_vault
    from behavio.targets.emulator.faults import Schedule

    assert isinstance(schedule, Schedule)
    if system == "vault":
        return VaultEmulator(new_vault(schema, path=state), schedule)
    keys = Keys(public_key=public_key.read_text(encoding="utf-8") if public_key else "")
    return SalesforceEmulator(new_org(schema, path=state), schedule, keys=keys)
