"""The receipt of a delivery to a system: what was planned, sent, read back, and where the proof lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from behavio.errors import RunError
from behavio.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class CrmReceipt:
    """Row counts of one delivery or rollback.

    status     planned (dry run), confirmed, partial (some rows are not there as planned) or interrupted
    planned    rows that may go: create + update + unchanged + retire
    protected  rows left alone because a rep has acted on them, before the plan or since
    invalid    rows that do not fit the system, suppressed: rows that the rules hold back
    sent       rows that were to be written, confirmed: those read back as planned, rejected: those not
    """

    target: str
    dry_run: bool
    kind: str
    status: str
    run_id: str
    model_version: str
    address: str
    mapping: str
    mapping_sha256: str
    planned: int
    create: int
    update: int
    unchanged: int
    retire: int
    protected: int
    invalid: int
    suppressed: int
    sent: int
    confirmed: int
    rejected: int
    objects: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    starts: int = 0
    folder: str = ""
    of: str = ""
    files: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the receipt as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a receipt back; RunError when there is none, or it is that of a delivery to files."""
        if not path.is_file():
            raise RunError(f"there is no receipt {path}", hint="give the receipt.json of a delivery")
        table = read_json(path)
        if "mapping" not in table:
            raise RunError(f"{path} is no receipt of a CRM", hint="files are taken back by deleting them")
        return cls(**{**table, "jobs": tuple(table.get("jobs", ()))})
