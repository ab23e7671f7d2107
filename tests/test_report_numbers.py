"""One way to write every number."""

import pytest

from behavio.report.numbers import between, period, raw, spelled, times, write


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (8012, "count", "8,012"),
        (0.234, "share", "23 %"),
        (0.004, "share", "under 1 %"),
        (1.0, "share", "100 %"),
        (0.6149, "score", "61.5 %"),
        (2.6132, "ratio", "2.6"),
        (0.6249, "ratio", "0.62"),
        (0.999, "ratio", "1.0"),
        (31.2, "ratio", "31"),
        (0.31, "signed", "+0.31"),
        (-0.004, "signed", "0.00"),
        (-0.31, "signed", "−0.31"),
        (0.026, "gap", "2.6 points"),
        (90_000, "seconds", "1 day"),
        (None, "count", "–"),
        (float("nan"), "share", "–"),
        (float("inf"), "ratio", "–"),
        ("2026-03-01", "date", "1 Mar 2026"),
        ("<b>", "text", "<b>"),
    ],
)
def test_a_number_is_written_once_and_for_all(value, kind, text):
    assert write(value, kind).replace("\u00a0", " ") == text


def test_a_unit_never_leaves_its_number():
    assert " " not in write(0.5, "share") and " " not in write(86_400 * 40, "seconds")


@pytest.mark.parametrize(
    ("low", "high", "kind", "text"),
    [
        (2.21, 3.08, "ratio", "2.2–3.1"),
        (0.22, 0.31, "share", "22–31 %"),
        (-1.1, 1.9, "signed", "−1.10 to +1.90"),
        (3600, 86_400 * 3, "seconds", "1 h to 3 days"),
        (86_400 * 2, 86_400 * 3, "seconds", "2–3 days"),
        (None, 2.0, "ratio", ""),
        (0.001, 0.02, "share", "under 1 % to 2 %"),
    ],
)
def test_an_interval_says_its_unit_once(low, high, kind, text):
    assert between(low, high, kind).replace("\u00a0", " ") == text


def test_times_as_often_with_interval():
    assert times(2.6132, 2.21, 3.08) == "2.6 times as often (2.2–3.1)"
    assert times(2.6132) == "2.6 times as often"


def test_small_numbers_are_words():
    assert [spelled(4), spelled(12), spelled(13)] == ["four", "twelve", "13"]


def test_a_period_says_a_shared_year_once():
    from datetime import date

    plain = period(date(2026, 1, 1), date(2026, 12, 31)).replace("\u00a0", " ")
    assert plain == "1 Jan – 31 Dec 2026"
    assert "2025" in period(date(2025, 12, 1), date(2026, 1, 1))


def test_raw_keeps_ten_digits_and_no_negative_zero():
    assert raw(1 / 3) == 0.3333333333
    assert str(raw(-0.0)) == "0.0"
    assert raw(float("nan")) is None
