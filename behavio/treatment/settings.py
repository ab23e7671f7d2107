"""What the user may decide about lines of therapy; every number has a source or a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from behavio.durations import seconds
from behavio.errors import JobError

LEAST_K = 10
"""No group of fewer patients is ever told."""


@dataclass(frozen=True)
class TreatmentSettings:
    """The table [lines] of a study: what a treatment record is, and when a line of therapy begins and ends.

    name            column that names the drug, diagnosis or procedure; "" for the usual names (name, drug,
                    concept_name), else the activity itself
    activities      activities that are records of a treatment; none: "drug" where the log has it, else all
                    that `drugs` fits
    drugs           pattern → drug, first match wins, case ignored: "*lisinopril*" = "lisinopril"; records
                    that none fits are no treatment here. None: every name is a drug
    comorbidities   pattern → comorbidity, over the names of all other records before a line
    context         activities shown in the patients' journeys beside their lines
    end, days       columns with the end of supply, or its days
    supply          how long a record lasts that says neither (OMOP: one day)
    prescriber      column of who prescribed; "" for the usual names
    persistence     records of one drug with a gap up to this are one era (OMOP CDM, drug_era: 30 days)
    regimen_window  drugs begun so soon after the first are its regimen (28 days: usual in oncology, Hess et
                    al., Future Oncology 17, 2021)
    overlap         old drugs taken so long beside a new one make it an add-on, else it is a switch (the
                    combination window of TreatmentPatterns, Markus et al. 2022: 30 days)
    gap             nothing taken for longer than this ends a line; what follows is a restart
    observed        patients are observed until the newest event of the "log", or of their own ("case")
    death           activity that ends observation and treatment
    top             regimens that are compared; the others are told together
    focus           drug that profiles are about; "" for the most frequent one
    k               patients a number must rest on before it leaves the patient level
    """

    name: str = ""
    activities: tuple[str, ...] = ()
    drugs: Mapping[str, str] = field(default_factory=dict)
    comorbidities: Mapping[str, str] = field(default_factory=dict)
    context: tuple[str, ...] = ()
    end: str = ""
    days: str = ""
    supply: str = "1d"
    prescriber: str = ""
    persistence: str = "30d"
    regimen_window: str = "28d"
    overlap: str = "30d"
    gap: str = "90d"
    observed: Literal["log", "case"] = "log"
    death: str = "death"
    top: int = 8
    focus: str = ""
    k: int = LEAST_K

    def __post_init__(self) -> None:
        for name in ("supply", "persistence", "regimen_window", "overlap", "gap"):
            seconds(getattr(self, name))
        if self.observed not in ("log", "case"):
            raise JobError(f"observed = {self.observed!r} is not possible", hint='"log" or "case"')
        if seconds(self.gap) < seconds(self.persistence):
            raise JobError(
                f"a gap of {self.gap} is shorter than the persistence of {self.persistence}",
                hint="a line cannot end inside an era: raise gap, or lower persistence",
            )
        if self.k < LEAST_K:
            raise JobError(f"k is {self.k}", hint=f"{LEAST_K} patients are the least a number may rest on")
        if self.top < 1:
            raise JobError(f"top is {self.top}", hint="it must be 1 or more")
