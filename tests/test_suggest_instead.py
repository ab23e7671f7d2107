"""A brand that may not be spoken of gives way to the next best one, and is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from oracles_suggest import log_of, opt_in

from behavio.log import EventLog
from behavio.suggest import SuggestSettings, suggest
from behavio.suggest.found import Found
from behavio.suggest.instead import CHOICE, instead
from behavio.suggest.make import make_suggestions

LOOSE = SuggestSettings(min_evidence=5, cap_per_28d=99, max_per_owner_day=99, message_fresh="1000d")
PEOPLE = [f"h{i:02d}" for i in range(60)]
BRANDS = {"m0": "one", "m1": "one", "m2": "two", "m3": "two"}


def events() -> list[tuple[Any, ...]]:
    """Emails about two brands and visits; both mostly lead to the portal, nothing else does."""
    rng, found = np.random.default_rng(4), []
    for i, case in enumerate(PEOPLE):
        day = float(rng.uniform(0, 10))
        while day < 190:
            action, message = ("call_f2f", "email_sent")[int(rng.random() < 0.7)], f"m{rng.integers(4)}"
            about = {"message": message, "brand": BRANDS[message], "actor_id": f"rep{i % 5}"}
            found.append((case, round(day, 3), action, about))
            if rng.random() < 0.7:
                found.append((case, round(day + float(rng.uniform(0.1, 6)), 3), "portal_visit"))
            day += float(rng.exponential(20)) + 0.5
    return [*found, ("zz", 200.0, "portal_visit")]


def asked(log: EventLog, settings: SuggestSettings = LOOSE) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    made = make_suggestions(log, None, None, settings, lambda _what, _share: None, Found())
    return made.tables, made.facts


@pytest.fixture(scope="module")
def first() -> dict[str, Any]:
    """An email suggested where nobody refuses anything, and how many candidates there were."""
    tables, facts = asked(log_of(events(), consents=[opt_in(case) for case in PEOPLE]))
    row = tables["suggestions"].filter(action="email_sent").row(0, named=True)
    return row | {"n_candidates": facts["n_candidates"]}


def refused(case: str, *brands: str) -> EventLog:
    out = [opt_in(case, 50, state="opt_out", brand=brand) for brand in brands]
    return log_of(events(), consents=[*(opt_in(c) for c in PEOPLE), *out])


def test_the_other_brand_takes_the_place_of_a_refused_one(first: dict[str, Any]) -> None:
    case, brand = first["case_id"], first["brand"]
    tables, facts = asked(refused(case, brand))
    own = tables["suggestions"].filter(case_id=case, action="email_sent")
    assert own["brand"].to_list() == [{"one": "two", "two": "one"}[brand]]
    assert BRANDS[own["message"][0]] == own["brand"][0]
    held = tables["suppressed"].filter(case_id=case, action="email_sent")
    assert held.select("reason", "detail").rows() == [("no_consent", f"opted out for {brand}")]
    # the refused brand is one candidate more, and each ends in one of the two tables
    assert tables["suggestions"].height + tables["suppressed"].height == facts["n_candidates"]
    assert facts["n_candidates"] == first["n_candidates"] + 1
    # nor does a later step of the cycle speak of it
    steps = tables["plan"].filter(case_id=case, action="email_sent")
    assert steps.height > 0 and set(steps["brand"]) == set(own["brand"])


def test_with_every_brand_refused_only_the_other_channel_is_left(first: dict[str, Any]) -> None:
    case = first["case_id"]
    tables, facts = asked(refused(case, "one", "two"))
    assert tables["suggestions"].filter(case_id=case)["action"].to_list() == ["call_f2f"]
    held = tables["suppressed"].filter(case_id=case, action="email_sent")
    assert set(held["reason"]) == {"no_consent"}
    assert held["detail"].sort().to_list() == ["opted out for one", "opted out for two"]
    assert tables["plan"].filter(case_id=case, action="email_sent").height == 0
    assert facts["n_candidates"] == first["n_candidates"] + 1


def test_a_refusal_of_every_product_is_no_matter_of_brands(first: dict[str, Any]) -> None:
    case = first["case_id"]
    log = log_of(events(), consents=[*(opt_in(c) for c in PEOPLE), opt_in(case, 50, state="opt_out")])
    tables, facts = asked(log)
    held = tables["suppressed"].filter(case_id=case, action="email_sent")
    assert held.select("reason", "detail").rows() == [("no_consent", "opted out")]
    assert facts["n_candidates"] == first["n_candidates"]


def test_a_brand_for_another_specialty_gives_way() -> None:
    cases = pl.DataFrame({"case_id": [*PEOPLE, "zz"], "specialty": ["Cardiology"] * 30 + ["Oncology"] * 31})
    log = log_of(events(), cases=cases, consents=[opt_in(case) for case in PEOPLE])
    settings = SuggestSettings(
        **{
            f: getattr(LOOSE, f)
            for f in ("min_evidence", "cap_per_28d", "max_per_owner_day", "message_fresh")
        },
        specialties={"one": ("Cardiology",)},
    )
    made, held, facts = suggest(log, None, None, settings)
    others = made.filter(pl.col("case_id").is_in(PEOPLE[30:]))
    assert others.height > 0 and set(others["brand"]) == {"two"}
    assert "one" in set(made.filter(pl.col("case_id").is_in(PEOPLE[:30]))["brand"])
    told = held.filter(reason="wrong_specialty")
    assert told.height > 0 and set(told["detail"]) == {"one is for Cardiology, not Oncology"}
    assert made.height + held.height == facts["n_candidates"]


# --- by hand ---------------------------------------------------------------------------------------------

LISTS = pl.DataFrame(
    {
        "action": ["email_sent"] * 3,
        "message": ["b1", "b2", "c1"],
        "brand": ["B", "B", "C"],
        "message_n": [9, 9, 9],
        "message_score": [0.5, 0.4, 0.3],
        "messages": [2, 2, 1],
    }
)
SHOWN = {"case": pl.Int64(), "message": pl.String(), "position": pl.Int64(), "worked": pl.Boolean()}


def tried(
    closed: dict[str, str], shown: list[tuple[int, str]] = (), unwanted: list[tuple[int, str]] = ()
) -> tuple[list[tuple[str | None, str | None]], list[str]]:
    """(message, rule) in the end and the brands refused, of one email about A; `closed`: rules by brand."""
    chosen = pl.DataFrame(
        {"case": [0], "action": ["email_sent"], "message": ["a1"], "brand": ["A"]}
        | {"message_n": [9], "message_score": [0.6], "messages": [1]}
    )

    def judge(frame: pl.DataFrame) -> pl.DataFrame:
        rule = pl.col("brand").replace_strict(closed, default=None, return_dtype=pl.String)
        return frame.with_columns(rule=rule, consent_product=pl.lit(True))

    rows = [(case, message, i, False) for i, (case, message) in enumerate(shown)]
    final, refused = instead(
        chosen,
        judge,
        LISTS,
        pl.DataFrame(rows, schema=SHOWN, orient="row"),
        pl.DataFrame(list(unwanted), schema={"case": pl.Int64(), "message": pl.String()}, orient="row"),
    )
    assert set(CHOICE) <= set(final.columns)
    return final.select("message", "rule").rows(), refused["brand"].to_list()


def test_brands_are_tried_best_message_first() -> None:
    assert tried({}) == ([("a1", None)], [])
    assert tried({"A": "no_consent"}) == ([("b1", None)], ["A"])
    assert tried({"A": "fatigue", "B": "wrong_specialty"}) == ([("c1", None)], ["A", "B"])
    # nothing is left: the first one stays refused, the others are told beside it
    every = dict.fromkeys("ABC", "no_consent")
    assert tried(every) == ([("a1", "no_consent")], ["B", "C"])


def test_what_another_rule_forbids_is_forbidden_with_any_brand() -> None:
    assert tried({"A": "do_not_call"}) == ([("a1", "do_not_call")], [])
    # B may be spoken of, but comes too soon: nothing new is told
    assert tried({"A": "no_consent", "B": "cooldown", "C": "cooldown"}) == ([("a1", "no_consent")], [])


def test_messages_seen_often_enough_or_turned_down_are_no_way_out() -> None:
    assert tried({"A": "fatigue"}, shown=[(0, "b1")] * 3) == ([("b2", None)], ["A"])
    assert tried({"A": "fatigue"}, shown=[(0, "b1")] * 2) == ([("b1", None)], ["A"])
    assert tried({"A": "fatigue"}, unwanted=[(0, "b1"), (0, "b2")]) == ([("c1", None)], ["A"])
    assert tried({"A": "fatigue"}, unwanted=[(1, "b1")]) == ([("b1", None)], ["A"])
