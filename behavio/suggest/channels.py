"""The channel policy: which channels are meant for which value and behaviour, obeyed to the letter.

    [[cell]]
    value = "high"                      # high, low, or a value of the value column; left out: any
    segment = ["Quick openers"]         # names of groups; left out: any
    stage = ["trial", "adopter"]        # names of stages; left out: any
    channels = ["f2f", "email"]         # these and no others, the first one first

The first cell that fits a case counts. A case that fits no cell is bound by nothing.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.suggest.settings import SuggestSettings

TOP_SHARE = 0.2
"""Without `high_value` the most valuable fifth of the cases is of high value."""

CONFLICT_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "cell": pl.String(),
    "channels": pl.String(),
    "preferred": pl.String(),
    "affinity": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "usual": pl.Float64(),
}
"""conflicts.parquet: cases that surely answer more than usual on a channel which their cell does not name."""

KEYS = ("value", "segment", "stage", "channels")


@dataclass(frozen=True)
class Cell:
    """One [[cell]]: empty tuples fit everybody."""

    value: tuple[str, ...]
    segment: tuple[str, ...]
    stage: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def name(self) -> str:
        """How details call it."""
        value = [v if v not in ("high", "low") else f"{v} value" for v in self.value]
        parts = [" or ".join(p) for p in (value, self.segment, self.stage) if p]
        return ", ".join(parts) or "everybody"


def read_policy(path: Path) -> tuple[Cell, ...]:
    """The cells of a policy file. JobError for what cannot be read or is not known."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError(
            f"there is no policy file {path}", hint="give a TOML file of [[cell]] tables"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise JobError(
            f"{path} is no policy: {problem}", hint="give a TOML file of [[cell]] tables"
        ) from None
    cells = table.get("cell", [])
    if set(table) != {"cell"} or not isinstance(cells, list) or not cells:
        raise JobError(f"{path} holds no [[cell]]", hint='[[cell]] value = "high" channels = ["f2f"]')
    return tuple(_cell(c, f"{path} cell {k}") for k, c in enumerate(cells, 1))


def _cell(table: Any, where: str) -> Cell:
    if not isinstance(table, dict):
        raise JobError(f"{where} is no table", hint="write [[cell]]")
    for key in table:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KEYS)}"
            raise JobError(f"{where} has an unknown key {key!r}", hint=hint)

    def texts(key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        listed = value if isinstance(value, list) else [value]
        return tuple(str(v) for v in listed)

    if "channels" not in table:
        raise JobError(f"{where} names no channels", hint='channels = ["f2f", "email"]; [] is nobody')
    return Cell(texts("value"), texts("segment"), texts("stage"), texts("channels"))


def case_values(log: EventLog, settings: SuggestSettings) -> pl.DataFrame:
    """case_id, value (number, null where none), worth ("high", "low" or null), told (the column as text)."""
    name = settings.value_column
    ids = pl.col("case_id").cast(pl.String)
    own = log.cases.unique("case_id", keep="first", maintain_order=True)
    if name is None:
        none = pl.lit(None, dtype=pl.String)
        return own.select(ids, value=pl.lit(None, dtype=pl.Float64), worth=none, told=none)
    if name not in log.cases.columns:
        near = get_close_matches(name, log.cases.columns, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(log.cases.columns)}"
        raise JobError(f"the cases have no column {name!r}", hint=hint)
    table = own.select(
        ids, value=pl.col(name).cast(pl.Float64, strict=False), told=pl.col(name).cast(pl.String)
    )
    limit = settings.high_value
    if limit is None:
        limit = table["value"].quantile(1 - TOP_SHARE, "lower")
    high = pl.col("value") >= (limit if limit is not None else float("inf"))
    return table.with_columns(worth=pl.when(high).then(pl.lit("high")).when(~high).then(pl.lit("low")))


def check_policy(cells: tuple[Cell, ...], segments: list[str], stages: list[str]) -> None:
    """JobError for a group or stage that the run does not have: a policy that fits nobody obeys nobody."""
    for cell in cells:
        for named, known, what in ((cell.segment, segments, "group"), (cell.stage, stages, "stage")):
            for name in named:
                if name not in known:
                    near = get_close_matches(name, known, 1, 0.3)
                    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
                    raise JobError(f"the channel policy names a {what} {name!r} that is not there", hint=hint)


def add_policy(frame: pl.DataFrame, cells: tuple[Cell, ...]) -> pl.DataFrame:
    """Add policy_cell, policy_channels, policy_forbids and policy_place (place of the channel in its cell).

    The frame has segment, stage, channel, worth and told (see `case_values`).
    """
    number = pl.lit(None, dtype=pl.Int32)
    for k, cell in reversed(list(enumerate(cells))):
        fits = pl.lit(True)
        if cell.value:
            fits &= (pl.col("worth").is_in(cell.value) | pl.col("told").is_in(cell.value)).fill_null(False)
        for column, names in (("segment", cell.segment), ("stage", cell.stage)):
            if names:
                fits &= pl.col(column).is_in(names).fill_null(False)
        number = pl.when(fits).then(pl.lit(k, dtype=pl.Int32)).otherwise(number)
    table = pl.DataFrame(
        {
            "policy_number": pl.Series(range(len(cells)), dtype=pl.Int32),
            "policy_cell": pl.Series([c.name for c in cells], dtype=pl.String),
            "policy_channels": pl.Series(
                [", ".join(c.channels) or "no channel" for c in cells], dtype=pl.String
            ),
        }
    )
    places = [(k, c, p) for k, cell in enumerate(cells) for p, c in enumerate(cell.channels)]
    schema = {"policy_number": pl.Int32(), "channel": pl.String(), "policy_place": pl.Int64()}
    order = pl.DataFrame(places, schema=schema, orient="row").unique(
        ["policy_number", "channel"], keep="first"
    )
    frame = frame.with_columns(policy_number=number)
    frame = frame.join(table, on="policy_number", how="left", maintain_order="left")
    frame = frame.join(order, on=["policy_number", "channel"], how="left", maintain_order="left")
    bound = pl.col("policy_number").is_not_null()
    return frame.with_columns(
        policy_forbids=bound & pl.col("policy_place").is_null(),
        policy_place=pl.col("policy_place").fill_null(0),
    ).drop("policy_number")


def policy_conflicts(candidates: pl.DataFrame, affinity: pl.DataFrame) -> pl.DataFrame:
    """CONFLICT_SCHEMA: where the policy and what a case answers to disagree; the policy is followed.

    `candidates` needs case_id, policy_cell and policy_channels.
    """
    bound = candidates.filter(pl.col("policy_cell").is_not_null())
    cases = bound.select("case_id", cell="policy_cell", channels="policy_channels").unique("case_id")
    liked = affinity.filter(pl.col("low") > pl.col("usual")).sort(
        "affinity", "channel", descending=[True, False]
    )
    liked = liked.unique("case_id", keep="first", maintain_order=True).rename({"channel": "preferred"})
    both = cases.join(liked, on="case_id", how="inner").filter(
        ~pl.col("channels").str.split(", ").list.contains(pl.col("preferred"))
    )
    return both.sort("case_id").select(pl.col(c).cast(t) for c, t in CONFLICT_SCHEMA.items())
