"""What is known of single patients never meets data about HCPs.

A job is about HCPs unless `[log] case = "patient"` says that its cases are patients; then it can neither
suggest nor deliver. Any other job refuses sources whose mapping says `patients = true`, and columns that
are keys of patients, as case or beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

from behavio.errors import JobError
from behavio.sources.guess import plain

KEYS = frozenset(
    "personid patientid patient patientkey patientnumber patientno patid patientsk mrn medicalrecordnumber "
    "medrecno beneid beneficiaryid desynpufid enrolid subjectid nhsnumber versichertennr kvnr fallnummer "
    "fallnr patientennr patientenid patnr encounterid hadmid".split()
)
"""Names of columns that tell single patients or their stays apart, without case and separators."""
HINT = (
    'aggregate it first: behavio treatment … --out study, then [treatment] path = "study" in this job; '
    'a job about patients says [log] case = "patient" and neither suggests nor delivers; '
    "if these are no patients, rename the column"
)


def is_patient_key(column: str) -> bool:
    """Whether a column of this name is a key of patients."""
    return plain(column.rpartition(".")[2]) in KEYS


def refuse_patient_keys(columns: Iterable[str], where: str) -> None:
    """Raise JobError when one of the columns is a key of patients."""
    found = [c for c in columns if is_patient_key(c)]
    if found:
        raise JobError(
            f"{where}: {found[0]!r} is a key of single patients, and this job is about HCPs", hint=HINT
        )


def refuse_patient_source(declared: bool, where: str) -> None:
    """Raise JobError when the source's mapping says that it holds single patients."""
    if declared:
        raise JobError(f"{where} holds single patients, and this job is about HCPs", hint=HINT)
