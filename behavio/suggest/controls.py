"""What would have happened without a contact: people not contacted at the very same time.

For every contact two other cases that know the action are drawn by a fixed rule, at the contact's own
moment, that get no contact of this action in the window after it. These free windows tell what a window
brings without the action: a level of each case, a level of each calendar day, and what recent contacts,
the last thing heard and a running contact of the same action add. The sum of these for a contact is its
base (imputation estimator of Borusyak, Jaravel & Spiess 2024: fixed effects fitted on untreated windows
only). So neither eager people who get more contacts, nor campaigns that meet a busy season, nor contacts
that follow a portal visit make an action look good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.suggest.proof import PROOF_SCHEMA, Shared, prove
from behavio.suggest.settings import DAY_US
from behavio.suggest.situations import Situations, moments_of

PER_CONTACT = 2
"""Control windows wanted per contact."""

TRIES = 12
"""Cases looked at for one control before the contact goes without."""

STRIDES = (7_919, 104_729, 1_299_709)
"""Primes that spread the draws over the cases: by contact, by control, by try."""

EFFECTS = ("case", "day", "pressure", "seen", "recent")


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The contacts of an action that can be compared, and what they are compared with.

    contacts  the observed ones with `base` (float, not clipped), `controls` (how many) and `day`
    controls  case, day, SITUATION, recent, response, contact (row of the observed contacts)
    doubt     variance of the mean base, by cases
    proofs    what the contacts gain, all and by segment, see `proof`
    """

    contacts: pl.DataFrame
    controls: pl.DataFrame
    doubt: float
    proofs: pl.DataFrame


def with_base(situations: Situations, action: str, touched: pl.DataFrame) -> Compared:
    """The observed contacts (see `seen_touches`) beside their control windows.

    Those without a control, or of a case that was never free, are left out.
    """
    contacts = _marked(situations, action, touched).with_row_index("contact")
    controls = draw_controls(situations, action, contacts)
    found = controls.group_by("contact").agg(pl.len().cast(pl.Int64).alias("controls"))
    contacts = contacts.join(found, on="contact", how="inner", maintain_order="left")
    contacts = contacts.join(controls, on="case", how="semi", maintain_order="left")
    doubt, proofs = 0.0, pl.DataFrame(schema=PROOF_SCHEMA)
    if contacts.height:
        contacts = contacts.with_columns(base=impute(controls, contacts))
        shared = Shared.of(controls, contacts)
        doubt, proofs = shared.doubt(), prove(shared, contacts)
    kept = controls.join(contacts, on="contact", how="semi", maintain_order="left")
    return Compared(contacts, kept, doubt, proofs)


def draw_controls(situations: Situations, action: str, contacts: pl.DataFrame) -> pl.DataFrame:
    """Up to PER_CONTACT free windows for every contact, each of another case at the contact's moment.

    Control r of contact j looks at try k at the case (place of j's case + 1 + (j·7919 + r·104729 +
    k·1299709) mod (n − 1)) mod n of the n cases that ever got the action, in the order of case ids.
    """
    t = situations.timeline
    own = moments_of(t, action)
    pool = np.unique(contacts["case"].to_numpy())
    if len(pool) < 2:
        return contacts.head(0)
    first = np.full(t.n_cases, np.iinfo(np.int64).max)
    known, start = np.unique(t.case, return_index=True)
    first[known] = t.time[start]
    place = np.searchsorted(pool, contacts["case"].to_numpy())
    time = contacts["time"].to_numpy()
    rows, cases = [], []
    for control in range(PER_CONTACT):
        waiting = np.arange(len(place))
        for attempt in range(TRIES):
            step = waiting * STRIDES[0] + control * STRIDES[1] + attempt * STRIDES[2]
            case = pool[(place[waiting] + 1 + step % (len(pool) - 1)) % len(pool)]
            at = time[waiting]
            # a contact at the same moment counts as one: campaigns reach many people at once
            busy = own.within(case, at - 1_000, at + situations.window_us) > 0
            free = ~busy & (first[case] <= at)
            rows.append(waiting[free])
            cases.append(case[free])
            waiting = waiting[~free]
    contact, case = np.concatenate(rows), np.concatenate(cases)
    order = np.lexsort((case, contact))
    contact, case = contact[order], case[order]
    at = time[contact]
    frame = situations.frame(case, at, t.touches.rank(case, at), t.inbound.rank(case, at))
    won = t.success.within(case, at, at + situations.window_us) > 0
    frame = frame.with_columns(
        time=at, response=won.astype(np.int64), contact=pl.Series(contact, dtype=pl.UInt32)
    )
    return _marked(situations, action, frame)


def _marked(situations: Situations, action: str, windows: pl.DataFrame) -> pl.DataFrame:
    """Add the calendar day, and whether a contact of the same action is still running."""
    case, time = windows["case"].to_numpy(), windows["time"].to_numpy()
    own = moments_of(situations.timeline, action)
    running = own.within(case, time - situations.window_us, time - 1_000) > 0
    return windows.with_columns(day=time // DAY_US, recent=running.astype(np.int64))


def impute(controls: pl.DataFrame, contacts: pl.DataFrame) -> np.ndarray:
    """What the free windows say about the contacts: float64 (n_contacts,), least squares of least norm."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import lsqr
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    both = pl.concat([controls.select(EFFECTS), contacts.select(EFFECTS)])
    n, columns, width = both.height, [], 0
    for effect in EFFECTS:
        code = both[effect].rank("dense").to_numpy().astype(np.int64) - 1
        columns.append(code + width)
        width += int(code.max()) + 1
    place = np.stack(columns, axis=1).ravel()
    design = csr_matrix((np.ones(n * len(EFFECTS)), place, np.arange(n + 1) * len(EFFECTS)), (n, width))
    response = controls["response"].to_numpy().astype(float)
    # one thread and six digits: the same numbers whatever the number of cores
    with threadpool_limits(1, user_api="blas"):
        found = lsqr(
            design[: controls.height], response - response.mean(), atol=1e-8, btol=1e-8, iter_lim=400
        )[0]
        base = response.mean() + design[controls.height :] @ found
    return np.asarray(np.round(base, 6))
