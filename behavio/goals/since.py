"""The run before held against what happened since: were its suggestions followed by more answers, do its
groups still differ as they did."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import Z, false_discovery, ratios
from behavio.errors import RunError
from behavio.goals.measure import Sight
from behavio.touches import SMALLEST, sums_of

FILES = ("suggestions/suggestions.parquet", "segments/segments.parquet", "log/events.parquet")
SUGGESTED = {
    "action": pl.String(),
    "n_suggested": pl.Int64(),
    "answered_suggested": pl.Float64(),
    "n_other": pl.Int64(),
    "answered_other": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "verdict": pl.String(),
}
PERSISTED = {
    "segment": pl.String(),
    "n_cases": pl.Int64(),
    "stayed": pl.Float64(),
    "activity": pl.String(),
    "before": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "q_value": pl.Float64(),
    "verdict": pl.String(),
}
PARTS = 40
"""Parts of the cases, each left out once, for intervals."""


def files_of(previous: Path) -> list[tuple[str, Path]]:
    """What is read of the run before. RunError where there is no run."""
    if not (previous / "log" / "events.parquet").is_file():
        raise RunError(f"the earlier run {previous} is not there", hint="previous names the folder of a run")
    return [(f"previous/{name}", previous / name) for name in FILES if (previous / name).is_file()]


def cut_of(previous: Path) -> dt.datetime:
    """The newest event the run before knew."""
    found: dt.datetime = (
        pl.scan_parquet(previous / "log/events.parquet").select(pl.col("timestamp").max()).collect().item()
    )
    return found


def suggested(sight: Sight, previous: Path, cut: dt.datetime) -> tuple[pl.DataFrame, list[str]]:
    """SUGGESTED: contacts made as suggested beside like contacts nobody had suggested, per action and in all.

    Like means the same action, in the same group of the run before, of cases that had answered as often
    before it (never, up to three times, more often); weighted as Cochran, Mantel and Haenszel do. Intervals
    leave out each 40th of the cases once. Notes say why there is nothing to tell.
    """
    empty = pl.DataFrame(schema=SUGGESTED)
    file = previous / FILES[0]
    if not file.is_file():
        return empty, ["the run before made no suggestions"]
    said = pl.read_parquet(file).select(pl.col("case_id", "action").cast(pl.String), "due_from", "expires_on")
    new = sight.contacts.filter((pl.col("timestamp") > cut) & pl.col("settled"))
    if new.height == 0:
        return empty, ["no contact since the run before is long enough ago to be answered"]
    new = new.with_row_index("row").with_columns(day=pl.col("timestamp").dt.date())
    pairs = new.join(said, left_on=["case_id", "activity"], right_on=["case_id", "action"])
    heeded = pairs.filter(pl.col("day").is_between("due_from", "expires_on"))["row"].unique()
    new = new.with_columns(arm=pl.col("row").is_in(heeded.implode()))
    new = new.join(_before(sight, cut), on="case_id", how="left").with_columns(pl.col("earlier").fill_null(0))
    new = new.join(_groups(previous), on="case_id", how="left").with_columns(
        stratum=pl.concat_str(
            "activity",
            pl.col("segment").fill_null("none"),
            ((pl.col("earlier") > 0).cast(pl.Int64) + (pl.col("earlier") > 3)).cast(pl.String),
            separator="|",
        )
    )
    rows = [_held("all", new)]
    for action in said["action"].drop_nulls().unique().sort():
        part = new.filter(activity=action)
        if part.height:
            rows.append(_held(action, part))
    told = [r for r in rows if r is not None]
    note = [] if told else [f"fewer than {SMALLEST} cases were contacted as suggested, or otherwise, since"]
    return pl.DataFrame(told, schema=SUGGESTED), note


def _before(sight: Sight, cut: dt.datetime) -> pl.DataFrame:
    """case_id, earlier: contacts answered before the run before."""
    old = sight.contacts.filter((pl.col("timestamp") <= cut) & pl.col("answered"))
    return old.group_by("case_id").agg(pl.len().alias("earlier"))


def _groups(previous: Path) -> pl.DataFrame:
    file = previous / FILES[1]
    if not file.is_file():
        return pl.DataFrame(schema={"case_id": pl.String(), "segment": pl.String()})
    labels = pl.read_parquet(file).select(pl.col("case_id", "segment").cast(pl.String))
    return labels.unique("case_id", keep="first", maintain_order=True)


def _part(case_id: str) -> int:
    return int.from_bytes(hashlib.sha256(case_id.encode()).digest()[:4], "big") % PARTS


def _held(action: str, rows: pl.DataFrame) -> dict[str, Any] | None:
    """One action: both shares, the weighted difference and its interval; None of too few cases."""
    people = rows.group_by("arm").agg(pl.col("case_id").n_unique())
    sizes: dict[bool, int] = dict(people.iter_rows())
    if min(sizes.get(True, 0), sizes.get(False, 0)) < SMALLEST:
        return None
    parts = rows["case_id"].map_elements(_part, return_dtype=pl.Int64)
    counted = (
        rows.with_columns(part=parts)
        .group_by("part", "stratum", "arm")
        .agg(pl.col("answered").sum().alias("x"), pl.len().alias("n"))
    )
    strata = counted["stratum"].unique().sort()
    place = counted["stratum"].replace_strict(strata, range(len(strata)), return_dtype=pl.Int64).to_numpy()
    x, n = (np.zeros((PARTS, len(strata), 2)) for _ in range(2))
    at = (counted["part"].to_numpy(), place, counted["arm"].cast(pl.Int64).to_numpy())
    x[at], n[at] = counted["x"].to_numpy(), counted["n"].to_numpy()
    whole = _weighted(x.sum(axis=0), n.sum(axis=0))
    left = np.array([_weighted(x.sum(axis=0) - x[p], n.sum(axis=0) - n[p]) for p in range(PARTS)])
    if not np.isfinite(whole) or not np.isfinite(left).all():
        return None
    wide = Z * float(np.sqrt((PARTS - 1) / PARTS * ((left - left.mean()) ** 2).sum()))
    total_x, total_n = x.sum(axis=(0, 1)), n.sum(axis=(0, 1))
    low, high = whole - wide, whole + wide
    verdict = "answered more" if low > 0 else "answered less" if high < 0 else "no difference seen"
    return {
        "action": action,
        "n_suggested": int(total_n[1]),
        "answered_suggested": float(total_x[1] / total_n[1]),
        "n_other": int(total_n[0]),
        "answered_other": float(total_x[0] / total_n[0]),
        "difference": whole,
        "low": low,
        "high": high,
        "verdict": verdict,
    }


def _weighted(x: np.ndarray, n: np.ndarray) -> float:
    """Difference of shares over strata with both arms, weights n₀ n₁ / (n₀ + n₁)."""
    both = (n > 0).all(axis=1)
    if not both.any():
        return float("nan")
    share = x[both] / n[both]
    weight = n[both].prod(axis=1) / n[both].sum(axis=1)
    return float(((share[:, 1] - share[:, 0]) * weight).sum() / weight.sum())


def persisted(
    sight: Sight, previous: Path, cut: dt.datetime, now: pl.DataFrame | None
) -> tuple[pl.DataFrame, list[str]]:
    """PERSISTED: for each group of the run before, who stayed together and whether it still differs.

    activity is what set the group most clearly apart from the others before; difference is its share of
    events, group minus others, in what happened since, with 95 % interval between cases; q_value over groups.
    stayed is the share of the group found together again in one group now.
    """
    labels = _groups(previous).drop_nulls()
    sizes = labels.group_by("segment").len().filter(pl.col("len") >= SMALLEST).sort("segment")
    if sizes.height < 2:
        return pl.DataFrame(schema=PERSISTED), ["the run before had no groups to look for"]
    events = sight.events.join(labels, on="case_id")
    old, new = events.filter(pl.col("timestamp") <= cut), events.filter(pl.col("timestamp") > cut)
    rows: list[dict[str, Any]] = []
    tests = []
    for name, n in sizes.iter_rows():
        activity, before = _apart(old, name)
        row = {"segment": name, "n_cases": n, "stayed": _stayed(labels.filter(segment=name), now)}
        found = _share(new, name, activity)
        rows.append(row | {"activity": activity, "before": before} | found)
        tests.append(found["p_value"])
    q = false_discovery(np.array(tests, dtype=float))
    for row, value in zip(rows, q, strict=True):
        row["q_value"] = None if np.isnan(value) else float(value)
        row["verdict"] = _kept(row)
        row.pop("p_value")
    return pl.DataFrame(rows, schema=PERSISTED), []


def _kept(row: dict[str, Any]) -> str:
    if row["difference"] is None or row["q_value"] is None:
        return "too few events since"
    same = np.sign(row["difference"]) == np.sign(row["before"])
    if row["q_value"] > 0.05:
        return "not seen since"
    return "still differs" if same else "turned round"


def _apart(events: pl.DataFrame, name: str) -> tuple[str, float]:
    """The activity whose share differs most clearly, and by how much."""
    found = [(a, _share(events, name, a)) for a in events["activity"].unique().sort()]
    known = [(a, f) for a, f in found if f["difference"] is not None]
    if not known:
        return "", 0.0
    activity, best = max(known, key=lambda af: abs(af[1]["difference"]) / max(af[1]["wide"], 1e-9))
    return activity, best["difference"]


def _share(events: pl.DataFrame, name: str, activity: str) -> dict[str, Any]:
    """Share of events that are the activity, group minus others, with the spread between cases."""
    per = events.group_by("case_id", "segment").agg(
        (pl.col("activity") == activity).sum().alias("x"), pl.len().alias("n")
    )
    sides = [per.filter(pl.col("segment") != name), per.filter(segment=name)]
    if min(s.height for s in sides) < SMALLEST:
        return {"difference": None, "low": None, "high": None, "p_value": np.nan, "wide": np.inf}
    a, b = (sums_of(s["x"].to_numpy().astype(float), s["n"].to_numpy().astype(float)) for s in sides)
    c = ratios(a, b)
    values = {k: float(getattr(c, k)[0]) for k in ("difference", "low", "high", "p_value")}
    return {**values, "wide": (values["high"] - values["low"]) / 2}


def _stayed(own: pl.DataFrame, now: pl.DataFrame | None) -> float | None:
    """Share of these cases that stand together in the group now that holds most of them."""
    if now is None:
        return None
    labels = now.select(pl.col("case_id", "segment").cast(pl.String)).drop_nulls()
    found = own.select("case_id").join(labels, on="case_id")
    if found.height < SMALLEST:
        return None
    most = int(found["segment"].value_counts()["count"].to_numpy().max())
    return most / found.height
