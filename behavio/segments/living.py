"""Segments that live on: matched to the run before, names kept, moves counted, experts' words kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import JobError, ModelError, RunError
from behavio.segments.agreement import crossed

SAME = 0.25
"""Shared cases over all cases of both (Jaccard) from which a segment goes on under its old name."""

MOST = 0.5  # of a segment's cases: where they come from, where they went
OVERRIDE_COLUMNS = ("case_id", "segment", "reason", "date")
EXPERT, MODEL = "expert", "model"


@dataclass(frozen=True, slots=True, eq=False)
class Previous:
    """An earlier run's segments.

    labels  case_id, segment, segment_id, and assigned, reason, date where experts decided
    names   in order of segment_id   model  folder of the model, None where only a table was given
    """

    labels: pl.DataFrame
    names: tuple[str, ...]
    model: Path | None

    @classmethod
    def read(cls, path: Path) -> Previous:
        """A run folder, its segments folder, or a segments.parquet; RunError when it is none of them."""
        tries = [path / "segments" / "segments.parquet", path / "segments.parquet", path]
        file = next((t for t in tries if t.is_file()), None)
        if file is None:
            raise RunError(
                f"{path} holds no segments", hint='previous = "runs/2026-09": a finished run with [segments]'
            )
        try:
            table = pl.read_parquet(file)
        except (pl.exceptions.PolarsError, OSError):
            raise RunError(
                f"{file} cannot be read as Parquet", hint="give the folder of a finished run"
            ) from None
        missing = {"case_id", "segment", "segment_id"} - set(table.columns)
        if missing:
            raise RunError(f"{file} has no column {', '.join(sorted(missing))}", hint="give a finished run")
        table = table.with_columns(pl.col("case_id").cast(pl.String)).unique("case_id", maintain_order=True)
        known = table.filter(pl.col("segment_id") >= 0)
        if "assigned" in table.columns:
            known = known.filter(pl.col("assigned") != EXPERT)
        named = known.group_by("segment_id").agg(pl.col("segment").first()).sort("segment_id")
        model = file.parent / "model"
        return cls(table, tuple(named["segment"]), model if (model / "labels.json").is_file() else None)

    def label_of(self, case_ids: pl.Series) -> np.ndarray:
        """Place in `names` of each case's segment before, int64 (n,); −1 unassigned then, −2 not there."""
        places = pl.DataFrame({"segment": self.names, "place": range(len(self.names))})
        labels = self.labels.join(places, on="segment", how="left").select(
            "case_id", pl.col("place").fill_null(-1).cast(pl.Int64)
        )
        found = (
            case_ids.cast(pl.String)
            .to_frame("case_id")
            .join(labels, on="case_id", how="left", maintain_order="left")
        )
        return found["place"].fill_null(-2).to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which segment now is which before, and who moved.

    before   for each segment now the place of the one it goes on from, −1 for none
    changes  one row each: segment, change (kept, split, new, merged, gone), other, n_cases, shared
    common   cases placed in a segment then and now    moved  of them, in another segment now
    """

    before: tuple[int, ...]
    changes: list[dict[str, Any]]
    common: int
    moved: int

    @property
    def churn(self) -> float:
        """Share of the cases of both runs that are in another segment now."""
        return self.moved / self.common if self.common else 0.0


def match(now: np.ndarray, names: Sequence[str], then: np.ndarray, old: Sequence[str]) -> Matching:
    """Segments now and then by their common cases: the assignment that shares most (Kuhn, 1955).

    now, then  int (n_cases,): segment of each case, negative where it has none or was not there
    """
    from scipy.optimize import linear_sum_assignment

    k, m = len(names), len(old)
    both = (now >= 0) & (then >= 0)
    shared = np.zeros((k, m))
    table = crossed(now[both], then[both])
    shared[: table.shape[0], : table.shape[1]] = table
    rows, columns = shared.sum(axis=1), shared.sum(axis=0)
    jaccard = shared / np.maximum(rows[:, None] + columns[None, :] - shared, 1)
    before = [-1] * k
    if k and m:
        for g, p in zip(*linear_sum_assignment(-jaccard), strict=True):
            if jaccard[g, p] >= SAME:
                before[int(g)] = int(p)
    stayed = sum(int(shared[g, p]) for g, p in enumerate(before) if p >= 0)
    common = int(shared.sum())
    return Matching(tuple(before), _changes(before, shared, names, old), common, common - stayed)


def _changes(
    before: Sequence[int], shared: np.ndarray, names: Sequence[str], old: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    now_total, then_total = shared.sum(axis=1), shared.sum(axis=0)
    for g, p in enumerate(before):
        change, other = "kept", old[p] if p >= 0 else ""
        if p < 0:
            source = int(shared[g].argmax()) if now_total[g] else -1
            part = source >= 0 and shared[g, source] >= MOST * now_total[g]
            change, other = ("split", old[source]) if part else ("new", "")
        n_shared = int(shared[g, list(old).index(other)]) if other else 0
        rows.append(
            {
                "segment": names[g],
                "change": change,
                "other": other,
                "n_cases": int(now_total[g]),
                "shared": n_shared,
            }
        )
    for p, name in enumerate(old):
        if p in before:
            continue
        into = int(shared[:, p].argmax()) if then_total[p] else -1
        whole = into >= 0 and shared[into, p] >= MOST * then_total[p]
        rows.append(
            {
                "segment": name,
                "change": "merged" if whole else "gone",
                "other": names[into] if whole else "",
                "n_cases": int(then_total[p]),
                "shared": int(shared[into, p]) if whole else 0,
            }
        )
    return rows


def kept_names(names: Sequence[str], matching: Matching, old: Sequence[str]) -> tuple[str, ...]:
    """Names now: the old one where a segment goes on, else its own, never one that was used before."""
    taken = {n.casefold() for n in old}
    found: list[str] = []
    for name, p in zip(names, matching.before, strict=True):
        if p >= 0:
            found.append(old[p])
            continue
        own, n = name, 2
        while own.casefold() in taken:
            own, n = f"{name}, kind {n}", n + 1
        taken.add(own.casefold())
        found.append(own)
    return tuple(found)


def check_churn(matching: Matching, limit: float) -> None:
    """Raise ModelError when more cases moved than the job allows."""
    if matching.churn > limit:
        raise ModelError(
            f"{matching.moved:,} of {matching.common:,} cases ({matching.churn:.0%}) would change their "
            f"segment, the limit is {limit:.0%}",
            hint="frozen = true keeps last time's segments; or raise churn_limit in [segments] on purpose",
        )


def read_overrides(path: Path, names: Sequence[str]) -> pl.DataFrame:
    """Decisions of experts: case_id, segment, reason, date (ISO). Raises JobError with the row at fault."""
    if not path.is_file():
        raise JobError(
            f"there is no file {path}", hint="overrides: a CSV with case_id, segment, reason, date"
        )
    table = pl.read_csv(path, infer_schema=False) if path.suffix != ".parquet" else pl.read_parquet(path)
    missing = [c for c in OVERRIDE_COLUMNS if c not in table.columns]
    if missing:
        raise JobError(
            f"{path.name} has no column {', '.join(missing)}", hint=f"columns: {', '.join(OVERRIDE_COLUMNS)}"
        )
    table = table.select(pl.col(c).cast(pl.String).str.strip_chars() for c in OVERRIDE_COLUMNS)
    for row, (case, segment, reason, day) in enumerate(table.iter_rows(), start=2):
        if not case or not reason:
            raise JobError(
                f"{path.name}, row {row}: an override needs a case_id and a reason", hint="say why"
            )
        if segment not in names:
            near = get_close_matches(str(segment), names, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(names)}"
            raise JobError(f"{path.name}, row {row}: no segment is called {segment!r}", hint=hint)
        day_of(str(day), f"{path.name}, row {row}: date")
    twice = table.filter(table["case_id"].is_duplicated())
    if twice.height:
        raise JobError(f"{path.name} decides twice on {twice['case_id'][0]}", hint="one row for each case")
    return table


def day_of(text: str, what: str) -> date:
    """An ISO date; JobError naming `what` when it is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise JobError(f"{what} = {text!r} is no date", hint='write it as "2027-03-31"') from None


def overrides_of(previous: Previous | None, given: pl.DataFrame | None, names: Sequence[str]) -> pl.DataFrame:
    """All decisions that hold: those given now, and those of the run before whose segment goes on."""
    empty = pl.DataFrame(schema=dict.fromkeys(OVERRIDE_COLUMNS, pl.String))
    now = empty if given is None else given
    if previous is None or "assigned" not in previous.labels.columns:
        return now
    before = previous.labels.filter(pl.col("assigned") == EXPERT)
    before = before.filter(pl.col("segment").is_in(list(names))).select(OVERRIDE_COLUMNS)
    return pl.concat([now, before.join(now, on="case_id", how="anti")])
