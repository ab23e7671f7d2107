"""How sure a gain is: people left out one by one, worlds in which nothing works, Holm by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from behavio.suggest.controls import impute
from behavio.suggest.proof import FAMILY_LEVEL, PROOF_SCHEMA, Shared, family, prove

PEOPLE, DAYS = 60, 24


def world(seed: int, works: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Free windows and contacts of two groups; eager people, busy days; contacts add `works` in group b."""
    random = np.random.default_rng(seed)
    case, day = (grid.ravel() for grid in np.meshgrid(np.arange(PEOPLE), np.arange(DAYS), indexing="ij"))
    seen = random.random(len(case)) < 0.5
    case, day = case[seen], day[seen]
    eager = random.choice([0.1, 0.6], PEOPLE)[case]
    contact = random.random(len(case)) < 0.2 + 0.5 * eager  # the eager ones are contacted more often
    chance = eager + 0.2 * (day % 5 == 0) + works * contact * (case % 2)
    frame = pl.DataFrame({"case": case, "day": day, "response": (random.random(len(case)) < chance) * 1})
    frame = frame.with_columns(pressure=pl.lit(0), seen=pl.lit(""), recent=pl.lit(0))
    frame = frame.with_columns(segment=pl.Series(np.array(["a", "b"])[case % 2]))
    controls, contacts = frame.filter(~contact), frame.filter(contact)
    contacts = contacts.join(controls, on="case", how="semi").join(controls, on="day", how="semi")
    return controls, contacts.with_columns(base=impute(controls, contacts))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_error_of_a_gain_is_that_of_people_left_out_one_by_one(seed: int) -> None:
    controls, contacts = world(seed)
    proofs = prove(Shared.of(controls, contacts), contacts)
    assert proofs["segment"].to_list() == [None, "a", "b"]
    for row in proofs.iter_rows(named=True):
        chosen = contacts if row["segment"] is None else contacts.filter(segment=row["segment"])
        gain = (chosen["response"] - chosen["base"]).mean()
        assert row["n"] == chosen.height and row["cases"] == chosen["case"].n_unique()
        assert row["gain"] == pytest.approx(gain)
        left = []
        for case in range(PEOPLE):
            others, own = controls.filter(pl.col("case") != case), chosen.filter(pl.col("case") != case)
            left.append((own["response"].to_numpy() - impute(others, own)).mean())
        jackknife = np.sqrt((PEOPLE - 1) / PEOPLE * ((np.array(left) - np.mean(left)) ** 2).sum())
        assert 0.85 < row["error"] / jackknife < 1.15


def test_gains_of_nothing_spread_as_wide_as_their_errors_say() -> None:
    found = []
    for seed in range(80):
        controls, contacts = world(seed)
        found.append(prove(Shared.of(controls, contacts), contacts))
    proofs = pl.concat(found)
    ratio = (proofs["gain"] / proofs["error"]).to_numpy()
    assert abs(ratio.mean()) < 0.25 and 0.85 < ratio.std() < 1.15
    sure = [(family(f, 30)["family_p"] <= FAMILY_LEVEL).any() for f in found]
    assert sum(sure) <= 3  # 0.8 expected


def test_what_works_in_one_group_is_proven_there_alone() -> None:
    controls, contacts = world(5, works=0.35)
    table = family(prove(Shared.of(controls, contacts), contacts), 30)
    told = dict(table.select("segment", "family_p").iter_rows())
    assert told["b"] <= FAMILY_LEVEL < told["a"]


def test_long_logs_are_reckoned_in_blocks_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    controls, contacts = world(1)
    whole = prove(Shared.of(controls, contacts), contacts)
    monkeypatch.setattr("behavio.suggest.proof.MOST_DAYS", 12)
    assert Shared.of(controls, contacts).design.shape[1] == 12 + 3
    blocks = prove(Shared.of(controls, contacts), contacts)
    assert whole["gain"].to_list() == blocks["gain"].to_list()
    assert np.allclose(whole["error"], blocks["error"], rtol=0.3)


def proofs(*rows: tuple[float, int, int]) -> pl.DataFrame:
    """Rows of (gain, n, cases), each with error 1 and so many degrees of freedom that t is normal."""
    table = [("s", n, cases, gain, 1.0, 1e9) for gain, n, cases in rows]
    return pl.DataFrame(table, schema=PROOF_SCHEMA, orient="row")


def test_holm_over_all_that_was_tested() -> None:
    # one-sided p of 3.09, 2.326, 0: .001, .01, .5; Holm of three tests: .003, .02, .5
    table = family(proofs((0.0, 50, 9), (3.0902, 50, 9), (2.3263, 50, 9)), 30)
    assert table["p_value"].to_list() == pytest.approx([0.5, 0.001, 0.01], rel=1e-3)
    assert table["family_p"].to_list() == pytest.approx([0.5, 0.003, 0.02], rel=1e-3)
    # .01 and .011 of two: .02, and never less than what came before
    near = family(proofs((2.3263, 50, 9), (2.2904, 50, 9)), 30)
    assert near["family_p"].to_list() == pytest.approx([0.02, 0.02], rel=1e-3)
    # what rests on too little is no test, and costs the others nothing
    few = family(proofs((3.0902, 50, 9), (9.0, 29, 9), (9.0, 50, 1)), 30)
    assert few["family_p"].to_list() == [pytest.approx(0.001, rel=1e-3), None, None]


def test_no_contact_no_proof() -> None:
    assert family(proofs(), 30).columns == [*PROOF_SCHEMA, "p_value", "family_p"]
