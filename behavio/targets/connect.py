"""From settings and environment to a session with the target. Secrets come from here and go nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from behavio.errors import JobError
from behavio.files import whole_file
from behavio.targets.crm import Crm
from behavio.targets.delivery import Delivery, deliver_to, home_of
from behavio.targets.files import deliver as deliver_files
from behavio.targets.loaders import deliver_loader, deliver_sfmc
from behavio.targets.mapping import load_mapping
from behavio.targets.receipt import Receipt
from behavio.targets.receipts import CrmReceipt
from behavio.targets.rollback import roll_back
from behavio.targets.settings import MAPPINGS, DeliverSettings

Progress = Callable[[str, float], None]


def session(target: str) -> Crm:
    """A session with the system the environment names. JobError says which variable is missing."""
    if target == "vault":
        from behavio.sources.vault import Vault, VaultLogin
        from behavio.targets.vault import VaultCrm

        return VaultCrm(Vault(VaultLogin.from_environment()))
    if target == "sql":
        from behavio.targets.sql import SqlCrm

        return SqlCrm.from_environment()
    from behavio.sources.salesforce import Org, Salesforce
    from behavio.targets.salesforce import SalesforceCrm

    return SalesforceCrm(Salesforce(Org.from_environment()))


def deliver(
    run: Path, settings: DeliverSettings, folder: Path, progress: Progress | None = None
) -> Receipt | CrmReceipt:
    """Deliver labels and suggestions of a run to a target; plan and receipt also in `folder`.

    Errors: RunError when the run cannot be read, JobError when the mapping does not fit or a secret is
    missing, DeliveryError when the target does not take what we send.
    """
    if settings.target == "files":
        return deliver_files(Path(run), settings, folder)
    if settings.target == "sfmc":
        return deliver_sfmc(Path(run), settings, folder)
    mapping = load_mapping(settings.mapping or MAPPINGS[settings.target])
    if settings.target == "loader":
        return deliver_loader(Path(run), settings, mapping, folder)
    crm = session(settings.target)
    try:
        made = Delivery(run, home_of(run, settings.target), crm, mapping, settings, progress=progress)
        receipt = deliver_to(made)
    finally:
        crm.close()
    for name in ("plan.csv", "rejected.csv"):
        source = Path(receipt.folder) / name
        if source.is_file():
            with whole_file(folder / name) as draft:
                draft.write_bytes(source.read_bytes())
    receipt.write(folder / "receipt.json")
    return receipt


def rollback(
    path: Path, *, dry_run: bool = False, delete_created: bool = False, force: bool = False
) -> CrmReceipt:
    """Take back the delivery of a receipt; see behavio.targets.rollback."""
    receipt = CrmReceipt.read(path)
    home = Path(receipt.folder).parent
    if not home.is_dir() and path.parent.is_dir():  # the run was moved: its folders lie beside the receipt
        home = path.parent.parent
        receipt = replace(receipt, folder=str(path.parent))
    run = home.parent.parent
    settings = DeliverSettings(target=receipt.target, dry_run=dry_run)
    crm = session(receipt.target)
    try:
        if crm.address != receipt.address:
            raise JobError(
                f"the delivery went to {receipt.address}, the environment names {crm.address}",
                hint="set the address of the system that was written to",
            )
        made = Delivery(
            run, home, crm, load_mapping(str(home / Path(receipt.folder).name / "mapping.toml")), settings
        )
        return roll_back(made, receipt, delete_created=delete_created, force=force)
    finally:
        crm.close()
