"""How good a run is and where it ends: held-out figures, calibration, stability, drift, limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.card.line import Line, table, told
from behavio.card.strength import hypothesis


def _pick(metrics: Mapping[str, Any], name: str) -> dict[str, Any]:
    return next((m for m in metrics.get("models", []) if m["name"] == name), {})


def metrics(run: Path) -> list[Line]:
    """Held-out figures of the model in use, beside the best baseline."""
    found, part = told(run, "models/metrics.json"), "Metrics"
    if not found:
        return [Line(part, "Next step", "unknown: the job has no [model]")]
    used = _pick(found, str(found.get("default")))
    if not used:
        return [Line(part, "Next step", f"unknown: {found.get('reason') or 'nothing was judged'}")]
    lines = [
        Line(
            part,
            "Next step",
            f"{used['name']} names it right in {used['accuracy']:.1%} of {found['n_test_events']:,} events "
            f"after {found['cut'][:10]}, among its first three in {used['top3']:.1%}",
            used["accuracy"],
        )
    ]
    base = [m for m in found["models"] if m["kind"] == "baseline" and m.get("nll") is not None]
    if base and used.get("nll") is not None:
        best = min(base, key=lambda m: m["nll"])
        lines.append(
            Line(
                part,
                "Against the best baseline",
                f"surprise per event {used['nll']:.3f} nats, {best['name']} {best['nll']:.3f} and right in "
                f"{best['accuracy']:.1%}",
                {"nll": used["nll"], "baseline": best["nll"]},
            )
        )
    gap = found.get("gap") or {}
    if gap.get("mae_days") is not None:
        lines.append(
            Line(
                part,
                "When",
                f"off by {gap['mae_days']:.1f} days in the mean, one constant by "
                f"{gap['constant_mae_days']:.1f}",
                gap["mae_days"],
            )
        )
    return lines


def calibration(run: Path) -> list[Line]:
    """Whether what is said to be so likely comes so often."""
    found, part = told(run, "models/metrics.json"), "Calibration"
    used = _pick(found, str(found.get("default"))) if found else {}
    lines = []
    if used.get("ece") is not None:
        lines.append(
            Line(
                part,
                "Probabilities",
                f"off by {used['ece'] * 100:.1f} points in the mean (ECE)",
                used["ece"],
            )
        )
    if (found.get("gap") or {}).get("coverage") is not None:
        gap = found["gap"]
        text = f"intervals meant to hold {gap['interval']:.0%} of the waits held {gap['coverage']:.0%}"
        lines.append(Line(part, "Times", text, gap["coverage"]))
    sets = (found.get("promises") or {}).get("sets90")
    if sets:
        text = (
            f"meant to hold 90% of what comes, held {sets['coverage']:.0%} with {sets['size']:.1f} activities"
        )
        lines.append(Line(part, "Sets", text, sets["coverage"]))
    asked = table(run, "perceptions/questions.parquet")
    if asked is not None and asked.filter(status="projected").height:
        worst = asked.filter(status="projected").sort("gap", descending=True).row(0, named=True)
        text = f"projected answers off by at most {worst['gap']:.3f} in the mean ({worst['question']})"
        lines.append(Line(part, "Perceptions", text, worst["gap"]))
    return lines or [Line(part, "Probabilities", "unknown: no model was judged")]


def stability(run: Path) -> list[Line]:
    """Whether the groups are found again."""
    page, part = told(run, "segments/profiles.json"), "Stability"
    if not page:
        return [Line(part, "Groups", "unknown: the job has no [segments]")]
    proof = page.get("proof") or {}
    if not proof:
        return [Line(part, "Groups", f"{page['k']} group: nothing to find again", page["k"])]
    lines = [
        Line(
            part,
            "Groups",
            f"{page['k']} groups; found again in parts of the log with agreement {proof['stability']:.2f}, "
            f"at worst {proof['stability_low']:.2f} (1 the same, 0 chance)",
            proof["stability"],
        )
    ]
    again = table(run, "segments/stability.parquet")
    if again is not None and again.height > 1:
        low = again.sort("found_again", "segment").row(0, named=True)
        lines.append(
            Line(part, "Least sure", f"“{low['segment']}”, {low['found_again']:.2f}", low["found_again"])
        )
    since = table(run, "segments/changes.parquet")
    if since is not None and "kind" in since.columns:
        counted = since.group_by("kind").len().sort("kind")
        text = ", ".join(f"{n} {kind}" for kind, n in counted.iter_rows())
        lines.append(Line(part, "Since the run before", text, dict(counted.iter_rows())))
    return lines


def drift(run: Path) -> list[Line]:
    """Whether the newest events still are what was learned."""
    surprise = (told(run, "models/metrics.json").get("promises") or {}).get("surprise")
    part, lines = "Drift", []
    if surprise:
        word = "alarm: held-out events surprise more" if surprise["alarm"] else "none seen: no more surprise"
        lines.append(
            Line(
                part,
                "Model",
                f"{word} than the model expects ({surprise['mean']:+.3f} nats, {surprise['low']:+.3f} to "
                f"{surprise['high']:+.3f})",
                surprise["alarm"],
            )
        )
    moved = table(run, "journeys/changes.parquet")
    if moved is not None:
        days = [str(d)[:10] for d in moved["since"].to_list()] if moved.height else []
        text = f"changed around {', '.join(days)}" if days else "no day from which steps changed"
        lines.append(Line(part, "Journeys", text, days))
    return lines or [Line(part, "Model", "unknown: no model was judged")]


def _rests_on(steps: pl.DataFrame) -> Line:
    """How many next steps rest on the person, on her group, on everybody."""
    first = steps.filter(pl.col("rank") == 1)
    if "rests_on" not in first.columns:
        return Line("Limits", "Next steps rest on", "unknown: an older run")
    counted = dict(first.group_by("rests_on").len().sort("rests_on").iter_rows())
    said = ", ".join(f"{what} {counted.get(what, 0):,}" for what in ("person", "group", "base rate"))
    return Line("Limits", "Next steps rest on", f"{said} (cases)", counted)


def limits(run: Path, job: Mapping[str, Any]) -> list[Line]:
    """What the run cannot tell, as its own stages say it."""
    part, lines = "Limits", []
    small = hypothesis(run)
    if small is not None:
        lines.append(Line(part, "Size", f"a hypothesis: {small}", small))
    if job.get("suggest") and not (job["suggest"] or {}).get("holdout"):
        text = "unknown: nobody was left alone by lot (behavio holdout), all figures are associations"
        lines.append(Line(part, "Effect of contacts", text))
    wanted = table(run, "goals/goals.parquet")
    if wanted is not None and wanted.height:
        counted = dict(wanted.group_by("verdict").len().sort("verdict").iter_rows())
        text = ", ".join(f"{n} {verdict}" for verdict, n in counted.items())
        lines.append(Line(part, "Goals", text, counted))
    silent = table(run, "next/next_steps.parquet")
    if silent is not None:
        lines.append(_rests_on(silent))
    asked = table(run, "perceptions/questions.parquet")
    if asked is not None:
        refused = asked.filter(pl.col("status") != "projected")["question"].to_list()
        if refused:
            lines.append(Line(part, "Not projected", ", ".join(refused), refused))
    for where in ("segments/profiles.json", "pressure/facts.json", "perceptions/facts.json"):
        for note in told(run, where).get("notes", [])[:2]:
            lines.append(Line(part, where.partition("/")[0].capitalize(), str(note)))
    return lines or [Line(part, "Limits", "none that the stages of this run name")]
