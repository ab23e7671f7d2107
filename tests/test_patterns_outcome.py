"""What comes before an outcome: only what was known, compared with like, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_journeys import load
from scipy import stats

from behavio.errors import JobError, ModelError
from behavio.kernels import strata
from behavio.patterns import PatternSettings, communications, precedes
from behavio.patterns.outcome import outcome_of, wilson
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
END = 400 * DAY


def logged(cases: list[list[tuple[str, float]]]) -> SequenceSet:
    """Cases of (activity, day); one more case ends the log at day 400."""
    cases = [*(sorted(c, key=lambda e: e[1]) for c in cases), [("end", 400.0)]]
    return SequenceSet.from_traces(
        [[a for a, _ in c] for c in cases], [[int(d * DAY) for _, d in c] for c in cases]
    )


def row_of(frame: pl.DataFrame, pattern: str) -> dict:
    return frame.row(by_predicate=pl.col("pattern") == pattern, named=True)


SETTINGS = PatternSettings(closed=False)


def test_what_comes_before_a_purchase_by_hand():
    # 30 with open → click buy five days later; 30 with click → open never do; all two events, 10 days apart
    cases = [[("open", 0), ("click", 10), ("buy", 15), ("open", 16)]] * 30 + [
        [("click", 0), ("open", 10)]
    ] * 30
    found = precedes(logged(cases), "buy", SETTINGS)
    row = row_of(found.frame, "open → click")
    assert (row["n_cases"], row["n_outcome"], row["share"]) == (30, 30, 1.0)
    # compared: the second event of the 30 others, none followed by buy
    assert row["expected"] < 0.02 and row["lift"] > 20 and row["q_value"] < 1e-12
    assert not any("buy" in a for a in found.frame["activities"])
    assert "30 of 61 cases have the outcome" in found.notes[0]


def test_nothing_after_the_first_outcome_is_seen():
    # "late" only ever comes after the first purchase
    cases = [[("open", 0), ("buy", 5), ("late", 6), ("buy", 8)]] * 40 + [[("open", 0)]] * 40
    found = precedes(logged(cases), "buy", SETTINGS)
    assert not any("late" in a for a in found.frame["activities"])


def test_what_happens_in_the_moment_of_the_outcome_does_not_come_before_it():
    cases = [[("open", 0), ("visit", 5), ("buy", 5)]] * 40 + [[("open", 0), ("visit", 5)]] * 40
    found = precedes(logged(cases), "buy", SETTINGS)
    assert not any(
        "visit" in a and row
        for a, row in zip(found.frame["activities"], found.frame["lift"], strict=False)
        if row and row > 1
    )


def test_a_visit_does_not_come_before_the_download_in_it():
    # minutes apart in one session of the portal; the email a day before does come before it
    cases = [[("mail", 0), ("visit", 1), ("load", 1.01)]] * 40 + [[("mail", 0), ("visit", 1)]] * 40
    log = logged(cases)
    channel = Vocabulary.of(["portal"])
    names = [log.vocabulary.names[t] for t in log.tokens]
    codes = channel.encode(pl.Series(["portal" if n in ("visit", "load") else None for n in names]))
    log = replace(log, fields={"channel": Field(codes, channel)})
    assert not any(
        "visit" in a and lift > 1
        for a, lift in precedes(log, "load", SETTINGS).frame.select("activities", "lift").iter_rows()
    )


def test_the_window_is_kept_and_the_end_of_the_log_is_not_judged():
    # after `a` the purchase comes on day 20; `b` lies too near to the end of the log to be judged
    cases = [[("a", 100), ("buy", 120)]] * 30 + [[("c", 100)]] * 30 + [[("b", 395), ("buy", 397)]] * 30
    wide = precedes(logged(cases), "buy", replace(SETTINGS, within="30d")).frame
    assert row_of(wide, "a")["n_outcome"] == 30 and "b" not in wide["pattern"].to_list()
    narrow = precedes(logged(cases), "buy", replace(SETTINGS, within="10d"))
    assert narrow.frame.height == 0 and narrow.n_tested > 0


def test_the_next_stage_of_several():
    log = logged(
        [[("open", 0), ("visit", 1), ("open", 2), ("load", 3), ("visit", 4)], [("load", 0), ("open", 1)]]
    )
    marked = outcome_of(log, "open < visit < load").marked
    # visit reaches stage 2, load stage 3; coming back is no advance
    assert marked.tolist() == [False, True, False, True, False, True, False, False]


def test_silence_is_seen_only_where_the_log_goes_on_long_enough():
    log = logged([[("a", 0), ("b", 10), ("a", 100)], [("a", 350), ("b", 360)], [("a", 200), ("b", 300)]])
    quiet = outcome_of(log, "silence 60d")
    # after day 10 (until 100), after day 100 and 300 (to the end), after 200; not after 360: 40 days are left
    assert quiet.marked.tolist() == [False, True, True, False, False, True, True, False] and quiet.included
    cases = [[("a", d), ("b", d + 5)] for d in range(100)] + [
        [("b", d), ("c", d + 5), *((("c", d + 5 + 20 * k)) for k in range(1, 18))] for d in range(50)
    ]
    found = precedes(logged(cases), "silence 60d", SETTINGS).frame
    assert row_of(found, "a → b")["share"] == 1.0 and row_of(found, "a → b")["lift"] > 2


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda n: st.tuples(st.just(n[0]), st.integers(0, n[0]), st.just(n[1]), st.integers(0, n[1]))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_test_in_strata_is_the_sum_of_hypergeometric_draws(tables):
    counts = np.array([[(n, a, 0, 0) for n, a, _, _ in tables]], dtype=np.int64)
    totals = np.array([(n0, b) for _, _, n0, b in tables], dtype=np.int64)
    found = strata.compare(counts, totals)[0]
    law, hits, least = np.ones(1), 0, 0
    for n, a, n0, b in tables:
        x = np.arange(max(0, n + a + b - n - n0), min(n, a + b) + 1)
        law = np.convolve(law, stats.hypergeom.pmf(x, n + n0, a + b, n))
        hits, least = hits + a, least + x[0]
    assert found[4] == pytest.approx(law[hits - least :].sum())
    assert found[5] == pytest.approx(law[: hits - least + 1].sum())
    if len(tables) == 1:
        n, a, n0, b = tables[0]
        fisher = stats.fisher_exact([[a, n - a], [b, n0 - b]], alternative="greater").pvalue
        assert found[4] == pytest.approx(fisher)


def test_the_risk_ratio_is_mantel_and_haenszels():
    # (10 · 20 / 30 + 4 · 10 / 30) ÷ (5 · 10 / 30 + 2 · 20 / 30) = (6.67 + 1.33) ÷ (1.67 + 1.33)
    counts = np.array([[(10, 10, 0, 0), (20, 4, 0, 0)]], dtype=np.int64)
    found = strata.compare(counts, np.array([(20, 5), (10, 2)], dtype=np.int64))[0]
    assert found[6] == pytest.approx(8 / 3)


def test_wilsons_interval():
    share, low, high = wilson(np.array([5, 0]), np.array([10, 0]))
    assert share[0] == 0.5 and (low[0], high[0]) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert (low[1], high[1]) == (0.0, 1.0)


def without_effect(seed: int, n_cases: int = 250) -> SequenceSet:
    """Busy cases do more of everything, the outcome included; what they did before says nothing."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(n_cases):
        rate = rng.gamma(2.0, 12.0)
        days = rng.uniform(0, 400, rng.poisson(rate) + 1)
        cases.append([(str(rng.choice(list("aaabbcd"))), d) for d in days])
        cases[-1] += [("buy", d) for d in rng.uniform(0, 400, rng.poisson(rate / 8))]
    return logged(cases)


def test_where_nothing_comes_before_the_outcome_nothing_stands_out():
    found = [precedes(without_effect(seed), "buy", SETTINGS) for seed in range(8)]
    assert all(f.n_tested > 30 for f in found)
    # at a false discovery rate of 5 % a log without any effect has a finding one time in twenty
    assert sum(f.frame.height > 0 for f in found) <= 2
    assert any("nothing stands out" in note for note in found[0].notes) or found[0].frame.height


def test_permuted_outcomes_of_a_real_log_say_nothing(real_log):
    log = load(real_log("complete_journey"))
    names, hits = log.vocabulary.names, 0
    assert precedes(log, "coupon_redeemed", PatternSettings()).frame.height > 10
    token = log.vocabulary.id("coupon_redeemed")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        traces, stamps = [], []
        outcome = [
            log.times[a:b][log.tokens[a:b] == token]
            for a, b in zip(log.offsets, log.offsets[1:], strict=False)
        ]
        for c, donor in enumerate(rng.permutation(log.n_cases)):
            a, b = log.offsets[c], log.offsets[c + 1]
            own = [(t, names[x]) for t, x in zip(log.times[a:b], log.tokens[a:b], strict=False) if x != token]
            joined = sorted([*own, *((t, "coupon_redeemed") for t in outcome[donor])])
            traces.append([n for _, n in joined] or ["store_visit"])
            stamps.append([int(t) // 1_000_000 for t, _ in joined] or [int(log.times[a]) // 1_000_000])
        hits += (
            precedes(
                SequenceSet.from_traces(traces, stamps), "coupon_redeemed", PatternSettings()
            ).frame.height
            > 0
        )
    assert hits <= 1


def campaign(effect: bool, seed: int = 1) -> SequenceSet:
    """300 people get visits and emails at random; an email right after a visit is answered more, or not."""
    rng = np.random.default_rng(seed)
    cases, sides = [], []
    for _ in range(300):
        days, events, last = np.sort(rng.uniform(0, 350, 12)), [], ""
        for day in days:
            kind = str(rng.choice(["call", "mail"]))
            events.append((kind, day, "outbound"))
            good = effect and (last, kind) == ("call", "mail")
            if rng.random() < (0.9 if good else 0.3):
                events.append(("open", day + 2, "inbound"))
            last = kind
        events.sort(key=lambda e: e[1])
        cases.append([(a, d) for a, d, _ in events])
        sides += [s for _, _, s in events]
    log = logged(cases)
    direction = Vocabulary.of(["inbound", "outbound"])
    return replace(log, fields={"direction": Field(direction.encode(pl.Series([*sides, None])), direction)})


def test_the_best_sequence_of_communications():
    found = communications(campaign(True), PatternSettings(within="5d", max_length=3))
    surest = found.frame.filter(pl.col("stands_out") & (pl.col("lift") > 1))
    assert surest["pattern"][0].endswith("call → mail") and surest["share"][0] > 0.8
    assert surest["share_low"][0] < surest["share"][0] < surest["share_high"][0]
    alone = row_of(found.frame, "mail")  # one communication has nothing before it that could help
    assert alone["lift"] is None and alone["share"] > 0.3
    assert any("association, not effect" in note for note in found.notes)


def test_communications_without_an_effect_say_so():
    found = [communications(campaign(False, s), PatternSettings(within="5d", max_length=3)) for s in range(4)]
    assert sum(f.frame["stands_out"].any() for f in found) <= 1
    assert any("nothing stands out" in note for f in found for note in f.notes)


def test_communications_need_a_direction_or_names():
    log = logged([[("call", 0), ("open", 2)]] * 20)
    assert communications(log, PatternSettings()).frame.height == 0
    named = communications(log, PatternSettings(communications=("call",)))
    assert row_of(named.frame, "call")["n_outcome"] == 20
    with pytest.raises(JobError, match="cal") as raised:
        communications(log, PatternSettings(communications=("cal",)))
    assert "call" in raised.value.hint


def test_outcomes_that_cannot_be_are_refused():
    log = logged([[("open", 0), ("buy", 2)]] * 5)
    with pytest.raises(JobError, match="no activity 'bye'"):
        precedes(log, "bye", SETTINGS)
    with pytest.raises(JobError, match="more than one step"):
        precedes(log, "open -> buy", SETTINGS)
    with pytest.raises(JobError, match="duration"):
        precedes(log, "silence long", SETTINGS)
    with pytest.raises(ModelError, match="no clock"):
        precedes(replace(log, timed=False), "buy", SETTINGS)
    assert precedes(logged([[("buy", 0)]] * 5), "buy", SETTINGS).frame.height == 0
