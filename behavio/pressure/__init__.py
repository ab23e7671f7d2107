"""Contact pressure: how answers depend on recent contact, per group, and who gets too much or too little.

Eager people are contacted more and answer more, so people are never compared with each other: the estimates
compare each with herself (see `within`), with channel, season and the time since her last contacts and
answers held fixed. It stays an association: the company chose when to contact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import ModelError
from behavio.files import read_json, write_json
from behavio.log import EventLog
from behavio.pressure.contacts import ContactTable, read_contacts
from behavio.pressure.risk import LEAST, pieces_of
from behavio.pressure.settings import PressureSettings
from behavio.pressure.within import FALLS, Explained, Profile, explained, hinge, profile

__all__ = ["Pressure", "PressureSettings", "pressure", "read_pressure", "write_pressure"]

EVERYBODY = "everybody"
FEWEST = 200
"""Contacts a group needs, and answered ones a fifth of it; below, its band is that of everybody."""
SIGN = 2.71
"""Twice the log likelihood a fall must gain: 5 % of groups without any would show as much were the optimum
known (half a χ² with one degree of freedom, for a fall below nothing is not looked for). It is looked for, so
some more do: 3 of 21 simulated groups whose answers never fall."""
SHOWN = 20
"""Contacts of a level that is shown."""
Progress = Callable[[str, float], None]
BANDS = {
    "segment": pl.String(),
    "optimum": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "fall": pl.Float64(),
    "sign": pl.Boolean(),
    "n_cases": pl.Int64(),
    "n_contacts": pl.Int64(),
    "n_answered": pl.Int64(),
}
CURVES = {
    "segment": pl.String(),
    "contacts": pl.Int64(),
    "n_contacts": pl.Int64(),
    "answered": pl.Float64(),
    "relative": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class Pressure:
    """Bands per group, curves behind them, and where each case stands.

    bands   BANDS: contacts per window up to which answers hold (95 % interval low to high), share of answers
            lost with each contact beyond (`fall`), `sign` False where no fall shows: then no optimum is told
    curves  CURVES: share of contacts answered at each level, and the same person's answers relative to two
            contacts per window (95 % interval), from two on
    cases   case_id, segment, contacts (in the window up to the newest event), low, high, verdict: over,
            within, under or unknown
    """

    bands: pl.DataFrame
    curves: pl.DataFrame
    cases: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """The bands."""
        return self.bands


def pressure(
    log: EventLog,
    segments: pl.DataFrame | None = None,
    settings: PressureSettings | None = None,
    seed: int = 7,
    progress: Progress = lambda _w, _s: None,
) -> Pressure:
    """How answers depend on contacts, per group of `segments` (case_id, segment) and for everybody.

    Nothing is drawn: `seed` changes nothing and stays for callers that hand it over.

    Raises ModelError when the log has no clock, no contact, or fewer than FEWEST contacts that count.
    """
    found = read_contacts(log, settings or PressureSettings())
    groups = _groups(found, segments)
    names = [EVERYBODY, *sorted({g for g in groups.to_list() if g is not None})]
    judged: list[_Judged] = []
    for place, name in enumerate(names):
        progress("contact pressure", place / len(names))
        own = (
            np.ones(len(groups), bool) if name == EVERYBODY else (groups == name).fill_null(False).to_numpy()
        )
        one = _judged(name, found, own)
        if name == EVERYBODY and one.profile is None and one.band["n_contacts"] < FEWEST:
            raise ModelError(
                f"{one.band['n_contacts']} contacts can be judged, too few to see pressure",
                hint=f"at least {FEWEST} are needed, one window after the log begins",
            )
        judged.append(one)
    bands = [_told(one, _usual(judged, k)) for k, one in enumerate(judged)]
    curves = [row for one in judged for row in one.curve]
    table = pl.DataFrame(bands, schema=BANDS)
    return Pressure(table, pl.DataFrame(curves, schema=CURVES), _cases(found, groups, table))


def write_pressure(
    log: EventLog,
    segments: pl.DataFrame | None,
    settings: PressureSettings,
    seed: int,
    folder: Path,
    progress: Progress = lambda _w, _s: None,
) -> dict[str, Any]:
    """bands.parquet, curves.parquet, cases.parquet; facts.json says why when there is nothing to say."""
    try:
        found = pressure(log, segments, settings, seed, progress)
    except ModelError as problem:
        write_json(folder / "facts.json", {"notes": [f"{problem}: {problem.hint}"]})
        return {"rows_in": log.events.height, "rows_out": 0, "note": str(problem)}
    found.bands.write_parquet(folder / "bands.parquet")
    found.curves.write_parquet(folder / "curves.parquet")
    found.cases.write_parquet(folder / "cases.parquet")
    write_json(
        folder / "facts.json", {"window": settings.window, "within": settings.response_within, "notes": []}
    )
    verdicts = dict(found.cases.group_by("verdict").len().sort("verdict").iter_rows())
    return {"rows_in": log.events.height, "rows_out": found.cases.height, "verdicts": verdicts}


def read_pressure(folder: Path) -> Pressure:
    """What `write_pressure` left; ModelError with its reason when there was nothing to say."""
    facts = read_json(folder / "facts.json")
    if facts["notes"]:
        raise ModelError(facts["notes"][0], hint="give the run more contacts, or leave [pressure] out")
    return Pressure(*(pl.read_parquet(folder / f"{t}.parquet") for t in ("bands", "curves", "cases")))


def _groups(found: ContactTable, segments: pl.DataFrame | None) -> pl.Series:
    """The group of each case; null without one."""
    if segments is None:
        return pl.Series([None] * len(found.case_ids), dtype=pl.String)
    own = segments.filter(pl.col("segment_id") >= 0) if "segment_id" in segments.columns else segments
    labels = own.select(pl.col("case_id").cast(pl.String), pl.col("segment").cast(pl.String))
    return found.case_ids.to_frame("case_id").join(labels, on="case_id", how="left", maintain_order="left")[
        "segment"
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What is known of one group before groups are compared."""

    band: dict[str, Any]
    curve: list[dict[str, Any]]
    profile: Profile | None


def _judged(name: str, found: ContactTable, own: np.ndarray) -> _Judged:
    """The curve of one group and how likely each hinge is; no profile where too little can be judged."""
    mine = found.whole & own[found.case]
    level, answered = found.level[mine], found.answered[mine]
    band = {
        "segment": name,
        "n_cases": int(own.sum()),
        "n_contacts": len(level),
        "n_answered": int(answered.sum()),
        "sign": False,
    }
    band |= dict.fromkeys(("optimum", "low", "high", "fall"))
    if len(level) < FEWEST or answered.sum() < FEWEST / 5:
        return _Judged(band, [], None)
    pieces = pieces_of(found.line.of(own))
    if pieces is None:
        return _Judged(band, [], None)
    known = explained(pieces)
    return _Judged(band, _curve(name, level, answered, known), profile(pieces, known))


def _curve(name: str, level: np.ndarray, answered: np.ndarray, known: Explained) -> list[dict[str, Any]]:
    """The levels that enough contacts and time are seen at."""
    shown = np.bincount(level, minlength=len(known.value))
    rate = np.bincount(level, answered, minlength=len(shown)) / np.maximum(shown, 1)
    return [
        {
            "segment": name,
            "contacts": k,
            "n_contacts": int(shown[k]),
            "answered": float(rate[k]),
            "relative": float(np.exp(known.value[k])),
            "low": float(np.exp(known.value[k] - 1.96 * known.error[k])),
            "high": float(np.exp(known.value[k] + 1.96 * known.error[k])),
        }
        for k in range(LEAST, len(known.value))
        if shown[k] >= SHOWN
    ]


def _usual(judged: list[_Judged], own: int) -> float | None:
    """The fall that the other groups find likely together; None without any."""
    others = [
        one.profile.told.max(axis=0)
        for k, one in enumerate(judged)
        if k not in (0, own) and one.profile is not None
    ]
    return float(FALLS[int(np.sum(others, axis=0).argmax())]) if others else None


def _told(one: _Judged, usual: float | None) -> dict[str, Any]:
    """The band, told where a fall shows."""
    if one.profile is None:
        return one.band
    best = hinge(one.profile, usual)
    if best.gain <= SIGN:
        return one.band
    told = {"sign": True, "optimum": best.optimum, "low": best.low, "high": best.high}
    return one.band | told | {"fall": float(1 - np.exp(-best.fall))}


def _cases(found: ContactTable, groups: pl.Series, bands: pl.DataFrame) -> pl.DataFrame:
    """Where each case stands: in the band of its group, or of everybody where its group has none."""
    sure = bands.filter("sign").select("segment", "low", "high")
    whole = sure.filter(segment=EVERYBODY)
    low, high = (whole[c][0] if whole.height else None for c in ("low", "high"))
    table = pl.DataFrame({"case_id": found.case_ids, "segment": groups, "contacts": found.today})
    table = table.join(sure, on="segment", how="left", maintain_order="left").with_columns(
        pl.col("low").fill_null(pl.lit(low, dtype=pl.Float64)),
        pl.col("high").fill_null(pl.lit(high, dtype=pl.Float64)),
    )
    verdict = (
        pl.when(pl.col("low").is_null())
        .then(pl.lit("unknown"))
        .when(pl.col("contacts") > pl.col("high"))
        .then(pl.lit("over"))
        .when(pl.col("contacts") < pl.col("low"))
        .then(pl.lit("under"))
        .otherwise(pl.lit("within"))
    )
    return table.with_columns(verdict=verdict, contacts=pl.col("contacts").cast(pl.Int64))
