"""The off-policy estimate: by hand, against a world whose answers are known, and where it may say nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from oracles_suggest import log_of

from behavio.suggest import SuggestSettings
from behavio.suggest.found import Found
from behavio.suggest.make import make_suggestions
from behavio.suggest.offpolicy import FLOOR, Judged, _error, _estimates
from behavio.suggest.settings import moment
from behavio.suggest.timeline import read_timeline
from behavio.suggest.uplift import holdout_uplift

LOOSE = SuggestSettings(min_evidence=5, cap_per_28d=99, max_per_owner_day=99, message_fresh="1000d")


def judged(done: list[int], suggested: list[int], answered: list[int]) -> Judged:
    contacts = pl.DataFrame({"case": list(range(len(done))), "response": answered})
    return Judged(contacts, ("a", "b"), np.array(done), np.array(suggested))


def test_standard_errors_take_each_case_as_one() -> None:
    # influences +1 +1 −1 −1: alone 4 independent rows give √4/4; as two cases their sums +2 −2 give √8/4
    influence = np.array([1.0, 1.0, -1.0, -1.0])
    assert _error(influence, np.arange(4)) == pytest.approx(2 / 4)
    assert _error(influence, np.array([0, 0, 1, 1])) == pytest.approx(np.sqrt(8) / 4)


def test_a_policy_that_keeps_everything_gains_nothing() -> None:
    rng = np.random.default_rng(0)
    done, answered = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    told = _estimates(judged(list(done), [-1] * 400, list(answered)), rng.normal(size=(400, 2)))
    for way in ("snips", "doubly_robust"):
        assert told[way]["gain"] == 0.0 and told[way]["value"] == told["done"]["value"]
    assert told["overlap"]["effective_share"] == 1.0 and told["overlap"]["without_support"] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_known_answers_are_found_though_the_company_chose_by_eagerness(seed: int) -> None:
    # a is answered by 0.2 + 0.4 eager, b by 0.5 + 0.4 eager; the company gives b to the lazy: plain means
    # of what was done show hardly any difference, the truth of "always b" is 0.5 + 0.4 · 0.5 = 0.7
    rng = np.random.default_rng(seed)
    n = 6_000
    eager = rng.integers(0, 2, n)
    done = (rng.random(n) < np.where(eager == 1, 0.2, 0.8)).astype(int)
    answered = (rng.random(n) < np.where(done == 1, 0.5, 0.2) + 0.4 * eager).astype(int)
    told = _estimates(judged(list(done), [1] * n, list(answered)), eager[:, None].astype(float))
    assert abs(answered[done == 1].mean() - 0.7) > 0.05
    for way in ("snips", "doubly_robust"):
        assert told[way]["value"] == pytest.approx(0.7, abs=0.035)
        assert told[way]["low"] <= 0.7 + 0.01 and told[way]["high"] >= 0.7 - 0.01
        assert told[way]["gain_low"] > 0
    assert 0.2 < told["overlap"]["effective_share"] < 0.6


def test_what_was_never_done_has_no_support() -> None:
    rng = np.random.default_rng(1)
    told = _estimates(judged([0] * 300, [1] * 300, list(rng.integers(0, 2, 300))), rng.normal(size=(300, 1)))
    assert told["overlap"]["without_support"] == 1.0 and told["overlap"]["floor"] == FLOOR
    assert told["same_share"] == 0.0


def world(seed: int, works: bool) -> list[tuple[Any, ...]]:
    """Calls and emails by chance; when they work a call is answered by 70 %, an email by 30 %."""
    rng = np.random.default_rng(seed)
    events: list[tuple[Any, ...]] = []
    for i in range(80):
        day = float(rng.uniform(0, 10))
        while day < 190:
            action = ("call_f2f", "email_sent")[int(rng.random() < 0.5)]
            events.append((f"h{i:02d}", round(day, 3), action, {"actor_id": "rep"}))
            chance = 0.2 if not works else 0.7 if action == "call_f2f" else 0.3
            if rng.random() < chance:
                events.append((f"h{i:02d}", round(day + float(rng.uniform(0.1, 6)), 3), "portal_visit"))
            day += 15 + float(rng.exponential(4))
    return [*events, ("zz", 205.0, "portal_visit")]


def test_the_stage_estimates_its_own_policy() -> None:
    made = make_suggestions(log_of(world(1, True)), None, None, LOOSE, lambda _w, _s: None, Found())
    told = made.facts["policy"]
    # half of the contacts were emails (0.3), half calls (0.7): always calling is worth 0.2 more
    assert told["doubly_robust"]["gain"] == pytest.approx(0.2, abs=0.08)
    assert told["doubly_robust"]["gain_low"] > 0 and told["snips"]["gain_low"] > 0
    shares = {a["action"]: a["suggested"] for a in told["actions"]}
    assert shares["call_f2f"] > 0.9
    again = make_suggestions(log_of(world(1, True)), None, None, LOOSE, lambda _w, _s: None, Found())
    assert again.facts == made.facts


def test_where_nothing_works_no_gain_is_told() -> None:
    signs = []
    for seed in range(3):
        made = make_suggestions(log_of(world(seed, False)), None, None, LOOSE, lambda _w, _s: None, Found())
        signs.append(made.facts["policy"]["doubly_robust"]["gain_low"] > 0)
    assert sum(signs) <= 1


def test_too_few_contacts_say_so() -> None:
    few = make_suggestions(log_of(world(1, True)[:100]), None, None, LOOSE, lambda _w, _s: None, Found())
    assert "too few" in few.facts["policy"]["note"]


def test_a_holdout_by_hand() -> None:
    # 40 held out answer never, 40 others once in 28 days: uplift 1, no spread, so the interval is a point
    events = [(f"c{i:02d}", 0.0, "email_sent") for i in range(40)]
    events += [(f"c{i:02d}", 5.0, "portal_visit") for i in range(40)]
    events += [(f"d{i:02d}", 0.0, "portal_visit", {"team": "medical"}) for i in range(40)]
    log = log_of([*events, ("c00", 28.0, "message_shown")])
    t = read_timeline(log, SuggestSettings())
    assert t.as_of == moment((dt.datetime(2025, 1, 6) + dt.timedelta(days=28)).isoformat())
    told = holdout_uplift(t, pl.Series([c.startswith("d") for c in t.case_ids]))
    assert told["answers_28d"] == {"held": 0.0, "rest": 1.0, "uplift": 1.0, "low": 1.0, "high": 1.0}
    assert told["contacts_28d"] == {"held": 0.0, "rest": 1.0}
    assert told["by_activity"] == [{"activity": "portal_visit", **told["answers_28d"]}]
    small = holdout_uplift(t, pl.Series([c == "d00" for c in t.case_ids]))
    assert "too few" in small["note"]
