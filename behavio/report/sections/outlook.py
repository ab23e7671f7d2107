"""What happens next, and how far it can be foretold."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Figure, Section, Sheet, without
from behavio.report.charts.reliability import Bin, reliability
from behavio.report.context import Context, say
from behavio.report.numbers import write
from behavio.report.sections import few
from behavio.report.tables import Column, Fact, Table
from behavio.words import touchpoint

KIND_WORDS = {"baseline": "rule of thumb", "counting": "counting", "neural": "neural", "pool": "pool"}
MODEL_NAMES = {
    "most_popular": "always naming the most frequent step",
    "repeat_last": "naming the last step again",
    "first_order": "counting what followed the last step",
    "ngram": "counting what followed the last steps (n-gram)",
    "gru": "recurrent network (GRU)",
    "pool": "all models together",
}
NEXT = 10


def _models(c: Context) -> list[dict[str, Any]]:
    return list((c.run.metrics or {}).get("models", []))


def _default(c: Context) -> dict[str, Any] | None:
    name = (c.run.metrics or {}).get("default")
    return next((m for m in _models(c) if m["name"] == name), None)


def _best(c: Context, kinds: tuple[str, ...]) -> dict[str, Any] | None:
    found = [m for m in _models(c) if m.get("kind") in kinds and m.get("accuracy") is not None]
    return max(found, key=lambda m: (m["accuracy"], m["name"]), default=None)


def _name(model: dict[str, Any]) -> str:
    return MODEL_NAMES.get(model["name"], str(model["name"]).replace("_", " "))


def sentence(c: Context) -> Markup | None:
    """How often the next step was named right, on later events, against the best rule of thumb."""
    model = _default(c)
    rule = _best(
        c, ("baseline",) if model is None or model.get("kind") == "counting" else ("baseline", "counting")
    )
    n = (c.run.metrics or {}).get("n_test_events")
    if model is None or rule is None or not n or n < c.k:
        return None
    right = c.facts.add(
        "accuracy", model["accuracy"], "score", f"next step named right by {model['name']}", n=n
    )
    base = c.facts.add(
        "baseline_accuracy", rule["accuracy"], "score", f"next step named right by {rule['name']}", n=n
    )
    events = c.facts.add("test_events", n, "count", "later events, not seen in fitting")
    return say(
        "<b>The next step is named right in {a} of {n} later events</b>; {rule} would be right in {b}.",
        a=right.shown,
        n=events.shown,
        rule=_name(rule),
        b=base.shown,
    )


def section(c: Context) -> Section:
    """Next steps, models against their baselines, reliability."""
    if c.run.metrics is None and c.run.next_steps is None:
        text = "It needs the models stage; add a [model] table to the job and run it again."
        return without("next", "What happens next", "outlook", say(text))
    blocks: list[Block] = []
    tables: list[Table] = []
    steps = _next_steps(c)
    if steps is not None:
        tables.append(steps)
        blocks.append(Sheet(steps, _next_title(c, steps), _next_note(c)))
    models = _model_table(c)
    if models is not None:
        tables.append(models)
        blocks.append(Sheet(models, _model_title(c), _model_note(c)))
    bands = few.table(c)
    if bands is not None:
        tables.append(bands)
        blocks.append(Sheet(bands, few.title(c), few.note(c)))
    bins = _bins(c)
    if bins is not None:
        tables.append(bins)
        blocks.append(_reliability(c, bins))
    return Section("next", "What happens next", _heading(c), _sub(c), tuple(blocks), tuple(tables))


def _heading(c: Context) -> Markup:
    model = _default(c)
    if model is None or model.get("accuracy") is None:
        return Markup("What happens next")
    n = (c.run.metrics or {}).get("n_test_events")
    right = c.facts.add(
        "accuracy", model["accuracy"], "score", f"next step named right by {model['name']}", n=n
    )
    return say("The next step can be named right {a} of the time", a=right.shown)


def _sub(c: Context) -> Markup:
    m = c.run.metrics
    if m is None:
        return Markup("")
    if not _models(c):
        return say("{why}", why=m.get("reason") or "No model was tried on later events.")
    text = "Fitted on events before {cut}, tried on {n} later ones that nothing in the models had seen."
    cut = str(m.get("cut", ""))[:10]
    n = m.get("n_test_events")
    events = c.facts.add("test_events", n, "count", "later events, not seen in fitting")
    return say(text, cut=write(cut, "date") if cut and c.run.timed else "one cut", n=events.shown)


def _next_steps(c: Context) -> Table | None:
    table = c.run.next_steps
    if table is None or table.height == 0:
        return None
    first = table.filter(pl.col("rank") == 1)
    counted = (
        first.sort("case_id")
        .group_by("activity")
        .agg(
            n_cases=pl.len(),
            probability=pl.col("probability").mean(),
            median_days=pl.col("median_days").median(),
            low_days=pl.col("low_days").median(),
            high_days=pl.col("high_days").median(),
        )
        .filter(pl.col("n_cases") >= c.k)
        .sort(["n_cases", "activity"], descending=[True, False])
        .head(NEXT)
    )
    if counted.height == 0:
        return None
    columns = [
        Column("activity", "Most likely next step"),
        Column("n_cases", f"For so many {c.many}", "count", bar=True),
        Column("probability", "How likely, mean", "share"),
    ]
    if c.run.timed:
        columns += [
            Column("median_days", "In, median", "days"),
            Column("low_days", "at the earliest", "days"),
            Column("high_days", "at the latest", "days"),
        ]
    rows = [{**r, "activity": touchpoint(r["activity"])} for r in counted.iter_rows(named=True)]
    return Table.of("next_steps", "Most likely next steps", columns, rows, "behavio predict RUN")


def _next_title(c: Context, steps: Table) -> Markup:
    steps_of = c.run.next_steps
    total = steps_of.filter(pl.col("rank") == 1).height if steps_of is not None else 0
    share = c.facts.add(
        "top_next_share",
        steps.rows[0]["n_cases"] / total,
        "share",
        f"{c.many} whose next step is most likely this",
        n=total,
    )
    return say(
        "For {s} of {many} the most likely next step is {a}",
        s=share.shown,
        many=c.many,
        a=steps.rows[0]["activity"],
    )


def _next_note(c: Context) -> Markup:
    text = (
        "Counted over all {many}; a step that is most likely for fewer than {k} is not shown. Earliest "
        "and latest: eight in ten fall between."
    )
    silent = c.run.next_steps.filter(pl.col("rank") == 0).height if c.run.next_steps is not None else 0
    if not silent:
        return say(text, many=c.many, k=c.k)
    n = c.facts.add("without_next_step", silent, "count", f"{c.many} with not enough history for a next step")
    text += (
        " Of {n} {many} too little is known, or nothing like it was seen before: what is told of them is "
        "what their group, or everybody, does."
    )
    return say(text, many=c.many, k=c.k, n=n.shown)


def _model_table(c: Context) -> Table | None:
    rows = _models(c)
    if not rows:
        return None
    columns = (
        Column("name", "Model"),
        Column("kind", "Kind"),
        Column("accuracy", "Right", "score", bar=True),
        Column("top3", "Among the first three", "score"),
        Column("nll", "Surprise per event (NLL)", "nats"),
        Column("brier", "Squared error", "nats"),
        Column("ece", "Off by, mean", "score"),
    )
    kept = tuple(col for col in columns if any(r.get(col.name) is not None for r in rows))
    found = [{**r, "name": _name(r), "kind": KIND_WORDS.get(r.get("kind", ""), r.get("kind"))} for r in rows]
    best = _truth(c)
    if best is not None:
        found.append(
            {"name": "the true probabilities (no model can do better)", "kind": "simulation", "nll": best}
        )
    return Table.of("models", "Every model on the same later events", kept, found, "behavio evaluate RUN")


def _model_title(c: Context) -> Markup:
    """Whether what learns beats what counts, and what counts the rules of thumb."""
    counting, learned = _surest(c, ("counting",)), _surest(c, ("neural", "pool"))
    used = _default(c)
    if used is not None and used.get("kind") in ("neural", "pool"):
        learned = used
    rule = _surest(c, ("baseline",))
    if counting is None:
        return Markup("Every model stands beside its baselines")
    if learned is not None:
        saved = _gain(c, learned, counting)
        if saved is not None and (saved.low if saved.low is not None else saved.value) > 0:
            text = "What learns beats what counts: surprise per event is lower by {g} {ci}"
            return say(text, g=saved.shown, ci=saved.between)
        return Markup("What learns does not beat what counts; counting is used")
    if rule is not None and rule["nll"] <= counting["nll"]:
        return say("Counting does not beat {m}: the order carries nothing here", m=_name(rule))
    return Markup("Counting what followed the last steps beats every rule of thumb")


def _surest(c: Context, kinds: tuple[str, ...]) -> dict[str, Any] | None:
    """The model of these kinds that is least surprised."""
    found = [m for m in _models(c) if m.get("kind") in kinds and m.get("nll") is not None]
    return min(found, key=lambda m: (m["nll"], m["name"]), default=None)


def _gain(c: Context, learned: dict[str, Any], counting: dict[str, Any]) -> Fact | None:
    known = ((c.run.metrics or {}).get("gain_over_ngram") or {}).get(learned["name"], {})
    saved = known.get("nll", counting["nll"] - learned["nll"])
    what = f"surprise per event saved by {learned['name']} over {counting['name']}"
    return c.facts.add("nll_gain", saved, "nats", what, low=known.get("low"), high=known.get("high"))


def _model_note(c: Context) -> Markup:
    model = _default(c)
    text = say("The same later events for all. Surprise: lower is better; being sure and wrong costs most.")
    if model is not None:
        text += say(" Used here: {m}.", m=_name(model))
    return text + _analog(c) + _oracle(c)


def _analog(c: Context) -> Markup:
    """What events of analog areas did on the same later events, where the job has such sources."""
    found = (c.run.metrics or {}).get("analog") or {}
    if "gain" not in found:
        return Markup("")
    n = c.facts.add("analog_events", found["n_events"], "count", "events of analog areas")
    g = found["gain"]
    saved = c.facts.add(
        "analog_gain", g["nll"], "nats", "surprise per event saved by them", low=g["low"], high=g["high"]
    )
    used = " They are learnt." if found["used"] else " They are not learnt."
    text = " With {n} events of analog areas surprise per event is lower by {g} {ci}."
    return say(text, n=n.shown, g=saved.shown, ci=saved.between) + say(used)


def _truth(c: Context) -> float | None:
    """Surprise per event of the true probabilities, where they are known for every event the models tried."""
    truth = (c.run.metrics or {}).get("oracle") or {}
    same = truth.get("n") == (c.run.metrics or {}).get("n_test_events")
    return truth.get("nll") if same else None


def _oracle(c: Context) -> Markup:
    """On simulated data the true probabilities are known: how far the model is from them."""
    truth = (c.run.metrics or {}).get("oracle") or {}
    true, ours = truth.get("nll"), (truth.get("models") or {}).get((c.run.metrics or {}).get("default"))
    if true is None or ours is None:
        return Markup("")
    best = c.facts.add(
        "oracle_nll", true, "nats", "surprise per event of the true probabilities", n=truth.get("n")
    )
    here = c.facts.add(
        "oracle_model_nll", ours, "nats", "surprise per event of the model used, on the same events"
    )
    return say(
        " These data are simulated, so it is known how likely every step truly was. Even someone who knew "
        "that would be surprised by {a} per event, because people do not always do what is likely; the model "
        "used here by {b}. What lies between is what a better model could still gain.",
        a=best.shown,
        b=here.shown,
    )


def _bins(c: Context) -> Table | None:
    rows = [r for r in (c.run.metrics or {}).get("reliability", []) if r.get("n")]
    if not rows:
        return None
    columns = (
        Column("low", "Said, from", "share"),
        Column("high", "to", "share"),
        Column("n", "Forecasts", "count", bar=True),
        Column("predicted", "Said, mean", "score"),
        Column("seen", "Came true", "score"),
    )
    return Table.of("reliability", "Said against seen", columns, rows, "behavio evaluate RUN --json")


def _reliability(c: Context, table: Table) -> Figure:
    rows = [r for r in table.rows if r["n"] >= c.k]
    bins = [
        Bin(r["predicted"], r["seen"], r["n"], table.cell(i, "n"))
        for i, r in enumerate(table.rows)
        if r["n"] >= c.k
    ]
    total = sum(r["n"] for r in rows)
    off = sum(abs(r["predicted"] - r["seen"]) * r["n"] for r in rows) / max(total, 1)
    fact = c.facts.add("reliability_off", off, "gap", "mean distance of said and seen, by forecasts", n=total)
    text = (
        "What is said comes true: off by {o} on average"
        if off < 0.05
        else "Forecasts are off by {o} on average"
    )
    title = say(text, o=fact.shown)
    caption = say(
        "{n} forecasts of the next step. A dot on the line: it came as often as said. Numbers: forecasts.",
        n=write(total, "count"),
    )
    alt = "; ".join(
        f"said {write(r['predicted'], 'share')}, seen {write(r['seen'], 'share')} ({write(r['n'], 'count')})"
        for r in rows
    )
    return Figure(title, reliability(bins), f"Reliability: {alt}", caption, table, "square")
