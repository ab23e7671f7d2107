"""What was planned: ordered flows, rules, contacts per period, a process model; read from a file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.log import PLAN_SCHEMA, empty

if TYPE_CHECKING:
    from behavio.process import Net

ONE = ("at_least", "at_most", "exactly", "init", "end")
"""Rules about one activity."""
TWO = (
    "responded_existence", "coexistence", "not_coexistence", "response", "precedence", "succession",
    "alternate_response", "alternate_precedence", "alternate_succession", "chain_response",
    "chain_precedence", "chain_succession", "not_succession", "not_chain_succession",
)  # fmt: skip
"""Rules about two, by their names in Declare."""
OTHER_NAMES = {
    "existence": "at_least",
    "absence": "at_most",
    "exactly_one": "exactly",
    "last": "end",
    "altresponse": "alternate_response",
    "altprecedence": "alternate_precedence",
    "altsuccession": "alternate_succession",
    "chainresponse": "chain_response",
    "chainprecedence": "chain_precedence",
    "chainsuccession": "chain_succession",
    "noncoexistence": "not_coexistence",
    "nonsuccession": "not_succession",
    "nonchainsuccession": "not_chain_succession",
    "not_response": "not_succession",
    "not_chain_response": "not_chain_succession",
}
WRITTEN = re.compile(r"\s*([A-Za-z][\w \-]*?)\s*\((.*)\)\s*(?:within\s+(\S+)\s*)?", re.S)
ARGUMENT = re.compile(r'\s*(?:"([^"]*)"|([^,"]+?))\s*(?:,|$)')
WRITTEN_AS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Mapping": (dict,),
    "tuple": (tuple,),
}
"""What TOML gives for the type of a field; any other field is a text."""
TIMELESS = ("exactly", "init", "end")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a flow.

    activity  what counts as the step: a name, or alternatives with wildcards ("call_f2f|call_video",
    "call_*") optional  the step may be left out; otherwise it comes at_least to at_most times (at_most 0: any
    number) within    so soon after the step before it ("7d")
    where     values of attributes the event must have: {brand = "X"}
    """

    activity: str
    name: str = ""
    optional: bool = False
    at_least: int = 1
    at_most: int | None = None
    within: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.within is not None:
            seconds(self.within)
        least, most = self.times
        if least < 0 or (most and most < least) or most > 30 or least > 30:
            raise JobError(
                f"the step {self.activity!r} comes {self.at_least} to {self.at_most} times",
                hint="at_least from 0 to 30, at_most not below it, 0 for any number",
            )

    @property
    def times(self) -> tuple[int, int]:
        """How often the step comes at least and at most; 0: any number."""
        least = 0 if self.optional else self.at_least
        return least, max(1, self.at_least) if self.at_most is None else self.at_most

    @property
    def shown(self) -> str:
        """The step as tables call it."""
        return self.name or self.activity


@dataclass(frozen=True, slots=True)
class Flow:
    """Steps in order, as a campaign has them.

    applies      "started": to cases that took any step; "all": to every case
    allow_extra  true: events beyond what the steps ask for are no deviation
    start, end   only events from this day to the end of that day count; after it no case is open
    where        values of attributes every event must have
    """

    step: tuple[Step, ...]
    name: str = "flow"
    applies: str = "started"
    allow_extra: bool = False
    start: str | None = None
    end: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.step) <= 60:
            raise JobError(f"the flow {self.name!r} has {len(self.step)} steps", hint="give it 1 to 60")
        if self.applies not in ("started", "all"):
            raise JobError(f"applies = {self.applies!r} is not possible", hint='"started" or "all"')
        for day in (self.start, self.end):
            if day is not None:
                moment(day)


@dataclass(frozen=True, slots=True)
class Rule:
    """One Declare rule: template(activity, target) within a time.

    n  how often, for at_least, at_most and exactly
    """

    template: str
    activity: str
    target: str | None = None
    n: int = 1
    within: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.template not in (*ONE, *TWO):
            every = (*ONE, *TWO, *OTHER_NAMES)
            near = get_close_matches(self.template, every, 1, 0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(
                f"there is no rule {self.template!r}", hint=f"{hint}known: {', '.join((*ONE, *TWO))}"
            )
        if (self.target is None) == (self.template in TWO):
            wants = "two activities" if self.template in TWO else "one activity"
            raise JobError(
                f"{self.template} is about {wants}", hint='for example "response(a, b) within 14d"'
            )
        if self.n < 0 or (self.template == "at_least" and self.n == 0):
            raise JobError(f"{self.template} {self.n} times is no rule", hint="n is 1 or more")
        if self.within is not None:
            seconds(self.within)
            if self.template in TIMELESS:
                raise JobError(f"{self.template} has no time limit", hint="leave out within")

    @property
    def shown(self) -> str:
        """The rule as it is written."""
        if self.name:
            return self.name
        inside = [_quoted(self.activity)]
        if self.target is not None:
            inside.append(_quoted(self.target))
        elif self.template in ("at_least", "at_most", "exactly"):
            inside.append(str(self.n))
        limit = f" within {self.within}" if self.within else ""
        return f"{self.template}({', '.join(inside)}){limit}"


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name or ")" in name else name


@dataclass(frozen=True, slots=True)
class Frequency:
    """So many contacts for every case from one day to the end of another; channel as in the plan table."""

    goal: float
    start: str
    end: str
    channel: str = "*"
    brand: str | None = None

    def __post_init__(self) -> None:
        if self.goal < 0 or moment(self.start) >= moment(self.end) + 1:
            raise JobError("a frequency has a goal of 0 or more and ends after it starts")


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that was planned.

    goals  PLAN_SCHEMA: contacts planned per case, channel, brand and period
    """

    name: str = "plan"
    flow: tuple[Flow, ...] = ()
    rule: tuple[Rule, ...] = ()
    frequency: tuple[Frequency, ...] = ()
    goals: pl.DataFrame = field(default_factory=lambda: empty(PLAN_SCHEMA))
    net: Net | None = None
    notes: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """True when nothing was planned."""
        several = (self.flow, self.rule, self.frequency)
        return not any(several) and self.goals.height == 0 and self.net is None


def read_plan(path: Path) -> Plan:
    """The plan of a file: .toml (flows, rules, frequencies), .bpmn or .pnml, or a table of planned contacts.

    Errors: JobError that says what is wrong in it.
    """
    ending = path.suffix.lower()
    if ending in (".bpmn", ".pnml"):
        from behavio.process import read_net

        return Plan(path.stem, net=read_net(path))
    if ending == ".toml":
        return _from_toml(path)
    from behavio.sources import read_planned

    goals, notes = read_planned(path)
    return Plan(path.stem, goals=goals, notes=notes)


def parse_rule(text: str) -> Rule:
    """A rule from its text: "response(portal_visit, call_*) within 14d", "at_most(email_sent, 3)"."""
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise JobError(
            f"{text!r} is no rule", hint='write it like "response(portal_visit, call_*) within 14d"'
        )
    template = re.sub(r"[\s\-]+", "_", found[1].strip()).lower()
    inside = [a or b for a, b in ARGUMENT.findall(found[2])]
    if not inside:
        raise JobError(f"{text!r} names no activity", hint='for example "at_least(email_sent, 2)"')
    meant = OTHER_NAMES.get(template, template)
    n, second = 1, None
    if meant in ("at_least", "at_most", "exactly") and len(inside) == 2 and inside[1].isdigit():
        n = int(inside[1])
    elif len(inside) == 2:
        second = inside[1]
    elif len(inside) > 2:
        raise JobError(f"{text!r} names too many activities", hint='put a name that holds a comma in "…"')
    if template == "absence":
        n -= 1  # Declare: absence(a, n) forbids the n-th
    return Rule(meant, inside[0], second, n, found[3])


def _from_toml(path: Path) -> Plan:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError(f"there is no plan {path}", hint="give a .toml, .bpmn, .pnml or .csv file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise JobError(f"{path} is not valid TOML: {problem}", hint="see docs/guides/plans.md") from None
    try:
        return plan_of(table, path.stem)
    except JobError as problem:
        raise JobError(f"{path}: {problem}", hint=problem.hint) from None


def plan_of(table: Mapping[str, Any], name: str = "plan") -> Plan:
    """A plan from the tables of a file: name, [[flow]] with [[flow.step]], rules, [[rule]], [[frequency]]."""
    _refuse(table, {"name", "flow", "rules", "rule", "frequency"}, "the plan")
    flows = []
    for flow in _tables(table, "flow"):
        steps = tuple(_build(Step, s, "[[flow.step]]") for s in _tables(flow, "step"))
        flows.append(_build(Flow, {**flow, "step": steps}, "[[flow]]"))
    rules = [parse_rule(text) for text in table.get("rules", ())]
    for row in _tables(table, "rule"):
        spelled = re.sub(r"[\s\-]+", "_", str(row.get("template", ""))).lower()
        shift = {"n": int(row.get("n", 1)) - 1} if spelled == "absence" else {}
        rules.append(
            _build(Rule, {**row, "template": OTHER_NAMES.get(spelled, spelled), **shift}, "[[rule]]")
        )
    often = tuple(_build(Frequency, f, "[[frequency]]") for f in _tables(table, "frequency"))
    made = Plan(str(table.get("name", name)), tuple(flows), tuple(rules), often)
    if made.nothing:
        raise JobError(
            "nothing is planned", hint="write [[flow]] with [[flow.step]], rules, or [[frequency]]"
        )
    return made


def _tables(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise JobError(f"{key} must be a list of tables", hint=f"write [[{key}]]")
    return found


def _build(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """A dataclass from one table; every unknown or missing key and wrong type is a JobError."""
    known = {f.name: f for f in fields(kind)}
    _refuse(table, set(known), where)
    made = {}
    for name, f in known.items():
        if name not in table:
            if f.default is MISSING and f.default_factory is MISSING:
                raise JobError(f"{where} lacks the key {name!r}", hint=f"add {name} = …")
            continue
        value = table[name]
        expected = WRITTEN_AS.get(str(f.type).partition("[")[0].partition(" ")[0], (str,))
        if isinstance(value, date | datetime) and expected == (str,):
            value = value.isoformat()
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            raise JobError(f"{where} {name} = {value!r} has the wrong type", hint=f"expected {f.type}")
        made[name] = value
    return kind(**made)


def _refuse(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, sorted(known), 1, 0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(
                f"{where} has an unknown key {key!r}", hint=f"{hint}known: {', '.join(sorted(known))}"
            )


def moment(text: str) -> int:
    """µs since 1970 (UTC) of an ISO date or time."""
    from behavio.sources import moment as read

    return read(text)
