"""Words: what a reader sees."""

from __future__ import annotations

import pytest

from behavio import words


@pytest.mark.parametrize(
    ("activity", "said"),
    [
        ("call_f2f", "rep visit"),
        ("portal_visit", "portal"),
        ("coupon_redeemed", "coupon redeemed"),
        ("campaign_received:B", "campaign received: B"),
        ("Food and Beverage", "Food and Beverage"),
        (" a\n\tb__c ", "a b c"),
        ("", "(no name)"),
        ("_", "(no name)"),
        ("🩺", "🩺"),
        ("at 10:30", "at 10:30"),
    ],
)
def test_touchpoints_are_said_in_human_words(activity: str, said: str) -> None:
    assert words.touchpoint(activity) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "at once"),
        (45, "45 s"),
        (59.9, "1 min"),
        (720, "12 min"),
        (7_560, "2.1 h"),
        (86_400, "1 day"),
        (3 * 86_400, "3 days"),
        (0.6 * 86_400, "14 h"),
        (3.14 * 86_400, "3.1 days"),
        (400 * 86_400, "400 days"),
        (2.5 * 365.25 * 86_400, "2.5 years"),
        (-45, "−45 s"),
    ],
)
def test_durations_carry_a_unit_and_no_false_precision(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_numbers_have_thousands_a_true_minus_and_decimals_only_where_they_matter() -> None:
    assert [words.number(v) for v in (1234567, 2.64, 9.96, 12.3, -3, -0.01)] == [
        "1,234,567",
        "2.6",
        "10",
        "12",
        "−3",
        "0",
    ]
    assert [words.percent(v) for v in (0.0, 0.001, 0.234, 0.999, 1.0)] == [
        "0 %",
        "under 1 %",
        "23 %",
        "over 99 %",
        "100 %",
    ]


def test_every_touchpoint_has_its_hue_and_others_take_what_is_free() -> None:
    assert set(words.COLOURS) == set(words.TOUCHPOINTS)
    chosen = words.colours(["call_f2f", *(f"x{i}" for i in range(8))])
    assert chosen["call_f2f"] == "#4477AA"
    assert len({chosen[f"x{i}"] for i in range(6)}) == 6
    assert chosen["x7"] == words.OTHER_COLOUR


def test_short_names_fit_and_end_at_a_word() -> None:
    long = "Compensation for services other than consulting, including serving as faculty"
    assert words.short_touchpoint(long) == "Compensation for services…"
    assert len(words.short_touchpoint("x" * 200)) == 28
