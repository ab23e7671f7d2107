"""What is handed in, read; what was asked for, checked; tables given back as they came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio import sources
from behavio.errors import JobError
from behavio.folder import encoded_folder, refuse_settings, run_folder
from behavio.log import EventLog
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    from behavio.journeys import Journeys


Frame = Any

Data = Any

Note = Callable[[str], None]


def read(data: Data, **columns: Any) -> EventLog:
    """An EventLog from a file, a run folder or a frame; wrong rows are kept in `.rejected`."""
    if isinstance(data, EventLog):
        return data
    folder = run_folder(data)
    if folder:
        refuse_settings(folder, columns)
        return EventLog.read(folder / "log")
    if encoded_folder(data):
        from behavio import encoding

        refuse_settings(Path(data), columns)
        return encoding.read_log(Path(data))
    if isinstance(data, str | Path) and str(data).endswith(".toml"):
        raise JobError(
            f"{data} is a job file, not a log", hint=f"behavio run {data}, then give its run folder"
        )
    return sources.read(data, **columns)


def encode(
    data: Data,
    out: str | Path | None = None,
    *,
    end: Sequence[str] = (),
    open_within: str | None = None,
    progress: Any = None,
    **columns: Any,
) -> SequenceSet:
    """The log as coded sequences, in the folder `out` or, without one, for this process only.

    Plain tables are streamed, so a log may be larger than memory. `end` and `open_within` say which cases are
    closed (see SequenceSet.open_cases). The folder answers every question that a log does.
    """
    from behavio import encoding
    from behavio.sources import LogSettings

    rule = LogSettings(keep_text=columns.pop("keep_text", False), end=tuple(end), open_within=open_within)
    target = None if out is None else Path(out)
    return encoding.encode(data, target, log=rule, progress=progress, **columns).sequences


def check(data: Data, **columns: Any) -> dict[str, Any]:
    """Data readiness of a log or of a job file (.toml): what is there, missing, rejected and why."""
    if isinstance(data, str | Path) and str(data).endswith(".toml"):
        from behavio.job import read_job

        return sources.readiness(sources.read_log(read_job(Path(data)).inputs))
    return sources.readiness(read(data, **columns))


def journeys(
    data: Data,
    *,
    sessions: str | None = None,
    groups: Mapping[str, str] | str | Path | int | None = None,
    **columns: Any,
) -> Journeys:
    """The log encoded once and ready to be asked about its journeys: graph, funnel, steps, retention, …

    `sessions` cuts cases at gaps ("30m"); `groups` are rules {"call_*": "rep contact"}, a file of them, or
    how many groups similar activities shall make.
    """
    from behavio.journeys import ask

    return ask(sequences_of(data, columns), sessions, groups)


def optional(folder: Path | None, name: str) -> pl.DataFrame | None:
    """A table of a run that may have none."""
    path = None if folder is None else folder / f"{name}.parquet"
    return pl.read_parquet(path) if path is not None and path.is_file() else None


def sequences_of(data: Data, columns: Mapping[str, Any]) -> SequenceSet:
    """The coded sequences of a log, a run or an encoded folder; the option `groups` joins activities."""
    if columns.get("groups"):
        rest = {k: v for k, v in columns.items() if k != "groups"}
        return journeys(sequences_of(data, rest), groups=columns["groups"]).sequences
    if isinstance(data, SequenceSet):
        return data
    folder = run_folder(data)
    if folder:
        return SequenceSet.read(folder / "log" / "encoded")
    if encoded_folder(data):
        refuse_settings(Path(data), columns)
        return SequenceSet.read(Path(data))
    if isinstance(data, str | Path) and not str(data).endswith(".toml"):
        from behavio import encoding

        return encoding.encode(data, **columns).sequences
    return SequenceSet.from_log(read(data, **columns))


def split(kind: type, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that are settings of `kind`, and the rest, which name columns."""
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    own = {k: v for k, v in options.items() if k in known}
    columns = sources.SourceSettings.__dataclass_fields__
    for option in options:
        near = get_close_matches(option, [*known, *columns], 1, 0.4)
        if option not in known and option not in columns and option != "groups":
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(f"there is no setting {option!r}", hint=f"{hint}known: {', '.join(known)}")
    return own, {k: v for k, v in options.items() if k not in own}


def settings_of(kind: type, table: Mapping[str, Any]) -> Any:
    """Settings of a room from what was asked for; what is None counts as not asked for."""
    from behavio.job import settings_from

    where = kind.__name__.removesuffix("Settings").lower()
    return settings_from(kind, {k: v for k, v in table.items() if v is not None}, where)


def like(data: Data, table: pl.DataFrame) -> Frame:
    """`table` as the kind of frame `data` is: pandas or Arrow where that was handed in, else Polars."""
    home = type(data).__module__.partition(".")[0]
    if home == "pandas":
        return table.to_pandas()
    return table.to_arrow() if home == "pyarrow" else table
