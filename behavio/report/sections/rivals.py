"""The groups beside others: those of the run before, and a segmentation that is in use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from markupsafe import Markup

from behavio.report.blocks import Block, Prose, Sheet
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.tables import Column, Table

BECAME = {
    "kept": "goes on",
    "split": "split off from",
    "merged": "went into",
    "new": "new",
    "gone": "gone",
}
RUN = "behavio segments RUN --against FILE"
SHOWN = 12


def since(c: Context) -> list[Block]:
    """What became of the groups of the run that `segments.previous` names."""
    page = c.run.profiles or {}
    changes = page.get("changes") or []
    if not changes:
        return []
    common = c.facts.add(
        "groups_common", page["common_cases"], "count", f"{c.many} in a group last time and now"
    )
    churn = c.facts.add("groups_churn", page["churn"], "share", "of them in another group now")
    columns = (
        Column("segment", "Group"),
        Column("change", "Since last time"),
        Column("other", "Which"),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("shared", "In both", "count"),
    )
    rows = [
        r
        | {
            "change": BECAME[r["change"]],
            "other": "" if r["other"] == r["segment"] else r["other"],
            "n_cases": _shown(r["n_cases"], c.k),
            "shared": _shown(r["shared"], c.k) if r["other"] else None,
        }
        for r in changes
    ]
    table = Table.of(
        "group_changes", "What became of last time's groups", columns, rows, "behavio compare RUN RUN"
    )
    title = say("Since last time {s} of {many} changed group", s=churn.shown, many=c.many)
    if page["churn"] == 0:
        title = say("Since last time nobody changed group")
    frozen = ""
    if page.get("frozen"):
        frozen = " Scored with last time's model: whose journey is the same stays where they were."
    note = say(
        "Of {n} {many} who were in a group last time and now. A group goes on where most of its {many} do, "
        "and keeps its name.{f}",
        n=common.shown,
        many=c.many,
        f=frozen,
    )
    return [Sheet(table, title, note)]


def beside(c: Context) -> list[Block]:
    """The segmentation that `segments.challenge` names, crossed with the groups."""
    told, table = c.run.challenge, c.run.challenged
    if told is None or table is None:
        return []
    agreement = c.facts.add("challenge", told["agreement"], "nats", f"agreement with {told['other']}")
    shown = table.filter(table["n_cases"] >= c.k).sort(
        ["n_cases", "segment", "other"], descending=[True, False, False]
    )
    columns = (
        Column("segment", "Group"),
        Column("other", str(told["other"]).replace("_", " ")),
        Column("n_cases", sentence_case(c.many), "count", bar=True),
        Column("share", "Of the group", "share"),
        Column("share_of_other", "Of the other", "share"),
    )
    rows = shown.iter_rows(named=True)
    crossed = replace(Table.of("challenge", "Groups beside what is in use", columns, rows, RUN), shown=SHOWN)
    title = say(
        "Beside “{o}”: agreement {a} (1 is the same groups, 0 is chance)", o=told["other"], a=agreement.shown
    )
    n = told["misplaced"]
    largest = say("The {n} largest cells are shown; ", n=SHOWN) if shown.height > SHOWN else Markup("")
    note = largest + say("{c} of fewer than {k} are left out.", c="those" if largest else "Cells", k=c.k)
    if n >= c.k:
        elsewhere = c.facts.add("misplaced", n, "count", f"{c.many} elsewhere than most of their group")
        note = (
            say(
                "{n} {many} are elsewhere in “{o}” than most of their group. ",
                n=elsewhere.shown,
                many=c.many,
                o=told["other"],
            )
            + note
        )
    blocks: list[Block] = [Sheet(crossed, title, note)]
    explains = _explains(c, told)
    return [*blocks, explains] if explains is not None else [*blocks, *_notes(c, told)]


def _explains(c: Context, told: dict[str, Any]) -> Sheet | None:
    if not told["explains"]:
        return None
    columns = (
        Column("what", "What comes later"),
        Column("segments", "By these groups", "share"),
        Column("other", "By the other", "share"),
        Column("segments_add", "These add", "share"),
        Column("segments_add_low", "from", "share"),
        Column("segments_add_high", "to", "share"),
        Column("other_adds", "The other adds", "share"),
        Column("other_adds_low", "from", "share"),
        Column("other_adds_high", "to", "share"),
    )
    table = Table.of("challenge_explains", "What each tells of later events", columns, told["explains"], RUN)
    ours = [r for r in told["explains"] if r["segments_add_low"] > 0]
    theirs = [r for r in told["explains"] if r["other_adds_low"] > 0]
    title = "Neither tells anything of what comes later that the other does not"
    if ours and theirs:
        title = "Each tells something of what comes later that the other does not"
    elif ours:
        title = "These groups tell of what comes later, the other adds nothing to them"
    elif theirs:
        title = "The segmentation in use tells more of what comes later"
    note = say("Share of the differences between {many} in what they do after a day of the log.", many=c.many)
    for text in told["notes"]:
        note += say(" {t}.", t=_note(c, text))
    return Sheet(table, Markup("{}").format(title), note)


def _notes(c: Context, told: dict[str, Any]) -> list[Block]:
    notes = tuple(say("{t}.", t=_note(c, text)) for text in told["notes"])
    return [Prose(notes)] if notes else []


def _note(c: Context, text: str) -> str:
    """A note of the stage in the words of the page."""
    return sentence_case(
        text.replace("cases", c.many).replace("segments", "groups").replace("in no segment", "in no group")
    )


def _shown(n: int, k: int) -> int | None:
    return n if n == 0 or n >= k else None
