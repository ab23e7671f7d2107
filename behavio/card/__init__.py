"""The model card of a run: what it is for, what it rests on, how good it is, where it ends, on one page.

Mitchell et al. 2019, Model Cards for Model Reporting. Every line is read from the tables of the run or from
its job; what a run does not know is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from behavio.card import judged, rests, strength
from behavio.card.line import Line
from behavio.card.settings import CardSettings
from behavio.errors import RunError
from behavio.files import read_json, whole_file, write_json

__all__ = ["CardSettings", "Line", "card_of", "markdown", "read_card", "write_card"]

JSON, MARKDOWN = "model_card.json", "model_card.md"


def card_of(run: Path, job: Mapping[str, Any]) -> list[Line]:
    """Every line of the card of the run in a folder.

    job  the settings of its job as plain tables, and its name and seed
    """
    return [
        *rests.purpose(job),
        *rests.data(run, job),
        *rests.left_out(run, job),
        *rests.sensitive(run, job),
        *judged.metrics(run),
        *strength.skill(run),
        *judged.calibration(run),
        *judged.stability(run),
        *judged.drift(run),
        *judged.limits(run, job),
        *strength.strengthen(run),
    ]


def write_card(
    run: Path, job: Mapping[str, Any], folder: Path, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """model_card.json (a list of part, what, text, value) and model_card.md."""
    progress("model card", 0.0)
    lines = card_of(run, job)
    rows = [{"part": x.part, "what": x.what, "text": x.text, "value": x.value} for x in lines]
    write_json(folder / JSON, {"run": job["name"], "lines": rows})
    with whole_file(folder / MARKDOWN) as draft:
        draft.write_text(markdown(str(job["name"]), lines), encoding="utf-8", newline="")
    unknown = sum(x.value is None and x.text.startswith("unknown") for x in lines)
    facts: dict[str, Any] = {"rows_in": 0, "rows_out": len(rows), "unknown": unknown}
    small = strength.hypothesis(run)
    if small is not None:
        facts |= {
            "hypothesis": small,
            "strengthen": [f"{x.what}: {x.text}" for x in strength.strengthen(run)],
        }
    return facts


def read_card(run: Path) -> tuple[str, list[Line]]:
    """The run's name and the lines of its card; RunError where an older run has none."""
    path = run / "card" / JSON
    if not path.is_file():
        raise RunError(f"{run} has no model card", hint="run the job again: it makes only what is missing")
    told = read_json(path)
    return str(told["run"]), [Line(**row) for row in told["lines"]]


def markdown(name: str, lines: list[Line]) -> str:
    """The card as Markdown, one heading a part."""
    text, part = [f"# Model card: {name}"], ""
    for line in lines:
        if line.part != part:
            part = line.part
            text += ["", f"## {part}", ""]
        text.append(f"- **{line.what}:** {line.text}")
    return "\n".join(text) + "\n"
