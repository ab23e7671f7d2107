"""Market research among some HCPs: what can be told from behaviour, what cannot, and what the rater makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.files import whole_file
from behavio.simulate.crm import DAY
from behavio.simulate.extracts import Tally, dates
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids

DIGITAL = "Prefers digital contact"
CONVINCED = "Convinced of the efficacy (1-5)"
PRICE = "Price is a barrier"
SERVICE = "Satisfied with the service"
SALT = 20_261
"""Answers have random numbers of their own: a survey changes nothing else."""
RATERS = 12
ASKED_DAYS = 30
"""Answers were given in so many days before the end."""


def survey_answers(history: History) -> pl.DataFrame:
    """What every HCP would say: case_id, question, answer, asked, rater.

    Digital preference follows how often HCPs of her kind visit the portal, conviction her stage; what is
    said of the price has nothing to do with behaviour; satisfaction is made by who asks. Asked are 300 at
    most, often visited ones more likely.
    """
    people, track = history.people, history.track
    n = len(people.archetype)
    rng = np.random.default_rng([history.settings.seed, SALT])
    stage = people.stage.copy()
    stage[track.case] = track.stage  # events are in order of time, so the newest one stays
    visits = history.world.portal_rate
    digital = rng.random(n) < np.where(visits[people.archetype] > np.median(visits), 0.9, 0.1)
    convinced = np.clip(np.rint(1 + stage + rng.normal(0, 0.5, n)), 1, 5).astype(np.int64)
    price = rng.random(n) < 0.35
    rater = people.territory % RATERS
    pleased = rng.random(n) < np.where(rater % 2 == 0, 0.85, 0.35)
    chance = people.calls + 0.5
    asked = np.zeros(n, bool)
    size = min(300, n // 2)
    asked[rng.choice(n, size, replace=False, p=chance / chance.sum())] = True
    said = {
        DIGITAL: np.where(digital, "yes", "no"),
        CONVINCED: convinced.astype(str),
        PRICE: np.where(price, "yes", "no"),
        SERVICE: np.where(pleased, "yes", "no"),
    }
    ids, names = crm_ids("Account", np.arange(n)), [f"Interviewer {r + 1}" for r in rater]
    parts = [
        pl.DataFrame({"case_id": ids, "question": q, "answer": a, "asked": asked, "rater": names})
        for q, a in said.items()
    ]
    return pl.concat(parts)


def write_survey(history: History, folder: Path, tally: Tally) -> None:
    """Survey.csv: one row per answer of those who were asked."""
    table = survey_answers(history).filter("asked")
    rng = np.random.default_rng([history.settings.seed, SALT, 1])
    last = history.settings.start_s + history.settings.n_days * DAY
    when = dates(last - rng.integers(1, ASKED_DAYS, table.height) * DAY)
    table = table.select("case_id", "question", "answer", "rater").with_columns(answered=when)
    with whole_file(folder / "Survey.csv") as draft:
        table.write_csv(draft)
    tally.wrote("Survey.csv", table.height, {})
