"""Calls and their key messages, with planned, saved, grouped, repeated, deleted and unreadable rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.simulate.clean import CleanLog, lookup
from behavio.simulate.crm import DAY, record_type, territory_names
from behavio.simulate.extracts import (
    SENTENCES,
    Numbers,
    Tally,
    broken_times,
    dates,
    deleted,
    older,
    some,
    stamp,
    system_columns,
    write_table,
)
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import BRANDS, CATEGORIES, F2F, MESSAGES, PHONE, POSITIVE, SHOWN

CALL_CHANNELS = ("Face_to_face_vod", "Video_vod", "Phone_vod")
GROUP_WINDOW = 2 * 3600
CALL_DIRT = {"planned": 0.05, "saved": 0.02, "deleted": 0.003, "duplicate": 0.01, "broken": 2e-5}
"""Rows of each kind per submitted call."""


def sentences(n: int, share: float, rng: np.random.Generator) -> pl.Series:
    """Free text in a share of rows, nothing in the others."""
    which = np.where(rng.random(n) < share, rng.integers(0, len(SENTENCES), n), len(SENTENCES))
    return pl.Series([*SENTENCES, None]).gather(which)


def call_table(history: History, clean: CleanLog, rng: np.random.Generator) -> pl.DataFrame:
    """One submitted call per call of the clean log."""
    rows = np.flatnonzero(clean.what <= PHONE)
    n = len(rows)
    time, case = clean.time[rows], clean.case[rows]
    people = history.people
    talked = np.bincount(
        clean.parent[(clean.what >= POSITIVE) & (clean.what <= SHOWN)], minlength=len(clean.what)
    )
    ids = crm_ids("Call2_vod__c", np.arange(n))
    product = crm_ids("Product_vod__c", clean.brand[rows])
    modified = time + rng.integers(600, 2 * DAY, n)
    return pl.DataFrame(
        {
            **system_columns(ids, time - rng.integers(0, 5, n) * DAY, modified),
            "OwnerId": crm_ids("User", clean.actor[rows]),
            **record_type("CallReport_vod", n),
            "Account_vod__c": crm_ids("Account", case),
            "Call_Date_vod__c": dates(time),
            "Call_Datetime_vod__c": stamp(time),
            "Status_vod__c": pl.repeat("Submitted_vod", n, eager=True),
            "Call_Type_vod__c": pl.repeat("Detail Only", n, eager=True),
            "Call_Channel_vod__c": pl.Series(CALL_CHANNELS).gather(clean.what[rows]),
            "Parent_Call_vod__c": pl.repeat(None, n, eager=True, dtype=pl.String),
            "Attendee_Type_vod__c": pl.repeat("Person_Account_vod", n, eager=True),
            "Total_Attendee_vod__c": pl.repeat(1, n, eager=True, dtype=pl.Int64),
            "User_vod__c": crm_ids("User", clean.actor[rows]),
            "Territory_vod__c": territory_names().gather(people.territory[case]),
            "Duration_vod__c": pl.Series(clean.minutes[rows]),
            "CLM_vod__c": pl.Series(["false", "true"]).gather((talked[rows] > 0).astype(np.int64)),
            "Detailed_Products_vod__c": pl.Series(BRANDS).gather(clean.brand[rows]),
            "Product_Priority_1_vod__c": product,
            "Pre_Call_Notes_vod__c": sentences(n, 0.1, rng),
            "Next_Call_Notes_vod__c": sentences(n, 0.15, rng),
        }
    )


def form_groups(history: History, clean: CleanLog, rng: np.random.Generator) -> np.ndarray:
    """int64 (n_calls,): group of each call, -1 for most. A group is up to four f2f calls of one rep within
    two hours; a single call may be a group of one HCP and a colleague of the rep."""
    rows = np.flatnonzero(clean.what <= PHONE)
    f2f = np.flatnonzero(clean.what[rows] == F2F)
    rep, time = clean.actor[rows], clean.time[rows]
    order = f2f[np.lexsort((time[f2f], rep[f2f]))]
    group = np.full(len(rows), -1, dtype=np.int64)
    n = 0
    for place in some(len(f2f), 0.03, history.settings.dirt, rng):
        head = order[place]
        if group[head] >= 0:
            continue
        for near in order[place : place + 4]:
            if rep[near] == rep[head] and time[near] - time[head] <= GROUP_WINDOW and group[near] < 0:
                group[near] = n
        n += 1
    return group


def grouped(
    calls: pl.DataFrame, history: History, clean: CleanLog, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Make some f2f calls children of a new parent row without an account, with a colleague as a further
    child. Returns the calls, the added rows, and how many of each."""
    group = form_groups(history, clean, rng)
    n = int(group.max(initial=-1)) + 1
    members = np.flatnonzero(group >= 0)
    heads = members[np.unique(group[members], return_index=True)[1]]
    numbers = Numbers("Call2_vod__c", len(group))
    parent_ids, colleague_ids = numbers.fresh(n), numbers.fresh(n)
    parent = calls[heads].with_columns(
        parent_ids.alias("Id"),
        pl.lit(None, dtype=pl.String).alias("Account_vod__c"),
        pl.lit("Group Detail").alias("Call_Type_vod__c"),
        pl.lit("Group_Account_vod").alias("Attendee_Type_vod__c"),
        pl.Series(np.bincount(group[members], minlength=n) + 1).alias("Total_Attendee_vod__c"),
    )
    colleague = parent.with_columns(
        colleague_ids.alias("Id"),
        parent_ids.alias("Parent_Call_vod__c"),
        pl.lit("User_vod").alias("Attendee_Type_vod__c"),
    )
    link = lookup([*parent_ids, None], group)
    kind = pl.when(link.is_not_null()).then(pl.lit("Group Detail")).otherwise("Call_Type_vod__c")
    calls = calls.with_columns(link.alias("Parent_Call_vod__c"), kind.alias("Call_Type_vod__c"))
    counts = {"group_parent": n, "group_colleague": n, "members": len(members)}
    return calls, pl.concat([parent, colleague]), counts


def later_calls(
    calls: pl.DataFrame, time: np.ndarray, status: str, days: int, ids: pl.Series, rng: np.random.Generator
) -> pl.DataFrame:
    """Copies of calls as plans or drafts for some days later: no facts."""
    moved = time + rng.integers(1, days, len(time)) * DAY
    return calls.with_columns(
        ids.alias("Id"),
        pl.lit(status).alias("Status_vod__c"),
        stamp(moved).alias("Call_Datetime_vod__c"),
        dates(moved).alias("Call_Date_vod__c"),
        pl.lit(None, dtype=pl.String).alias("Parent_Call_vod__c"),
    )


def write_calls(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Call2_vod__c.csv."""
    dirt, rng = history.settings.dirt, np.random.default_rng([history.settings.seed, 12])
    calls = call_table(history, clean, rng)
    n = calls.height
    calls, group_rows, counts = grouped(calls, history, clean, rng)
    numbers = Numbers("Call2_vod__c", n + group_rows.height)
    pick = {kind: some(n, share, dirt, rng) for kind, share in CALL_DIRT.items()}
    ids = {kind: numbers.fresh(len(pick[kind])) for kind in CALL_DIRT if kind != "duplicate"}
    time = clean.time[clean.what <= PHONE]
    words = broken_times(len(pick["broken"]))
    extra = [
        later_calls(calls[pick["planned"]], time[pick["planned"]], "Planned_vod", 21, ids["planned"], rng),
        later_calls(calls[pick["saved"]], time[pick["saved"]], "Saved_vod", 5, ids["saved"], rng),
        deleted(calls[pick["deleted"]], ids["deleted"]),
        older(calls[pick["duplicate"]], 1, Status_vod__c=pl.lit("Saved_vod"), Duration_vod__c=pl.lit(0)),
        calls[pick["broken"]].with_columns(
            ids["broken"].alias("Id"), Call_Datetime_vod__c=words, Call_Date_vod__c=words
        ),
        group_rows,
    ]
    write_table(folder / "Call2_vod__c.csv", [calls, *(e.cast(calls.schema) for e in extra)])
    planted = {kind: len(rows) for kind, rows in pick.items()}
    planted |= {kind: counts[kind] for kind in ("group_parent", "group_colleague")}
    tally.wrote("Call2_vod__c.csv", n, planted, {"group_members": counts["members"]})


def message_table(history: History, clean: CleanLog, rng: np.random.Generator) -> pl.DataFrame:
    """One row per key message of the clean log."""
    rows = np.flatnonzero((clean.what >= POSITIVE) & (clean.what <= SHOWN))
    n = len(rows)
    time, message, call = clean.time[rows], clean.message[rows], clean.parent[rows]
    nth_call = np.cumsum(clean.what <= PHONE) - 1
    names = pl.Series([m for brand in MESSAGES for m, _ in brand])
    kinds = pl.Series([CATEGORIES[c] for brand in MESSAGES for _, c in brand])
    reactions = pl.Series(["Positive", "Neutral", "Negative", None])
    ids = crm_ids("Call2_Key_Message_vod__c", np.arange(n))
    return pl.DataFrame(
        {
            **system_columns(ids, time, time + rng.integers(600, 2 * DAY, n)),
            "Call2_vod__c": crm_ids("Call2_vod__c", nth_call[call]),
            "Account_vod__c": crm_ids("Account", clean.case[rows]),
            "User_vod__c": crm_ids("User", clean.actor[rows]),
            "Product_vod__c": crm_ids("Product_vod__c", message // 6),
            "Key_Message_vod__c": crm_ids("Key_Message_vod__c", message),
            "Key_Message_Name_vod__c": names.gather(message),
            "Category_vod__c": kinds.gather(message),
            "Reaction_vod__c": reactions.gather(clean.what[rows] - POSITIVE),
            "Call_Date_vod__c": dates(time),
            "Start_Time_vod__c": stamp(time),
            "Duration_vod__c": pl.Series(clean.seconds[rows]),
            "Display_Order_vod__c": pl.Series(np.arange(n) - np.searchsorted(call, call) + 1),
            "Vehicle_vod__c": pl.repeat("HTML_vod", n, eager=True),
        }
    )


def write_messages(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Call2_Key_Message_vod__c.csv; some rows leave their account to the call, some have no reaction."""
    dirt, rng = history.settings.dirt, np.random.default_rng([history.settings.seed, 13])
    table = message_table(history, clean, rng)
    n = table.height
    twice, gone, orphans = (some(n, share, dirt, rng) for share in (0.005, 0.003, 0.05))
    bare = pl.Series(np.isin(np.arange(n), orphans))
    account = pl.when(bare).then(None).otherwise("Account_vod__c")
    table = table.with_columns(account.alias("Account_vod__c"))
    again = older(table[twice], 1, Reaction_vod__c=pl.lit(None, dtype=pl.String))
    away = deleted(table[gone], crm_ids("Call2_Key_Message_vod__c", n + np.arange(len(gone))))
    write_table(folder / "Call2_Key_Message_vod__c.csv", [table, again, away])
    tally.wrote(
        "Call2_Key_Message_vod__c.csv",
        n,
        {"duplicate": len(twice), "deleted": len(gone)},
        {"no_account": len(orphans), "no_reaction": table["Reaction_vod__c"].null_count()},
    )
