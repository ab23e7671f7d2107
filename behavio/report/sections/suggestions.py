"""What is suggested and what was held back: counts only, no person is shown."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet, without
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.sections import lists
from behavio.report.tables import Column, Table
from behavio.words import CHANNELS, touchpoint


def sentence(c: Context) -> Markup | None:
    """How many suggestions were made and how many held back, and the main reason."""
    made, held = c.run.suggestions, c.run.suppressed
    if made is None or made.height < c.k:
        return None
    people = made["case_id"].n_unique()
    if people < c.k:
        return None
    n = c.facts.add("suggestions", made.height, "count", "suggestions made")
    who = c.facts.add("suggestion_cases", people, "count", f"{c.many} with a suggestion")
    text = say("<b>{n} suggestions for {p} {many}</b> are ready", n=n.shown, p=who.shown, many=c.many)
    if held is not None and held.height:
        top = held.group_by("reason").len().sort(["len", "reason"], descending=[True, False]).row(0)
        back = c.facts.add("suppressed", held.height, "count", "suggestions held back")
        most = c.facts.add("suppressed_top", top[1], "count", f"held back: {top[0]}")
        text += say(
            "; {m} others were held back, most often ({t}) for this reason: {r}",
            m=back.shown,
            t=most.shown,
            r=_rule(top[0]),
        )
    return text + Markup(".")


RULES = {
    "inactive_account": "account inactive, closed or merged",
    "privacy_opt_out": "objected to the use of their data",
    "no_consent": "no valid consent for the channel",
    "do_not_call": "asked not to be called",
    "medical_firewall": "belongs to the medical team",
    "holdout": "left out by lot, so that effects can be measured",
    "not_enough_history": "too few events to say anything",
    "no_evidence": "too few contacts of this kind to learn from",
    "contact_cap": "enough contacts in four weeks already",
    "stacking": "a colleague was in contact just now",
    "cooldown": "last contact too recent",
    "ignored_channel": "never answers on this channel, but on another",
    "fatigue": "message seen often without a good reaction",
    "pdrp_opt_out": "opted out of showing prescription data",
    "channel_policy": "the channel policy names other channels",
    "wrong_specialty": "the brand is for another specialty",
    "dismissed_for_good": "turned down again and again, or for good",
    "dismissed_lately": "turned down lately",
    "executed_lately": "done lately as suggested: an answer may still come",
    "pressure_band": "more contacts than this group still answers",
    "channel_cap": "enough contacts on this channel in four weeks",
    "team_cap": "enough contacts by this team in four weeks",
    "country_cap": "as many calls as the country allows in a year",
    "variety": "the same contact again and again, unanswered",
    "expired_message": "every message for it has expired",
    "conflicting": "another call is suggested to the same person",
    "max_per_owner_day": "enough suggestions for this rep on that day",
    "max_per_case": "a better suggestion was made for the same person",
}
"""The rules in plain words; a rule not listed keeps its name."""


def _rule(reason: str) -> str:
    return RULES.get(str(reason), str(reason).replace("_", " "))


def section(c: Context) -> Section:
    """What is suggested and what was held back, in counts only: no person is shown."""
    made, held = c.run.suggestions, c.run.suppressed
    if made is None:
        text = "They need next steps, groups and contacts of the company; add a [suggest] table to the job."
        return without("suggestions", "Suggestions", "suggestions", say(text))
    blocks: list[Block] = []
    tables: list[Table] = []
    actions = _actions(c, made)
    if actions is not None:
        tables.append(actions)
        blocks.append(
            Sheet(
                actions,
                Markup("What is suggested"),
                say(
                    "Answered: how often people in the same situation answered such a contact; without "
                    "it: how often they "
                    "came by themselves. Association, not effect."
                ),
            )
        )
    grouped = lists.by_group(c, made)
    if grouped is not None and grouped.table is not None:
        tables.append(grouped.table)
        blocks.append(grouped)
    reasons = _reasons(c, held)
    if reasons is not None:
        tables.append(reasons)
        blocks.append(Sheet(reasons, Markup("What was held back, and by which rule")))
    sub = say(
        "Counts only; names stand in the CRM file. Nobody is suggested anything they have not consented to."
    )
    return Section("suggestions", "Suggestions", _heading(c), sub, tuple(blocks), tuple(tables))


def _heading(c: Context) -> Markup:
    if sentence(c) is None:
        return Markup("Hardly any suggestion passes the rules")
    n, people = c.facts.get("suggestions"), c.facts.get("suggestion_cases")
    return say("{n} suggestions for {p} {many}", n=n.shown, p=people.shown, many=c.many)


def _actions(c: Context, made: pl.DataFrame) -> Table | None:
    counted = (
        made.sort("suggestion_id")
        .group_by("action", "channel")
        .agg(
            n=pl.len(),
            n_cases=pl.col("case_id").n_unique(),
            probability=pl.col("probability").mean(),
            base_probability=pl.col("base_probability").mean(),
        )
        .filter(pl.col("n_cases") >= c.k)
        .sort(["n", "action", "channel"], descending=[True, False, False])
    )
    if counted.height == 0:
        return None
    columns = (
        Column("action", "Action"),
        Column("channel", "Channel"),
        Column("n", "Suggestions", "count", bar=True),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("probability", "Answered", "share"),
        Column("base_probability", "Without it", "share"),
    )
    rows = [
        {
            **r,
            "action": sentence_case(touchpoint(r["action"])),
            "channel": CHANNELS.get(r["channel"], r["channel"]),
        }
        for r in counted.iter_rows(named=True)
    ]
    return Table.of("suggestions", "Suggestions by action", columns, rows, "behavio report RUN")


def _reasons(c: Context, held: pl.DataFrame | None) -> Table | None:
    if held is None or held.height == 0:
        return None
    counted = (
        held.group_by("reason")
        .agg(n=pl.len(), n_cases=pl.col("case_id").n_unique())
        .filter(pl.col("n_cases") >= c.k)
        .sort(["n", "reason"], descending=[True, False])
    )
    if counted.height == 0:
        return None
    columns = (
        Column("reason", "Rule"),
        Column("n", "Held back", "count", bar=True),
        Column("n_cases", sentence_case(c.many), "count"),
    )
    rows = [{**r, "reason": sentence_case(_rule(r["reason"]))} for r in counted.iter_rows(named=True)]
    return Table.of("suppressed", "Held back by rule", columns, rows, "behavio report RUN")
