"""Are contacts answered more often than would have happened anyway? Tested per action and segment.

The gain of some contacts is the mean of answer minus base. What it rests on are people, not windows: a case
adds to its error by the answers of its own contacts, and, as one left alone while others were contacted, by
what its free windows taught about days and situations, with the weight that the least squares gave them. The
variance is the sum of these squared (Liang & Zeger 1986; for imputed bases Borusyak, Jaravel & Spiess 2024).
The gain by its error is held against Student's t, with as many degrees of freedom as cases carry the sum
(Satterthwaite 1946), and all tests of a run are one family (Holm 1979): when nothing brings anything,
something is said to bring something in at most FAMILY_LEVEL of the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

COMMON = ("day", "pressure", "seen", "recent")
"""Effects shared by cases; that of the case itself is taken out of everything first."""

MOST_DAYS = 1_500
"""Days told apart when the error is reckoned; of longer logs neighbouring ones are taken together."""

FAMILY_LEVEL = 0.01
"""Chance of any false gain among the actions and segments of a run."""

NORMAL_KURTOSIS = 3.0

PROOF_SCHEMA: dict[str, pl.DataType] = {
    "segment": pl.String(),
    "n": pl.Int64(),
    "cases": pl.Int64(),
    "gain": pl.Float64(),
    "error": pl.Float64(),
    "freedom": pl.Float64(),
}
"""One row per segment and one for the whole action (segment null): mean of answer minus base, its standard
error and the degrees of freedom of that."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What free windows teach about days and situations, and who taught it.

    place   int64 (n_contacts,)       the case of each contact
    design  sparse (n_contacts, k)    the day and situation of each contact
    usual   sparse (n_cases, k)       mean of them over the free windows of each case
    pull    sparse (n_cases, k)       what the residuals of each case do to the k effects, unsolved
    solved  factor of the (k, k) normal equations
    """

    place: np.ndarray
    design: Any
    usual: Any
    pull: Any
    solved: tuple[np.ndarray, bool]

    @classmethod
    def of(cls, controls: pl.DataFrame, contacts: pl.DataFrame) -> Shared:
        """Fit the free windows: effects of COMMON within cases."""
        from scipy.linalg import cho_factor, cho_solve
        from scipy.sparse import csr_matrix
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        n = controls.height
        codes, width = _codes(pl.concat([controls.select(COMMON), contacts.select(COMMON)]))
        case = pl.concat([controls["case"], contacts["case"]]).rank("dense").to_numpy().astype(np.int64) - 1
        n_cases, own = int(case.max()) + 1, case[:n]

        def rows(part: np.ndarray, value: np.ndarray) -> Any:
            """Sparse rows with one value at each code."""
            starts = np.arange(len(part) + 1) * len(COMMON)
            return csr_matrix((np.repeat(value, len(COMMON)), part.ravel(), starts), shape=(len(part), width))

        free, many = rows(codes[:n], np.ones(n)), np.maximum(np.bincount(own, minlength=n_cases), 1)
        gather = csr_matrix((np.ones(n), (own, np.arange(n))), shape=(n_cases, n))
        summed = gather @ free
        usual = csr_matrix(summed.multiply(1 / many[:, None]))
        normal = (free.T @ free).toarray() - (summed.T @ usual).toarray()
        # directions that nothing tells apart get a little weight; no residual ever points there
        normal[np.diag_indices(width)] += 1e-6 * max(float(normal.diagonal().max()), 1.0)
        answered = controls["response"].to_numpy().astype(float)
        mean = np.bincount(own, answered, n_cases) / many
        with threadpool_limits(1, user_api="blas"):  # the same numbers whatever the number of cores
            solved = cho_factor(normal)
            left = answered - free @ cho_solve(solved, free.T @ answered - summed.T @ mean)
        left -= (np.bincount(own, left, n_cases) / many)[own]
        pull = gather @ rows(codes[:n], left)
        return cls(case[n:], rows(codes[n:], np.ones(contacts.height)), usual, pull, solved)

    def of_base(self, chosen: np.ndarray) -> np.ndarray:
        """What each case adds to the error of the mean base of the chosen contacts: float64 (n_cases,).

        The level of a case drops out: its own residuals add up to nothing.
        """
        from scipy.linalg import cho_solve
        from threadpoolctl import threadpool_limits

        counts = np.bincount(self.place[chosen], minlength=self.usual.shape[0])
        lean = np.asarray(self.design[chosen].sum(axis=0)).ravel() - self.usual.T @ counts
        with threadpool_limits(1, user_api="blas"):
            return np.asarray(self.pull @ cho_solve(self.solved, lean / max(len(chosen), 1)))

    def doubt(self) -> float:
        """Variance of the mean base of all contacts, by cases."""
        per_case = self.of_base(np.arange(len(self.place)))
        taught = int(np.count_nonzero(np.diff(self.usual.indptr)))
        return round(float((per_case**2).sum()) * taught / max(taught - 1, 1), 12)

    def gain(self, over: np.ndarray, chosen: np.ndarray) -> tuple[int, float, float, float]:
        """Cases, mean, standard error and degrees of freedom of `over` (answer minus base) over the chosen
        contacts."""
        place, mean = self.place[chosen], float(over[chosen].mean())
        own = np.bincount(place, (over[chosen] - mean) / len(chosen), self.usual.shape[0])
        squares = (own - self.of_base(chosen)) ** 2
        cases = len(np.unique(place))
        variance = float(squares.sum())
        carried = NORMAL_KURTOSIS * variance**2 / max(float((squares**2).sum()), 1e-300)
        error = float(np.sqrt(variance * cases / max(cases - 1, 1)))
        return cases, mean, error, max(min(carried, cases) - 1.0, 1.0)


def _codes(windows: pl.DataFrame) -> tuple[np.ndarray, int]:
    """Column of every effect of COMMON: int64 (n_windows, 4), and how many columns there are."""
    columns, width = [], 0
    for effect in COMMON:
        code = windows[effect].rank("dense").to_numpy().astype(np.int64) - 1
        if effect == "day":
            code //= -(-(int(code.max()) + 1) // MOST_DAYS)
        columns.append(code + width)
        width += int(code.max()) + 1
    return np.stack(columns, axis=1), width


def prove(shared: Shared, contacts: pl.DataFrame) -> pl.DataFrame:
    """PROOF_SCHEMA of the contacts of one action (`response`, `base`, `segment`)."""
    over = contacts["response"].to_numpy() - contacts["base"].to_numpy()
    code = contacts["segment"].rank("dense").to_numpy().astype(np.int64) - 1
    names = contacts["segment"].unique().sort().to_list()
    parts = [(None, np.arange(len(over))), *((s, np.flatnonzero(code == i)) for i, s in enumerate(names))]
    rows = [(segment, len(chosen), *shared.gain(over, chosen)) for segment, chosen in parts]
    return pl.DataFrame(rows, schema=PROOF_SCHEMA, orient="row")


def family(proofs: pl.DataFrame, min_evidence: int) -> pl.DataFrame:
    """Add p_value (one-sided) and family_p, Holm's over all rows with enough contacts; null for the others.

    `proofs` has the columns of PROOF_SCHEMA, of all actions of a run.
    """
    from scipy.special import stdtr

    tested = (pl.col("n") >= min_evidence) & (pl.col("cases") >= 2) & (pl.col("error") > 0)
    value = stdtr(proofs["freedom"].to_numpy(), -(proofs["gain"] / proofs["error"]).to_numpy())
    table = proofs.with_columns(p_value=pl.when(tested).then(pl.Series(value, dtype=pl.Float64)))
    p = table["p_value"].drop_nulls().sort().to_numpy()
    held = np.minimum(np.maximum.accumulate(p * np.arange(len(p), 0, -1)), 1.0)
    adjusted = pl.DataFrame({"p_value": p, "family_p": held}, schema_overrides={"p_value": pl.Float64})
    # ties share the strictest of their places
    adjusted = adjusted.group_by("p_value").agg(pl.col("family_p").max())
    return table.join(adjusted, on="p_value", how="left", maintain_order="left")
