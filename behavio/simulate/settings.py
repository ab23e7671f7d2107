"""What can be asked of the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from behavio.errors import JobError


def day(text: str, name: str) -> date:
    """A date written YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise JobError(f"{name} = {text!r} is no date", hint="write it as YYYY-MM-DD") from None


@dataclass(frozen=True, slots=True)
class SimulateSettings:
    """How many HCPs for how long, and how messy their extracts are.

    n_cases     number of HCPs
    months      months of observation, from `start`
    drift_date  from this day on two archetypes answer digital contacts differently; None: never
    holdout     share of HCPs drawn at random to get no campaign-wave email
    dirt        0 writes clean extracts, 1 the usual mess, 2 twice as much
    """

    n_cases: int = 10_000
    months: int = 12
    start: str = "2025-11-01"
    seed: int = 7
    drift_date: str | None = None
    holdout: float = 0.1
    dirt: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_cases <= 10_000_000:
            raise JobError(f"n_cases = {self.n_cases} cannot be simulated", hint="take 1 to 10,000,000 HCPs")
        if not 1 <= self.months <= 60:
            raise JobError(f"months = {self.months} cannot be simulated", hint="take 1 to 60 months")
        if not 0 <= self.holdout < 1:
            raise JobError(
                f"holdout = {self.holdout} is no share", hint="take a share from 0 up to, not with, 1"
            )
        if not 0 <= self.dirt <= 10:
            raise JobError(f"dirt = {self.dirt} is out of range", hint="take 0 (clean) to 10")
        if self.seed < 0:
            raise JobError(f"seed = {self.seed} is negative", hint="take 0 or a positive whole number")
        if not 1971 <= day(self.start, "start").year <= 2200:
            raise JobError(f"start = {self.start!r} is out of range", hint="take a year from 1971 to 2200")
        if self.drift_date is not None:
            day(self.drift_date, "drift_date")

    @property
    def first_day(self) -> date:
        """The day observation starts, at 00:00 UTC."""
        return day(self.start, "start")

    def month_start(self, months: int) -> date:
        """The day `months` months after the start (the last day of a short month at most)."""
        year, month = divmod(self.first_day.month - 1 + months, 12)
        for late in range(self.first_day.day, 0, -1):
            try:
                return date(self.first_day.year + year, month + 1, late)
            except ValueError:
                continue
        raise AssertionError("every month has a first day")

    @property
    def n_days(self) -> int:
        """Days of observation."""
        return (self.month_start(self.months) - self.first_day).days

    @property
    def start_s(self) -> int:
        """Start of observation in seconds since 1970-01-01 UTC."""
        first = self.first_day
        return int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())

    @property
    def month_ends_s(self) -> list[int]:
        """Ends of the months in seconds since the start; the last one is the end of observation."""
        return [(self.month_start(m) - self.first_day).days * 86_400 for m in range(1, self.months + 1)]

    @property
    def drift_s(self) -> float:
        """When the drift sets in, in seconds since the start; infinite without drift."""
        if self.drift_date is None:
            return float("inf")
        return (day(self.drift_date, "drift_date") - self.first_day).days * 86_400.0
