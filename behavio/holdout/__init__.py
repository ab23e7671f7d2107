"""A group left alone by lot, kept from run to run, and read out by intention to treat.

Only such a group tells what contacts cause. The lot falls inside strata, so that the groups are alike from
the start; whoever has been drawn stays drawn. The read-out counts everybody as she was drawn, contacted or
not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from behavio.contrasts import Z
from behavio.errors import JobError, LogError
from behavio.files import whole_file
from behavio.holdout.adjust import adjusted_difference
from behavio.log import EventLog

__all__ = ["Readout", "draw", "read_holdout", "read_out", "write_holdout"]

SCHEMA = {"case_id": pl.String(), "holdout": pl.Boolean(), "stratum": pl.String(), "drawn": pl.Date()}
READOUT = {
    "measure": pl.String(),
    "n_holdout": pl.Int64(),
    "n_others": pl.Int64(),
    "holdout": pl.Float64(),
    "others": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}
FEWEST = 10
"""Cases a group needs before anything is told of it."""


def draw(
    cases: pl.DataFrame,
    *,
    share: float = 0.1,
    by: Sequence[str] = (),
    seed: int = 7,
    day: dt.date,
    kept: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Draw a share of the cases by lot, inside every combination of the columns `by`.

    cases  case_id and the columns `by`
    kept   an earlier draw: its cases stay as they were drawn, only new ones are drawn now
    Returns SCHEMA in order of case ids. The lot of a case hangs on its id and the seed alone; how many of a
    stratum are drawn is rounded up or down by lot too, so small strata get their share in the mean.
    Raises JobError for a share outside 0–0.5 or a column the cases do not have.
    """
    if not 0 < share <= 0.5:
        raise JobError(f"a share of {share} cannot be drawn", hint="above 0, at most 0.5")
    missing = [c for c in by if c not in cases.columns]
    if missing:
        known = ", ".join(c for c in cases.columns if c != "case_id")
        raise JobError(f"the cases have no column {missing[0]!r}", hint=f"they have: {known or 'none'}")
    texts = [pl.col(c).cast(pl.String).fill_null("(unknown)") for c in by]
    stratum = pl.concat_str(texts, separator=" · ") if by else pl.lit("all")
    table = cases.select(pl.col("case_id").cast(pl.String), stratum.alias("stratum")).unique("case_id")
    if kept is not None:
        table = table.join(kept, on="case_id", how="anti")
    table = table.sort("stratum", "case_id")
    lots = np.array([_lot(f"{seed} {id}") for id in table["case_id"]])
    held = np.zeros(table.height, bool)
    names = table["stratum"].to_numpy()
    for name in np.unique(names):
        own = np.flatnonzero(names == name)
        wanted = share * len(own)
        many = int(wanted) + (_lot(f"{seed} {name} {len(own)} {day}") < wanted - int(wanted))
        held[own[np.argsort(lots[own], kind="stable")[:many]]] = True
    new = table.with_columns(holdout=pl.Series(held, dtype=pl.Boolean), drawn=pl.lit(day))
    found = new.select(*SCHEMA).cast(SCHEMA)  # type: ignore[arg-type]
    if kept is not None:
        found = pl.concat([kept.select(*SCHEMA), found])
    return found.sort("case_id")


def _lot(text: str) -> float:
    """A number from 0 to 1 that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def write_holdout(table: pl.DataFrame, path: Path) -> None:
    """Write a draw as CSV, whole or not at all."""
    with whole_file(path) as draft:
        table.write_csv(draft)


def read_holdout(path: Path) -> pl.DataFrame:
    """SCHEMA from a file that `write_holdout` left. Raises LogError for any other table."""
    if not path.is_file():
        raise LogError(f"there is no file {path}", hint="draw one with behavio holdout RUN --out FILE")
    table = pl.read_csv(path, infer_schema=False)
    missing = [c for c in SCHEMA if c not in table.columns]
    if missing:
        raise LogError(f"{path} has no column {missing[0]!r}", hint="draw it with behavio holdout RUN")
    wrong = table.filter(~pl.col("holdout").is_in(["true", "false"]) | pl.col("case_id").is_null())
    if wrong.height or table["case_id"].is_duplicated().any():
        raise LogError(f"{path} was changed by hand", hint="take the file as it was drawn, or draw anew")
    return table.select(
        "case_id", pl.col("holdout") == "true", "stratum", pl.col("drawn").str.to_date(strict=False)
    ).sort("case_id")


@dataclass(frozen=True, eq=False)
class Readout:
    """What the contacts of a time caused.

    table     READOUT: the mean of a measure in both groups, others minus holdout with 95 % interval
    contacts  contacts per case and 28 days in (holdout, others): a holdout that was contacted says little
    since, until  days counted, the first and the last
    notes     what weakens it
    """

    table: pl.DataFrame
    contacts: tuple[float, float]
    since: dt.date
    until: dt.date
    notes: tuple[str, ...]

    def to_frame(self) -> pl.DataFrame:
        """One row per measure."""
        return self.table


def read_out(
    log: EventLog, drawn: pl.DataFrame, outcome: Sequence[str], since: dt.date | None = None
) -> Readout:
    """Everybody who was drawn, as she was drawn: did the outcome come, and how often.

    outcome  activities that count
    since    first day that counts; default: the day after the last draw
    Means are adjusted for the strata and for how often the outcome came in as long a time before the draw
    (Lin 2013, with HC2 errors): that takes chance out, it cannot bias.
    Raises LogError when the log has no clock, ends before `since`, or no drawn case is in it.
    """
    if not log.timed:
        raise LogError("the log has no clock", hint="a read-out needs times")
    first = since or (max(drawn["drawn"].drop_nulls()) + dt.timedelta(days=1))
    last: dt.datetime = log.events["timestamp"].max()  # type: ignore[assignment]
    start = dt.datetime.combine(first, dt.time(), dt.UTC)
    if start >= last:
        raise LogError(
            f"the log ends on {last.date()}, before {first}", hint="read it out when time has passed"
        )
    unknown = [a for a in outcome if a not in log.events["activity"].unique().to_list()]
    if unknown or not outcome:
        what = f"no event is a {unknown[0]!r}" if unknown else "no outcome is named"
        raise LogError(what, hint="name activities of the log")
    known = drawn.join(log.cases.select(pl.col("case_id").cast(pl.String)), on="case_id", how="semi")
    if known.height == 0:
        raise LogError("no drawn case is in the log", hint="are the ids those of the log?")
    before = start - (last - start)
    came = pl.col("activity").is_in(list(outcome))
    now, then = pl.col("timestamp") >= start, pl.col("timestamp").is_between(before, start, closed="left")
    outbound = (
        pl.col("direction") == "outbound" if "direction" in log.events.columns else pl.lit(False)
    ) & now
    counted = log.events.group_by(pl.col("case_id").cast(pl.String)).agg(
        (came & now).sum().alias("n"), (came & then).sum().alias("before"), outbound.sum().alias("contacts")
    )
    rows = known.join(counted, on="case_id", how="left").fill_null(0).sort("case_id")
    held = rows["holdout"].to_numpy()
    if min(held.sum(), (~held).sum()) < FEWEST:
        raise LogError(
            f"{int(held.sum())} cases were left alone and {int((~held).sum())} were not",
            hint=f"at least {FEWEST} of each are needed",
        )
    months = max((last - start).total_seconds() / (28 * 86_400), 1e-9)
    per_case = rows.group_by("holdout").agg(pl.col("contacts").mean())
    mean = {bool(h): float(n) / months for h, n in per_case.iter_rows()}
    contacts = (mean[True], mean[False])
    n = rows["n"].to_numpy().astype(float)
    table = [
        _measured("share with the outcome", (n > 0).astype(float), rows),
        _measured("outcomes per case", n, rows),
    ]
    return Readout(
        pl.DataFrame(table, schema=READOUT), contacts, first, last.date(), _notes(contacts, drawn, known)
    )


def _measured(name: str, y: np.ndarray, rows: pl.DataFrame) -> dict[str, object]:
    held = rows["holdout"].to_numpy()
    given = _given(rows)
    difference, error = adjusted_difference(y, ~held, given)
    return {
        "measure": name,
        "n_holdout": int(held.sum()),
        "n_others": int((~held).sum()),
        "holdout": float(y[held].mean()),
        "others": float(y[~held].mean()),
        "difference": difference,
        "low": difference - Z * error,
        "high": difference + Z * error,
    }


def _given(rows: pl.DataFrame) -> np.ndarray:
    """What was known before the draw: strata with FEWEST or more in both groups, and the outcome before."""
    columns = [np.log1p(rows["before"].to_numpy().astype(float))]
    sizes = rows.group_by("stratum").agg(
        pl.col("holdout").sum().alias("held"), (~pl.col("holdout")).sum().alias("others")
    )
    large = sizes.filter((pl.col("held") >= FEWEST) & (pl.col("others") >= FEWEST))["stratum"].sort()
    columns += [(rows["stratum"] == s).to_numpy().astype(float) for s in large.to_list()[1:]]
    return np.stack(columns, axis=1)


def _notes(contacts: tuple[float, ...], drawn: pl.DataFrame, known: pl.DataFrame) -> tuple[str, ...]:
    said = []
    if drawn.height > known.height:
        said.append(
            f"{drawn.height - known.height:,} of {drawn.height:,} drawn cases are not in the log any more"
        )
    held, others = contacts
    if others > 0 and held > 0.5 * others:
        said.append(
            f"the holdout was contacted {held:.1f} times in 28 days, the others {others:.1f} times: "
            "hardly a difference to read out"
        )
    return tuple(said)
