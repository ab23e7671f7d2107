"""The two doors of the simulator: a log in memory, or extracts and truth on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.files import whole_file, write_json
from behavio.simulate.settings import SimulateSettings

if TYPE_CHECKING:
    import polars as pl

    from behavio.simulate.truth import Truth


def simulate_log(settings: SimulateSettings) -> tuple[pl.DataFrame, Truth]:
    """The clean log (EVENT_SCHEMA and ATTRIBUTES, in order) and everything hidden, nothing written."""
    from behavio.simulate.clean import build_clean
    from behavio.simulate.history import live
    from behavio.simulate.truth import build_truth

    history = live(settings)
    clean = build_clean(history)
    return clean.events, build_truth(history, clean)


def simulate(
    settings: SimulateSettings, out: Path, progress: Callable[[str, float], None] | None = None
) -> dict[str, Any]:
    """Write `out/extracts/` as CRM, mailing and web analytics would export them, and `out/truth/`.

    Returns the summary that is also in truth/summary.json. Same settings, same bytes.
    Raises OSError where `out` cannot be written; every file appears whole or not at all.
    """
    from behavio.simulate import accounts, calls, catalogue, crm, mail, plan, survey, web
    from behavio.simulate.clean import build_clean
    from behavio.simulate.extracts import Tally
    from behavio.simulate.history import live
    from behavio.simulate.truth import build_truth

    def tell(what: str, done: float) -> None:
        if progress is not None:
            progress(what, done)

    history = live(settings, progress)
    clean = build_clean(history)
    tally, extracts = Tally(), Path(out) / "extracts"
    extracts.mkdir(parents=True, exist_ok=True)
    scanned = mail.scanned_mails(history, clean)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("accounts", lambda: crm.write_accounts(history, extracts, tally)),
        ("catalogue", lambda: catalogue.write_catalogue(history, extracts, tally)),
        ("consents", lambda: crm.write_consents(history, clean, extracts, tally)),
        ("calls", lambda: calls.write_calls(history, clean, extracts, tally)),
        ("key messages", lambda: calls.write_messages(history, clean, extracts, tally)),
        ("emails", lambda: mail.write_mails(history, clean, scanned, extracts, tally)),
        ("email activity", lambda: mail.write_mail_answers(history, clean, scanned, extracts, tally)),
        ("portal", lambda: web.write_portal(history, clean, extracts, tally)),
        ("events", lambda: web.write_attendance(history, clean, extracts, tally)),
        ("plan", lambda: plan.write_plan(history, extracts, tally)),
        ("survey", lambda: survey.write_survey(history, extracts, tally)),
        ("affiliations", lambda: accounts.write_affiliations(history, extracts, tally)),
    ]
    for done, (name, step) in enumerate(steps):
        tell(f"writing {name}", done / len(steps))
        step()
    tell("writing truth", 0.9)
    truth = build_truth(history, clean)
    summary = {**truth.summary, "files": tally.files}
    with whole_file(Path(out) / "truth" / "survey.parquet") as draft:
        survey.survey_answers(history).write_parquet(draft, compression="zstd")
    with whole_file(Path(out) / "truth" / "accounts.parquet") as draft:
        accounts.affiliations_of(history)[1].write_parquet(draft, compression="zstd")
    write_truth(truth, clean.events, summary, Path(out) / "truth")
    tell("written", 1.0)
    return summary


def write_truth(truth: Truth, events: pl.DataFrame, summary: dict[str, Any], folder: Path) -> None:
    """Write the hidden facts; summary.json comes last."""
    tables = {
        "events": events,
        "archetypes": truth.archetypes,
        "stages": truth.stages,
        "next_probabilities": truth.next_probabilities,
        "action_effects": truth.action_effects,
    }
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    write_json(folder / "summary.json", summary)
