"""Every rule with one case it forbids and one it lets through, and the facts the rules stand on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from oracles_suggest import log_of, opt_in

from behavio.holdout import write_holdout
from behavio.log import CONSENT_SCHEMA, TIME, EventLog
from behavio.suggest import SuggestSettings
from behavio.suggest.candidates import privacy_flags, read_actions, read_offers
from behavio.suggest.consents import about_product, consent_states, product_states, spoken_of
from behavio.suggest.rules import RULES, apply_rules
from behavio.suggest.scoring import score
from behavio.suggest.settings import moment
from behavio.suggest.situations import read_situations
from behavio.suggest.timeline import read_timeline

FREE: dict[str, Any] = {
    "channel": "email",
    "inactive": False,
    "status": "valid",
    "privacy_opt_out": False,
    "consent": "granted",
    "consent_needed": True,
    "consent_product": False,
    "do_not_call": False,
    "action_medical": False,
    "only_medical": False,
    "holdout": False,
    "n_events": 9,
    "touches_28d": 3,
    "cap": 4,
    "hours_since_other": 60.0,
    "hours_since_own": 60.0,
    "cooldown_h": 48.0,
    "channel_answers_anybody": True,
    "channel_touches": 9,
    "channel_answers": 1,
    "other_answers": 2,
    "messages": 3,
    "message": "m1",
    "level": "situation",
    "n": 200,
    "gain_low": 0.02,
    "q_value": 0.01,
    "family_p": 0.001,
    "probability": 0.5,
    "base_probability": 0.4,
    "pdrp_opt_out": False,
    "sales_derived": False,
    "policy_forbids": False,
    "policy_cell": "high value",
    "policy_channels": "f2f, email",
    "brand": "Cardiovia",
    "specialty": "Cardiology",
    "dismissed": 0,
    "dismissed_days": None,
    "unwanted": False,
    "executed_days": None,
    "contacts": 2,
    "band_high": 3.0,
    "channel_28d": 1,
    "channel_cap": 2,
    "team": "sales",
    "team_28d": 1,
    "team_cap": 2,
    "calls_365d": 2,
    "country": "GB",
    "country_cap": 3,
    "in_a_row": 2,
    "messages_ever": 5,
    "trigger": None,
}
"""A candidate no rule forbids."""

FORBIDDEN: dict[str, list[tuple[dict[str, Any], str]]] = {
    "inactive_account": [({"inactive": True, "status": "deceased"}, "the account is deceased")],
    "privacy_opt_out": [({"privacy_opt_out": True}, "objected")],
    "no_consent": [
        ({"consent": "refused"}, "opted out"),
        ({"consent": "never", "consent_needed": False}, "never"),
        ({"consent": "expired"}, "opt-in ends"),
        ({"consent": "pending"}, "not confirmed"),
        ({"consent": None}, "no opt-in on record"),
        ({"consent": "refused", "consent_product": True}, "opted out for Cardiovia"),
    ],
    "do_not_call": [({"do_not_call": True, "channel": "phone"}, "do not call")],
    "medical_firewall": [
        ({"action_medical": True}, "an action of the medical team"),
        ({"only_medical": True}, "only the medical team"),
    ],
    "holdout": [({"holdout": True}, "holdout")],
    "pdrp_opt_out": [({"pdrp_opt_out": True, "sales_derived": True}, "PDRP")],
    "channel_policy": [({"policy_forbids": True}, "the policy for high value names f2f, email")],
    "wrong_specialty": [
        ({"specialty": "Nephrology"}, "Cardiovia is for Cardiology, not Nephrology"),
        ({"specialty": None}, "not none known"),
    ],
    "dismissed_for_good": [
        ({"dismissed": 2, "dismissed_days": 100.0}, "turned down 2 times"),
        ({"dismissed": 1, "dismissed_days": 100.0, "unwanted": True}, "for good"),
    ],
    "dismissed_lately": [({"dismissed": 1, "dismissed_days": 29.5}, "turned down by the rep 29 days ago")],
    "executed_lately": [({"executed_days": 13.9}, "suggested and done 13 days ago")],
    "not_enough_history": [({"n_events": 1}, "1 of the 2 events needed")],
    "no_evidence": [
        ({"level": None, "n": 7}, "7 of the 30 similar contacts needed"),
        ({"level": None, "n": None}, "0 of the 30"),
        ({"gain_low": -0.01}, "50 % responded after it, 40 % without it, from 200 contacts"),
        ({"q_value": 0.2}, "it may be chance"),
        ({"family_p": 0.02}, "it may be chance"),
        ({"family_p": None}, "it may be chance"),
    ],
    "contact_cap": [({"touches_28d": 4}, "4 contacts in 28 days, the cap is 4")],
    "pressure_band": [({"contacts": 3}, "3 contacts lately; answers of this group hold up to 3.0")],
    "channel_cap": [({"channel_28d": 2}, "2 contacts by email in 28 days, the cap is 2")],
    "team_cap": [({"team_28d": 2}, "2 contacts by sales in 28 days, the cap is 2")],
    "country_cap": [({"calls_365d": 3, "channel": "f2f"}, "3 calls in a year, the cap of GB is 3")],
    "stacking": [({"hours_since_other": 20.7}, "a contact by a colleague 20 h ago")],
    "cooldown": [({"hours_since_own": 47.9}, "the owner's own contact 47 h ago")],
    "ignored_channel": [({"channel_answers": 0}, "9 contacts by email and no answer there")],
    "variety": [({"in_a_row": 6}, "the last 6 contacts were all this one, unanswered")],
    "expired_message": [({"messages": 0, "message": None}, "each of its 5 messages has expired")],
    "fatigue": [({"message": None}, "each of 3 messages")],
}

ALLOWED: dict[str, list[dict[str, Any]]] = {
    "inactive_account": [{"status": None}],
    "privacy_opt_out": [{}],
    "no_consent": [{}, {"consent": None, "consent_needed": False}],
    "do_not_call": [{"do_not_call": True}, {"do_not_call": True, "channel": None}],
    "medical_firewall": [{}],
    "holdout": [{}],
    "pdrp_opt_out": [{"pdrp_opt_out": True}, {"sales_derived": True}],
    "channel_policy": [{"policy_cell": None, "policy_channels": None}],
    "wrong_specialty": [
        {},
        {"brand": None, "specialty": None},
        {"brand": "Nefrilo", "specialty": "Nephrology"},
    ],
    "dismissed_for_good": [{"dismissed": 1, "dismissed_days": 31.0}],
    "dismissed_lately": [{"dismissed": 1, "dismissed_days": 30.0}],
    "executed_lately": [{"executed_days": 14.0}],
    "not_enough_history": [{"n_events": 2}],
    "no_evidence": [{}, {"trigger": "mine", "level": None}, {"trigger": "mine", "gain_low": -0.1}],
    "contact_cap": [{}],
    "pressure_band": [{"contacts": 2}, {"contacts": 9, "band_high": None}, {"contacts": None}],
    "channel_cap": [{}, {"channel_28d": 9, "channel_cap": None}],
    "team_cap": [{}, {"team_28d": 9, "team_cap": None}],
    "country_cap": [{"calls_365d": 9}, {"channel": "f2f"}, {"channel": "f2f", "country_cap": None}],
    "stacking": [{}, {"hours_since_other": None}],
    "cooldown": [{"hours_since_own": 48.0}, {"hours_since_own": None}],
    "ignored_channel": [
        {"channel_answers": 0, "channel_touches": 4},
        {"channel_answers": 0, "other_answers": 0},
        {"channel_answers": 0, "channel_answers_anybody": False},
    ],
    "variety": [{"in_a_row": 5}],
    "expired_message": [{}, {"messages": 0, "messages_ever": 0, "message": None}],
    "fatigue": [{"message": None, "messages": 0, "messages_ever": 0}],
}


def judge(changes: dict[str, Any]) -> tuple[str | None, str | None]:
    """Rule and detail for one candidate."""
    schema = {"message": pl.String(), "consent": pl.String(), "level": pl.String(), "status": pl.String()}
    schema |= {"channel": pl.String(), "hours_since_own": pl.Float64(), "hours_since_other": pl.Float64()}
    schema |= {c: pl.Int64() for c in ("n", "channel_cap", "team_cap", "country_cap", "contacts")}
    schema |= {c: pl.Float64() for c in ("dismissed_days", "executed_days", "band_high")}
    schema |= {c: pl.String() for c in ("trigger", "policy_cell", "policy_channels", "brand", "specialty")}
    row = pl.DataFrame([FREE | changes], schema_overrides=schema)
    chosen = SuggestSettings(specialties={"Cardiovia": ("Cardiology",)})
    return apply_rules(row, chosen).select("rule", "detail").row(0)


def test_every_rule_has_a_case_it_forbids_and_one_it_lets_through() -> None:
    names = {rule.__name__ for rule in RULES}
    assert names == set(FORBIDDEN) == set(ALLOWED)
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_the_rule_forbids(rule: str) -> None:
    for changes, words in FORBIDDEN[rule]:
        found, detail = judge(changes)
        assert found == rule
        assert words in str(detail)


@pytest.mark.parametrize("rule", ALLOWED)
def test_the_rule_lets_through(rule: str) -> None:
    for changes in ALLOWED[rule]:
        assert judge(changes) == (None, None)


def test_the_first_rule_is_the_one_recorded() -> None:
    assert judge({"inactive": True, "consent": "refused", "n_events": 0})[0] == "inactive_account"
    assert judge({"consent": "refused", "n_events": 0})[0] == "no_consent"


# --- consents --------------------------------------------------------------------------------------------

AS_OF, UNTIL = moment("2025-06-01"), moment("2025-06-15")


def state(*statements: dict[str, Any], channel: str = "email") -> str | None:
    """What one case's statements come to."""
    empty = dict.fromkeys(CONSENT_SCHEMA)
    table = pl.DataFrame(
        [empty | {"case_id": "a", "channel": "email"} | s for s in statements], CONSENT_SCHEMA
    )
    found = consent_states(table, [channel], AS_OF, UNTIL)
    return found["consent"][0] if found.height else None


def at(text: str) -> dt.datetime:
    return pl.Series([text]).str.to_datetime(time_zone="UTC").cast(TIME)[0]


OPT_IN = {"state": "opt_in", "timestamp": at("2025-01-01T00:00:00")}
OPT_OUT = {"state": "opt_out", "timestamp": at("2025-03-01T00:00:00")}


def test_the_latest_statement_counts() -> None:
    assert state() is None
    assert state(OPT_IN) == "granted"
    assert state(OPT_IN, OPT_OUT) == state(OPT_OUT, OPT_IN) == "refused"
    assert state(OPT_OUT, OPT_IN | {"timestamp": at("2025-04-01T00:00:00")}) == "granted"
    assert state(OPT_IN | {"timestamp": None}, OPT_OUT) == "refused"
    assert state(OPT_IN, OPT_OUT | {"timestamp": at("2025-07-01T00:00:00")}) == "granted"  # not known yet
    assert state(OPT_IN, {"state": "pending", "timestamp": at("2025-02-01T00:00:00")}) == "pending"
    same = {"timestamp": at("2025-03-01T00:00:00")}
    assert state(OPT_IN | same, OPT_OUT) == state(OPT_OUT, OPT_IN | same) == "refused"


def test_an_opt_in_must_last_as_long_as_the_suggestion() -> None:
    assert state(OPT_IN | {"expires": at("2025-06-16T00:00:00")}) == "granted"
    assert state(OPT_IN | {"expires": at("2025-06-10T00:00:00")}) == "expired"
    assert state(OPT_OUT | {"expires": at("2025-04-01T00:00:00")}) == "refused"


def test_never_is_for_ever_and_a_star_is_for_every_channel() -> None:
    never = {"state": "never", "timestamp": at("2024-01-01T00:00:00")}
    assert state(never, OPT_IN) == "never"
    assert state(OPT_OUT | {"channel": "*"}) == "refused"
    assert state(OPT_IN | {"channel": "*"}, channel="f2f") == "granted"
    assert state(OPT_OUT | {"channel": "call"}, channel="video") == "refused"
    assert state(OPT_OUT, channel="video") is None


def product(*statements: dict[str, Any], brand: str = "Cardiovia", general: str | None = None) -> str | None:
    """What one case's statements come to for a product."""
    empty = dict.fromkeys(CONSENT_SCHEMA)
    table = pl.DataFrame(
        [empty | {"case_id": "a", "channel": "email"} | s for s in statements], CONSENT_SCHEMA
    )
    whole = consent_states(table, ["email"], AS_OF, UNTIL)
    row = pl.DataFrame({"case_id": ["a"], "channel": ["email"], "brand": [brand]})
    row = row.join(whole, on=["case_id", "channel"], how="left")
    if general is not None:
        row = row.with_columns(consent=pl.lit(general))
    return about_product(row, product_states(table, ["email"], AS_OF, UNTIL))["consent"][0]


def test_consent_is_given_per_product() -> None:
    own, other = {"brand": "Cardiovia"}, {"brand": "Nefrilo"}
    late = {"timestamp": at("2025-05-01T00:00:00")}
    # without a statement of its own a product goes by those about every product
    assert product(OPT_IN) == "granted"
    assert product(OPT_IN, OPT_OUT) == "refused"
    # what was said about another product is nothing said about this one
    assert product(OPT_IN | other) is None
    assert product(OPT_IN, OPT_OUT | other) == "granted"
    # a refusal of the product stays, whatever is said about all of them; an opt-in to it takes it back
    assert product(OPT_IN, OPT_OUT | own) == "refused"
    assert product(OPT_OUT | own, OPT_IN | late) == "refused"
    assert product(OPT_OUT | own, OPT_IN | own | late) == "granted"
    # an opt-in for the product opens it, until everything is closed later, or for ever
    assert product(OPT_OUT, OPT_IN | own | late) == "granted"
    assert product(OPT_IN | own, OPT_OUT) == "refused"
    never = {"state": "never", "timestamp": at("2024-01-01T00:00:00")}
    assert product(never, OPT_IN | own) == "never"
    assert product(OPT_IN, never | own) == "never"
    assert product(OPT_IN | own, general="never") == "never"  # so says the account itself
    # it must be valid as long as the suggestion lives
    assert product(OPT_IN, OPT_IN | own | {"expires": at("2025-06-10T00:00:00")}) == "expired"
    # a statement about a product says nothing about the others
    assert state(OPT_OUT | own) is None and state(OPT_IN, OPT_OUT | own) == "granted"


def test_consents_of_an_older_log_name_no_product() -> None:
    old = pl.DataFrame(
        [dict.fromkeys(CONSENT_SCHEMA) | {"case_id": "a", "channel": "email"} | OPT_IN], CONSENT_SCHEMA
    )
    old = old.drop("brand")
    assert consent_states(old, ["email"], AS_OF, UNTIL)["consent"].to_list() == ["granted"]
    assert product_states(old, ["email"], AS_OF, UNTIL).height == 0


def test_channels_the_consents_speak_of() -> None:
    said = pl.DataFrame({"channel": ["email", "*", "call", None], "state": ["opt_in"] * 4})
    assert spoken_of(said) == ("email", "f2f", "phone", "video")
    # "do not call" of one person does not mean that everybody else must have opted in to calls
    assert spoken_of(said.with_columns(state=pl.lit("never"))) == ()


# --- the facts behind the rules --------------------------------------------------------------------------


def candidates(log: EventLog, **settings: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The candidate table by (case, action)."""
    chosen = SuggestSettings(**settings)
    timeline = read_timeline(log, chosen)
    situations = read_situations(timeline, None, chosen)
    actions = read_actions(timeline, chosen)
    cells, now, _ = score(situations, actions["action"].to_list(), chosen)
    table = read_offers(situations, actions, cells, now, log, chosen).part()
    return {(r["case_id"], r["action"]): r for r in table.iter_rows(named=True)}


def test_the_owner_is_the_last_sales_actor_and_everybody_else_a_colleague() -> None:
    # a: anna on day 1, ben on day 50; a campaign email 10 h before the newest event, ben 240 h before it
    log = log_of(
        [
            ("a", 1, "call_f2f", {"actor_id": "anna"}),
            ("a", 50, "call_f2f", {"actor_id": "ben"}),
            ("a", 60 - 10 / 24, "email_sent", {"actor_id": "campaign"}),
            ("b", 60, "portal_visit"),
        ]
    )
    found = candidates(log)
    a, b = found["a", "call_f2f"], found["b", "call_f2f"]
    assert a["owner_id"] == "ben"
    assert a["hours_since_own"] == pytest.approx(240)
    assert a["hours_since_other"] == pytest.approx(10)
    assert a["touches_28d"] == 2
    assert b["owner_id"] is b["hours_since_other"] is None
    assert (a["waiting"], b["waiting"]) == (False, True)


def test_answers_per_channel() -> None:
    log = log_of(
        [("a", d, "email_sent") for d in range(6)] + [("a", 9, "portal_visit"), ("b", 9, "email_open")]
    )
    a = candidates(log)["a", "email_sent"]
    assert (a["channel_touches"], a["channel_answers"], a["other_answers"]) == (6, 0, 1)
    assert a["channel_answers_anybody"]


@pytest.mark.parametrize("ending", ["", "_vod__c", "__v"])
def test_what_the_accounts_say(ending: str) -> None:
    cases = pl.DataFrame(
        {
            "case_id": ["a", "b", "c", "d", "e"],
            f"Do_Not_Call{ending}": ["Yes_vod", "No_vod", None, "No_vod", "No_vod"],
            f"Customer_Master_Status{ending}": ["Valid_vod", "Inactive_vod", None, "Valid_vod", "Valid_vod"],
            f"Approved_Email_Opt_Type{ending}": [None, None, "Never_vod", None, None],
            f"Data_Privacy_Opt_Out{ending}": [False, False, False, True, False],
            "left_alone": ["false", "false", "false", "false", "true"],
        }
    )
    log = log_of([("a", 0, "email_sent"), ("a", 1, "email_open")], cases, [opt_in("a")])
    found = candidates(log, holdout_column="left_alone")
    rows = {case: found[case, "email_sent"] for case in "abcde"}
    assert [rows[c]["do_not_call"] for c in "abcde"] == [True, False, False, False, False]
    assert [rows[c]["inactive"] for c in "abcde"] == [False, True, False, False, False]
    assert [rows[c]["privacy_opt_out"] for c in "abcde"] == [False, False, False, True, False]
    assert [rows[c]["holdout"] for c in "abcde"] == [False, False, False, False, True]
    assert [rows[c]["consent"] for c in "abcde"] == ["granted", None, "never", None, None]
    assert rows["b"]["status"] == "inactive"
    assert privacy_flags(cases) == {"d"}


def test_a_draw_leaves_cases_alone(tmp_path: Path) -> None:
    cases = pl.DataFrame({"case_id": ["a", "b", "c"]})
    drawn = pl.DataFrame({"case_id": ["a", "b", "x"], "holdout": [True, False, True]})
    table = drawn.with_columns(stratum=pl.lit("all"), drawn=pl.lit(dt.date(2026, 1, 1)))
    write_holdout(table, tmp_path / "holdout.csv")
    log = log_of([("a", 0, "email_sent"), ("a", 1, "email_open")], cases, [opt_in("a")])
    rows = candidates(log, holdout=str(tmp_path / "holdout.csv"))
    assert [rows[c, "email_sent"]["holdout"] for c in "abc"] == [True, False, False]


def test_the_cap_is_the_setting_or_the_95th_percentile_of_the_group() -> None:
    # 20 contacts: most cases one, one case 8 within a month → the 95th percentile of the running count is 8
    events = [(f"c{i:02d}", 0.0, "email_sent") for i in range(12)] + [
        ("z", d, "email_sent") for d in range(8)
    ]
    log = log_of([*events, ("z", 9.0, "email_open")])
    assert candidates(log, cap_per_28d=3)["z", "email_sent"]["cap"] == 3
    # counts at the contacts: twelve times 1, then 1…8: the 95th percentile of the 20 values is 8 (rank 19)
    assert candidates(log)["z", "email_sent"]["cap"] == 8
    quiet = log_of([("a", 0.0, "email_sent"), ("a", 1.0, "email_open")])
    assert candidates(quiet)["a", "email_sent"]["cap"] == 2
