"""Contacts planned per period against contacts made: under, over, met, or still running."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.conformance.choose import Chooser
from behavio.conformance.findings import CONFORMS, DEVIATES, OPEN, OVER, SKIPPED, UNDER, Findings, Rows
from behavio.conformance.plan import Frequency, moment
from behavio.errors import JobError
from behavio.kernels import obligations as kernel
from behavio.kernels.arrays import readonly
from behavio.sequences import SequenceSet

DAY = 86_400_000_000
FAR = 4_102_444_800_000_000
"""The year 2100: the end of a period without one."""
CALLS = "f2f|video|phone"
"""What the channel "call" of a plan stands for."""
PARTS = ("message_shown",)
"""Outbound activities that belong to another contact and are none of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Goals:
    """Planned contacts as arrays, one entry per row of the plan.

    case      int64: place in case_ids, cases of the log first
    item      int64: place in items (channel, brand, start, end)
    goal      float64; start and end int64 µs, the end not included
    """

    case_ids: pl.Series
    items: tuple[tuple[str, str | None, int, int], ...]
    case: np.ndarray
    item: np.ndarray
    goal: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def due(self, now: int | np.ndarray) -> np.ndarray:
        """float64: whole contacts due by `now`, pro rata in periods that run; without an end all are due."""
        share = (now - self.start) / np.maximum(self.end - self.start, 1)
        share = np.where(self.end >= FAR, (now >= self.start).astype(float), share)
        return np.floor(self.goal * np.clip(share, 0.0, 1.0) + 1e-9)

    def reach(self, done: np.ndarray, due: np.ndarray) -> np.ndarray:
        """float64: contacts that count towards attainment: those due, or all where the whole goal is passed.

        Who is ahead of a period that still runs has done what was due, not more than was planned.
        """
        return np.where(done > self.goal, done, np.minimum(done, due))


def goals_of(sequences: SequenceSet, rows: pl.DataFrame, everybody: tuple[Frequency, ...]) -> Goals:
    """The rows of a plan (PLAN_SCHEMA) and frequencies that hold for every case of the log.

    A period without a start begins with the log; an end that is a day counts to the end of that day. Rows of
    the same case, channel, brand and period are added up.
    """
    first = int(np.asarray(sequences.times).min())
    made = [
        pl.DataFrame(
            {
                "case_id": sequences.case_ids,
                "channel": f.channel,
                "brand": pl.Series([f.brand], dtype=pl.String).new_from_index(0, sequences.n_cases),
                "goal": float(f.goal),
                "start": moment(f.start),
                "end": moment(f.end),
            }
        )
        for f in everybody
    ]
    if rows.height:
        made.append(
            rows.select(
                "case_id",
                "channel",
                "brand",
                "goal",
                pl.col("start").dt.epoch("us").fill_null(first),
                pl.col("end").dt.epoch("us").fill_null(FAR),
            )
        )
    whole = pl.concat(made).with_columns(
        end=pl.when((pl.col("end") % DAY == 0) & (pl.col("end") < FAR))
        .then(pl.col("end") + DAY)
        .otherwise("end")
    )
    keys = ["case_id", "channel", "brand", "start", "end"]
    whole = whole.group_by(keys, maintain_order=True).agg(pl.col("goal").sum())
    ids = sequences.case_ids
    extra = whole["case_id"].unique().sort()
    ids = pl.concat([ids, extra.filter(~extra.is_in(ids.implode()))]).alias("case_id")
    index = pl.DataFrame({"case_id": ids, "case": np.arange(len(ids), dtype=np.int64)})
    what = ["channel", "brand", "start", "end"]
    items = whole.select(what).unique().sort("start", "end", "channel", "brand", nulls_last=False)
    items = items.with_row_index("item")
    whole = whole.join(index, on="case_id", maintain_order="left").join(
        items, on=what, nulls_equal=True, maintain_order="left"
    )
    columns = (whole[c].to_numpy() for c in ("case", "item", "goal", "start", "end"))
    case, item, goal, start, end = columns
    kinds = tuple(items.select(what).rows())
    return Goals(ids, kinds, case, item.astype(np.int64), goal, start, end)


def check_contacts(
    chooser: Chooser,
    goals: Goals,
    tolerance: float = 0.0,
    parts: tuple[str, ...] = PARTS,
    name: str = "contacts",
) -> Findings:
    """Goals against contacts made, as of the newest event of the log.

    tolerance  share of the goal that may be missing or too much without being a deviation
    A period that still runs is open until its goal is reached, and over its goal as soon as it is.
    """
    s = chooser.sequences
    if not s.timed:
        raise JobError("planned contacts need times, but this log has no clock", hint="give a log with times")
    now = int(np.asarray(s.times).max())
    done, beyond = count_contacts(chooser, goals, np.minimum(goals.end, now + 1), tolerance, parts)
    least = np.ceil(goals.goal * (1 - tolerance) - 1e-9)
    most = np.floor(goals.goal * (1 + tolerance) + 1e-9)
    ended = goals.end <= now
    future = goals.start > now
    over = done > most
    under = ended & (done < least)
    state = np.select([over | under, done >= least], [DEVIATES, CONFORMS], default=OPEN).astype(np.int8)
    rows = Rows()
    rows.add(goals.case[over], goals.item[over], OVER, beyond[over])
    kind = np.where(done[under] > 0, UNDER, SKIPPED)
    rows.add(goals.case[under], goals.item[under], kind, -1, goals.end[under])
    planned = goals.due(now)
    kept = ~future
    behind = int((~ended & ~over & (done < np.floor(planned * (1 - tolerance) + 1e-9)))[kept].sum())
    notes = []
    if future.any():
        notes.append(f"{int(future.sum()):,} goals begin after the newest event of the log: not counted")
    if behind:
        running = int((~ended & kept).sum())
        notes.append(
            f"{behind:,} of {running:,} goals of running periods are behind pro rata: open, not late"
        )
    missing = len(goals.case_ids) - s.n_cases
    if missing:
        notes.append(f"{missing:,} planned cases have no event at all")
    started = np.zeros(len(goals.case_ids), dtype=bool)
    started[goals.case[kept]] = True
    return Findings(
        name,
        "contacts",
        tuple(label(i) for i in goals.items),
        goals.case_ids,
        goals.case[kept],
        goals.item[kept],
        state[kept],
        planned[kept],
        done[kept].astype(float),
        rows,
        started,
        reach=goals.reach(done, planned)[kept],
        notes=tuple(notes),
    )


def count_contacts(
    chooser: Chooser, goals: Goals, until: np.ndarray, tolerance: float, parts: tuple[str, ...] = PARTS
) -> tuple[np.ndarray, np.ndarray]:
    """Contacts of each goal before `until` (µs), int64, and the first one beyond what is tolerated, or −1."""
    s = chooser.sequences
    offsets, times = readonly(s.offsets, np.int64), readonly(s.times, np.int64)
    count, beyond = np.zeros(len(goals.case), np.int64), np.full(len(goals.case), -1, np.int64)
    most = np.floor(goals.goal * (1 + tolerance) + 1e-9).astype(np.int64)
    case = np.where(goals.case < s.n_cases, goals.case, -1)
    meant: dict[tuple[str, str | None], np.ndarray] = {}
    for k, (channel, brand, _, _) in enumerate(goals.items):
        mine = np.flatnonzero(goals.item == k)
        if (channel, brand) not in meant:
            meant[channel, brand] = contacts(chooser, channel, brand, parts)
        fixed = (case[mine], goals.start[mine], until[mine], most[mine])
        count[mine], beyond[mine] = kernel.between(
            meant[channel, brand], offsets, times, *(readonly(x, np.int64) for x in fixed)
        )
    return count, beyond


def contacts(
    chooser: Chooser, channel: str, brand: str | None = None, parts: tuple[str, ...] = PARTS
) -> np.ndarray:
    """bool (n_events,): events a plan's channel counts.

    "*" is every contact by the company; a channel its contacts ("call": visits, video and phone calls), or
    all its events where the company makes none (an event attended); an activity of the log that activity.
    """
    s = chooser.sequences
    names, channels = s.vocabulary.names, s.fields.get("channel")
    sides = s.fields.get("direction")
    own = np.array([n not in parts for n in names])[np.asarray(s.tokens)]
    if sides is not None:
        own &= sides.codes == sides.vocabulary.id("outbound")
    listed = [p.strip() for p in ("*" if channel == "" else channel).split("|")]
    if channel == "*":
        found = own
    elif channels is not None and (
        channel == "call" or any(p in channels.vocabulary.activities for p in listed)
    ):
        there = chooser.having("channel", CALLS if channel == "call" else channel)
        found = there & own if (there & own).any() else there
    else:
        found = chooser.events(channel)
    if brand is not None and "brand" in s.fields:
        found = found & chooser.having("brand", brand)
    elif brand is not None:
        note = "the log has no brand: goals of a brand count every contact of their channel"
        if note not in chooser.notes:
            chooser.notes.append(note)
    return found


def label(item: tuple[str, str | None, int, int]) -> str:
    """A goal as tables call it: "f2f · Nefrilo · 2026-01-01 to 2026-03-31"."""
    channel, brand, start, end = item
    ends = "open end" if end >= FAR else f"to {_day(end - 1)}"
    parts = ["every channel" if channel == "*" else channel, *([brand] if brand else [])]
    return " · ".join([*parts, f"{_day(start)} {ends}"])


def _day(us: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(math.floor(us / 1e6), UTC).date().isoformat()
