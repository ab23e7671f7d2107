"""The situation a case is in at some moment, and what was observed after every contact.

A situation is (segment, recent contact pressure, what the case did last). A contact counts only when its
whole response window was observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.suggest.settings import DAY_US, SuggestSettings
from behavio.suggest.timeline import PRESSURE_DAYS, Moments, Timeline

UNASSIGNED = "unassigned"
SILENT, OTHER = "", "(other)"
KINDS = 12
"""Kinds of last inbound event told apart; rarer ones are (other)."""


@dataclass(frozen=True, slots=True, eq=False)
class Situations:
    """How to tell situations apart in this log.

    segment   strings (n_cases,): the name of each case's segment
    cuts      upper ends of the buckets of contacts in 28 days: 0, 1–cuts[0], …, above cuts[-1]
    kinds     the inbound activities told apart
    """

    timeline: Timeline
    segment: np.ndarray
    cuts: tuple[int, ...]
    kinds: tuple[str, ...]
    window_us: int

    def bucket_names(self) -> list[str]:
        """The buckets of contact pressure in words."""
        names, low = ["no contact"], 1
        for cut in self.cuts:
            names.append(
                "1 contact" if cut == 1 else f"{low} contacts" if low == cut else f"{low}–{cut} contacts"
            )
            low = cut + 1
        return [*names, f"{low} or more contacts"]

    def frame(
        self, case: np.ndarray, time: np.ndarray, touched: np.ndarray, came: np.ndarray
    ) -> pl.DataFrame:
        """Situations at (case, time); `touched` and `came` are the ranks among touches and inbound events."""
        t = self.timeline
        month = t.touches.rank(case, time - PRESSURE_DAYS * DAY_US)
        pressure = np.maximum(touched - month, 0)
        last = t.inbound.latest(came, case)
        fresh = (last >= 0) & (t.inbound.time[last] > time - self.window_us) if len(t.inbound) else last >= 0
        names = np.array([*self.kinds, OTHER, SILENT], dtype=object)
        code = self._kind_codes()[np.maximum(last, 0)] if len(t.inbound) else np.zeros(len(case), dtype=int)
        return pl.DataFrame(
            {
                "case": case,
                "segment": pl.Series(self.segment[case], dtype=pl.String),
                "pressure": np.searchsorted(self.cuts, pressure) + (pressure > 0),
                "seen": pl.Series(names[np.where(fresh, code, len(self.kinds) + 1)], dtype=pl.String),
                "touches": pressure,
            }
        )

    def now(self) -> pl.DataFrame:
        """The situation of every case at as_of."""
        t = self.timeline
        case = np.arange(t.n_cases)
        time = np.full(t.n_cases, t.as_of)
        return self.frame(case, time, t.touches.rank(case, time), t.inbound.rank(case, time))

    def _kind_codes(self) -> np.ndarray:
        activity = self.timeline.events["activity"].gather(self.timeline.inbound.position)
        place = {name: i for i, name in enumerate(self.kinds)}
        return activity.replace_strict(place, default=len(self.kinds), return_dtype=pl.Int64).to_numpy()


def read_situations(
    timeline: Timeline, segments: pl.DataFrame | None, settings: SuggestSettings
) -> Situations:
    """Cut contact pressure at its terciles and name the most common inbound activities."""
    touches = timeline.touches
    month = touches.rank(touches.case, touches.time - PRESSURE_DAYS * DAY_US)
    recent = np.maximum(np.arange(len(touches)) - month, 0)
    positive = recent[recent > 0]
    cuts = (1,) if len(positive) == 0 else np.quantile(positive, [1 / 3, 2 / 3], method="lower")
    activity = timeline.of(timeline.inbound, "activity")["activity"]
    common = activity.value_counts().sort(["count", "activity"], descending=[True, False])
    return Situations(
        timeline=timeline,
        segment=_segment_of(timeline, segments),
        cuts=tuple(sorted({int(c) for c in cuts})),
        kinds=tuple(sorted(common["activity"][:KINDS].to_list())),
        window_us=settings.window_us,
    )


def _segment_of(timeline: Timeline, segments: pl.DataFrame | None) -> np.ndarray:
    """Object array (n_cases,) of segment names."""
    ids = timeline.case_ids.to_frame()
    if segments is None or segments.height == 0:
        return np.full(len(ids), UNASSIGNED, dtype=object)
    names = segments.select("case_id", "segment").unique("case_id", keep="first", maintain_order=True)
    known = ids.join(names, on="case_id", how="left", maintain_order="left")["segment"].fill_null(UNASSIGNED)
    # one text per segment, not one per case
    every = known.unique().sort()
    return np.array(every.to_list(), dtype=object)[every.search_sorted(known).to_numpy()]


def observed_until(timeline: Timeline) -> int:
    """The newest event: nothing is known about later moments (µs)."""
    return int(timeline.time.max())


def seen_touches(situations: Situations, actions: Sequence[str]) -> pl.DataFrame:
    """Every contact by sales or marketing: action, case, situation, response (0/1), observed (window over).

    What the medical team does teaches nobody what to promote.
    """
    t, m = situations.timeline, situations.timeline.touches
    frame = situations.frame(m.case, m.time, np.arange(len(m)), t.inbound.ahead(m.position))
    later = t.success.rank(m.case, m.time + situations.window_us)
    frame = frame.with_columns(
        action=t.of(m, "activity")["activity"],
        time=m.time,
        response=(later > t.success.ahead(m.position)).astype(np.int64),
        observed=m.time + situations.window_us <= observed_until(t),
    )
    medical = (t.of(m, "team")["team"] == "medical").fill_null(False)
    return frame.filter(pl.col("action").is_in(list(actions)) & ~medical)


def moments_of(timeline: Timeline, action: str) -> Moments:
    """The touches of one action."""
    activity = timeline.events["activity"].gather(timeline.touches.position)
    mask = np.zeros(timeline.events.height, dtype=bool)
    mask[timeline.touches.position[(activity == action).to_numpy()]] = True
    return timeline.moments(pl.Series(mask))
