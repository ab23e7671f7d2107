"""A typing tool: at most seven yes/no questions that say to which segment somebody belongs.

A classification tree (Breiman, Friedman, Olshen & Stone, 1984) with eight leaves is grown on seven tenths of
the cases and its accuracy stated on the others. Thresholds are rounded first, so that what is printed is what
was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from behavio import words
from behavio.kernels.follows import waits_of
from behavio.segments.fact import Fact
from behavio.sequences import SequenceSet

QUESTIONS = 7
LEARNED_FROM = 20_000
MIN_CASES = 60
ASKED_ABOUT, PAIRS = 24, 16
NEVER = 1e9  # days: what never comes, comes later than any limit


@dataclass(frozen=True, slots=True)
class Feature:
    """Something to ask about a case.

    kind  share, times (how often in the case), follows (share of a directly followed by b), wait (days from a
          to the next b, geometric mean), pace (days between events, median)
    """

    kind: str
    what: tuple[str, ...]

    def question(self, limit: float) -> str:
        """Answered with yes when the value is above `limit`; for a wait when it is at most that."""
        a, b = (*self.what, "", "")[:2]
        if self.kind == "share":
            return f"Are more than {words.percent(limit)} of all events {words.plural(a)}?"
        if self.kind == "times":
            times = f"more than {words.number(limit)} times" if limit >= 1 else "at all"
            return f"Has there been {words.one(a)} {times}?"
        if self.kind == "follows":
            return (
                f"After {words.one(a)}, is the next event {words.one(b)} in more than {words.percent(limit)}?"
            )
        if self.kind == "wait":
            return f"Does {words.one(b)} usually come within {words.days(limit)} of {words.one(a)}?"
        return f"Do usually more than {words.days(limit)} pass between two events?"

    def rounded(self, limit: float) -> float:
        """The limit as it is printed: whole percent, whole times, two digits of days."""
        if self.kind in ("share", "follows"):
            return round(limit, 2) if limit >= 0.01 else round(limit, 3)
        if self.kind == "times":
            return float(np.floor(limit))
        return float(f"{max(limit, 1e-6):.2g}")

    def yes(self, values: np.ndarray, limit: float) -> np.ndarray:
        """The answers, bool."""
        return values <= limit if self.kind == "wait" else values > limit


@dataclass(frozen=True, slots=True)
class Rules:
    """Questions from the first on; an answer leads to another question or to a segment.

    nodes     (feature, limit, place after yes, place after no); a place ≥ 0 is a question, −1 − g segment g
    accuracy  share of held-out cases that the questions put where the model does; `usual` puts all in the
              largest segment
    found     for each segment the share of its held-out cases that the questions find
    n_tried   held-out cases
    """

    nodes: tuple[tuple[Feature, float, int, int], ...]
    names: tuple[str, ...]
    accuracy: float
    usual: float
    found: tuple[float, ...]
    n_tried: int

    def assign(self, features: Sequence[Feature], values: np.ndarray) -> np.ndarray:
        """Segment of each row of `values` float64 (n, len(features)), int64 (n,)."""
        at = np.zeros(len(values), np.int64)
        place = {f: i for i, f in enumerate(features)}
        for _ in range(len(self.nodes)):
            for i, (feature, limit, yes, no) in enumerate(self.nodes):
                here = at == i
                answers = feature.yes(values[here, place[feature]], limit)
                at[here] = np.where(answers, yes, no)
        return -1 - at

    def to_json(self) -> dict[str, Any]:
        """For rules.json: questions numbered from 1, each answer a question's number or a segment's name."""

        def leads(place: int) -> dict[str, Any]:
            return {"ask": place + 1} if place >= 0 else {"segment": self.names[-1 - place]}

        questions = [
            {
                "number": i + 1,
                "question": feature.question(limit),
                "kind": feature.kind,
                "activities": list(feature.what),
                "limit": limit,
                "yes": leads(yes),
                "no": leads(no),
            }
            for i, (feature, limit, yes, no) in enumerate(self.nodes)
        ]
        found = {n: round(s, 4) for n, s in zip(self.names, self.found, strict=True)}
        return {
            "questions": questions,
            "accuracy": round(self.accuracy, 4),
            "largest_segment_alone": round(self.usual, 4),
            "found": found,
            "n_tried": self.n_tried,
            "picklist": list(self.names),
        }


def asked(facts: Sequence[Sequence[Fact]], sequences: SequenceSet) -> tuple[Feature, ...]:
    """What may be asked: the most frequent activities, and what sets the segments apart."""
    n = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))
    n[:2] = 0
    frequent = [sequences.vocabulary.names[t] for t in np.argsort(-n, kind="stable")[:ASKED_ABOUT] if n[t]]
    told = sorted((f for own in facts for f in own), key=lambda f: (-f.telling, f.kind, f.what))
    named = [f.what[0] for f in told if f.kind in ("share", "reach", "reaction")][:ASKED_ABOUT]
    single = list(dict.fromkeys([*frequent, *named]))[: 2 * ASKED_ABOUT]
    features = [Feature(kind, (a,)) for a in single for kind in ("share", "times")]
    pairs = list(dict.fromkeys(f.what for f in told if f.kind in ("order", "until", "gap")))[:PAIRS]
    features += [Feature("follows", p) for p in pairs]
    if sequences.timed:
        features += [Feature("wait", p) for p in pairs if p[0] != p[1]]
        features.append(Feature("pace", ()))
    return tuple(features)


def measure(features: Sequence[Feature], sequences: SequenceSet) -> np.ndarray:
    """The values asked about, float64 (n_cases, len(features))."""
    n, width = sequences.n_cases, len(sequences.vocabulary)
    case, tokens = sequences.case_of_event, sequences.tokens
    counts = np.bincount(case * width + tokens, minlength=n * width).reshape(n, width).astype(np.float32)
    inside = np.ones(sequences.n_events, bool)
    inside[sequences.offsets[:-1]] = False
    place = np.flatnonzero(inside)
    values = np.zeros((n, len(features)))
    for i, feature in enumerate(features):
        ids = [sequences.vocabulary.id(a) for a in feature.what]
        if feature.kind == "share":
            values[:, i] = counts[:, ids[0]] / sequences.lengths
        elif feature.kind == "times":
            values[:, i] = counts[:, ids[0]]
        elif feature.kind == "follows":
            left = place[tokens[place - 1] == ids[0]]
            total = np.bincount(case[left], minlength=n)
            came = np.bincount(case[left[tokens[left] == ids[1]]], minlength=n)
            values[:, i] = came / np.maximum(total, 1)
        elif feature.kind == "wait":
            codes = np.where(tokens == ids[0], 0, np.where(tokens == ids[1], 1, -1)).astype(np.int64)
            whose, seconds = waits_of(codes, sequences.offsets, sequences.times, 0, 1)
            total = np.bincount(whose, minlength=n)
            logs = np.bincount(whose, weights=np.log(np.maximum(seconds, 1.0)), minlength=n)
            mean = np.exp(logs / np.maximum(total, 1)) / 86_400
            values[:, i] = np.where(total > 0, mean, NEVER)
        else:
            values[:, i] = _pace(sequences, place)
    return values


def _pace(sequences: SequenceSet, place: np.ndarray) -> np.ndarray:
    """Median days between events of a case, float64 (n_cases,); 0 for a case of one event."""
    case, gaps = sequences.case_of_event[place], sequences.gaps_s[place] / 86_400
    order = np.lexsort((gaps, case))
    size = sequences.lengths - 1
    first = np.concatenate([[0], np.cumsum(size)])[:-1]
    found = np.zeros(sequences.n_cases)
    some = size > 0
    found[some] = gaps[order][(first + (size - 1) // 2)[some]]
    return found


def learn_rules(
    sequences: SequenceSet,
    label: np.ndarray,
    names: tuple[str, ...],
    facts: Sequence[Sequence[Fact]],
    seed: int,
) -> Rules | None:
    """Questions for these segments; None where there is one segment or too few cases to try them on."""
    members = np.flatnonzero(label >= 0)
    if len(names) < 2 or len(members) < MIN_CASES or len(np.unique(label[members])) < 2:
        return None
    rng = np.random.default_rng([seed, 51])
    drawn = rng.permutation(members)[:LEARNED_FROM]
    cut = len(drawn) * 7 // 10
    part = sequences.select(drawn)
    features = asked(facts, part)
    values, mine = measure(features, part), label[drawn]
    nodes = _grow(values[:cut], mine[:cut], features, seed)
    tried = mine[cut:]
    usual = float((tried == np.bincount(mine[:cut]).argmax()).mean())
    rules = Rules(nodes, names, 0.0, usual, (), len(tried))
    said = rules.assign(features, values[cut:])
    found = tuple(
        float((said[tried == g] == g).mean()) if (tried == g).any() else 0.0 for g in range(len(names))
    )
    return Rules(nodes, names, float((said == tried).mean()), usual, found, len(tried))


def _grow(
    values: np.ndarray, label: np.ndarray, features: Sequence[Feature], seed: int
) -> tuple[tuple[Feature, float, int, int], ...]:
    from sklearn.tree import DecisionTreeClassifier

    least = max(5, len(label) // 200)
    grown = DecisionTreeClassifier(
        max_leaf_nodes=QUESTIONS + 1, min_samples_leaf=least, random_state=seed % 2**31
    )
    tree = grown.fit(values, label).tree_
    inner = [i for i in range(tree.node_count) if tree.children_left[i] >= 0]
    number = {node: i for i, node in enumerate(inner)}
    classes = grown.classes_

    def place(node: int) -> int:
        return number[node] if node in number else -1 - int(classes[tree.value[node][0].argmax()])

    nodes = []
    for node in inner:
        feature = features[tree.feature[node]]
        limit = feature.rounded(float(tree.threshold[node]))
        low, high = place(tree.children_left[node]), place(tree.children_right[node])
        # a tree goes left where the value is at most the limit: a yes only for a wait
        yes, no = (low, high) if feature.kind == "wait" else (high, low)
        nodes.append((feature, limit, yes, no))
    return tuple(nodes)


def told(rules: dict[str, Any]) -> str:
    """rules.json as a page to print: one question a line, where each answer leads, and how sure it is."""

    def leads(answer: dict[str, Any]) -> str:
        return f"question {answer['ask']}" if "ask" in answer else f"“{answer['segment']}”"

    lines = []
    for q in rules["questions"]:
        lines.append(f"{q['number']}. {q['question']}")
        lines.append(f"   yes: {leads(q['yes'])}   no: {leads(q['no'])}")
    right, usual = words.percent(rules["accuracy"]), words.percent(rules["largest_segment_alone"])
    lines.append("")
    lines.append(
        f"Right for {right} of {rules['n_tried']:,} cases not used to make them "
        f"(everyone in the largest segment: {usual})."
    )
    for name, share in rules["found"].items():
        lines.append(f"   “{name}”: finds {words.percent(share)} of its cases")
    return "\n".join(lines)
