"""How the table of all models looks in a terminal."""

from __future__ import annotations

from typing import Any

import click

from behavio.cli import show

SHOWN = ("accuracy", "top3", "macro_f1", "nll", "brier", "ece", "gap_mae_days", "coverage80")


def draw(found: dict[str, Any], form: str | None) -> None:
    """The table of `behavio evaluate` under a protocol: everything as CSV, what matters for people."""
    import polars as pl

    lines = [line | found["measured"][line["name"]] for line in found["models"]]
    if form is not None:
        flat = [{k: v for k, v in line.items() if not isinstance(v, dict | list)} for line in lines]
        show.table(pl.DataFrame(flat, infer_schema_length=None), form)
        return
    rows = [{"model": line["name"], **{k: line[k] for k in (*SHOWN, "fit_s")}} for line in lines]
    show.table(pl.DataFrame(rows, infer_schema_length=None), None)
    for text in said(found):
        click.echo(f"\n{text}")


def said(found: dict[str, Any]) -> list[str]:
    """What a reader of the table has to know, in sentences."""
    texts = [
        f"{found['split']}; {found['n_test']:,} events of {found['n_test_cases']:,} cases judged, "
        f"{found['unseen_share']:.0%} after a history never seen whole"
    ]
    if found["constant_gap"]:
        gap = found["constant_gap"]
        texts.append(
            f"always saying {gap['median_days']:.3g} days would be {gap['mae_days']:.3g} days off in the mean"
        )
    from behavio.models.promises import promises_in_words

    best = found["best_baseline"]
    for line in found["models"]:
        gain = line.get("gain_nll")
        if gain is None:
            continue
        verdict = "beats" if gain["low"] > 0 else "does not beat" if gain["high"] > 0 else "loses to"
        texts.append(
            f"{line['name']} {verdict} {best}: {gain['mean']:+.4f} nats per event saved "
            f"({gain['low']:+.4f} to {gain['high']:+.4f}, 95 % interval over cases)"
        )
        texts += promises_in_words(line, line["name"])
    return texts
