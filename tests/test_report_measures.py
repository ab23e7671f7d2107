"""Contact and response, on logs small enough to count by hand."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from behavio.report import measures

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(*rows):
    return pl.DataFrame(
        {
            "case_id": [r[0] for r in rows],
            "activity": [r[1] for r in rows],
            "timestamp": [START + timedelta(days=r[2]) for r in rows],
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    ).sort("case_id", "timestamp", maintain_order=True)


LOG = events(
    ("a", "call_f2f", 0),
    ("a", "email_sent", 3),  # opened twice, counts once
    ("a", "email_open", 4),
    ("a", "email_open", 5),
    ("a", "email_sent", 20),  # not opened, more than ten days after the visit
    ("b", "email_sent", 0),  # opened too late: 31 days
    ("b", "email_open", 31),
    ("b", "email_sent", 40),
    ("b", "email_open", 41),
    ("c", "reaction_positive", 1),
    ("c", "reaction_negative", 2),
    ("c", "reaction_positive", 3),
    ("d", "portal_visit", 3),
)


def test_an_email_counts_as_opened_once_and_only_by_an_open_of_its_own():
    # sent: a3 opened, a20 not, b0 not (too late), b40 opened → 2 of 4
    found = measures.open_rate(measures.emails(LOG))
    assert (found.value, found.n) == (0.5, 4)
    assert found.low <= 0.5 <= found.high


def test_an_email_id_beats_the_nearest_email():
    log = LOG.with_columns(
        email_id=pl.Series([None, "1", "1", "1", "2", "3", "3", "4", "3", None, None, None, None])
    )
    # by id: 1 opened, 2 not, 3 opened (late or not), 4 not
    assert measures.emails(log)["opened"].sum() == 2


def test_reach_counts_people_with_a_contact():
    assert measures.reached(LOG) == 2


def test_net_reaction_is_positive_minus_negative_over_all():
    found = measures.net_reaction(LOG)
    assert found.value == pytest.approx(1 / 3)
    assert found.n == 3


def test_nothing_to_count_is_none():
    bare = events(("a", "portal_visit", 0))
    assert measures.net_reaction(bare) is None
    assert measures.open_rate(measures.emails(bare)) is None
    assert measures.opened_after_visit(bare, measures.emails(bare)) is None
    assert measures.followed_up(bare) is None


def test_followed_up_leaves_out_visits_too_near_the_end():
    log = events(
        ("a", "call_f2f", 0),
        ("a", "email_sent", 9),
        ("b", "call_f2f", 0),
        ("b", "email_sent", 11),
        ("b", "call_f2f", 35),
        ("b", "portal_visit", 40),
    )
    # of the visits on day 0, a's is followed within ten days, b's is not; the one on day 35 cannot be judged
    found = measures.followed_up(log)
    assert (found.value, found.n) == (0.5, 2)


def test_opened_after_a_visit_against_all_other_emails():
    rows = []
    for i in range(40):  # after a visit 3 of 4 open, else 1 of 4
        rows += [(f"v{i:02}", "call_f2f", 0), (f"v{i:02}", "email_sent", 5)]
        rows += [(f"v{i:02}", "email_open", 6)] if i % 4 else []
        rows += [(f"w{i:02}", "email_sent", 5)] + ([] if i % 4 else [(f"w{i:02}", "email_open", 6)])
    log = events(*rows)
    found = measures.opened_after_visit(log, measures.emails(log))
    assert (found.rate, found.other_rate, found.n, found.other_n) == (0.75, 0.25, 40, 40)
    assert found.times.value == pytest.approx(3.0)
    assert 1 < found.times.low < 3 < found.times.high
    # independent people: the interval is that of a plain ratio of two shares, sqrt(1/30 − 1/40 + 1/10 − 1/40)
    import math

    error = 1.96 * math.sqrt(1 / 30 - 1 / 40 + 1 / 10 - 1 / 40)
    assert math.log(found.times.high / 3.0) == pytest.approx(error, rel=0.02)


def test_silent_are_those_without_contact_at_the_end():
    known = pl.Series(["a", "b", "c", "d", "never"])
    assert measures.silent(LOG, known, days=10).to_list() == ["a", "c", "d", "never"]
