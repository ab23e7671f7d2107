"""Commands that bring results into a CRM, and take them back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show

if TYPE_CHECKING:
    from behavio.targets import CrmReceipt, Receipt

KINDS = {
    "create": "rows that are not there yet",
    "update": "rows that changed",
    "retire": "open rows this run no longer wants: they expire or are cleared",
    "restore": "rows that get back what they held",
    "expire": "rows we made, their last day set before today",
    "clear": "rows we made, our columns emptied",
    "delete": "rows we made, deleted",
    "unchanged": "rows that are there already",
    "protect": "rows a rep has acted on: never touched",
    "changed_since": "rows somebody changed since: left alone",
    "gone": "rows that are not there any more",
    "invalid": "rows that do not fit the CRM",
    "suppress": "rows that consent, caps or other rules hold back",
    "held_back": "suggestions the run itself held back",
}


@click.command("deliver")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only plan: what would be created, changed, left out.")
@click.option(
    "--target",
    type=click.Choice(["files", "salesforce", "vault", "sql", "loader", "sfmc"]),
    default="files",
    show_default=True,
    help="Where to.",
)
@click.option(
    "--mapping", metavar="NAME|FILE", help="veeva, veeva_account, lsc, vault, sql, or a file .toml."
)
@click.option("--max-per-owner", type=click.IntRange(1), help="Open suggestions one rep may have (500).")
@click.option(
    "--max-reject", type=click.FloatRange(0, 1), help="Share of invalid rows before nothing is sent (0.1)."
)
@click.option("--legal-basis", metavar="TEXT", help="Written with every row.")
@click.option("--json", "as_json", is_flag=True, help="The receipt as JSON.")
def deliver(folder: Path, dry_run: bool, target: str, as_json: bool, **options: Any) -> None:
    """Deliver segment labels and suggestions: as files a CRM can load, or into the CRM itself.

    files, loader and sfmc write files: our own, CSV with mappings for Data Loader and Vault Loader, a data
    extension for SFMC. For the others the environment says who delivers: SALESFORCE_URL,
    SALESFORCE_CLIENT_ID, and SALESFORCE_CLIENT_SECRET or SALESFORCE_USERNAME and
    SALESFORCE_PRIVATE_KEY_FILE; VAULT_URL, VAULT_USERNAME and VAULT_PASSWORD; SQL_URL and SQL_PASSWORD.

    The mapping is checked first, then the plan is made; only then is anything written, and everything is
    read back. Stopped half way, the same command goes on.

    \b
    Example:
      behavio deliver runs/demo --dry-run
      behavio deliver runs/demo --target loader --mapping vault
      behavio deliver runs/demo --target salesforce --dry-run
      behavio deliver runs/demo --target salesforce
    """
    from behavio import api

    with show.console().status("planning") as status:
        receipt = api.deliver(
            folder,
            dry_run=dry_run,
            target=target,
            progress=lambda what, share: status.update(f"{what} {share:.0%}"),
            **show.given(options),
        )
    tell(receipt, as_json)
    if target in ("files", "loader", "sfmc"):
        click.echo(f"\n{folder / 'delivery-plan' if dry_run else folder / 'delivery'}", err=True)


@click.command("rollback")
@click.argument("receipt", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only plan: what would be restored, expired, left alone.")
@click.option(
    "--delete-created", is_flag=True, help="Delete the rows that were created, instead of expiring them."
)
@click.option("--force", is_flag=True, help="Restore rows that somebody changed since, too.")
@click.option("--json", "as_json", is_flag=True, help="The receipt as JSON.")
def rollback(receipt: Path, as_json: bool, **options: Any) -> None:
    """Take a delivery back: updated rows get what they held, created ones expire.

    RECEIPT is the receipt.json of the delivery. What reps have acted on stays; rows that somebody
    changed since stay and are listed. The rollback has a plan and a receipt of its own.

    \b
    Example:
      behavio rollback runs/demo/deliveries/salesforce/0001/receipt.json --dry-run
    """
    from behavio.targets import rollback as undo

    with show.console().status("reading what is there"):
        made = undo(receipt, **options)
    tell(made, as_json)


def tell(receipt: CrmReceipt | Receipt, as_json: bool) -> None:
    """Print what was planned and done; exit 3 where rows are not there as planned."""
    import json
    from dataclasses import asdict

    import polars as pl

    counts = getattr(receipt, "objects", None)
    if as_json:
        click.echo(json.dumps(asdict(receipt), ensure_ascii=False, indent=2))
    elif counts is None:
        row = {n: getattr(receipt, n) for n in ("planned", "sent", "confirmed", "rejected")}
        show.table(pl.DataFrame([row]), None)
    else:
        _counts(counts)
        talk = show.console()
        if receipt.dry_run:
            talk.print("dry run: nothing was written", style="dim")
        else:
            talk.print(f"{receipt.confirmed:,} of {receipt.sent:,} rows written and read back")
        talk.print(str(getattr(receipt, "folder", "")), style="dim")
    if receipt.rejected and counts is not None:
        from behavio.errors import DeliveryError

        raise DeliveryError(
            f"{receipt.rejected:,} rows are not there as planned",
            hint=f"the reasons stand in {getattr(receipt, 'folder', '')}/rejected.csv; deliver again",
        )


def _counts(objects: Any) -> None:
    import polars as pl

    rows = [
        {"object": object, "what": kind, "rows": counts[kind], "meaning": meaning}
        for object, counts in objects.items()
        for kind, meaning in KINDS.items()
        if counts.get(kind)
    ]
    schema = {"object": pl.String, "what": pl.String, "rows": pl.Int64, "meaning": pl.String}
    show.table(pl.DataFrame(rows, schema=schema), None, title="Plan")
