"""Scripted reps in an emulated CRM: what they do with suggestions, with the truth kept beside."""

from __future__ import annotations

import csv
import datetime as dt
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio.targets.emulator.store import Store
from behavio.targets.emulator.values import stamp

REASONS = {
    "Not now": "rest",
    "Never for this doctor": "never",
    "No e-mail or call like this": "channel",
    "Message does not fit": "message",
    "Already planned": "none",
}
"""What reps may choose when they dismiss a suggestion, and what the job says it means."""

SHARES = (("executed", 0.30), ("executed unsaid", 0.10), ("completed", 0.10), ("dismissed", 0.30))
"""How many of the suggestions; nobody touches the others."""

FEEDBACK = {"executed": "actioned", "completed": "completed", "dismissed": "dismissed"}
RECORD = {
    "executed": ("Activity_Execution_vod", "activity_execution__v"),
    "completed": ("Mark_As_Complete_vod", "mark_as_complete__v"),
    "dismissed": ("Dismiss_vod", "dismiss__v"),
}
CHANNELS = {"f2f": "Face_to_face_vod", "video": "Video_vod", "phone": "Phone_vod"}
OVERDUE = "2000-01-01"


class Calendar:
    """The emulator's clock, moved by hand."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        """The time now."""
        return self.now


@dataclass(frozen=True)
class Act:
    """What one rep did with one suggestion.

    how       the act in words, with the reason of a dismissal
    state     what the next run must say became of the suggestion: executed, dismissed or ignored
    meaning   of a dismissal's reason
    feedback  activity of the feedback event, "" without one
    event     activity of the contact that was made, "" without one
    at        when the rep spoke or acted
    """

    suggestion_id: str
    case_id: str
    action: str
    channel: str
    message: str | None
    how: str
    state: str
    meaning: str = ""
    feedback: str = ""
    event: str = ""
    at: dt.datetime | None = None

    def rests(self, now: dt.datetime) -> bool:
        """Whether the action may not be suggested again now: 14 days once done, 30 once dismissed."""
        days = (now - self.at).total_seconds() / 86_400 if self.at else float("inf")
        if self.state == "executed":
            return days < 14
        return self.state == "dismissed" and self.meaning != "none" and days < 30


class Org:
    """The rows of one emulated system under the names it has for them."""

    def __init__(self, store: Store, system: str, calendar: Calendar) -> None:
        self.store, self.calendar = store, calendar
        self.vault = system == "vault"
        self.number = 0
        self.ids: dict[str, str] = {}

    def name(self, text: str) -> str:
        """A Veeva name as this system has it."""
        if not self.vault:
            return text
        fixed = {"Id": "id", "OwnerId": "ownerid__v", "Name": "name__v", "CreatedDate": "created_date__v"}
        fixed |= {"LastModifiedDate": "modified_date__v", "SystemModstamp": "modified_date__v"}
        return fixed.get(text) or re.sub("_vod(__c)?$", "__v", text).lower()

    def messages(self, extracts: Path) -> None:
        """The ids of key messages by name; a vault gets the rows too."""
        with (extracts / "Key_Message_vod__c.csv").open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.ids = {r["Name"]: r["Id"] for r in rows}
        if self.vault:
            self.store.load("key_message__v", ({"id": r["Id"], "name__v": r["Name"]} for r in rows))

    def suggestions(self) -> dict[str, dict[str, Any]]:
        """Every suggestion by our id."""
        key = self.name("Suggestion_External_Id_vod__c")
        return {str(r[key]): r for r in self.store.rows(self.name("Suggestion_vod__c"))}

    def open(self, row: dict[str, Any], today: str) -> bool:
        """Whether reps see it as open."""
        flags = ("Actioned_vod__c", "Dismissed_vod__c", "Marked_As_Complete_vod__c")
        return not any(row[self.name(f)] for f in flags) and (
            str(row[self.name("Expiration_Date_vod__c")] or OVERDUE) >= today
        )

    def thing(self, row: dict[str, Any]) -> tuple[str, str]:
        """What is suggested to whom."""
        return str(row[self.name("Account_vod__c")]), str(row[self.name("Title_vod__c")])

    def add(self, object: str, prefix: str, values: dict[str, str]) -> None:
        """A row of an object as an app on a rep's tablet would leave it."""
        self.number += 1
        moment = stamp(self.calendar.now)
        row = {"Id": f"{prefix}9g{self.number:010d}AAA"} | values
        row |= dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), moment)
        if not self.vault:
            row["IsDeleted"] = "false"
        if self.vault:  # a vault's status__v only says whether the record is active
            row[f"{object.removesuffix('_vod__c')}_Status_vod__c"] = row.pop("Status_vod__c")
        self.store.load(self.name(object), [{self.name(k): self._value(v) for k, v in row.items()}])

    def _value(self, value: str) -> str:
        return self.name(value) if value.endswith("_vod") else value

    def feedback(self, suggestion: str, kind: int | str, reason: str) -> None:
        """A rep's word on a suggestion; the triggers of the system do the rest."""
        object, type_ = self.name("Suggestion_Feedback_vod__c"), self.name("Record_Type_Name_vod__c")
        values = {self.name("Suggestion_vod__c"): suggestion, type_: RECORD[str(kind)][self.vault]}
        if reason:
            values["dismissal_reason__c" if self.vault else "Dismissal_Reason__c"] = reason
        self.store.save(object, values)


class Reps:
    """Acts on the delivered suggestions in order of days, as SHARES and a seed say."""

    def __init__(self, org: Org, seed: int) -> None:
        self.org, self.rng = org, random.Random(seed)

    def act(self, made: pl.DataFrame) -> list[Act]:
        """Every suggestion in the CRM, each at most once; those of one case on different days."""
        there = self.org.suggestions()
        made = made.filter(pl.col("suggestion_id").is_in(list(there))).sort("due_from", "suggestion_id")
        return [self._one(row, there[row["suggestion_id"]]) for row in made.iter_rows(named=True)]

    def _one(self, row: dict[str, Any], there: dict[str, Any]) -> Act:
        kind, at = "ignored", self.rng.random()
        for name, share in SHARES:
            if 0 <= at < share:
                kind = name
            at -= share
        day = dt.datetime.combine(row["due_from"], dt.time(10), dt.UTC)
        self.org.calendar.now = day + dt.timedelta(seconds=self.rng.randrange(3600))
        event = row["action"] if kind in ("executed", "executed unsaid") else ""
        if event:
            self._contact(row, there)
        reason = self.rng.choice(list(REASONS)) if kind == "dismissed" else ""
        if kind in FEEDBACK:
            self.org.calendar.now = day + dt.timedelta(hours=7)
            self.org.feedback(str(there[self.org.name("Id")]), kind, reason)
        state = {"dismissed": "dismissed", "ignored": "ignored"}.get(kind, "executed")
        return Act(
            *(row[c] for c in ("suggestion_id", "case_id", "action", "channel", "message")),
            how=f"dismissed: {reason[:1].lower()}{reason[1:]}" if reason else kind,
            state=state,
            meaning=REASONS.get(reason, ""),
            feedback=f"suggestion_{FEEDBACK[kind]}" if kind in FEEDBACK else "",
            event=event,
            at=self.org.calendar.now if kind != "ignored" else None,
        )

    def _contact(self, row: dict[str, Any], there: dict[str, Any]) -> None:
        """The call or the e-mail that was suggested."""
        at = self.org.calendar.now
        common = {"Account_vod__c": row["case_id"], "OwnerId": row["owner_id"]}
        common["Suggestion_vod__c"] = str(there[self.org.name("Id")])
        if row["channel"] == "email":
            more = {"Status_vod__c": "Delivered_vod", "Email_Sent_Date_vod__c": stamp(at)}
            more |= {"Key_Message_vod__c": self.org.ids.get(str(row["message"]), "")}
            self.org.add("Sent_Email_vod__c", "a0E", common | more)
            return
        more = {"Status_vod__c": "Submitted_vod", "Call_Channel_vod__c": CHANNELS[row["channel"]]}
        more |= {"Call_Datetime_vod__c": stamp(at), "Call_Date_vod__c": at.date().isoformat()}
        self.org.add("Call2_vod__c", "a04", common | more)
