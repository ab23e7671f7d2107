"""What the [conformance] table of a job may say."""

from __future__ import annotations

from dataclasses import dataclass

from behavio.conformance.contacts import PARTS
from behavio.conformance.plan import Flow, Frequency, parse_rule
from behavio.durations import seconds
from behavio.errors import JobError


@dataclass(frozen=True, slots=True)
class ConformanceSettings:
    """What the journeys are held against.

    plan             file of the plan: .toml, .bpmn, .pnml or a table of planned contacts; without it the
                     contacts of the job's [plan]
    rules            rules beside it: "response(portal_visit, call_*) within 14d"
    flow, frequency  flows and contact goals for everybody beside it, as in a .toml plan
    tolerance        share of a contact goal that may be missing or too much
    response         activities that count as an answer; default: everything inbound but refusals
    refusals         inbound activities that are no answer
    within           how long after the plan was done (or its period ended) an answer counts
    parts_of_contact  outbound activities that belong to another contact and are none of their own
    """

    plan: str | None = None
    rules: tuple[str, ...] = ()
    flow: tuple[Flow, ...] = ()
    frequency: tuple[Frequency, ...] = ()
    tolerance: float = 0.0
    response: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ("email_unsubscribe", "reaction_negative", "reaction_neutral")
    within: str = "30d"
    parts_of_contact: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise JobError(f"tolerance is {self.tolerance}", hint="a share from 0 up to, not with, 1")
        if seconds(self.within) <= 0:
            raise JobError("within must be longer than nothing", hint='write a duration such as "30d"')
        for text in self.rules:
            parse_rule(text)

    @property
    def own(self) -> bool:
        """True when something is planned here, without a file."""
        return bool(self.rules or self.flow or self.frequency)
