"""Whole jobs and what comes of them: runs, the demo, reports, deliveries, erasure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.api.data import settings_of
from behavio.files import read_json, write_json
from behavio.folder import checked_run

if TYPE_CHECKING:
    from behavio.card import Line
    from behavio.erase import Erasure
    from behavio.report.serve import Server
    from behavio.run import Result, Watcher
    from behavio.targets import CrmReceipt, Receipt


def run(
    job: str | Path,
    *,
    out: str | Path | None = None,
    changes: tuple[str, ...] = (),
    start: str | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Run a job file into `out` (default runs/<job>); unchanged stages are reused."""
    from behavio import run as room
    from behavio.job import read_job

    wanted = read_job(Path(job), changes)
    return room.run(wanted, Path(out or Path("runs") / wanted.name), start=start, watcher=watcher)


def simulate(out: str | Path, *, progress: Any = None, **settings: Any) -> dict[str, Any]:
    """Raw extracts as the CRM, the mailer and the web site would export them, plus the truth beside them."""
    from behavio.simulate import SimulateSettings
    from behavio.simulate import simulate as make

    return make(settings_of(SimulateSettings, settings), Path(out), progress)


def simulate_patients(
    out: str | Path, *, n_patients: int = 2_000, n_hcps: int | None = None, seed: int = 7
) -> dict[str, Any]:
    """Patients with known lines of therapy: OMOP tables in out/omop, the truth in out/truth.

    Their prescribers bear the ids of the first `n_hcps` simulated HCPs (40 where there are as many).
    """
    from behavio.simulate.patients import PatientSettings
    from behavio.simulate.patients import simulate_patients as make

    return make(PatientSettings(n_patients, min(n_hcps or 40, 40), seed=seed), Path(out))


def demo(
    out: str | Path = "demo", *, n_cases: int = 10_000, seed: int = 7, watcher: Watcher | None = None
) -> Result:
    """Simulate a year of HCPs into out/data and run the whole demo job on it into out/run."""
    from behavio import run as room
    from behavio.job import demo_job

    extracts = demo_data(out, n_cases=n_cases, seed=seed, watcher=watcher)
    return room.run(demo_job(extracts, seed), Path(out) / "run", watcher=watcher)


def demo_data(
    out: str | Path = "demo", *, n_cases: int = 10_000, seed: int = 7, watcher: Watcher | None = None
) -> Path:
    """The folder of the demo's extracts, simulated unless they lie there already."""
    data = Path(out) / "data"
    settings, note = {"n_cases": n_cases, "seed": seed}, data / "settings.json"
    if not (note.is_file() and read_json(note) == settings):
        if watcher:
            watcher.stage("simulate", "started", 0.0)
        began = time.perf_counter()
        note.unlink(missing_ok=True)
        simulate(data, progress=watcher.progress if watcher else None, **settings)
        write_json(note, settings)
        if watcher:
            watcher.stage("simulate", "done", time.perf_counter() - began)
    return data / "extracts"


def report(folder: str | Path, *, out: str | Path | None = None, form: str = "html", **settings: Any) -> Path:
    """Write a finished run's report again; the path of what was asked for.

    form    "html", "pptx", "markdown", "csv" or "parquet" (the last two: the folder of tables)
    out     where to; default RUN/report, or RUN/reports/… for one group, role or language alone
    """
    from behavio.report import ReportSettings, forms, write_report

    run_folder = checked_run(folder)
    also = tuple(settings.pop("also", ()))
    wanted = settings_of(ReportSettings, {**settings, "also": (*also, *(() if form == "html" else (form,)))})
    target = forms.place(run_folder, wanted) if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    write_report(run_folder, wanted, target)
    return target / forms.NAMES[form]


def card(folder: str | Path) -> tuple[str, list[Line]]:
    """The model card of a finished run: its name and lines of part, what, text, value."""
    from behavio.card import read_card

    return read_card(checked_run(folder))


def explore(folder: str | Path, *, port: int = 0, **settings: Any) -> Server:
    """A server on this machine that shows a finished run, filtered as asked; call its serve_forever()."""
    from behavio.report import ReportSettings
    from behavio.report.explore import Explorer
    from behavio.report.serve import listen

    return listen(Explorer(checked_run(folder), settings_of(ReportSettings, settings)), port)


def deliver(
    folder: str | Path, *, progress: Callable[[str, float], None] | None = None, **settings: Any
) -> Receipt | CrmReceipt:
    """Bring labels and suggestions of a finished run into the CRM, or write them as files into its delivery/.

    `dry_run=True` (the default) only plans, into delivery-plan/, so that it never hides a real receipt.
    """
    from behavio.targets import DeliverSettings
    from behavio.targets import deliver as send

    run_folder, wanted = checked_run(folder), settings_of(DeliverSettings, settings)
    target = run_folder / ("delivery-plan" if wanted.dry_run else "delivery")
    target.mkdir(exist_ok=True)
    return send(run_folder, wanted, target, progress)


def erase(folder: str | Path, ids: Sequence[str]) -> Erasure:
    """Remove people from a finished run and keep them out of it: rows, models, pages; see behavio.erase."""
    from behavio.erase import erase as remove

    return remove(checked_run(folder), list(ids))
