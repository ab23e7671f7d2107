"""The command that fetches from a live CRM."""

from __future__ import annotations

from pathlib import Path

import click

from behavio.cli import show


@click.command("pull")
@click.argument("kinds", metavar="KIND...", nargs=-1, required=True)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of CSV files.",
)
@click.option("--all", "everything", is_flag=True, help="Fetch everything again, not only what changed.")
@show.output_options
def pull(kinds: tuple[str, ...], folder: Path, everything: bool, form: str | None) -> None:
    """Fetch what mappings need from Salesforce or Vault into a folder of CSV files.

    KIND is a kind such as veeva.call or vault.call, or a mapping file. Who asks stands in the environment:
    SALESFORCE_URL, SALESFORCE_CLIENT_ID, and SALESFORCE_CLIENT_SECRET or SALESFORCE_USERNAME and
    SALESFORCE_PRIVATE_KEY_FILE; for kinds of Vault VAULT_URL, VAULT_USERNAME and VAULT_PASSWORD.
    Fetching again asks only for what changed since. Jobs then read the folder: path = "extracts".

    \b
    Example:
      behavio pull veeva.call veeva.key_message veeva.account --to extracts
    """
    import polars as pl

    from behavio.sources.pull import facts_of, pull
    from behavio.sources.salesforce import Org, Salesforce
    from behavio.sources.vault import Vault, VaultLogin

    vault = kinds[0].startswith("vault.")
    session: Salesforce | Vault
    session = Vault(VaultLogin.from_environment()) if vault else Salesforce(Org.from_environment())
    try:
        with show.console().status("asking Vault" if vault else "asking Salesforce") as status:
            found = pull(
                kinds, folder, session, everything=everything, progress=lambda what, _: status.update(what)
            )
    finally:
        session.close()
    for one in found:
        if one.lacking:
            show.console().print(f"{one.object}: this org has no {', '.join(one.lacking)}", style="dim")
    rows = [
        {"object": f["object"], "rows": f["rows"], "since": f["since"] or "the beginning", "file": f["file"]}
        for f in facts_of(found)
    ]
    schema = {"object": pl.String, "rows": pl.Int64, "since": pl.String, "file": pl.String}
    show.table(pl.DataFrame(rows, schema=schema), form, title="Pulled")
