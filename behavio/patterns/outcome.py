"""What comes before an outcome: patterns after which it follows more often than at comparable moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.kernels import matching, strata
from behavio.kernels.arrays import readonly
from behavio.patterns.chance import LEAST_P, Z95, false_discovery, two_sided
from behavio.patterns.matcher import Matcher
from behavio.patterns.matches import step_mask
from behavio.patterns.mine import Patterns, frequent
from behavio.patterns.rules import Moments
from behavio.patterns.settings import PatternSettings
from behavio.patterns.tables import ARROW, RATE, new_first
from behavio.sequences import SequenceSet
from behavio.words import duration

NEVER = np.iinfo(np.int64).max // 4
SO_FAR = (1, 2, 3, 5, 9, 17, 33, 65, 129)
"""Moments a case has had so far, in classes that start at these numbers."""
LATELY = (0, 1, 2, 3, 5, 9, 17, 33)
"""Events of the case in the `within` up to the moment, in classes that start at these numbers."""
PERIODS = 1
"""Into so many parts `within` is cut; moments are compared inside one such stretch of the calendar."""

OUTCOME_SCHEMA: dict[str, pl.DataType] = {
    "pattern": pl.String(),
    "activities": pl.List(pl.String()),
    "length": pl.Int64(),
    "n_cases": pl.Int64(),
    "support": pl.Float64(),
    "n_outcome": pl.Int64(),
    "share": pl.Float64(),
    "share_low": pl.Float64(),
    "share_high": pl.Float64(),
    "expected": pl.Float64(),
    "lift": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "outcome": pl.String(),
}
"""n_cases: cases whose first end of the pattern can be judged; n_outcome of them had the outcome in time.

share is n_outcome ÷ n_cases with its 95 % interval (Wilson 1927); expected is the share at comparable moments
of cases without the pattern, share ÷ lift; lift with its 95 % interval (Mantel & Haenszel 1959, Greenland &
Robins 1985).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Precedents:
    """What comes before an outcome (OUTCOME_SCHEMA), how it came about, and what to keep in mind."""

    frame: pl.DataFrame
    notes: tuple[str, ...]
    n_tested: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """When the outcome happens.

    marked    bool (n_events,): it happens with this event
    included  the event belongs to what came before (a silence starts after it)
    known_s   seconds of the log that must follow a moment, beyond `within`, to know
    """

    name: str
    marked: np.ndarray
    included: bool = False
    known_s: float = 0.0


def outcome_of(sequences: SequenceSet, text: str) -> Outcome:
    """Read what an outcome may be: a step, `a < b < c` for the next stage, `silence 60d`."""
    word, _, rest = text.strip().partition(" ")
    if word == "silence" and word not in sequences.vocabulary.activities:
        if not sequences.timed:
            raise JobError("the log has no clock: silence cannot be seen", hint="name an activity instead")
        length = seconds(rest)
        until = np.append(sequences.times[1:], 0)
        until[sequences.offsets[1:] - 1] = NEVER
        quiet = until - sequences.times > length * 1e6
        quiet &= sequences.times.max() - sequences.times >= length * 1e6
        return Outcome(text, quiet, included=True, known_s=length)
    if "<" in text and "[" not in text:
        return Outcome(text, _advances(sequences, [part.strip() for part in text.split("<")]))
    return Outcome(text, step_mask(sequences, text))


def _advances(sequences: SequenceSet, stages: Sequence[str]) -> np.ndarray:
    """Events with which a case reaches a later stage than ever before, the first stage not counted."""
    rank = np.zeros(sequences.n_events, dtype=np.int64)
    for number, stage in enumerate(stages):
        rank[step_mask(sequences, stage)] = number + 1
    lifted = rank + sequences.case_of_event * (len(stages) + 1)
    before = np.maximum.accumulate(np.concatenate([[0], lifted[:-1]]))
    return (lifted > np.maximum(before, sequences.case_of_event * (len(stages) + 1))) & (rank > 1)


def precedes(sequences: SequenceSet, outcome: str, settings: PatternSettings) -> Precedents:
    """Patterns after whose first end the case's first `outcome` comes within `within` more or less often.

    Only what lies before the first outcome of a case is looked at. A case counts once per pattern, at the
    pattern's first end, and is compared with cases that have not shown the pattern, at their first moment
    with as many moments so far and as many events lately, in the same stretch of the calendar.
    Moments nearer to the end of the log than `within`
    are left out on both sides, whatever came after them. Under the hypothesis that only these three
    matter, the hits in each stratum are hypergeometric; p is exact where their sum has at most 2,000 values,
    else from the translated Poisson law with its mean and variance; q is Benjamini & Hochberg's.
    """
    if not sequences.timed:
        raise ModelError(
            "the log has no clock: what comes within a time of a pattern cannot be told",
            hint="give a log with times, or use patterns without an outcome",
        )
    wanted = outcome_of(sequences, outcome)
    first = first_times(sequences, wanted)
    keep = sequences.times <= first[sequences.case_of_event]
    if not wanted.included:
        when = Moments.of(sequences, settings.rules(sequences))
        moment = replace(
            sequences, times=when.begins[when.of_event]
        )  # its own moment does not come before it
        keep = sequences.times < first_times(moment, wanted)[sequences.case_of_event]
    n_reached = int((first < NEVER).sum())
    notes = [
        f"{n_reached:,} of {sequences.n_cases:,} cases have the outcome; only what came before their first "
        "one is looked at"
    ]
    if not keep.any() or not n_reached:
        return Precedents(pl.DataFrame(schema=OUTCOME_SCHEMA), (*notes, _nothing(outcome)))
    before, cases = cut(sequences, keep)
    lately = strata.recent(*arrays(before), np.ones(before.n_events, dtype=bool), micro(settings.within))
    newest = int(sequences.times.max())
    study = Study.of(before, first[cases][before.case_of_event], [lately], settings, newest, wanted)
    return study.compare(outcome, sequences.n_cases, tuple(notes))


def first_times(sequences: SequenceSet, outcome: Outcome) -> np.ndarray:
    """Time (µs) of each case's first outcome, NEVER without one, int64 (n_cases,)."""
    when = np.where(outcome.marked, sequences.times, NEVER)
    return np.minimum.reduceat(when, sequences.offsets[:-1])


def cut(sequences: SequenceSet, keep: np.ndarray) -> tuple[SequenceSet, np.ndarray]:
    """Only these events (bool); and the numbers of the cases that still have some."""
    lengths = np.add.reduceat(keep, sequences.offsets[:-1]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
    fields = {
        name: replace(f, codes=f.codes[keep]) for name, f in sequences.fields.items() if name == "channel"
    }
    left = replace(
        sequences,
        tokens=sequences.tokens[keep],
        times=sequences.times[keep],
        offsets=offsets,
        case_ids=sequences.case_ids.filter(pl.Series(lengths > 0)),
        fields=fields,
    )
    return left, np.flatnonzero(lengths > 0)


def arrays(sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and times as the kernels take them."""
    return readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)


def micro(text: str) -> int:
    """µs behind a duration."""
    return int(seconds(text) * 1e6)


def _nothing(outcome: str) -> str:
    return (
        f"nothing stands out: no pattern comes before {outcome} more or less often than chance would have it"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Moments with what follows them, ready to compare patterns.

    found    patterns frequent in `log`
    stratum  int64 (n_moments,); label int8: 1 the outcome follows in time, 0 not, -1 not known
    compared bool (n_moments,): each case's first moment of each stratum
    """

    log: SequenceSet
    when: Moments
    found: Patterns
    stratum: np.ndarray
    label: np.ndarray
    compared: np.ndarray
    settings: PatternSettings

    @classmethod
    def of(
        cls,
        log: SequenceSet,
        outcome_at: np.ndarray,
        lately: Sequence[np.ndarray],
        settings: PatternSettings,
        newest: int,
        outcome: Outcome,
        same_moments: bool = False,
    ) -> Study:
        """Label every moment of `log`; outcome_at: time (µs) of the outcome that follows each event.

        same_moments: compare only moments of the same activities.
        """
        rules = settings.rules(log)
        when, found = Moments.of(log, rules), frequent(log, rules)
        last = np.append(np.flatnonzero(np.diff(when.of_event)), len(when.of_event) - 1)
        within, end = micro(settings.within), when.ends
        wait = outcome_at[last] - end
        hit = (wait <= within) & ((wait >= 0) if outcome.included else (wait > 0))
        label = hit.astype(np.int8)
        label[end + within + int(outcome.known_s * 1e6) > newest] = -1
        case_of = np.repeat(np.arange(log.n_cases), np.diff(when.starts))
        so_far = np.arange(len(end)) - when.starts[:-1][case_of] + 1
        columns = [np.searchsorted(SO_FAR, so_far, side="right")]
        columns += [np.searchsorted(LATELY, n[last], side="right") for n in lately]
        columns.append(PERIODS * (end - end.min()) // within)
        if same_moments:
            columns.append(_kinds(log.tokens, when.of_event, len(end)))
        _, stratum = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        key = case_of * (int(stratum.max()) + 1) + stratum
        compared = np.zeros(len(end), dtype=bool)
        compared[np.unique(key, return_index=True)[1]] = True
        return cls(log, when, found, stratum.astype(np.int64), label, compared, settings)

    def compare(
        self, outcome: str, n_cases: int, notes: tuple[str, ...], everything: bool = False
    ) -> Precedents:
        """Test every pattern; rows with q at most 0.05, what says something new first; or every row."""
        notes = (*notes, *self._raised())
        n_strata = int(self.stratum.max()) + 1
        used = self.compared & (self.label >= 0)
        totals = np.zeros((n_strata, 2), dtype=np.int64)
        np.add.at(totals[:, 0], self.stratum[used], 1)
        np.add.at(totals[:, 1], self.stratum[used], self.label[used])
        if not len(self.found) or not totals[:, 0].any():
            said = "no moment can be judged: the log ends too soon after every one"
            return Precedents(pl.DataFrame(schema=OUTCOME_SCHEMA), (*notes, said))
        matcher = Matcher.of(self.found, len(self.log.vocabulary))
        log, reach = matcher.encode(self.log, self.when)
        marks = (self.stratum, self.label, self.compared)
        counts = matching.count_outcomes(
            log, reach, matcher.trie, matcher.n_codes, *marks, n_strata, self.found.rules.spanned
        )[matcher.node_of]
        table = self._table(counts, strata.compare(counts, totals), outcome, n_cases)
        n_sure = int((table["q_value"] <= RATE).sum())
        said = (
            f"{table.height:,} patterns tested, {n_sure:,} of them with a false discovery rate of at most "
            f"{RATE:.0%} (Benjamini–Hochberg)"
        )
        waits = (
            f"a pattern counts when the outcome follows within {duration(seconds(self.settings.within))} of "
            "its first end, against cases without it at that time, with as many events in all and lately; "
            "association, not effect"
        )
        if everything:
            return Precedents(table, (*notes, said, waits), table.height)
        size = np.abs(np.log(table["lift"].fill_null(1.0).to_numpy()))
        order = np.lexsort((-size, table["p_value"].to_numpy()))
        kept = order[table["q_value"].to_numpy()[order] <= RATE]
        index = new_first(self.found, kept, len(kept), self.settings.top)
        notes = (*notes, said, waits) if n_sure else (*notes, said, waits, _nothing(outcome))
        return Precedents(table[index], notes, table.height)

    def _raised(self) -> tuple[str, ...]:
        asked, kept = self.settings.rules(self.log).min_cases, self.found.rules.min_cases
        if kept <= asked:
            return ()
        return (
            f"patterns held by fewer than {kept:,} cases were left out: at min_support "
            f"{self.settings.min_support:g} there are more than max_patterns = "
            f"{self.settings.max_patterns:,}",
        )

    def _table(self, counts: np.ndarray, sums: np.ndarray, outcome: str, n_cases: int) -> pl.DataFrame:
        """All patterns, in their own order."""
        n, hits = counts[:, :, 0].sum(axis=1), counts[:, :, 1].sum(axis=1)
        n_compared, inside, mean, variance, upper, lower, lift, spread, usual = sums.T
        far = np.isnan(upper)
        p_value = np.clip(2 * np.minimum(np.where(far, 1, upper), np.where(far, 1, lower)), LEAST_P, 1.0)
        if far.any():
            p_value[far] = two_sided(inside[far], mean[far], np.maximum(variance[far], 1e-9))
        p_value[variance <= 0] = 1.0
        lift = np.where(n_compared > 0, lift, np.nan)  # nobody to compare with: no lift
        half = np.exp(Z95 * np.sqrt(spread))
        share, low, high = wilson(hits, n)
        names = self.found.named(self.log.vocabulary.names)
        return pl.DataFrame(
            {
                "pattern": [ARROW.join(a) for a in names],
                "activities": names,
                "length": self.found.lengths,
                "n_cases": n,
                "support": n / n_cases,
                "n_outcome": hits,
                "share": share,
                "share_low": low,
                "share_high": high,
                "expected": np.where(hits > 0, share / lift, usual),
                "lift": lift,
                "low": lift / half,
                "high": lift * half,
                "p_value": p_value,
                "q_value": false_discovery(p_value),
                "outcome": [outcome] * len(names),
            },
            schema=OUTCOME_SCHEMA,
        ).with_columns(pl.col("expected", "lift", "low", "high").fill_nan(None))


def _kinds(tokens: np.ndarray, of_event: np.ndarray, n_moments: int) -> np.ndarray:
    """Number of the set of activities of each moment, int64 (n_moments,)."""
    pairs = np.unique(np.stack([of_event, tokens.astype(np.int64)], axis=1), axis=0)
    mixed = np.random.default_rng(0).integers(0, 2**63, int(tokens.max()) + 1, dtype=np.uint64)
    sums = np.zeros(n_moments, dtype=np.uint64)
    np.add.at(sums, pairs[:, 0], mixed[pairs[:, 1]])  # equal sums of different sets: once in 2^63
    return np.unique(sums, return_inverse=True)[1].astype(np.int64)


def wilson(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share with its 95 % interval (Wilson 1927); 0 of 0 is 0 with the interval 0–1."""
    total = np.maximum(n, 1)
    share = hits / total
    middle = (share + Z95**2 / (2 * total)) / (1 + Z95**2 / total)
    half = Z95 / (1 + Z95**2 / total) * np.sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    none = n == 0
    return (
        share,
        np.where(none, 0.0, np.maximum(middle - half, 0)),
        np.where(none, 1.0, np.minimum(middle + half, 1)),
    )
