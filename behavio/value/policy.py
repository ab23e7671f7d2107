"""A differentiated targeting policy: for each level of value and each group what its figures speak for.

Every line is a proposal from associations. Channels are named only where ten people or more of the cell may
be contacted through them.
"""

from __future__ import annotations

import json

import polars as pl

from behavio.log import EventLog
from behavio.suggest.consents import consent_states, spoken_of
from behavio.touches import SMALLEST, ratio
from behavio.value.figures import EVERY, quotient

POLICY = {
    "level": pl.String(),
    "segment": pl.String(),
    "n_cases": pl.Int64(),
    "answers": pl.String(),  # more | as usual | less | unknown
    "contacts": pl.String(),  # more | as now | fewer
    "channels": pl.List(pl.String()),
    "n_allowed": pl.Int64(),
    "reason": pl.String(),
}


def policy(
    log: EventLog,
    people: pl.DataFrame,
    contacts: pl.DataFrame,
    cells: pl.DataFrame,
    levels: tuple[str, ...],
    price: dict[str, float],
) -> pl.DataFrame:
    """POLICY for every cell of 10 cases or more.

    The most valuable level is served on the channels it answers most, others on those whose answers cost
    least (without costs: answered most). More contacts are proposed where value is highest and answers are
    not below the usual; fewer where it is not and they are. High value with few answers keeps its contacts
    and changes the channel.
    """
    whole = cells.filter((pl.col("level") == EVERY) & (pl.col("segment") == EVERY))
    usual = whole["answered"][0] if whole.height else None
    allowed = _allowed(log, people["case_id"], contacts["channel"].drop_nulls().unique().sort().to_list())
    rows = []
    for cell in cells.iter_rows(named=True):
        if EVERY in (cell["level"], cell["segment"]):
            continue
        own = people.filter((pl.col("level") == cell["level"]) & (pl.col("segment") == cell["segment"]))
        top = cell["level"] == levels[-1]
        answers = _answers(cell, usual)
        named, n_allowed, known = _channels(own["case_id"], contacts, allowed, top, price)
        wanted = _wanted(top, answers)
        row = {"level": cell["level"], "segment": cell["segment"], "n_cases": cell["n_cases"]}
        row |= {"answers": answers, "contacts": wanted, "channels": named, "n_allowed": n_allowed}
        rows.append(row | {"reason": _reason(cell, usual, top, answers, known, named)})
    place = {name: i for i, name in enumerate(levels)}
    table = pl.DataFrame(rows, schema=POLICY)
    order = pl.col("level").replace_strict(place, return_dtype=pl.Int64, default=-1)
    return table.sort(order, "segment", descending=[True, False])


def _answers(cell: dict[str, object], usual: float | None) -> str:
    if cell["answered"] is None or usual is None:
        return "unknown"
    if float(cell["low"]) > usual:  # type: ignore[arg-type]
        return "more"
    return "less" if float(cell["high"]) < usual else "as usual"  # type: ignore[arg-type]


def _wanted(top: bool, answers: str) -> str:
    if top:
        return "as now" if answers in ("less", "unknown") else "more"
    return "fewer" if answers == "less" else "as now"


def _reason(
    cell: dict[str, object], usual: float | None, top: bool, answers: str, known: int, named: list[str]
) -> str:
    if answers == "unknown":
        return f"fewer than {SMALLEST} of them were contacted: their answers are not known"
    share, low, high = (float(cell[k]) for k in ("answered", "low", "high"))  # type: ignore[arg-type]
    said = f"{share:.0%} of contacts answered ({low:.0%} to {high:.0%}), usual is {usual:.0%}"
    if known and not named:
        return f"{said}; fewer than {SMALLEST} of them may be contacted: ask for consent first"
    if top and answers == "less":
        said += "; valuable and hard to reach: change the channel before the number of contacts"
    elif not top and answers == "more":
        said += "; they answer anyway: the cheapest channel will do"
    return said


def _channels(
    ids: pl.Series,
    contacts: pl.DataFrame,
    allowed: dict[str, set[str]],
    top: bool,
    price: dict[str, float],
) -> tuple[list[str], int, int]:
    """Channels in the order proposed, how many may be contacted through the first, how many are known."""
    mine = set(ids)
    own = contacts.filter(pl.col("case_id").is_in(ids.implode()) & pl.col("settled"))
    found = []
    known = 0
    for (channel,), rows in own.drop_nulls("channel").group_by("channel", maintain_order=True):
        per = (
            rows.group_by("case_id")
            .agg(pl.col("answered").sum().alias("x"), pl.len().alias("n"))
            .sort("case_id")
        )
        if per.height < SMALLEST:
            continue
        known += 1
        n = len(mine & allowed[str(channel)])
        if n < SMALLEST:
            continue
        x, of = per["x"].to_numpy().astype(float), per["n"].to_numpy().astype(float)
        share = ratio(x, of)[0]
        score = -share
        if not top and price and x.sum() > 0:
            score = quotient(of * price.get(str(channel), 0.0), x)[0]
        elif not top and price:
            score = float("inf")
        found.append((score, str(channel), n))
    found.sort()
    return [c for _, c, _ in found], found[0][2] if found else 0, known


def _allowed(log: EventLog, ids: pl.Series, channels: list[str]) -> dict[str, set[str]]:
    """Who may be contacted through each channel on the day of the newest event."""
    everybody = set(ids)
    if log.consents.height == 0:
        return dict.fromkeys(channels, everybody)
    now = int(log.events["timestamp"].max().timestamp() * 1_000_000)  # type: ignore[union-attr]
    states = consent_states(log.consents, channels, now, now)
    asked = spoken_of(log.consents)
    found = {}
    for channel in channels:
        own = states.filter(channel=channel)
        granted = set(own.filter(consent="granted")["case_id"])
        closed = set(own.filter(pl.col("consent") != "granted")["case_id"])
        found[channel] = everybody & granted if channel in asked else everybody - closed
    return found


def as_toml(table: pl.DataFrame, people: pl.DataFrame) -> str:
    """The channels of the policy as the file that [suggest] policy takes; it needs value_column there too.

    people  case_id, told, level
    """
    values = {
        str(level): sorted(own["told"].drop_nulls().unique().to_list())
        for (level,), own in people.drop_nulls("level").group_by("level")
    }
    parts = [
        "# Channels by value and group, proposed from the figures of a run; the first cell that fits counts."
    ]
    for row in table.iter_rows(named=True):
        if row["channels"]:
            told = (values[row["level"]], [row["segment"]], row["channels"])
            lines = [
                f"{key} = {json.dumps(v, ensure_ascii=False)}"
                for key, v in zip(("value", "segment", "channels"), told, strict=True)
            ]
            parts.append("\n".join(["[[cell]]", *lines]))
    return "\n\n".join(parts) + "\n"
