"""Expectation–maximisation for mixtures of chains: seeded starts, short climbs, one long one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from behavio.kernels.semi_markov import expect, gather
from behavio.segments.chains import Beliefs, Chains, Habits, m_step
from behavio.segments.lloyd import lloyd
from behavio.segments.statistics import CaseStatistics, Edges

TOLERANCE = 1e-5
SHORT_STEPS = 15
LONG_STEPS = 200
START_CASES = 3_000
REGROUPINGS, DIRECTIONS, MIN_SPLIT = 2, 2, 20
TRIAL_STEPS = 6
FIRST_SMOOTHING, WEIGHED = 20.0, (2, 5, 10, 20, 40, 80)


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Answer of one E-step, joined over shards by adding: what the M-step needs.

    statistics float64 (n_features, k), cases float64 (k,), log_likelihood: sum over cases
    """

    statistics: np.ndarray
    cases: np.ndarray
    log_likelihood: float

    def merge(self, other: Expectation) -> Expectation:
        """Of both shards."""
        return Expectation(
            self.statistics + other.statistics,
            self.cases + other.cases,
            self.log_likelihood + other.log_likelihood,
        )


def posteriors(chains: Chains, cases: CaseStatistics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior (n, k), log-likelihood (n,) and weighted statistics (n_features, k) of these cases."""
    coefficients = chains.coefficients
    k = coefficients.shape[1]
    statistics = np.zeros_like(coefficients)
    posterior = np.empty((cases.n_cases, k))
    log_likelihood = np.empty(cases.n_cases)
    expect(
        cases.indptr,
        cases.indices,
        cases.values,
        coefficients,
        np.log(chains.shares),
        statistics,
        posterior,
        log_likelihood,
    )
    return posterior, log_likelihood, statistics


def e_step(chains: Chains, cases: CaseStatistics) -> Expectation:
    """What these cases add to the M-step."""
    posterior, log_likelihood, statistics = posteriors(chains, cases)
    return Expectation(statistics, posterior.sum(axis=0), float(log_likelihood.sum()))


def weighted(cases: CaseStatistics, posterior: np.ndarray, edges: Edges) -> np.ndarray:
    """Statistics of each group, cases counted with the probability of belonging to it, (n_features, k)."""
    statistics = np.zeros((edges.n_features, posterior.shape[1]))
    gather(cases.indptr, cases.indices, cases.values, posterior, statistics)
    return statistics


def first_chains(
    posterior: np.ndarray, cases: CaseStatistics, habits: Habits, edges: Edges, smoothing: float
) -> Chains:
    """Chains of a first guess at who belongs where, posterior float64 (n, k)."""
    statistics = weighted(cases, posterior, edges)
    beliefs = Beliefs.even(smoothing or FIRST_SMOOTHING, edges)
    return m_step(statistics, posterior.sum(axis=0), habits, edges, beliefs)


def climb(
    chains: Chains, cases: CaseStatistics, habits: Habits, edges: Edges, smoothing: float, steps: int
) -> tuple[Chains, float]:
    """EM from `chains` until the log-likelihood stands still; the chains and how good they are.

    With `smoothing` that is the log-likelihood. Without, it is how likely the cases are when the parameters
    of the groups are unknown (a lower bound: variational Bayes), which a group made of noise does not raise.
    """
    before = -np.inf
    beliefs = Beliefs.even(smoothing or FIRST_SMOOTHING, edges)
    for step in range(steps):
        found = e_step(chains, cases)
        if smoothing == 0 and step in WEIGHED:
            beliefs = Beliefs.found(found.statistics, habits, edges)
        following = m_step(found.statistics, found.cases, habits, edges, beliefs)
        still = found.log_likelihood - before < TOLERANCE * abs(found.log_likelihood)
        if step == steps - 1 or (still and (smoothing or step > WEIGHED[0])):
            break
        chains, before = following, found.log_likelihood
    if smoothing:
        return following, found.log_likelihood
    # of the likelihood what is not due to the parameters: the groups' shares and the doubt who is in which
    belonging = found.log_likelihood - float((found.statistics * chains.coefficients).sum())
    return following, belonging + Beliefs.found(found.statistics, habits, edges).evidence


def refine(
    ask: Callable[[Chains], Expectation], chains: Chains, edges: Edges, smoothing: float, steps: int
) -> Chains:
    """EM from chains that are near already, over cases that are not here.

    `ask` makes one E-step wherever the cases are, shard by shard or on a cluster: what comes back is added
    up, and as large as the chains. Group j stays group j.
    """
    found = ask(chains)
    habits = Habits.of(found.statistics.sum(axis=1), edges)
    for _ in range(steps):
        beliefs = Beliefs.even(smoothing, edges)
        if smoothing == 0:
            beliefs = Beliefs.found(found.statistics, habits, edges)
        chains, before = m_step(found.statistics, found.cases, habits, edges, beliefs), found.log_likelihood
        found = ask(chains)
        if found.log_likelihood - before < TOLERANCE * abs(found.log_likelihood):
            break
    return chains


def search(
    cases: CaseStatistics, habits: Habits, edges: Edges, smoothing: float, k: int, restarts: int, seed: int
) -> Chains:
    """The best of `restarts` seeded starts: short climbs on a sample, the best goes on with everyone."""
    if k == 1:
        return first_chains(np.ones((cases.n_cases, 1)), cases, habits, edges, smoothing)
    rng = np.random.default_rng([seed, k])
    sample = cases
    if cases.n_cases > START_CASES:
        sample = cases.select(np.sort(rng.choice(cases.n_cases, START_CASES, replace=False)))
    best: tuple[float, Chains] | None = None
    for posterior in starts(sample, habits, edges, k, restarts, rng):
        chains = first_chains(posterior, sample, habits, edges, smoothing)
        chains, reached = climb(chains, sample, habits, edges, smoothing, SHORT_STEPS)
        if best is None or reached > best[0]:
            best = (reached, chains)
    assert best is not None
    chains, reached = climb(best[1], sample, habits, edges, smoothing, LONG_STEPS)
    chains = regroup(chains, reached, sample, habits, edges, smoothing, rng)
    return climb(chains, cases, habits, edges, smoothing, LONG_STEPS)[0]


def regroup(
    chains: Chains,
    reached: float,
    cases: CaseStatistics,
    habits: Habits,
    edges: Edges,
    smoothing: float,
    rng: np.random.Generator,
) -> Chains:
    """Leave a local optimum: merge the two groups least told apart, split another, keep what is better.

    After Ueda, Nakano, Ghahramani & Hinton, "SMEM algorithm for mixture models" (2000). A group is split
    along one of the directions in which its own cases differ most.
    """
    for _ in range(REGROUPINGS):
        before = reached
        posterior = posteriors(chains, cases)[0]
        for guess in _splits(_merged(posterior), cases, edges, rng):
            found = first_chains(guess, cases, habits, edges, smoothing)
            found, height = climb(found, cases, habits, edges, smoothing, TRIAL_STEPS)
            if height > reached + TOLERANCE * abs(reached):
                found, height = climb(found, cases, habits, edges, smoothing, LONG_STEPS)
                chains, reached = found, height
        if reached <= before:
            break
    return chains


def _merged(posterior: np.ndarray) -> np.ndarray:
    """The posterior with the two columns that share most cases made one, the last; float64 (n, k − 1)."""
    overlap = posterior.T @ posterior
    size = np.sqrt(np.maximum(np.diag(overlap), 1e-9))
    alike = np.triu(overlap / size / size[:, None], 1)
    i, j = np.unravel_index(int(alike.argmax()), alike.shape)
    both = posterior[:, i] + posterior[:, j]
    return np.column_stack([np.delete(posterior, [i, j], axis=1), both])


def _splits(
    posterior: np.ndarray, cases: CaseStatistics, edges: Edges, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Each group in turn cut in two along the first directions in which its cases differ, (n, k)."""
    label = posterior.argmax(axis=1)
    for j in range(posterior.shape[1]):
        members = np.flatnonzero(label == j)
        if len(members) < MIN_SPLIT:
            continue
        own = cases.select(members)
        habits = Habits.of(own.total(edges.n_features), edges)
        scores = score_directions(own, habits, edges, DIRECTIONS, rng)[:, :DIRECTIONS]
        for direction in np.hstack([scores, tempos(own, habits, edges)]).T:
            side = direction > np.median(direction)
            guess = np.column_stack([posterior, np.zeros(len(posterior))])
            guess[members, -1] = guess[members, j] * np.where(side, 0.8, 0.2)
            guess[members, j] -= guess[members, -1]
            yield guess


def starts(
    cases: CaseStatistics, habits: Habits, edges: Edges, k: int, restarts: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """First guesses float64 (n, k): k-means on the leading directions of the scores, the last at random.

    Half the starts compare lengths and directions, half directions alone (a long case pulls harder, not
    elsewhere), one in four tempo alone: the little that every gap says of it is lost among directions that
    single steps make. Guesses are soft: EM leaves a hard wrong partition far less often than a vague one.
    """
    scores = score_directions(cases, habits, edges, min(24, max(8, 2 * k)), rng)
    angles = scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-9)
    tempo = tempos(cases, habits, edges)
    for attempt in range(restarts):
        if attempt and attempt == restarts - 1:
            yield rng.dirichlet(np.full(k, 0.3), cases.n_cases)
            continue
        points = angles if attempt % 2 else scores
        width = points.shape[1] if attempt % 4 < 2 else min(points.shape[1], max(3, k))
        points = points[:, :width]
        if attempt % 4 == 1 and tempo.shape[1]:
            points = tempo
        label = lloyd(points, k, rng)
        yield 0.6 * np.eye(k)[label] + 0.4 / k


def score_directions(
    cases: CaseStatistics, habits: Habits, edges: Edges, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Where each case pulls the parameters of the one-group model, float64 (n, ≤ width).

    The Fisher score of a case, scaled by its information: counts above expectation per transition, gaps
    longer or more spread than usual. Without groups every column is noise of variance one, so mix,
    order and timing compare on one scale; the leading singular directions are where cases differ.
    Jaakkola & Haussler, "Exploiting generative models in discriminative classifiers" (1999).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import aslinearoperator

    rows = csr_array((cases.values, cases.indices, cases.indptr), shape=(cases.n_cases, edges.n_features))
    n_edges, n_states = len(edges.keys), edges.view.n_states
    a, b = edges.n_tokens, edges.n_tokens + n_edges
    length = np.sqrt(np.maximum(cases.weight * cases.events, 1.0))[:, None]
    counts = rows[:, a:b]
    # rare transitions are damped: one chance event must not be a direction of its own
    floor = 1.0 / max(100.0, 0.001 * cases.n_cases)
    spread = 1.0 / np.sqrt(habits.transitions[0] + floor)
    by_source = csr_array((np.ones(n_edges), (np.arange(n_edges), edges.source)), shape=(n_edges, n_states))
    left = counts @ by_source
    expected = csr_array(
        (habits.transitions[0] * spread, (edges.source, np.arange(n_edges))), shape=(n_states, n_edges)
    )
    blocks = [(counts.multiply(spread[None, :]) - left @ expected).tocsr()]
    if edges.n_classes:
        blocks.append(csr_array(rows[:, b:] @ tempo_scores(habits.waits[0])))
    from scipy.sparse import hstack

    matrix = hstack(blocks).tocsr().multiply(1 / length).tocsr()
    return leading(aslinearoperator(matrix), min(width, *matrix.shape), rng)


def tempos(cases: CaseStatistics, habits: Habits, edges: Edges) -> np.ndarray:
    """How much slower and how much more irregular each case is over all its gaps, float64 (n, 2).

    (n, 0) where there is no clock. Without groups each column is noise of variance one.
    """
    from scipy.sparse import csr_array

    n_classes = edges.n_classes
    if n_classes == 0:
        return np.zeros((cases.n_cases, 0))
    rows = csr_array((cases.values, cases.indices, cases.indptr), shape=(cases.n_cases, edges.n_features))
    waits = rows[:, edges.n_tokens + len(edges.keys) :]
    scores = tempo_scores(habits.waits[0]).reshape(-1, 3, n_classes)[:, 1:].sum(axis=2)
    length = np.sqrt(np.maximum(waits.sum(axis=1), 1.0))
    return np.asarray((waits @ scores) / length[:, None])


def tempo_scores(usual: np.ndarray) -> np.ndarray:
    """What a gap in each part of the scale says: at once or not, slower, more irregular; mean 0, variance 1.

    usual float64 (C, 1 + BINS), shares of the parts in the whole log; the answer (C * (1 + BINS), 3 * C).
    Slower is the normal score of the rank, more irregular its square less what slower explains.
    """
    from scipy.special import ndtri

    n_classes, width = usual.shape
    found = np.zeros((n_classes, width, 3, n_classes))
    for c, share in enumerate(usual):
        tie = share[0]
        found[c, :, 0, c] = (np.arange(width) == 0) - tie
        found[c, :, 0, c] /= np.sqrt(tie * (1 - tie))
        waits = share[1:] / (1 - tie)
        rank = ndtri(np.cumsum(waits) - waits / 2)
        before: list[np.ndarray] = [np.ones(width - 1)]
        for column, score in ((1, rank), (2, rank**2)):
            for known in before:
                score = score - (waits * score * known).sum() * known
            size = np.sqrt((waits * score**2).sum())
            score = score / size if size > 1e-6 else np.zeros_like(score)
            before.append(score)
            found[c, 1:, column, c] = score
    return found.reshape(n_classes * width, 3 * n_classes)


def leading(matrix: object, width: int, rng: np.random.Generator) -> np.ndarray:
    """The matrix on its `width` leading right singular directions, by randomised subspace iteration.

    Halko, Martinsson & Tropp, "Finding structure with randomness" (2011), algorithm 4.4.
    """
    basis = rng.standard_normal((matrix.shape[1], width + 4))  # type: ignore[attr-defined]
    for _ in range(4):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))  # type: ignore[attr-defined,operator]
    image = matrix @ basis  # type: ignore[operator]
    left, size, _ = np.linalg.svd(image, full_matrices=False)
    return (left * size)[:, :width]
