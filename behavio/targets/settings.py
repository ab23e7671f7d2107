"""What the user may decide about deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from behavio.errors import JobError

TARGETS = ("files", "salesforce", "vault", "sql", "loader", "sfmc")
MAPPINGS = {"salesforce": "veeva", "vault": "vault", "sql": "sql", "loader": "veeva"}
"""The ready-made mapping of a target that takes one."""


LABEL_COLUMNS: dict[str, str] = {
    "case_id": "External_ID_vod__c",
    "segment": "Segment__c",
    "strength": "Segment_Strength__c",
    "run_id": "Run_Id__c",
    "model_version": "Model_Version__c",
    "consent_checked_at": "Consent_Checked_At__c",
    "legal_basis": "Legal_Basis__c",
}
"""Our name → column of segment_labels.csv. Segment columns are no vendor standard: map them to your own."""


@dataclass(frozen=True)
class DeliverSettings:
    """The table [deliver] of a job.

    target         where to: "files" writes CSV for the loaders of the CRM
    dry_run        only say what would be done
    columns        our names → your columns in segment_labels.csv (see LABEL_COLUMNS)
    legal_basis    a text for the legal basis of profiling; the column is only written when it is set
    previous       folder of the last delivery: what is unchanged since is not sent again
    max_per_owner  open suggestions one owner may get; the CRM shows no more than 500
    mapping        for a CRM: a ready-made mapping (veeva, veeva_account, lsc, vault, sql) or a file .toml
    max_reject     share of rows that may be invalid before nothing is sent, 0–1
    """

    target: str = "files"
    dry_run: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)
    legal_basis: str | None = None
    previous: str | None = None
    max_per_owner: int = 500
    mapping: str | None = None
    max_reject: float = 0.1

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise JobError(
                f"target {self.target!r} is not in this version", hint=f"targets: {', '.join(TARGETS)}"
            )
        for name in self.columns:
            if name not in LABEL_COLUMNS:
                near = get_close_matches(name, LABEL_COLUMNS, 1, 0.4)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise JobError(
                    f"columns has an unknown name {name!r}", hint=f"{hint}known: {', '.join(LABEL_COLUMNS)}"
                )
        used = [self.label_column(n) for n in LABEL_COLUMNS]
        if len(set(used)) < len(used) or not all(used):
            raise JobError("two of our names go into one column", hint="give every name a column of its own")
        if self.max_per_owner < 1:
            raise JobError(f"max_per_owner = {self.max_per_owner} is too small", hint="it starts at 1")
        if not 0 <= self.max_reject <= 1:
            raise JobError(f"max_reject = {self.max_reject} is no share", hint="0.1 is one row in ten")

    def label_column(self, name: str) -> str:
        """The column of segment_labels.csv that takes one of our names."""
        return self.columns.get(name, LABEL_COLUMNS[name])
