"""Emails and what the HCPs did with them, with machine opens, invented opens and rows that are no touches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.simulate.clean import CleanLog
from behavio.simulate.crm import DAY, record_type
from behavio.simulate.extracts import (
    Numbers,
    Tally,
    broken_times,
    deleted,
    older,
    some,
    stamp,
    system_columns,
    write_table,
)
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import CLICK, OPEN, SENT, UNSUBSCRIBE

UNSENT = ("Scheduled_vod", "Saved_vod", "Failed_vod", "Dropped_vod")
MAIL_DIRT = {
    "unsent": 0.02,
    "double_opt_in": 0.02,
    "receipt": 0.01,
    "deleted": 0.003,
    "duplicate": 0.01,
    "broken": 1e-5,
}
"""Rows of each kind per email sent."""
CLIENTS = ("Outlook", "Apple Mail", "Gmail", "Thunderbird")


def last_time(mail: np.ndarray, time: np.ndarray, n: int) -> tuple[np.ndarray, pl.Series]:
    """Per email: how many answers, and when the last one came (text, null without)."""
    count = np.bincount(mail, minlength=n)
    last = np.zeros(n, dtype=np.int64)
    np.maximum.at(last, mail, time)
    return count, pl.select(pl.when(pl.Series(count) > 0).then(stamp(last))).to_series()


def mail_table(
    history: History, clean: CleanLog, scanned: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per email of the clean log; machine opens (`scanned`) count as opens, as in the CRM."""
    rows = np.flatnonzero(clean.what == SENT)
    n = len(rows)
    time, wave, message = clean.time[rows], clean.wave[rows], clean.message[rows]
    nth = np.cumsum(clean.what == SENT) - 1
    opened, clicked = clean.what == OPEN, clean.what == CLICK
    opens, last_open = last_time(nth[clean.parent[opened]], clean.time[opened], n)
    clicks, last_click = last_time(nth[clean.parent[clicked]], clean.time[clicked], n)
    opens[scanned] += 1
    left = np.zeros(n, dtype=np.int64)
    left[nth[clean.parent[clean.what == UNSUBSCRIBE]]] = 1
    return pl.DataFrame(
        {
            **system_columns(
                crm_ids("Sent_Email_vod__c", np.arange(n)), time - 60, time + rng.integers(1, 30, n) * DAY
            ),
            "OwnerId": crm_ids("User", clean.actor[rows]),
            **record_type("Account_vod", n),
            "Account_vod__c": crm_ids("Account", clean.case[rows]),
            "User_vod__c": crm_ids("User", clean.actor[rows]),
            "Email_Sent_Date_vod__c": stamp(time),
            "Status_vod__c": pl.Series(["Delivered_vod", "Unsubscribed_vod"]).gather(left),
            "Opened_vod__c": pl.Series((opens > 0).astype(np.int64)),
            "Clicked_vod__c": pl.Series((clicks > 0).astype(np.int64)),
            "Open_Count_vod__c": pl.Series(opens),
            "Click_Count_vod__c": pl.Series(clicks),
            "Last_Open_Date_vod__c": last_open,
            "Last_Click_Date_vod__c": last_click,
            "Approved_Email_Template_vod__c": crm_ids("Approved_Document_vod__c", message),
            "Product_vod__c": crm_ids("Product_vod__c", message // 6),
            "Key_Message_vod__c": crm_ids("Key_Message_vod__c", message),
            "Campaign_Wave__c": pl.select(
                pl.when(pl.Series(wave) >= 0).then(pl.Series(wave) + 1)
            ).to_series(),
            "Valid_Consent_Exists_vod__c": pl.repeat("true", n, eager=True),
            "Activity_Tracking_Mode_vod__c": pl.repeat("Identified_vod", n, eager=True),
            "Email_Content_vod__c": pl.repeat("Dear colleague, the latest results are here.", n, eager=True),
        }
    )


def untouched(none: pl.Expr) -> list[pl.Expr]:
    """Columns of an email nobody answered."""
    flags = [pl.lit(0).alias(f"{w}_vod__c") for w in ("Opened", "Clicked", "Open_Count", "Click_Count")]
    return [*flags, none.alias("Last_Open_Date_vod__c"), none.alias("Last_Click_Date_vod__c")]


def write_mails(history: History, clean: CleanLog, scanned: np.ndarray, folder: Path, tally: Tally) -> None:
    """Sent_Email_vod__c.csv."""
    dirt, rng = history.settings.dirt, np.random.default_rng([history.settings.seed, 14])
    table = mail_table(history, clean, scanned, rng)
    n = table.height
    numbers = Numbers("Sent_Email_vod__c", n)
    pick = {kind: some(n, share, dirt, rng) for kind, share in MAIL_DIRT.items()}
    ids = {kind: numbers.fresh(len(pick[kind])) for kind in MAIL_DIRT if kind != "duplicate"}
    none = pl.lit(None, dtype=pl.String)
    status = pl.Series(UNSENT).gather(rng.integers(0, len(UNSENT), len(pick["unsent"])))
    words = broken_times(len(pick["broken"]))
    changes: dict[str, list[pl.Expr | pl.Series]] = {
        "unsent": [none.alias("Email_Sent_Date_vod__c"), status.alias("Status_vod__c"), *untouched(none)],
        "double_opt_in": [*other_type("Double_Opt_In_vod", len(pick["double_opt_in"])), *untouched(none)],
        "receipt": [*other_type("Email_Receipt_vod", len(pick["receipt"])), *untouched(none)],
        "deleted": [pl.lit("true").alias("IsDeleted")],
        "broken": [words.alias("Email_Sent_Date_vod__c")],
    }
    extra = [table[pick[kind]].with_columns(ids[kind].alias("Id"), *new) for kind, new in changes.items()]
    extra.append(
        older(table[pick["duplicate"]], 1, Status_vod__c=pl.lit("Sent_vod"), Opened_vod__c=pl.lit(0))
    )
    write_table(folder / "Sent_Email_vod__c.csv", [table, *(e.cast(table.schema) for e in extra)])
    tally.wrote("Sent_Email_vod__c.csv", n, {kind: len(rows) for kind, rows in pick.items()})


def other_type(name: str, n: int) -> list[pl.Series]:
    """Columns that make emails something else than a contact."""
    return [column.alias(c) for c, column in record_type(name, n).items()]


def activity_rows(mail: np.ndarray, time: np.ndarray, kind: str) -> pl.DataFrame:
    """Rows of one event type."""
    return pl.DataFrame({"mail": mail, "time": time}).with_columns(pl.lit(kind).alias("kind"))


def invented_opens(clean: CleanLog, scanned: np.ndarray) -> np.ndarray:
    """int64: rows of first clicks on emails nobody had opened; the CRM invents an open for each."""
    nth = np.cumsum(clean.what == SENT) - 1
    first_open = np.full(int((clean.what == SENT).sum()), np.iinfo(np.int64).max)
    opened = clean.what == OPEN
    np.minimum.at(first_open, nth[clean.parent[opened]], clean.time[opened])
    first_open[scanned] = 0
    clicks = np.flatnonzero(clean.what == CLICK)
    first = clicks[np.unique(clean.parent[clicks], return_index=True)[1]]
    return np.sort(first[first_open[nth[clean.parent[first]]] > clean.time[first]])


def answer_rows(
    history: History, clean: CleanLog, scanned: np.ndarray, rng: np.random.Generator
) -> tuple[list[pl.DataFrame], dict[str, int]]:
    """What HCPs did, then what servers, scanners and the CRM added; and how many rows each of those wrote."""
    what, time = clean.what, clean.time
    nth = np.cumsum(what == SENT) - 1
    facts = [(OPEN, "Opened_vod"), (CLICK, "Clicked_vod"), (UNSUBSCRIBE, "Unsubscribed_vod")]
    parts = [activity_rows(nth[clean.parent[what == code]], time[what == code], kind) for code, kind in facts]
    if history.settings.dirt == 0:
        return parts, {"invented_open": 0, "machine_open": 0, "delivered": 0}
    sent = time[what == SENT]
    invented = invented_opens(clean, scanned)
    parts.append(activity_rows(nth[clean.parent[invented]], time[invented], "Opened_vod"))
    parts.append(activity_rows(scanned, sent[scanned] + rng.integers(1, 4, len(scanned)), "Opened_vod"))
    parts.append(activity_rows(np.arange(len(sent)), sent + 1, "Delivered_vod"))
    added = {"invented_open": len(invented), "machine_open": len(scanned), "delivered": len(sent)}
    return parts, added


def write_mail_answers(
    history: History, clean: CleanLog, scanned: np.ndarray, folder: Path, tally: Tally
) -> None:
    """Email_Activity_vod__c.csv: opens, clicks, deliveries, unsubscribes, and what machines add.

    `scanned` (numbers of emails) were opened by a link scanner 1 to 3 s after the send. A click on an email
    nobody opened makes the CRM invent an open at the very second of the click.
    """
    dirt, rng = history.settings.dirt, np.random.default_rng([history.settings.seed, 15])
    parts, added = answer_rows(history, clean, scanned, rng)
    rows = pl.concat(parts)
    n, size = sum(part.height for part in parts[:3]), rows.height
    mail, when = rows["mail"].to_numpy(), rows["time"].to_numpy()
    table = pl.DataFrame(
        {
            **system_columns(crm_ids("Email_Activity_vod__c", np.arange(size)), when, when + 60),
            "Sent_Email_vod__c": crm_ids("Sent_Email_vod__c", mail),
            "Event_type_vod__c": rows["kind"],
            "Activity_DateTime_vod__c": stamp(when),
            "Client_Name_vod__c": pl.Series(CLIENTS).gather(rng.integers(0, len(CLIENTS), size)),
            "Device_Type_vod__c": pl.Series(["Desktop", "Mobile"]).gather(rng.integers(0, 2, size)),
        }
    )
    twice, gone = some(n, 0.01, dirt, rng), some(n, 0.003, dirt, rng)
    again = older(table[twice], 1, Client_Name_vod__c=pl.lit("Unknown"))
    away = deleted(table[gone], crm_ids("Email_Activity_vod__c", size + np.arange(len(gone))))
    write_table(folder / "Email_Activity_vod__c.csv", [table, again, away])
    added |= {"duplicate": len(twice), "deleted": len(gone)}
    tally.wrote("Email_Activity_vod__c.csv", n, added)


def scanned_mails(history: History, clean: CleanLog) -> np.ndarray:
    """int64: numbers of the emails a link scanner opened."""
    rng = np.random.default_rng([history.settings.seed, 16])
    return some(int((clean.what == SENT).sum()), 0.03, history.settings.dirt, rng)
