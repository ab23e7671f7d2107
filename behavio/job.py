"""A job file is the pipeline, top to bottom: TOML in, frozen settings out, every wrong word named.

One table is one stage and one frozen dataclass; a stage runs when its table stands in the file.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from behavio.accounts import AccountSettings
from behavio.card import CardSettings
from behavio.conformance import ConformanceSettings
from behavio.errors import JobError
from behavio.goals import GoalSettings
from behavio.journeys import JourneySettings
from behavio.models import ModelSettings
from behavio.patterns import PatternSettings
from behavio.perceptions import PerceptionSettings
from behavio.pressure import PressureSettings
from behavio.report import ReportSettings
from behavio.segments import SegmentSettings
from behavio.sensitive import refuse_sensitive
from behavio.sources import (
    AffiliationSettings,
    CasesSettings,
    ConsentSettings,
    IdentitySettings,
    LogInputs,
    LogSettings,
    PlanSettings,
    SourceSettings,
    SurveySettings,
)
from behavio.sources.patients import refuse_patient_keys
from behavio.stages import StageSettings
from behavio.suggest import SuggestSettings
from behavio.targets import DeliverSettings
from behavio.treatment.joined import TreatmentInput
from behavio.value import ValueSettings

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Job:
    """Everything a run needs to know; `base` is the folder that relative paths start from."""

    name: str
    base: Path
    source: Mapping[str, SourceSettings]
    seed: int = 7
    engine: Literal["local", "spark"] = "local"
    cases: CasesSettings | None = None
    consents: ConsentSettings | Mapping[str, ConsentSettings] | None = None
    plan: PlanSettings | Mapping[str, PlanSettings] | None = None
    affiliations: AffiliationSettings | Mapping[str, AffiliationSettings] | None = None
    survey: SurveySettings | Mapping[str, SurveySettings] | None = None
    identities: IdentitySettings | None = None
    log: LogSettings = field(default_factory=LogSettings)
    journeys: JourneySettings | None = None
    conformance: ConformanceSettings | None = None
    model: ModelSettings | None = None
    segments: SegmentSettings | None = None
    stages: StageSettings | None = None
    pressure: PressureSettings | None = None
    perceptions: PerceptionSettings | None = None
    treatment: TreatmentInput | None = None
    patterns: PatternSettings | None = None
    suggest: SuggestSettings | None = None
    accounts: AccountSettings | None = None
    value: ValueSettings | None = None
    goals: GoalSettings | None = None
    card: CardSettings = field(default_factory=CardSettings)
    report: ReportSettings | None = None
    deliver: DeliverSettings | None = None

    def __post_init__(self) -> None:
        if not self.source:
            raise JobError(
                f"job {self.name} names no source",
                hint='add a table such as [source.calls] with path = "..."',
            )
        needed = {"suggest": "model", "deliver": "segments", "conformance": "journeys"}
        for stage, needs in needed.items():
            if getattr(self, stage) is not None and getattr(self, needs) is None:
                raise JobError(
                    f"[{stage}] needs the stage [{needs}]", hint=f"add the table [{needs}] to the job"
                )

        if self.perceptions is not None and self.survey is None:
            raise JobError(
                "[perceptions] needs answers to learn from",
                hint='add [survey] with path = "answers.csv": case_id, question, answer',
            )
        if (self.accounts is not None or self.log.case == "account") and self.affiliations is None:
            raise JobError(
                "accounts need affiliations",
                hint='add [affiliations] with path = "…": case_id, account_id, role, start, end',
            )
        if self.log.case == "account":
            self._refuse_people()
        self._refuse_sensitive()
        if self.perceptions is not None and self.perceptions.research is not None and self.segments is None:
            raise JobError(
                "[perceptions] research weighs answers against groups of behaviour",
                hint="add the table [segments], or leave research out",
            )
        if self.value is not None and self.cases is None:
            raise JobError(
                "[value] needs a column of the cases",
                hint="add [cases]; value is not inferred from engagement",
            )
        self._check_level()
        self._check_analog()
        held = self.conformance
        if held is not None and held.plan is None and not held.own and self.plan is None:
            raise JobError(
                "[conformance] names no plan",
                hint='add plan = "campaign.toml", rules = […], [[conformance.flow]], or the table [plan]',
            )

    def _refuse_people(self) -> None:
        """JobError for a stage that is about people where accounts are the cases."""
        for stage in ("suggest", "deliver", "perceptions", "pressure", "accounts", "value", "treatment"):
            if getattr(self, stage) is not None:
                raise JobError(
                    f"[{stage}] is about people, here accounts are the cases",
                    hint='leave it out, or leave out [log] case = "account"; an account gives no consent',
                )
        if self.engine == "spark":
            raise JobError("accounts as cases are not counted on a cluster", hint='use engine = "local"')

    def _refuse_sensitive(self) -> None:
        """JobError where a table asks for a column such as age or sex that [card] does not allow."""
        named: dict[str, tuple[str | None, ...]] = {
            "[model] attributes": self.model.attributes if self.model else (),
            "[perceptions] attributes": self.perceptions.attributes if self.perceptions else (),
            "[value] column": (self.value.column,) if self.value else (),
            "[suggest] value_column": (self.suggest.value_column,) if self.suggest else (),
        }
        for where, columns in named.items():
            refuse_sensitive(where, [c for c in columns if c is not None], self.card.sensitive)

    def _check_analog(self) -> None:
        """Analog sources stand beside others, and only models learn from them."""
        beside = [n for n, s in self.source.items() if s.analog]
        if not beside:
            return
        where = f"[source.{beside[0]}] analog = true"
        if len(beside) == len(self.source):
            raise JobError(f"{where}: no source is left for the log itself", hint="add its own sources")
        if self.model is None:
            raise JobError(f"{where} is for models, and the job has none", hint="add the table [model]")
        if self.engine == "spark":
            raise JobError(f"{where} is not read on a cluster", hint='leave out engine = "spark"')

    def _check_level(self) -> None:
        """Patients and HCPs never meet: see behavio.sources.patients."""
        if self.log.patients:
            for stage in ("suggest", "deliver", "treatment", "perceptions"):
                if getattr(self, stage) is not None:
                    raise JobError(
                        f"[{stage}] is for HCPs, and the cases of this job are patients",
                        hint="leave it out; behavio treatment makes counts that a job about HCPs may take in",
                    )
            return
        for name, settings in self.source.items():
            named = (settings.case_id, settings.identity, *settings.columns.values(), *settings.keep)
            refuse_patient_keys([c for c in named if c], f"[source.{name}]")
        if self.treatment is not None and self.engine == "spark":
            raise JobError("[treatment] is not read on a cluster", hint='leave out engine = "spark"')

    @property
    def inputs(self) -> LogInputs:
        """What the log is made of: the tables of the job that say what to read."""
        return LogInputs(**{f.name: getattr(self, f.name) for f in fields(LogInputs)})


def read_job(path: Path, changes: tuple[str, ...] = ()) -> Job:
    """Read a job file; `changes` are table.key=value pairs that win over the file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], 1, 0.5)
        hint = f"did you mean {path.with_name(near[0])}?" if near else "give the path of a TOML job file"
        raise JobError(f"there is no job file {path}", hint=hint) from None
    except IsADirectoryError:
        raise JobError(f"{path} is a folder", hint="give the path of a TOML job file") from None
    except PermissionError:
        raise JobError(f"{path} may not be read", hint="ask for the right to read it") from None
    except UnicodeDecodeError:
        raise JobError(f"{path} is no text in UTF-8", hint="give the path of a TOML job file") from None
    except tomllib.TOMLDecodeError as problem:
        raise JobError(
            f"{path} is not valid TOML: {problem}", hint="see pipelines/demo.toml for an example"
        ) from None
    for change in changes:
        _change(table, change)
    return job_from(table, name=path.stem, base=path.parent)


def job_from(table: Mapping[str, Any], *, name: str, base: Path) -> Job:
    """A job from tables already parsed."""
    known = {f.name for f in fields(Job)} - {"name", "base"}
    _refuse_unknown(table, known, f"job {name}")
    parts: dict[str, Any] = {}
    sources = table.get("source", {})
    if not isinstance(sources, dict) or not all(isinstance(v, dict) for v in sources.values()):
        raise JobError("[source] holds one table per source", hint="write [source.calls], [source.emails], …")
    hints = get_type_hints(Job)
    for key in known & table.keys():
        if key == "source":
            parts[key] = {n: settings_from(SourceSettings, t, f"source.{n}") for n, t in sources.items()}
        else:
            parts[key] = _value(hints[key], table[key], key)
    return Job(name=name, base=base, source=parts.pop("source", {}), **parts)


def settings_from(kind: type[Settings], table: Mapping[str, Any], where: str) -> Settings:
    """A frozen dataclass from one TOML table; an unknown key or a wrong type is a JobError."""
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    _refuse_unknown(table, set(names), f"[{where}]")
    for f in fields(kind):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table:
            raise JobError(f"[{where}] lacks the key {f.name!r}", hint=f"add {f.name} = …")
    try:
        return kind(**{k: _value(hints[k], v, f"{where}.{k}") for k, v in table.items()})
    except JobError as problem:
        said = str(problem).removeprefix(f"{where}.")
        raise JobError(f"[{where}] {said}", hint=problem.hint) from None


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(key, sorted(known), 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else ""
            listed = f"known: {', '.join(sorted(known))}"
            raise JobError(f"{where} has an unknown key {key!r}", hint=f"{hint} {listed}".strip())


def _value(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, or a JobError that says what was expected."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(args, value, where)
    if origin is Literal:
        if value not in args:
            near = get_close_matches(str(value).lower(), [str(a) for a in args], 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(
                f"{where} = {value!r} is not possible", hint=f"{hint}one of {', '.join(map(str, args))}"
            )
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            raise JobError(f"{where} must be a table", hint=f"write [{where}]")
        return settings_from(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(args[0], v, where) for v in value)
    if origin in (Mapping, dict) and isinstance(value, dict):
        return {str(k): _value(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Any or (
        isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    ):
        return value
    if kind is str and hasattr(value, "isoformat"):  # TOML has dates of its own
        return value.isoformat()
    raise JobError(f"{where} = {value!r} has the wrong type", hint=f"expected {_plain(kind)}")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """`value` as the first of the kinds that takes it; one table, or several by name ([plan.calls])."""
    problem = None
    one = next((k for k in kinds if is_dataclass(k)), None)
    many = next((k for k in kinds if _is_mapping(k) and get_args(k)[1] is one), None)
    if one is not None and many is not None and isinstance(value, dict):
        own = {f.name for f in fields(one)}
        several = value and all(isinstance(v, dict) and k not in own for k, v in value.items())
        return _value(many if several else one, value, where)
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _value(kind, value, where)
        except JobError as refused:
            problem = problem or refused
    raise problem or JobError(f"{where} = {value!r} is not possible")


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) in (Mapping, dict)


def _plain(kind: Any) -> str:
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(kind) is tuple:
        return "a list"
    return words.get(kind, "a table" if _is_mapping(kind) else str(kind))


def _change(table: dict[str, Any], change: str) -> None:
    """Apply table.key=value; the value is TOML, or a plain text where it is not."""
    path, sign, text = change.partition("=")
    if not sign or not path.strip():
        raise JobError(f"--set {change!r} is not table.key=value", hint="for example --set model.max_order=4")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, key = path.strip().split(".")
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise JobError(f"--set {change!r}: {name} is no table")
    table[key] = value


def demo_job(extracts: Path, seed: int) -> Job:
    """The embedded default, pipelines/demo.toml, on the simulated extracts in `extracts`."""
    table = tomllib.loads(resources.files("behavio").joinpath("demo.toml").read_text(encoding="utf-8"))
    beside = (table[name] for name in ("cases", "consents", "plan", "survey"))
    for part in (*table["source"].values(), *beside):
        part["path"] = Path(part["path"]).name
    table["model"]["truth"] = "../truth/" + Path(table["model"]["truth"]).name
    return replace(job_from(table, name="demo", base=extracts), seed=seed)
