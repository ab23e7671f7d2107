"""Calls and their key messages, with planned, saved, grouped, repeated, deleted and unreadable rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.simulate.clean import CleanLog
from behavio.simulate.crm import DAY, record_type, territory_names
from behavio.simulate.extracts import (
    BROKEN,
    SENTENCES,
    Tally,
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


def grouped(
    calls: pl.DataFrame, history: History, clean: CleanLog, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Turn some f2f calls into group calls.

    Calls of one rep within two hours become children of one new parent row without an account (a single
    call may be a group of one HCP and a colleague). Returns the calls, the added rows, and how many.
    """
    settings = history.settings
    rows = np.flatnonzero(clean.what <= PHONE)
    f2f = np.flatnonzero(clean.what[rows] == F2F)
    seeds = some(len(f2f), 0.03, settings.dirt, rng)
    rep, time = clean.actor[rows], clean.time[rows]
    order = f2f[np.lexsort((time[f2f], rep[f2f]))]
    group = np.full(len(rows), -1, dtype=np.int64)
    n = 0
    for place in seeds:
        head = order[place]
        if group[head] >= 0:
            continue
        for near in order[place : place + 4]:
            if rep[near] == rep[head] and time[near] - time[head] <= GROUP_WINDOW and group[near] < 0:
                group[near] = n
        n += 1
    members = np.flatnonzero(group >= 0)
    heads = members[np.unique(group[members], return_index=True)[1]]
    parent_ids = crm_ids("Call2_vod__c", len(rows) + np.arange(n))
    size = pl.Series(np.bincount(group[members], minlength=n) + 1)
    gone = pl.lit(None, dtype=pl.String)
    parent = calls[heads].with_columns(
        parent_ids.alias("Id"),
        gone.alias("Account_vod__c"),
        pl.lit("Group Detail").alias("Call_Type_vod__c"),
        pl.lit("Group_Account_vod").alias("Attendee_Type_vod__c"),
        size.alias("Total_Attendee_vod__c"),
    )
    colleague = parent.with_columns(
        crm_ids("Call2_vod__c", len(rows) + n + np.arange(n)).alias("Id"),
        parent_ids.alias("Parent_Call_vod__c"),
        pl.lit("User_vod").alias("Attendee_Type_vod__c"),
    )
    link = pl.select(
        pl.when(pl.Series(group) >= 0).then(parent_ids.gather(np.maximum(group, 0)) if n else gone)
    ).to_series()
    calls = calls.with_columns(
        link.cast(pl.String).alias("Parent_Call_vod__c"),
        pl.when(pl.Series(group) >= 0)
        .then(pl.lit("Group Detail"))
        .otherwise("Call_Type_vod__c")
        .alias("Call_Type_vod__c"),
    )
    return (
        calls,
        pl.concat([parent, colleague]),
        {"group_parent": n, "group_colleague": n, "members": len(members)},
    )


def write_calls(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Call2_vod__c.csv."""
    settings = history.settings
    rng = np.random.default_rng([settings.seed, 12])
    calls = call_table(history, clean, rng)
    n = calls.height
    calls, group_rows, counts = grouped(calls, history, clean, rng)
    used = n + 2 * counts["group_parent"]
    rows = np.flatnonzero(clean.what <= PHONE)

    def fresh(size: int) -> pl.Series:
        nonlocal used
        used += size
        return crm_ids("Call2_vod__c", used - size + np.arange(size))

    picks = {
        kind: some(n, share, settings.dirt, rng)
        for kind, share in (
            ("planned", 0.05),
            ("saved", 0.02),
            ("deleted", 0.003),
            ("duplicate", 0.01),
            ("broken", 2e-5),
        )
    }
    extra = []
    for kind, days in (("planned", 21), ("saved", 5)):
        pick = picks[kind]
        moved = clean.time[rows[pick]] + rng.integers(1, days, len(pick)) * DAY
        extra.append(
            calls[pick].with_columns(
                fresh(len(pick)).alias("Id"),
                pl.lit(f"{kind.title()}_vod").alias("Status_vod__c"),
                stamp(moved).alias("Call_Datetime_vod__c"),
                dates(moved).alias("Call_Date_vod__c"),
                pl.lit(None, dtype=pl.String).alias("Parent_Call_vod__c"),
            )
        )
    extra.append(deleted(calls[picks["deleted"]], fresh(len(picks["deleted"]))))
    extra.append(
        older(calls[picks["duplicate"]], 1, Status_vod__c=pl.lit("Saved_vod"), Duration_vod__c=pl.lit(0))
    )
    broken = picks["broken"]
    words = pl.Series(BROKEN).gather(np.arange(len(broken)) % len(BROKEN))
    extra.append(
        calls[broken].with_columns(
            fresh(len(broken)).alias("Id"),
            words.alias("Call_Datetime_vod__c"),
            words.alias("Call_Date_vod__c"),
        )
    )
    schema = calls.schema
    write_table(
        folder / "Call2_vod__c.csv", [calls, group_rows.cast(schema), *(e.cast(schema) for e in extra)]
    )
    dirt = {kind: len(pick) for kind, pick in picks.items()}
    dirt |= {kind: counts[kind] for kind in ("group_parent", "group_colleague")}
    tally.wrote("Call2_vod__c.csv", n, dirt, {"group_members": counts["members"]})


def write_messages(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Call2_Key_Message_vod__c.csv."""
    settings = history.settings
    rng = np.random.default_rng([settings.seed, 13])
    rows = np.flatnonzero((clean.what >= POSITIVE) & (clean.what <= SHOWN))
    n = len(rows)
    time, message, what = clean.time[rows], clean.message[rows], clean.what[rows]
    nth_call = np.cumsum(clean.what <= PHONE) - 1
    call = clean.parent[rows]
    order = np.arange(n) - np.searchsorted(call, call)
    names = pl.Series([m for brand in MESSAGES for m, _ in brand])
    kinds = pl.Series([CATEGORIES[c] for brand in MESSAGES for _, c in brand])
    ids = crm_ids("Call2_Key_Message_vod__c", np.arange(n))
    table = pl.DataFrame(
        {
            **system_columns(ids, time, time + rng.integers(600, 2 * DAY, n)),
            "Call2_vod__c": crm_ids("Call2_vod__c", nth_call[call]),
            "Account_vod__c": crm_ids("Account", clean.case[rows]),
            "User_vod__c": crm_ids("User", clean.actor[rows]),
            "Product_vod__c": crm_ids("Product_vod__c", message // 6),
            "Key_Message_vod__c": crm_ids("Key_Message_vod__c", message),
            "Key_Message_Name_vod__c": names.gather(message),
            "Category_vod__c": kinds.gather(message),
            "Reaction_vod__c": pl.Series(["Positive", "Neutral", "Negative", None]).gather(what - POSITIVE),
            "Call_Date_vod__c": dates(time),
            "Start_Time_vod__c": stamp(time),
            "Duration_vod__c": pl.Series(clean.seconds[rows]),
            "Display_Order_vod__c": pl.Series(order + 1),
            "Vehicle_vod__c": pl.repeat("HTML_vod", n, eager=True),
        }
    )
    twice, gone = some(n, 0.005, settings.dirt, rng), some(n, 0.003, settings.dirt, rng)
    orphans = some(n, 0.05, settings.dirt, rng)
    bare = np.zeros(n, dtype=bool)
    bare[orphans] = True
    table = table.with_columns(
        pl.when(pl.Series(bare)).then(None).otherwise("Account_vod__c").alias("Account_vod__c")
    )
    again = older(table[twice], 1, Reaction_vod__c=pl.lit(None, dtype=pl.String))
    away = deleted(table[gone], crm_ids("Call2_Key_Message_vod__c", n + np.arange(len(gone))))
    write_table(folder / "Call2_Key_Message_vod__c.csv", [table, again, away])
    tally.wrote(
        "Call2_Key_Message_vod__c.csv",
        n,
        {"duplicate": len(twice), "deleted": len(gone)},
        {"no_account": len(orphans), "no_reaction": int((what == SHOWN).sum())},
    )
