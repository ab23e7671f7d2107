"""Touchpoints grouped so that maps and variants stay readable: by rule, or by what surrounds them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.journeys.sessions import altered
from behavio.sequences import UNKNOWN, Field, SequenceSet, Vocabulary

GROUP_SCHEMA: dict[str, pl.DataType] = {
    "group": pl.String(),
    "activity": pl.String(),
    "events": pl.Int64(),
    "rule": pl.String(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """A log in coarser activities, and what became what.

    sequences  the same cases; an activity that no rule fits keeps its name
    table      GROUP_SCHEMA, one row per old activity, the largest groups first; rule null: no rule fitted
    n_joined   events that fell together with the one before (only where that was asked for)
    """

    sequences: SequenceSet
    table: pl.DataFrame
    n_joined: int = 0


def read_rules(path: Path) -> dict[str, str]:
    """Rules of a TOML file ("call_*" = "rep contact", bare or under [groups]) or CSV (pattern, group)."""
    if not path.is_file():
        raise JobError(f"there is no file of groups {path}", hint='a line of it: "call_*" = "rep contact"')
    if path.suffix.lower() == ".csv":
        frame = pl.read_csv(path, infer_schema=False)
        if frame.width < 2:
            raise JobError(f"{path} needs two columns", hint="the pattern, then the group")
        found = dict(zip(frame.to_series(0), frame.to_series(1), strict=True))
    else:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise JobError(
                f"{path} is not valid TOML: {problem}", hint='write lines like "call_*" = "rep contact"'
            ) from None
        found = table.get("groups", table)
    wrong = [k for k, v in found.items() if not (isinstance(k, str) and isinstance(v, str) and v)]
    if wrong or not found:
        what = f"the group of {wrong[0]!r} is no text" if wrong else "it holds no rule"
        raise JobError(f"{path}: {what}", hint='write lines like "call_*" = "rep contact"')
    return found


def group_activities(sequences: SequenceSet, rules: Mapping[str, str], join: bool = False) -> Grouped:
    """Give every activity the group of the first rule that fits it.

    rules  pattern → group in the order they are tried; a pattern is a name or has wildcards: * ? [abc]
    join   True: events of one group right after each other become one, at the time of the first
    Raises JobError when a rule fits no activity: it would be without effect.
    """
    names, groups, by = sequences.vocabulary.names, [], []
    for name in names:
        fitting = [p for p in rules if name == p or fnmatchcase(name, p)]
        by.append(fitting[0] if fitting and name in sequences.vocabulary.activities else None)
        groups.append(name if by[-1] is None else rules[by[-1]])
    idle = [p for p in rules if not any(n == p or fnmatchcase(n, p) for n in names[2:])]
    if idle:
        listed = ", ".join(sequences.vocabulary.activities[:5])
        raise JobError(f"the rule {idle[0]!r} fits no activity", hint=f"activities are {listed} …")
    vocabulary = Vocabulary.of(groups[2:])
    ids = {name: i for i, name in enumerate(vocabulary.names)}
    table = np.array([0, UNKNOWN, *(ids[g] for g in groups[2:])], dtype=np.int32)
    frequency = np.bincount(sequences.tokens, minlength=len(names))
    rows = pl.DataFrame(
        {"group": groups, "activity": names, "events": frequency, "rule": by}, schema=GROUP_SCHEMA
    )
    rows = rows.filter(pl.col("events") > 0).with_columns(total=pl.col("events").sum().over("group"))
    rows = rows.sort("total", "group", "events", "activity", descending=[True, False, True, False])
    coarse = altered(sequences, tokens=table[sequences.tokens], vocabulary=vocabulary)
    joined = join_repeats(coarse) if join else coarse
    return Grouped(joined, rows.drop("total"), coarse.n_events - joined.n_events)


def join_repeats(sequences: SequenceSet) -> SequenceSet:
    """Without the events that repeat the one right before them in their case."""
    keep = np.concatenate([[True], np.diff(sequences.tokens) != 0])
    keep[sequences.offsets[:-1]] = True
    lengths = np.add.reduceat(keep, sequences.offsets[:-1]).astype(np.int64)
    return altered(
        sequences,
        tokens=sequences.tokens[keep],
        times=sequences.times[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        fields={n: Field(f.codes[keep], f.vocabulary) for n, f in sequences.fields.items()},
    )


def similar_activities(sequences: SequenceSet, n_groups: int) -> dict[str, str]:
    """Rules that group activities by what comes right before and right after them, for `group_activities`.

    An activity's profile is its two distributions over neighbours (and over being first or last); profiles
    are compared by the Jensen–Shannon distance and joined by average linkage, weighted by nothing: a rare
    activity counts as much as a frequent one. A group is called by its most frequent member and how many
    others it has. Same log, same groups.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    from behavio.journeys.follows import directly_follows

    if n_groups < 1:
        raise JobError(f"{n_groups} groups", hint="ask for 1 or more")
    graph = directly_follows(sequences, quantiles=False)
    names = graph.activities["activity"].to_list()
    if len(names) <= n_groups:
        return {}
    profiles = _profiles(graph.edges, graph.activities, names)
    far = np.zeros((len(names), len(names)))
    for i, one in enumerate(profiles):
        middle = (one + profiles) / 2
        far[i] = (_relative(one, middle) + _relative(profiles, middle)) / 2
    np.fill_diagonal(far, 0.0)
    tree = linkage(squareform(np.sqrt(np.maximum((far + far.T) / 2, 0.0)), checks=False), "average")
    label = fcluster(tree, n_groups, "maxclust")
    rules: dict[str, str] = {}
    for group in np.unique(label):
        members = [n for n, g in zip(names, label, strict=True) if g == group]
        if len(members) > 1:  # most frequent first, as the graph lists them
            rules |= dict.fromkeys(members, f"{members[0]} +{len(members) - 1}")
    return rules


def _profiles(edges: pl.DataFrame, activities: pl.DataFrame, names: list[str]) -> np.ndarray:
    """float64 (n, 2 (n + 1)): shares of what comes before, being first; what comes after, being last."""
    place = {name: i for i, name in enumerate(names)}
    n = len(names)
    after, before = np.zeros((n, n + 1)), np.zeros((n, n + 1))
    for a, b, count in edges.select("source", "target", "frequency").iter_rows():
        after[place[a], place[b]] = before[place[b], place[a]] = count
    for name, first, last in activities.select("activity", "starts", "last_seen").iter_rows():
        before[place[name], n], after[place[name], n] = first, last
    both = [side / np.maximum(side.sum(axis=1, keepdims=True), 1e-12) for side in (before, after)]
    return np.concatenate(both, axis=1) / 2


def _relative(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback–Leibler divergence of the rows, nats; 0 log 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p / q), 0.0).sum(axis=1)
