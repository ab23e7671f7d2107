"""Proof of what was planned, sent and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from behavio.errors import RunError
from behavio.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Receipt:
    """Row counts of one delivery; `files` gives rows and sha256 of every file written.

    planned    rows that may go (create + update + unchanged)
    sent       rows written, 0 on a dry run
    confirmed  rows read back equal to what was sent
    rejected   rows that may not go, each in rejected.csv (on a dry run in plan.csv) with its reason
    suppressed suggestions the rules of the run held back
    """

    target: str
    dry_run: bool
    run_id: str
    planned: int
    create: int
    update: int
    unchanged: int
    sent: int
    confirmed: int
    rejected: int
    suppressed: int
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the receipt as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a receipt back; RunError when there is none."""
        if not path.is_file():
            raise RunError(f"there is no receipt {path}", hint="give the receipt.json of a delivery")
        return cls(**read_json(path))
