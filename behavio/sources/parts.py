"""Parts of a mapping that tell machines from people and hits from visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shadow:
    """A row whose column holds a `value` is no event of its own beside one with `beside` in the same `same`.

    Of several columns the first that holds something counts, here and in TooSoon; `__activity__` is
    what the mapping made of a row.
    """

    column: tuple[str, ...]
    value: tuple[str, ...]
    beside: tuple[str, ...]
    same: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class TooSoon:
    """A row whose column holds a `value` less than `within` after the time in column `after` is a machine's.

    Without a column, every row is asked. With `after_value`, the time is that of the case's last row before
    whose column `after` holds that value. A row at the very time of its later cause (an open that a system
    invented from a click) is told by `within = "1s"`.
    """

    after: str
    within: str
    why: str
    column: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    after_value: str = ""


@dataclass(frozen=True, slots=True)
class Volley:
    """More than `most` different values of `column` in one second, for the same `same`, are a machine's."""

    column: str
    same: tuple[str, ...]
    why: str
    most: int = 2


@dataclass(frozen=True, slots=True)
class Session:
    """Rows of one session become one event at its first row, beside the rows whose activity is in `apart`.

    key       columns that name a session; those in `extra` need not be there
    gap       where the key is missing, a longer pause of the case starts a new session
    seconds   column of durations in units of `unit_s`, that sum to the session's; with `per_visit` every row
              carries the whole
    span      without that column, a session lasts from its first row to its last
    several   a cell of `column` holds several names with commas
    burst     more rows than this in one session within `burst_within` are a bot's
    """

    key: tuple[str, ...]
    activity: str
    column: str
    apart: Mapping[str, str] = field(default_factory=dict)
    seconds: str = ""
    burst: int = 100
    burst_within: str = "1m"
    gap: str = ""
    extra: tuple[str, ...] = ()
    unit_s: float = 0.001
    per_visit: bool = False
    span: bool = False
    several: bool = False
