"""The closing words of a run: what was found, where the report is, what to do next."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from behavio.cli.show import console
from behavio.run import Result


def closing(result: Result) -> None:
    """Print the summary on stderr and the path of the report (or the run folder) on stdout."""
    import click

    out = console()
    out.soft_wrap = True
    facts = {name: stage["facts"] for name, stage in result.manifest["stages"].items()}
    out.print()
    for line in found(facts):
        out.print(f"  {line}")
    seconds = sum(m["seconds"] for n, m in result.manifest["measured"].items() if n not in result.reused)
    peak = max((m["peak_memory_mb"] for m in result.manifest["measured"].values()), default=0)
    reused = f", {len(result.reused)} stages unchanged" if result.reused else ""
    out.print(f"\n  [dim]{seconds:.0f} s, at most {peak / 1000:.1f} GB of memory{reused}[/dim]")
    out.print("\n  Next:")
    for command, why in steps(result, facts):
        out.print(f"    behavio {command:<44} [dim]{why}[/dim]")
    out.print()
    report = result.folder / "report" / "report.html"
    click.echo(report if report.exists() else result.folder)


def found(facts: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence per stage that found something."""
    log = facts["log"]
    size = f"[bold]{_n(log['n_events'], 'event')} of {_n(log['n_cases'], 'case')}[/bold]"
    says = [f"{size}, {_span(log)}{_rejected(log)}"]
    for stage, speak in SPEAKERS.items():
        if stage in facts:
            says.append(speak(facts[stage]))
    return [s for s in says if s]


def _n(count: int, what: str) -> str:
    """1 case, 2 cases."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _span(log: dict[str, Any]) -> str:
    return f"{log['first'][:10]} to {log['last'][:10]}" if log["first"] else "in order, without a clock"


def _rejected(log: dict[str, Any]) -> str:
    n = log["n_rejected"]
    return f"; {_n(n, 'row')} rejected, kept in log/rejected.parquet" if n else "; no row rejected"


def _journeys(f: dict[str, Any]) -> str:
    return (
        f"{f['n_variants']:,} distinct journeys, {f['n_edges']:,} different steps"
        if "n_variants" in f
        else ""
    )


def _models(f: dict[str, Any]) -> str:
    if not f.get("n_test_events"):
        return "too few events to judge a model"
    share, n = f["accuracy"], f["n_test_events"]
    return f"the next step is named right in {share:.0%} of {n:,} later events ({f['default']})"


def _segments(f: dict[str, Any]) -> str:
    groups = f.get("segments", [])
    if not groups:
        return ""
    if len(groups) == 1:
        return "one group: the log carries no stable smaller groups"
    names = ", ".join(f"{escape(g['segment'])} ({g['n_cases']:,})" for g in groups)
    known = f.get("stability")
    shaky = f"; not stable, found again only to {known:.2f}" if known is not None and known < 0.8 else ""
    moved = f"; {f['churn']:.0%} of the cases of both runs changed theirs" if f.get("churn") else ""
    return f"[bold]{len(groups)} groups[/bold]: {names}{shaky}{moved}"


def _suggestions(f: dict[str, Any]) -> str:
    n, cases = f.get("n_suggestions", 0), f.get("n_cases_with_suggestion", 0)
    if not n:
        return escape(f.get("note") or "no suggestion")
    held, watched, medical = (f.get(k, 0) for k in ("n_suppressed", "n_watched", "n_medical"))
    more = f"; {_n(watched, 'case')} of high value hardly reached" if watched else ""
    more += f"; {medical:,} for the medical team, kept apart" if medical else ""
    told = f"[bold]{_n(n, 'suggestion')}[/bold] for {_n(cases, 'case')}"
    return f"{told}; {held:,} held back, each with a reason{more}"


def _card(f: dict[str, Any]) -> str:
    """A run of too little data says so, and what would help most."""
    if "hypothesis" not in f:
        return ""
    more = f.get("strengthen", [])[:4]
    return "[bold]A hypothesis[/bold]: " + "\n    ".join(
        [escape(f["hypothesis"]), *(f"[dim]{escape(line)}[/dim]" for line in more)]
    )


def _delivery(f: dict[str, Any]) -> str:
    return f"{f['confirmed']:,} rows for the CRM written and read back" if f.get("confirmed") else ""


SPEAKERS = {
    "journeys": _journeys,
    "segments": _segments,
    "models": _models,
    "suggestions": _suggestions,
    "card": _card,
    "delivery": _delivery,
}


def steps(result: Result, facts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Commands worth typing next."""
    folder = result.folder
    next_ones = [(f"variants {folder} --top 10", "the most frequent journeys")]
    if "patterns" in facts:
        next_ones.append((f"patterns {folder} --top 15", "what stands out against chance"))
    if "models" in facts:
        next_ones.append((f"evaluate {folder}", "the models against counting"))
    case = result.table("log/encoded/case_ids.parquet")["case_id"][0]
    next_ones.append((f"view {folder} {case}", "one whole story"))
    if "suggestions" in facts and "delivery" not in facts:
        next_ones.append((f"deliver {folder} --dry-run", "what the CRM would get"))
    return next_ones
