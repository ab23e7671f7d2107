"""How far the groups can be relied on: found again, more than simpler ways give, told by few questions."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from behavio.report.blocks import Block, Prose, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.language import t
from behavio.report.numbers import spelled
from behavio.report.sections import rivals
from behavio.report.tables import Column, Table

STABLE = 0.8
PROOF, RULES = "behavio segments RUN --proof", "behavio segments RUN --rules"


def section(c: Context) -> Section | None:
    """The part of the page, or None where there are no groups to judge."""
    page = c.run.profiles or {}
    proof = page.get("proof") or {}
    if c.run.segments is None or not page.get("segments"):
        return None
    if not proof:
        return _alone(c, page)
    blocks: list[Block] = [Prose(_order(c, proof))] if proof.get("without") else []
    for made in (_found_again(c), _numbers(c, page), _simpler(c, page, proof)):
        if made is not None:
            blocks.append(made)
    blocks += [*_questions(c), *rivals.since(c), *rivals.beside(c)]
    tables = tuple(b.table for b in blocks if isinstance(b, Sheet))
    return Section("trust", "How sure", _heading(c, proof), _sub(c, page, proof), tuple(blocks), tables)


def _alone(c: Context, page: dict[str, Any]) -> Section | None:
    """One group: why there are no more."""
    notes = [n for n in page.get("notes", []) if "stable" in n or "too few" in n]
    if int(page.get("k", 0)) != 1 or not notes:
        return None
    said = say("{n}.", n=sentence_case(str(notes[0])))
    return Section("trust", "How sure", Markup("No groups that would hold"), blocks=(Prose((said,)),))


def _heading(c: Context, proof: dict[str, Any]) -> Markup:
    if proof["stability"] >= STABLE:
        return say("The same groups are found again in other {many}", many=c.many)
    return say("The log does not carry stable groups")


def _sub(c: Context, page: dict[str, Any], proof: dict[str, Any]) -> Markup:
    add = c.facts.add
    again = add("stability", proof["stability"], "nats", "agreement with groups found in parts of the log")
    worst = add("stability_low", proof["stability_low"], "nats", "the worst of these agreements")
    times = add("resamples", proof["resamples"], "count", "how often groups were found again")
    sub = say(
        "Groups were found {t} times more, each time in about two thirds of the {many}: agreement {s} on "
        "average, {w} at worst, where 1 is the same groups and 0 is chance; {l} and more is called stable",
        t=times.shown,
        many=c.many,
        s=again.shown,
        w=worst.shown,
        l=add("stable_from", STABLE, "nats", "agreement from which groups are called stable").shown,
    )
    apart = add("separation", proof["separation"], "share", "how far it is settled who belongs where")
    sub += say(". Who belongs where is settled to {a}", a=apart.shown)
    review = page.get("review")
    if review:
        owner = page.get("owner")
        sub += say("; to be reviewed on {d}{o}", d=review, o=f" by {owner}" if owner else "")
    return sub + say(".")


def _order(c: Context, proof: dict[str, Any]) -> tuple[Markup, ...]:
    """What is left of the groups without order, and without the clock."""
    said = []
    whole = proof["explains"]
    for row in proof["without"]:
        what = "the order of steps" if row["without"] == "order" else "the time between steps"
        how = (
            "with the events of each journey put in random order"
            if row["without"] == "order"
            else "with all waits left out"
        )
        if row["gain"] <= 0:
            said.append(say("<b>They rest on {x}.</b> {h} no groups are left.", x=what, h=sentence_case(how)))
            continue
        alike = c.facts.add(
            f"without_{row['without']}", row["agreement"], "nats", f"agreement with groups found {how}"
        )
        rests = row["agreement"] < STABLE
        text = "<b>They use {x}.</b> {h} other groups come out: agreement with these {a}."
        if not rests:
            text = (
                "<b>They hardly use {x}.</b> {h} nearly the same groups come out: agreement with these {a}."
            )
        said.append(
            say(
                text,
                x=what,
                h=sentence_case(how),
                a=alike.shown,
            )
        )
    return tuple(said) if whole else ()


def _found_again(c: Context) -> Sheet | None:
    found = c.run.found_again
    if found is None or found.height < 2:
        return None
    kept = found.filter(found["n_cases"] >= c.k)
    columns = (
        Column("segment", "Group"),
        Column("found_again", "Found again", "share", bar=True),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("n_border", "Near a border", "count"),
    )
    rows = [r | {"n_border": _shown(r["n_border"], c.k)} for r in kept.iter_rows(named=True)]
    table = Table.of("found_again", "How surely each group is found again", columns, rows, PROOF)
    note = say(
        "Found again: {many} in both the group and the likest one of another search, over those in either. "
        "Near a border: those who belong to their group with less than 70 %; another group is as good as "
        "theirs to try. A dash stands for fewer than {k}.",
        many=c.many,
        k=c.k,
    )
    return Sheet(table, Markup("Which groups are the surest"), note)


def _shown(n: int, k: int) -> int | None:
    return n if n == 0 or n >= k else None


def _numbers(c: Context, page: dict[str, Any]) -> Sheet | None:
    curve = page.get("curve", [])
    if len(curve) < 2:
        return None
    columns = (
        Column("k", "Groups", "count"),
        Column("gain", "Foretold better", "nats", bar=True),
        Column("stability", "Found again", "nats"),
        Column("smallest_share", "Smallest group", "share"),
    )
    rows = [r | {"gain": max(float(r["gain"]), 0.0)} for r in curve]
    table = Table.of("group_numbers", "What other numbers of groups would do", columns, rows, PROOF)
    note = say(
        "Foretold better: how much more likely each event of left-out {many} becomes once their group is "
        "known (natural logarithm). Found again is asked only where more groups foretell more and none is "
        "too small. {k} were taken.",
        many=c.many,
        k=sentence_case(spelled(int(page["k"]))),
    )
    return Sheet(table, Markup("Why so many groups"), note)


def _simpler(c: Context, page: dict[str, Any], proof: dict[str, Any]) -> Sheet | None:
    if not proof.get("methods"):
        return None
    columns = (
        Column("method", "Way to find groups"),
        Column("explains", "Foretold better", "nats", bar=True),
        Column("agreement", "Agreement with these", "nats"),
        Column("stability", "Found again", "nats"),
    )
    own = {"method": "these groups", "agreement": 1.0, "explains": proof["explains"]}
    rows = [own | {"stability": proof["stability"]}, *proof["methods"]]
    rows = [r | {"explains": max(float(r["explains"]), 0.0)} for r in rows]
    table = Table.of("group_methods", "What simpler ways would have given", columns, rows, PROOF)
    best = max(proof["methods"], key=lambda r: r["explains"])
    title = Markup("Counting alone would not have given these groups")
    if best["explains"] >= proof["explains"]:
        title = say("“{m}” tells as much as these groups do", m=best["method"])
    elif best["agreement"] >= STABLE:
        title = say("“{m}” gives nearly the same groups", m=best["method"])
    note = say("As many groups each, tried on the same left-out {many}.", many=c.many)
    return Sheet(table, title, note)


def _questions(c: Context) -> list[Block]:
    """The typing tool: at most seven questions that tell the group."""
    rules = c.run.rules
    if not rules or not rules.get("questions"):
        return []

    def leads(answer: dict[str, Any]) -> str:
        if "ask" in answer:
            return str(say("question {n}", n=answer["ask"]))
        return str(say("“{name}”", name=answer["segment"]))

    columns = (
        Column("question", "Question"),
        Column("yes", "If yes"),
        Column("no", "If no"),
    )
    rows = [
        {
            "question": f"{q['number']}. {t(q['question'])}",
            "yes": leads(q["yes"]),
            "no": leads(q["no"]),
        }
        for q in rules["questions"]
    ]
    table = Table.of("typing_tool", "Questions that tell the group", columns, rows, RULES)
    right = c.facts.add(
        "rules_accuracy",
        rules["accuracy"],
        "share",
        f"{c.many} whom the questions put right",
        n=rules["n_tried"],
    )
    usual = c.facts.add(
        "largest_group_alone",
        rules["largest_segment_alone"],
        "share",
        "in the largest group, if all were put there",
    )
    title = say(
        "{n} question{s} put {a} of {many} in their group",
        n=sentence_case(spelled(len(rows))),
        s="" if len(rows) == 1 else "s",
        a=right.shown,
        many=c.many,
    )
    note = say(
        "Tried on {t} {many} the questions were not made from; putting all in the largest group would be "
        "right for {u}. The names are the values of a CRM picklist.",
        t=c.facts.add(
            "rules_tried", rules["n_tried"], "count", f"{c.many} the questions were tried on"
        ).shown,
        many=c.many,
        u=usual.shown,
    )
    return [Sheet(table, title, note)]
