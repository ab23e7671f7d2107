"""The identity map: ids become cases, and what cannot be told apart is listed, never guessed."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.errors import JobError, LogError
from behavio.sources import ConsentSettings, IdentitySettings, LogInputs, SourceSettings, read_log
from behavio.sources.identities import hidden, read_identities
from behavio.sources.tabular import read_frame


@pytest.fixture
def run(tmp_path: Path):
    """Read events "id,time" of kind subscriber_key with a map; gives the log."""

    def read(ids: str, events: list[tuple[str, str]], kind: str = "subscriber_key", **settings):
        (tmp_path / "map.csv").write_text(ids)
        rows = "".join(f"{i},call,{t}\n" for i, t in events)
        (tmp_path / "events.csv").write_text("key,activity,timestamp\n" + rows)
        source = SourceSettings(path="events.csv", case_id="key", identity=kind)
        more = {k: settings.pop(k) for k in ("consents",) if k in settings}
        identities = IdentitySettings(path="map.csv", **settings)
        return read_log(LogInputs({"mails": source}, tmp_path, identities=identities, **more))

    return read


DAY = "2026-01-05 10:00"


def cases(log) -> list[str]:
    return log.events.sort("event_index")["case_id"].to_list()


def test_an_id_becomes_its_case_and_a_stranger_is_listed(run):
    # K1 → A1, K2 → A2; X9 (twice) and Y9 are in no row
    log = run("account_id,subscriber_key\nA1,K1\nA2,K2\n", [(k, DAY) for k in ("K1", "X9", "K2", "X9", "Y9")])
    assert cases(log) == ["A1", "A2"]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected) == (5, 2, 3)
    assert set(log.rejected["reason"]) == {"no case has this subscriber key"}
    assert log.rejected["row"].to_list() == [2, 4, 5]
    assert dict(count.unmatched_ids) == {"X9": 2, "Y9": 1}
    assert "3 rows of 2 ids: no case has this subscriber key: X9 (2), Y9 (1)" in count.notes
    own = next(s for s in log.sources if s.role == "identities")
    assert (own.read, own.accepted) == (2, 2)


def test_an_id_of_two_cases_at_the_same_time_is_ambiguous(run):
    log = run("case_id,subscriber_key\nA1,K1\nA2,K1\nA3,K3\n", [("K1", DAY), ("K3", DAY)])
    assert cases(log) == ["A3"]
    assert log.rejected["reason"].to_list() == ["this subscriber key belongs to two cases at the same time"]
    assert dict(log.sources[0].unmatched_ids) == {"K1": 1}


def test_the_same_case_written_twice_is_not_ambiguous(run):
    assert cases(run("case_id,subscriber_key\nA1,K1\nA1,K1\n", [("K1", DAY)])) == ["A1"]


def test_a_dated_row_holds_from_its_first_day_to_the_end_of_its_last(run):
    ids = (
        "case_id,subscriber_key,valid_from,valid_to\n"
        "A1,K1,2026-01-01,2026-01-31\nA2,K1,2026-02-01,2026-03-01 12:00\n"
    )
    times = [
        "2025-12-31 23:59",  # before anybody had it
        "2026-01-01 00:00",  # A1
        "2026-01-31 23:59",  # A1: a day counts to its end
        "2026-02-01 00:00",  # A2
        "2026-03-01 11:59",  # A2
        "2026-03-01 12:00",  # a moment is the first that no longer counts
    ]
    log = run(ids, [("K1", t) for t in times])
    assert sorted(cases(log)) == ["A1", "A1", "A2", "A2"]
    assert log.rejected["row"].to_list() == [1, 6]


def test_chains_are_followed_to_the_account_that_survived(run):
    # user u1 stands only beside CRM id C1; C1 was merged into C2, C2 into C3
    ids = "case_id,user_id,crm_id\n,u1,C1\nC2,,C1\nC3,,C2\nC9,u9,\n"
    log = run(ids, [("u1", DAY), ("u9", DAY)], kind="user_id")
    assert cases(log) == ["C3", "C9"]


def test_a_merger_holds_from_its_day(run):
    ids = "case_id,subscriber_key,crm_id,valid_from\nC1,K1,,\nC2,,C1,2026-06-01\n"
    log = run(ids, [("K1", "2026-05-31 10:00"), ("K1", "2026-06-01 10:00")])
    assert cases(log) == ["C1", "C2"]


def test_circles_are_refused_with_their_way(run):
    with pytest.raises(LogError, match="goes round in circles: C1 → C2 → C3 → C1") as caught:
        run("case_id,crm_id,subscriber_key\nC2,C1,\nC3,C2,\nC1,C3,K1\n", [("K1", DAY)])
    assert "map.csv" in str(caught.value) and "remove one" in caught.value.hint


def test_a_way_back_at_another_time_is_no_circle(run):
    ids = "case_id,crm_id,subscriber_key,valid_from,valid_to\n"
    ids += "C2,C1,,,2025-12-31\nC1,C2,,2026-01-01,\nC2,,K1,,\n"
    assert cases(run(ids, [("K1", "2025-06-01 10:00"), ("K1", DAY)])) == ["C2", "C1"]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("001A000000abcDE", "001A000000abcDEIAY"),  # 15 characters in the map, 18 in the extract
        ("001A000000abcDEIAY", "001A000000abcDE"),
        (" K1 ", "K1"),
        ("Ann@Clinic.example", "ann@clinic.EXAMPLE "),
    ],
)
def test_spellings_of_one_id_are_equal(run, written, asked):
    assert cases(run(f"case_id,subscriber_key\nA1,{written}\n", [(asked, DAY)])) == ["A1"]


def test_small_and_capital_letters_are_two_ids_unless_mail_or_hash(run):
    ids = "case_id,subscriber_key,email_hash\nA1,k1,ABCDEF0123\n"
    log = run(ids, [("ABCDEF0123", DAY), ("abcdef0123", DAY)], kind="email_hash")
    assert cases(log) == ["A1", "A1"]
    with pytest.raises(LogError, match=r"no row of events\.csv could become an event"):
        run(ids, [("K1", DAY)])


def test_addresses_are_not_shown(run):
    log = run("case_id,subscriber_key\nA1,K1\n", [("ann@clinic.example", DAY), ("K1", DAY)])
    assert dict(log.sources[0].unmatched_ids) == {"a…@clinic.example": 1}
    assert "ann@" not in str(log.rejected.rows()) + str(log.sources)
    assert hidden("no address") == "no address"


def test_consents_are_translated_too(run, tmp_path):
    (tmp_path / "unsubs.csv").write_text(
        "key,state,timestamp\nK1,opt_out,2026-01-06\nX9,opt_out,2026-01-06\n"
    )
    consents = ConsentSettings(path="unsubs.csv", columns={"case_id": "key"}, values={"channel": "email"})
    from dataclasses import replace

    log = run(
        "case_id,subscriber_key\nA1,K1\n",
        [("K1", DAY)],
        consents=replace(consents, identity="subscriber_key"),
    )
    assert log.consents.select("case_id", "channel", "state").rows() == [("A1", "email", "opt_out")]
    assert log.rejected.select("source", "reason").rows() == [("consents", "no case has this subscriber key")]


def test_an_unsubscribe_is_an_event_and_an_opt_out_of_the_case(tmp_path):
    (tmp_path / "map.csv").write_text("account,key\n001A1,K-1\n")
    (tmp_path / "Unsubs.csv").write_text(
        "SendID,SubscriberKey,EmailAddress,SubscriberID,ListID,BatchID,EventDate\n"
        "501,K-1,ann@clinic.example,11,9,1,7/1/2026 11:30:00 PM\n"
    )
    source = SourceSettings(path="Unsubs.csv", kind="sfmc.unsubscribe", identity="subscriber_key")
    ids = IdentitySettings(path="map.csv", columns={"case_id": "account", "subscriber_key": "key"})
    log = read_log(LogInputs({"unsubs": source}, tmp_path, identities=ids))
    assert log.events.select("case_id", "activity").rows() == [("001A1", "email_unsubscribe")]
    said = log.consents.row(0, named=True)
    assert (said["case_id"], said["channel"], said["state"]) == ("001A1", "email", "opt_out")
    assert said["timestamp"].isoformat() == "2026-07-02T05:30:00+00:00"  # UTC-6 in July too
    assert "clinic.example" not in str(log.events.rows()) + str(log.rejected.rows())


def test_rows_of_the_map_without_a_case_are_rejected_with_their_row(run):
    log = run("case_id,subscriber_key\nA1,K1\n,K2\n", [("K1", DAY)])
    own = log.rejected.row(0, named=True)
    assert (own["source"], own["row"], own["reason"]) == ("identities", 2, "the row names no case")


@pytest.mark.parametrize(
    ("ids", "kind", "message", "hint"),
    [
        ("case_id,subscriber_key\nA1,K1\n", "subscriber", "has no column 'subscriber'", "'subscriber_key'"),
        ("case_id\nA1\n", "subscriber_key", "no column of ids", "add a column"),
        ("case_id,user_id,valid_from\nA1,K1,soon\n", "user_id", "cannot be read: 'soon' in row 1", "2026-01"),
        ("subscriber_key,other\nK1,x\n", "subscriber_key", "no column that looks like case_id", "name it"),
    ],
)  # fmt: skip
def test_wrong_maps_say_what_to_do(run, ids, kind, message, hint):
    with pytest.raises((LogError, JobError)) as caught:
        run(ids, [("K1", DAY)], kind=kind)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_source_with_an_identity_needs_a_map(tmp_path):
    (tmp_path / "events.csv").write_text("key,activity,timestamp\nK1,call,2026-01-01\n")
    source = SourceSettings(path="events.csv", case_id="key", identity="subscriber_key")
    with pytest.raises(JobError, match="has no identity map") as caught:
        read_log(LogInputs({"mails": source}, tmp_path))
    assert "[identities]" in caught.value.hint


def slow_case(rows: list[tuple[str, str, str]], kind: int, id: str) -> str | None:
    """What the rules say, one id at a time: every case that the id can lead to, None unless just one."""
    found = {r[0] for r in rows if r[kind] == id and r[0]}
    while True:
        ahead = {c: {r[0] for r in rows if r[2] == c and r[0] and r[0] != c} for c in found}
        new = {n for c in found for n in (ahead[c] or {c})}
        if new == found:
            return found.pop() if len(found) == 1 else None
        found = new


# cases only lead to later letters, so that no circle can arise
row = st.tuples(
    st.sampled_from("CDEF"), st.sampled_from(["", "k", "l"]), st.sampled_from(["", "C", "D", "E"])
)
rows = st.lists(row.filter(lambda r: r[2] <= r[0]), min_size=1, max_size=7)


@given(rows=rows)
def test_every_id_leads_where_the_slow_way_leads(rows):
    table = pl.DataFrame(rows, schema=["case_id", "subscriber_key", "crm_id"], orient="row")
    if not any(r[1] for r in rows):
        return
    identities, _ = read_identities(read_frame(table, "map"), IdentitySettings(path="map"))
    got = identities.cases("subscriber_key", pl.Series(["k", "l"]))["case_id"].to_list()
    assert got == [slow_case(rows, 1, "k"), slow_case(rows, 1, "l")]
