"""How sure the base of contacts is: the people left out one by one say the same."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from behavio.suggest.controls import impute
from behavio.suggest.proof import Shared

FREE, REACHED, WAVES = 16, 120, 8


def windows(rows: np.ndarray, response: np.ndarray) -> pl.DataFrame:
    """Windows (case, day) with nothing else to tell them apart."""
    frame = pl.DataFrame({"case": rows[:, 0], "day": rows[:, 1], "response": response})
    return frame.with_columns(pressure=pl.lit(0), seen=pl.lit(""), recent=pl.lit(0))


def campaign(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Waves that reach all but a few, who answer the time in their own way, and quiet days of everybody."""
    random = np.random.default_rng(seed)
    few = [(case, day) for case in range(FREE) for day in range(2 * WAVES)]
    quiet = [(case, day) for case in range(FREE, FREE + REACHED) for day in range(WAVES, 2 * WAVES, 3)]
    rows = np.array(few + quiet)
    own = random.choice([0.1, 0.9], FREE + REACHED)  # the same on every wave: people, not windows, are many
    chance = np.where(rows[:, 1] < WAVES, own[rows[:, 0]], 0.3)
    controls = windows(rows, (random.random(len(rows)) < chance).astype(np.int64))
    waves = np.array([(case, day) for case in range(FREE, FREE + REACHED) for day in range(WAVES)])
    return controls, windows(waves, np.zeros(len(waves), dtype=np.int64))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_doubt_is_that_of_people_left_out_one_by_one(seed: int) -> None:
    controls, contacts = campaign(seed)
    base, doubt = impute(controls, contacts), Shared.of(controls, contacts).doubt()
    left_out = [impute(controls.filter(pl.col("case") != c), contacts).mean() for c in range(FREE)]
    jackknife = (FREE - 1) / FREE * ((np.array(left_out) - np.mean(left_out)) ** 2).sum()
    assert 0.6 < doubt / jackknife < 1.6
    # windows taken for independent would promise a third of that error, or less
    p = base.mean()
    assert doubt > 9 * p * (1 - p) / controls.filter(pl.col("day") < WAVES).height / 2


def test_doubt_covers_the_truth() -> None:
    # on average a wave day brings 0.5; of 60 campaigns about 57 intervals of 95 % hold it
    found = [(impute(*c), Shared.of(*c).doubt()) for c in map(campaign, range(60))]
    inside = sum(abs(base.mean() - 0.5) < 1.96 * doubt**0.5 for base, doubt in found)
    assert inside >= 52
