"""Who the HCPs are and what they agreed to: accounts and consents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.files import whole_file
from behavio.simulate.clean import CleanLog
from behavio.simulate.extracts import Tally, deleted, older, some, stamp, system_columns, write_table
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import (
    REGIONS,
    SENT,
    SPECIALTIES,
    UNSUBSCRIBE,
)
from behavio.simulate.world import TERRITORIES_PER_REGION

DAY = 86_400
FIRST_NAMES = ("Alma", "Ben", "Clara", "David", "Elif", "Finn", "Greta", "Hugo", "Ida", "Jan", "Kira", "Luis")
LAST_NAMES = (
    "Adler",
    "Berg",
    "Castell",
    "Duarte",
    "Eklund",
    "Faber",
    "Grau",
    "Holm",
    "Ito",
    "Jansen",
    "Koch",
)
RECORD_TYPES = (
    "CallReport_vod",
    "Account_vod",
    "Double_Opt_In_vod",
    "Email_Receipt_vod",
    "Approved_Email_vod",
    "Professional_vod",
)


def record_type(name: str, n: int) -> dict[str, pl.Series]:
    """The two columns that name a record type."""
    number = np.full(n, RECORD_TYPES.index(name))
    return {
        "RecordTypeId": crm_ids("RecordType", number),
        "RecordType.DeveloperName": pl.repeat(name, n, eager=True),
    }


def territory_names() -> pl.Series:
    """Name of every territory, by number."""
    names = [f"{region} {k + 1}" for region in REGIONS for k in range(TERRITORIES_PER_REGION)]
    return pl.Series(names)


def write_accounts(history: History, folder: Path, tally: Tally) -> None:
    """Account.csv: one row per HCP, some rows twice, some deleted."""
    people, settings = history.people, history.settings
    rng = np.random.default_rng([settings.seed, 10])
    n = len(people.archetype)
    created = settings.start_s - rng.integers(200, 2000, n) * DAY
    modified = settings.start_s + rng.integers(0, settings.n_days * DAY, n)
    ids = crm_ids("Account", np.arange(n))
    first = pl.Series(FIRST_NAMES).gather(rng.integers(0, len(FIRST_NAMES), n))
    last = pl.Series(LAST_NAMES).gather(rng.integers(0, len(LAST_NAMES), n))
    opt = ["Explicit_Opt_In_vod", "Explicit_Opt_In_vod", "Never_vod", "Explicit_Opt_In_vod"]
    table = pl.DataFrame(
        {
            **system_columns(ids, created, modified),
            "OwnerId": crm_ids("User", people.territory),
            **record_type("Professional_vod", n),
            "IsPersonAccount": pl.repeat("true", n, eager=True),
            "FirstName": first,
            "LastName": last,
            "Name": pl.select(pl.concat_str(first, last, separator=" ")).to_series(),
            "Specialty_1_vod__c": pl.Series(SPECIALTIES).gather(people.specialty),
            "Territory_vod__c": pl.select(
                pl.format(";{};", territory_names().gather(people.territory))
            ).to_series(),
            "Region__c": pl.Series(REGIONS).gather(people.region),
            "Potential_Decile__c": people.decile,
            "Language_vod__c": pl.repeat("en", n, eager=True),
            "Do_Not_Call_vod__c": pl.repeat("No_vod", n, eager=True),
            "PDRP_Opt_Out_vod__c": pl.repeat("false", n, eager=True),
            "Approved_Email_Opt_Type_vod__c": pl.Series(opt).gather(people.asked),
            "Customer_Master_Status_vod__c": pl.repeat("Valid_vod", n, eager=True),
            "Holdout_Group__c": pl.Series(["false", "true"]).gather(people.holdout.astype(np.int64)),
        }
    )
    twice = some(n, 0.005, settings.dirt, rng)
    gone = some(n, 0.003, settings.dirt, rng)
    again = older(table[twice], 90, Specialty_1_vod__c=pl.lit("Unknown"))
    write_table(
        folder / "Account.csv",
        [table, again, deleted(table[gone], crm_ids("Account", n + np.arange(len(gone))))],
    )
    tally.wrote("Account.csv", n, {"duplicate": len(twice), "deleted": len(gone)})


def consent_rows(history: History, clean: CleanLog, rng: np.random.Generator) -> pl.DataFrame:
    """case, time (s), state, event type, row of the email behind an unsubscribe (-1 without)."""
    asked, start = history.people.asked, history.settings.start_s
    n = len(asked)
    everyone = np.arange(n)
    given = start - rng.integers(30, 900, n) * DAY + rng.integers(7, 17, n) * 3600
    said: list[tuple[np.ndarray, np.ndarray, str, str]] = []

    def state(who: np.ndarray, days: tuple[int, int], name: str) -> None:
        before = rng.integers(*days, len(who)) if days[1] else 0
        said.append((who, given[who] - before * DAY, name, "Consent_Capture_vod"))

    for code, name in ((0, "Opt_In_vod"), (1, "Opt_In_Pending_vod"), (2, "Opt_Out_vod")):
        state(everyone[asked == code], (0, 0), name)
    state(everyone[(asked == 0) & (rng.random(n) < 0.4)], (1, 9), "Opt_In_Pending_vod")
    state(everyone[(asked == 0) & (rng.random(n) < 0.06)], (20, 400), "Opt_Out_vod")
    state(everyone[(asked == 2) & (rng.random(n) < 0.5)], (20, 400), "Opt_In_vod")
    left = np.flatnonzero(clean.what == UNSUBSCRIBE)
    said.append((clean.case[left], clean.time[left], "Opt_Out_vod", "Unsubscribed_vod"))
    mails = [np.full(len(p[0]), -1) for p in said[:-1]] + [clean.parent[left]]
    return pl.DataFrame(
        {
            "case": np.concatenate([p[0] for p in said]),
            "time": np.concatenate([p[1] for p in said]),
            "state": np.repeat([p[2] for p in said], [len(p[0]) for p in said]),
            "kind": np.repeat([p[3] for p in said], [len(p[0]) for p in said]),
            "mail": np.concatenate(mails),
        }
    )


def write_consents(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Multichannel_Consent_vod__c.csv: every statement ever made, in no order of time."""
    rng = np.random.default_rng([history.settings.seed, 11])
    rows = consent_rows(history, clean, rng)
    rows = rows[rng.permutation(rows.height)] if history.settings.dirt > 0 else rows.sort("time", "case")
    n = rows.height
    case, time, mail = (rows[c].to_numpy() for c in ("case", "time", "mail"))
    nth_mail = np.cumsum(clean.what == SENT) - 1
    behind = crm_ids("Sent_Email_vod__c", nth_mail[mail] if len(nth_mail) else mail)
    out = rows["state"] == "Opt_Out_vod"
    table = pl.DataFrame(
        {
            **system_columns(crm_ids("Multichannel_Consent_vod__c", np.arange(n)), time, time),
            **record_type("Approved_Email_vod", n),
            "Account_vod__c": crm_ids("Account", case),
            "Opt_Type_vod__c": rows["state"],
            "Channel_Value_vod__c": pl.select(pl.format("hcp{}@example.invalid", rows["case"])).to_series(),
            "Capture_Datetime_vod__c": stamp(time),
            "Opt_Expiration_Date_vod__c": pl.repeat(None, n, eager=True, dtype=pl.String),
            "Optout_Event_Type_vod__c": pl.select(pl.when(out).then(rows["kind"])).to_series(),
            "Sent_Email_vod__c": pl.select(pl.when(pl.Series(mail) >= 0).then(behind)).to_series(),
        }
    )
    with whole_file(folder / "Multichannel_Consent_vod__c.csv") as draft:
        table.write_csv(draft)
    earlier = pl.col("time") < pl.col("time").shift().over("case")
    marks = {"out_of_order": int(rows.select(earlier.sum()).item())}
    tally.wrote("Multichannel_Consent_vod__c.csv", n, {}, marks)
