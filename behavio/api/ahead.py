"""What comes next: predictions, their evaluation, cases that were where one is now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.api.data import Data, Frame, like, read, sequences_of, settings_of, split
from behavio.errors import JobError
from behavio.files import read_json
from behavio.folder import needed, refuse_settings, run_folder, table_of
from behavio.log import EventLog
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    from behavio.models import Alike


ASKED = ("as_of", "top", "min_history", "min_evidence")
"""Settings of models that say what is asked, not what is learnt."""


def predict(data: Data, *, model: str | Path | None = None, seed: int = 7, **settings: Any) -> Frame:
    """Next steps of every case: activity, probability, when (median and 80 % interval), evidence.

    A case with not enough history has one row of rank 0 that says so. `model` is a run whose models are
    asked instead of learning from `data`; ModelError where they do not fit it.
    """
    from behavio.models import ModelSettings, predict_next, predict_saved

    if model is not None:
        own, columns = split(ModelSettings, settings)
        needed(Path(model), "models/metrics.json")
        idle = [name for name in own if name not in ASKED]
        if idle:
            raise JobError(
                f"{model} has learnt already: {', '.join(idle)} would change nothing",
                hint=f"leave it out (of use are {', '.join(ASKED)}), or leave out the model",
            )
        asked = settings_of(ModelSettings, own)
        return like(data, predict_saved(sequences_of(data, columns), Path(model) / "models", asked))
    table = table_of(data, "next/next_steps.parquet", settings)
    if table is None:
        own, columns = split(ModelSettings, settings)
        table = predict_next(sequences_of(data, columns), settings_of(ModelSettings, own), seed=seed)
    return like(data, table)


def within(data: Data, *, seed: int = 7, **settings: Any) -> Frame:
    """The next 7, 30 and 90 days of every case: chance and expected number of each activity."""
    from behavio.models import ModelSettings, predict_within

    table = table_of(data, "next/horizons.parquet", settings)
    if table is None:
        own, columns = split(ModelSettings, settings)
        table = predict_within(sequences_of(data, columns), settings_of(ModelSettings, own), seed=seed)
    return like(data, table)


def evaluate(data: Data, *, seed: int = 7, **settings: Any) -> dict[str, Any]:
    """Every model against its baselines on the same held-out events.

    A run folder answers with its metrics.json. Of a log: without rules, one cut in time and the model that
    would be used; with any of the rules of `models.Protocol` (`split`, `column`, `end`, `first`,
    `min_prefix`, `seeds`, `models`, `fields`) all models under these rules, see `models.benchmark`.
    """
    from behavio import models

    folder = run_folder(data)
    if folder:
        refuse_settings(folder, settings)
        return dict(read_json(needed(folder, "models/metrics.json")))
    settings = {k: v for k, v in settings.items() if v is not None}
    known = models.Protocol.__dataclass_fields__
    rules = {k: v for k, v in settings.items() if k in known and k != "cut"}
    own, columns = split(models.ModelSettings, {k: v for k, v in settings.items() if k not in rules})
    if not rules:
        return models.evaluate(sequences_of(data, columns), settings_of(models.ModelSettings, own), seed=seed)
    rules |= {k: v for k, v in own.items() if k == "cut"}
    protocol = settings_of(models.Protocol, rules)
    chosen = settings_of(models.ModelSettings, own)
    if isinstance(data, SequenceSet):
        return models.benchmark_log(data, protocol, chosen, seed)
    if not isinstance(data, EventLog):
        columns["keep"] = [*columns.get("keep", ()), *models.fields_asked(protocol)]
    return models.benchmark_log(read(data, **columns), protocol, chosen, seed)


def neighbours(data: Data, case_id: str, *, k: int = 100, within: str | None = None, **columns: Any) -> Alike:
    """What those did next who were lately where this case is now: `next`, `moments`, `sentence`.

    `k` cases are compared, each by its most similar moment; `within` looks only at the last "180d".
    """
    from behavio.models import find_alike

    return find_alike(sequences_of(data, columns), case_id, k, within)
