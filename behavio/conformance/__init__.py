"""What was planned against what happened: flows, rules, contacts, process models; and rules that hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.conformance.choose import Chooser
from behavio.conformance.contacts import check_contacts, goals_of
from behavio.conformance.declare import RULE_SCHEMA, Checked, check_rules, discover_rules
from behavio.conformance.findings import (
    CASE_SCHEMA,
    DEVIATION_SCHEMA,
    KINDS,
    STEP_SCHEMA,
    Findings,
    case_table,
    deviation_table,
    step_table,
)
from behavio.conformance.flows import check_flow
from behavio.conformance.occurrences import OCCURRENCE_SCHEMA, OCCURRENCE_STEP_SCHEMA, occurrences
from behavio.conformance.plan import (
    OTHER_NAMES,
    Flow,
    Frequency,
    Plan,
    Rule,
    Step,
    parse_rule,
    plan_of,
    read_plan,
)
from behavio.conformance.response import (
    RESPONSE_SCHEMA,
    WARNING,
    contact_responses,
    flow_responses,
    responses,
)
from behavio.conformance.rules import check_rules as check_timed_rules
from behavio.conformance.settings import ConformanceSettings
from behavio.durations import seconds
from behavio.errors import JobError
from behavio.files import read_json, whole_file, write_json
from behavio.sequences import SequenceSet

__all__ = [
    "CASE_SCHEMA",
    "Checked",
    "Conformance",
    "ConformanceSettings",
    "DEVIATION_SCHEMA",
    "Flow",
    "Frequency",
    "KINDS",
    "OCCURRENCE_SCHEMA",
    "OCCURRENCE_STEP_SCHEMA",
    "Plan",
    "RESPONSE_SCHEMA",
    "RULE_SCHEMA",
    "Rule",
    "STEP_SCHEMA",
    "Step",
    "WARNING",
    "as_plan",
    "check_rules",
    "conform",
    "discover_rules",
    "parse_rule",
    "plan_of",
    "planned_contacts",
    "read_conformance",
    "read_plan",
    "write_conformance",
]

FILES = ("conformance", "conformance_steps", "conformance_deviations", "conformance_response")
"""Tables of journeys/, in the order of Conformance's."""
WALKED = ("conformance_occurrences", "conformance_occurrence_steps")
"""Further tables, where the plan has a flow."""


@dataclass(frozen=True, slots=True, eq=False)
class Conformance:
    """A plan held against a log.

    cases       one row per case and part of the plan (CASE_SCHEMA)
    steps       one row per step, rule, goal or activity (STEP_SCHEMA)
    deviations  the evidence (DEVIATION_SCHEMA)
    response    attainment beside response (RESPONSE_SCHEMA); empty where it cannot be told
    occurrences       one row each time a case began a flow (OCCURRENCE_SCHEMA); empty without a flow
    occurrence_steps  how far they came (OCCURRENCE_STEP_SCHEMA)
    notes       what a reader of the numbers should know
    """

    name: str
    n_cases: int
    cases: pl.DataFrame
    steps: pl.DataFrame
    deviations: pl.DataFrame
    response: pl.DataFrame
    notes: tuple[str, ...] = ()
    occurrences: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=OCCURRENCE_SCHEMA))
    occurrence_steps: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=OCCURRENCE_STEP_SCHEMA)
    )

    def states(self) -> pl.DataFrame:
        """Cases per part of the plan and state: plan, conforms, deviates, open, not_started."""
        names = ("conforms", "deviates", "open", "not started")
        counts = [(pl.col("state") == n).sum().alias(n.replace(" ", "_")) for n in names]
        return self.cases.group_by("plan", maintain_order=True).agg(counts)

    def walks(self) -> pl.DataFrame:
        """Occurrences of each flow: plan, cases, begun, finished, stopped, open."""
        states = [(pl.col("state") == n).sum().alias(n) for n in ("finished", "stopped", "open")]
        cases = pl.col("case_id").n_unique().alias("cases")
        return self.occurrences.group_by("plan", maintain_order=True).agg(
            cases, pl.len().alias("begun"), *states
        )


def conform(sequences: SequenceSet, plan: Plan, settings: ConformanceSettings | None = None) -> Conformance:
    """Hold a plan against every case of a log.

    Errors: JobError when nothing is planned, or the log lacks what the plan needs (a clock, an attribute).
    """
    wanted = settings or ConformanceSettings()
    if wanted.own:
        plan = replace(
            plan,
            flow=(*plan.flow, *wanted.flow),
            rule=(*plan.rule, *map(parse_rule, wanted.rules)),
            frequency=(*plan.frequency, *wanted.frequency),
        )
    if plan.nothing:
        raise JobError(
            "nothing is planned", hint="give a plan: --plan FILE, or a rule: --rule 'response(a, b)'"
        )
    chooser = Chooser(sequences)
    still = np.asarray(sequences.open_cases().open, dtype=bool)
    found: list[Findings] = [check_flow(chooser, flow, still) for flow in plan.flow]
    if plan.rule:
        found.append(check_timed_rules(chooser, plan.rule, still))
    goals = None
    if plan.goals.height or plan.frequency:
        goals = goals_of(sequences, plan.goals, plan.frequency)
        found.append(check_contacts(chooser, goals, wanted.tolerance, wanted.parts_of_contact))
    if plan.net is not None:
        from behavio.conformance.model import check_model

        found.append(check_model(sequences, plan.net, still, plan.name))
    found = _named_apart(found)
    walked = [
        occurrences(chooser, replace(flow, name=part.name), still)
        for flow, part in zip(plan.flow, found, strict=False)  # the flows come first
    ]
    answers = responses(chooser, wanted.response, wanted.refusals)
    within = round(seconds(wanted.within) * 1e6)
    beside = [pl.DataFrame(schema=RESPONSE_SCHEMA)]
    for part in found if answers is not None and sequences.timed else []:
        assert answers is not None
        if part.kind == "flow":
            beside.append(flow_responses(part, sequences, answers, within))
        elif part.kind == "contacts" and goals is not None:
            fixed = (chooser, goals, answers, within, wanted.parts_of_contact)
            beside.append(contact_responses(part.name, *fixed))
    response = pl.concat(beside)
    return Conformance(
        plan.name,
        sequences.n_cases,
        pl.concat([case_table(f) for f in found]),
        pl.concat([step_table(f) for f in found]),
        pl.concat([deviation_table(f, sequences) for f in found]),
        response,
        _notes(plan, found, chooser, answers, response),
        pl.concat([pl.DataFrame(schema=OCCURRENCE_SCHEMA), *(w[0] for w in walked)]),
        pl.concat([pl.DataFrame(schema=OCCURRENCE_STEP_SCHEMA), *(w[1] for w in walked)]),
    )


def _named_apart(found: list[Findings]) -> list[Findings]:
    """The parts with names of their own."""
    seen: dict[str, int] = {}
    named = []
    for part in found:
        seen[part.name] = seen.get(part.name, 0) + 1
        again = seen[part.name] > 1
        named.append(replace(part, name=f"{part.name} {seen[part.name]}") if again else part)
    return named


def _notes(
    plan: Plan,
    found: list[Findings],
    chooser: Chooser,
    answers: np.ndarray | None,
    response: pl.DataFrame,
) -> tuple[str, ...]:
    notes = [*plan.notes, *chooser.notes, *(n for f in found for n in f.notes)]
    if any(f.kind in ("flow", "contacts") for f in found):
        asked = [f.name for f in plan.flow if answers is not None and _asks_for(chooser, f, answers)]
        notes += [
            f"steps of {name} are answers themselves: more done is more answered by itself" for name in asked
        ]
        if answers is None:
            notes.append(
                "no attainment beside response: the log has no direction; name activities as response"
            )
        elif response.height:
            notes.append(WARNING)
    return tuple(dict.fromkeys(notes))


def _asks_for(chooser: Chooser, flow: Flow, answers: np.ndarray) -> bool:
    """Whether a step of a flow is an answer itself."""
    return any(bool((chooser.events(step.activity, step.where) & answers).any()) for step in flow.step)


def planned_contacts(log: Path) -> Plan:
    """The contacts planned in the log of a run, from its [plan] table; nothing where there is none."""
    path = log / "plan.parquet"
    return Plan("contacts", goals=pl.read_parquet(path)) if path.is_file() else Plan()


def read_conformance(folder: Path) -> Conformance:
    """What `write_conformance` left in a folder."""
    cases, steps, deviations, response = (pl.read_parquet(folder / f"{n}.parquet") for n in FILES)
    told = read_json(folder / "conformance.json")
    found = Conformance(
        told["plan"], told["n_cases"], cases, steps, deviations, response, tuple(told["notes"])
    )
    if not (folder / f"{WALKED[0]}.parquet").is_file():
        return found
    walked, walked_steps = (pl.read_parquet(folder / f"{n}.parquet") for n in WALKED)
    return replace(found, occurrences=walked, occurrence_steps=walked_steps)


def as_plan(rules: pl.DataFrame) -> str:
    """Rules as found (RULE_SCHEMA) as the text of a plan file."""
    lines = []
    for template, activity, target in rules.select("template", "activity", "target").iter_rows():
        meant = OTHER_NAMES.get(template, template)
        rule = Rule(meant, activity, target, 0 if template == "absence" else 1)
        lines.append(f"  {json.dumps(rule.shown, ensure_ascii=False)},")
    return "\n".join(["rules = [", *lines, "]", ""])


def write_conformance(
    sequences: SequenceSet,
    plan: Plan,
    settings: ConformanceSettings,
    folder: Path,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> dict[str, Any]:
    """Write the tables of a plan held against the log (Parquet) and conformance.json; returns facts."""
    progress("conformance", 0.0)
    found = conform(sequences, plan, settings)
    tables = {n: getattr(found, n.removeprefix("conformance_")) for n in FILES[1:]}
    tables[FILES[0]] = found.cases
    if found.occurrence_steps.height:
        tables |= dict(zip(WALKED, (found.occurrences, found.occurrence_steps), strict=True))
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    facts = {"plan": found.name, "n_cases": found.n_cases, "notes": list(found.notes)}
    write_json(folder / "conformance.json", facts | {"within": settings.within})
    progress("conformance", 1.0)
    facts |= {"states": found.states().to_dicts(), "n_deviations": found.deviations.height}
    return facts | {"occurrences": found.walks().to_dicts()}
