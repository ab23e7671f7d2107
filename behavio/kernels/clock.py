"""ISO 8601 times of a column of texts as microseconds, in one pass over the bytes."""

from __future__ import annotations

import numpy as np

from behavio.kernels.raw import signed, word
from behavio.kernels.ready import njit, ready

MISSING = -(2**63)
"""Stands for no time in an array of microseconds."""
DAY_US = 86_400_000_000
HIGH = np.uint64(0x8080808080808080)
ONE, ZEROS = np.uint64(1), np.uint64(0x303030303030)
DATE = np.uint64(0x2D30302D30303030)
"""The bytes of "0000-00-", first one lowest."""
OVER_DATE = np.uint64(0x7F76767F76767676)
"""Added to what is left of a date, sets the high bit of a byte that is no digit (or no dash)."""
OVER_PART = np.uint64(0x7676767676767676)
CLOCK, OVER_CLOCK = np.uint64(0x30303A3030), np.uint64(0x76767F7676)


@njit(cache=True, nogil=True, inline="always")
def _two(data: np.ndarray, at: int) -> int:
    """Two digits as a number, -1 when they are none."""
    a, b = signed(data[at]) - 48, signed(data[at + 1]) - 48
    return a * 10 + b if 0 <= a <= 9 and 0 <= b <= 9 else signed(-1)


@njit(cache=True, nogil=True)
def days_since_1970(year: int, month: int, day: int) -> int:
    """Days of the proleptic Gregorian calendar; years counted from March (Hinnant, chrono algorithms)."""
    y = year - 1 if month <= 2 else year
    m = month + 9 if month <= 2 else month - 3
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * m + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@njit(cache=True, nogil=True, inline="always")
def _byte(found: np.uint64, place: int) -> int:
    return signed((found >> np.uint64(8 * place)) & np.uint64(255))


@njit(cache=True, nogil=True, inline="always")
def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@njit(cache=True, nogil=True)
def _zone(data: np.ndarray, at: int, end: int) -> int:
    """Minutes east of UTC that data[at:end] says (Z, UTC, GMT, +01, +0100, +01:00); -10,000: it does not."""
    nothing = signed(-10_000)
    length = end - at
    if length == 1 and data[at] == 90:
        return signed(0)
    if length == 3 and data[at + 2] == 67 and data[at] == 85 and data[at + 1] == 84:
        return signed(0)
    if length == 3 and data[at] == 71 and data[at + 1] == 77 and data[at + 2] == 84:
        return signed(0)
    if length not in (3, 5, 6) or (data[at] != 43 and data[at] != 45):
        return nothing
    hours, minutes = _two(data, at + 1), signed(0)
    if length == 5:
        minutes = _two(data, at + 3)
    elif length == 6:
        minutes = _two(data, at + 4) if data[at + 3] == 58 else signed(-1)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return nothing
    away = hours * 60 + minutes
    return away if data[at] == 43 else -away


@njit(cache=True, nogil=True, inline="always")
def _digits(found: np.uint64, n: int) -> int:
    """The number that the lowest n (1 to 8) bytes say, each one digit (0 to 9), the first digit lowest.

    Neighbours are joined three times: ones to pairs, pairs to fours, fours to eight (Lemire 2022).
    """
    x = found << np.uint64(8 * (8 - n))
    x = (x * np.uint64(10) + (x >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    x = (x * np.uint64(100) + (x >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return signed((x * np.uint64(10_000) + (x >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def _month(date: np.uint64) -> tuple[int, int]:
    """Microseconds at the first day of the month that the bytes "2024-01-" name, and its length in days; 0
    days when they name none."""
    known = date ^ DATE  # digits become 0 to 9, dashes 0
    if ((known + OVER_DATE) | known) & HIGH != 0:
        return signed(0), signed(0)
    year, month = _digits(known, 4), _byte(known, 5) * 10 + _byte(known, 6)
    if year < 1 or month < 1 or month > 12:
        return signed(0), signed(0)
    return days_since_1970(year, month, 1) * DAY_US, signed(_days_in(year, month))


@njit(cache=True, nogil=True, inline="always")
def _clock(data: np.ndarray, at: int, end: int) -> tuple[int, bool]:
    """Microseconds of the day from "10:05" on, less those of the zone behind it, and whether there is one."""
    clock = word(data, at, 5) ^ CLOCK
    if ((clock + OVER_CLOCK) | clock) & HIGH != 0:
        return MISSING, False
    hour, minute = _byte(clock, 0) * 10 + _byte(clock, 1), _byte(clock, 3) * 10 + _byte(clock, 4)
    if hour > 23 or minute > 59:
        return MISSING, False
    micros = (hour * 60 + minute) * 60_000_000
    place = at + 5
    if place + 3 <= end and data[place] == 58:
        second = _two(data, place + 1)
        if second < 0 or second > 59:
            return MISSING, False
        micros += second * 1_000_000
        place += 3
        if place < end and (data[place] == 46 or data[place] == 44):
            place += 1
            first, n = place, end - place
            part = word(data, first, n) ^ (ZEROS >> np.uint64(8 * (6 - n))) if 1 <= n <= 6 else HIGH
            if ((part + OVER_PART) | part) & HIGH == 0:  # nothing but up to six digits is left
                place = end
            else:
                while place < end and 48 <= data[place] <= 57:
                    place += 1
                n = place - first
                if n == 0 or n > 9:
                    return MISSING, False
                n = min(n, 6)
                part = word(data, first, n) ^ (ZEROS >> np.uint64(8 * (6 - n)))
            value = _digits(part, n)
            for _ in range(6 - n):
                value *= 10
            micros += value
    if place == end:
        return micros, False
    if data[place] == 32 and place + 1 < end:
        place += 1
    away = _zone(data, place, end)
    if away == -10_000:
        return MISSING, False
    return micros - away * 60_000_000, True


@ready
def iso_times(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    valid: np.ndarray,
    micros: np.ndarray,
    zoned: np.ndarray,
    odd: np.ndarray,
) -> tuple[int, int, int]:
    """Fill micros int64 (MISSING where there is none) and zoned bool; returns how many are naive, zoned, odd.

    odd   int64: rows that hold something else than blanks and are no ISO time, in order
    valid bool (n,), or of length 0 when every row holds a text
    Forms: 2024-01-31, and after a T or a blank 10:05, 10:05:07, 10:05:07.123 (a comma too, up to nine
    digits, cut to microseconds); with a clock also a zone. Times without a zone stay as written.
    """
    n_naive, n_zoned, n_odd = 0, 0, 0
    before, month, n_days = np.uint64(0), signed(0), signed(0)
    for row in range(len(starts)):
        micros[row] = MISSING
        zoned[row] = False
        if len(valid) > 0 and not valid[row]:
            continue
        at, end = signed(starts[row]), signed(ends[row])
        while at < end and data[at] == 32:
            at += 1
        while at < end and data[end - 1] == 32:
            end -= 1
        if at == end:
            continue
        length, found, away = end - at, MISSING, False
        if length == 10 or (length >= 16 and (data[at + 10] == 84 or data[at + 10] == 32)):
            date, day = word(data, at, 8), _two(data, at + 8)
            if date != before:
                before = date
                month, n_days = _month(date)
            if 1 <= day <= n_days:
                if length > 10:
                    found, away = _clock(data, at + 11, end)
                else:
                    found = signed(0)
                if found != MISSING:
                    found += month + (day - 1) * DAY_US
        if found == MISSING:
            odd[n_odd] = row
            n_odd += 1
            continue
        micros[row] = found
        zoned[row] = away
        if away:
            n_zoned += 1
        else:
            n_naive += 1
    return n_naive, n_zoned, n_odd
