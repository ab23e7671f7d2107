"""Which of the allowed suggestions are made, in which order, and when they fall due.

The gain orders the actions of a case, see `in_order`; an owner's first suggestions for all cases come before
any second one. Due days are the working days of the seven days after `as_of`, and nobody gets more than
`max_per_owner_day` of them a day. Ties are broken by case, then action: same input, same plan.
"""

from __future__ import annotations

import datetime as dt
import hashlib

import numpy as np
import polars as pl

from behavio.kernels.agenda import first_days
from behavio.suggest.rules import CALLS
from behavio.suggest.settings import DAY_US, SuggestSettings, microseconds

DUE_DAYS = 7
SATURDAY = 5


def day_of(moment: int) -> dt.date:
    """The UTC day of a moment (µs)."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=moment)).date()


def working_days(as_of: int) -> list[dt.date]:
    """The working days of the seven days after as_of."""
    days = (day_of(as_of) + dt.timedelta(days=i) for i in range(1, DUE_DAYS + 1))
    return [d for d in days if d.weekday() < SATURDAY]


def suggestion_id(case: str, action: str, message: str | None, as_of: dt.date) -> str:
    """The same 24 characters for the same case, action, message and day, on every machine."""
    parts = (case, action, message or "", as_of.isoformat())
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]


def make_plan(allowed: pl.DataFrame, as_of: int, settings: SuggestSettings) -> pl.DataFrame:
    """Rank what the rules allow and give it days: `rank_within` and `give_days`."""
    return give_days(rank_within(allowed, settings), as_of, settings)


def rank_within(allowed: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """Add rank and, where a case gets no more, rule and detail.

    The rules of the plan are conflicting, contact_cap, pressure_band and max_per_case, here, and
    max_per_owner_day when days are given.
    """
    ranked = _without_conflicts(in_order(allowed, settings))
    kept = pl.col("rule").is_null()
    ranked = ranked.with_columns(rank=kept.cast(pl.Int32).cum_sum().over("case").cast(pl.Int32))
    # the plan itself adds contacts: together with those of the last 28 days they stay under cap and band
    cap = pl.col("cap") - pl.col("touches_28d")
    band = (pl.col("band_high").floor().cast(pl.Int64) - pl.col("contacts")).fill_null(10**6)
    most = pl.lit(settings.max_per_case)
    words = "{} contacts in 28 days and {} suggested, the cap is {}"
    verdicts = (
        (
            pl.col("rank") > cap,
            "contact_cap",
            pl.format(words, "touches_28d", pl.min_horizontal(pl.col("rank") - 1, cap), "cap"),
        ),
        (
            pl.col("rank") > band,
            "pressure_band",
            pl.format(
                "{} contacts lately and {} suggested; answers of this group hold up to {}",
                pl.col("contacts").fill_null(0),
                pl.min_horizontal(pl.col("rank") - 1, band),
                pl.col("band_high").round(1),
            ),
        ),
        (pl.col("rank") > most, "max_per_case", pl.format("{} better suggestions for the same case", most)),
    )
    rule, detail = pl.col("rule"), pl.col("detail")
    for over, name, told in verdicts:
        new = kept & over.fill_null(False)
        rule, detail = (
            pl.when(new).then(pl.lit(name)).otherwise(rule),
            pl.when(new).then(told).otherwise(detail),
        )
    return ranked.with_columns(rule=rule, detail=detail)


def in_order(allowed: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """The actions of each case, best first, with `cost`.

    What a trigger asks for comes first, then the order of the channel policy, then the gain. Gains within
    `equal_within` of the best one are equal: the cheaper action comes first.
    """
    costs = dict(settings.costs)
    if costs:
        by_action = pl.col("action").replace_strict(costs, default=None, return_dtype=pl.Float64)
        by_channel = pl.col("channel").replace_strict(costs, default=0.0, return_dtype=pl.Float64)
        cost = pl.coalesce(by_action, by_channel)
    else:
        cost = pl.lit(0.0)
    gain = pl.col("gain").fill_null(-1.0)
    table = allowed.with_columns(cost=cost, own_gain=gain, asked=pl.col("trigger").is_null())
    best = pl.col("own_gain").max().over("case", "asked", "policy_place")
    equal = pl.col("own_gain") >= best - (settings.equal_within if costs else 0.0)
    table = table.with_columns(behind=~equal, price=pl.when(equal).then(pl.col("cost")).otherwise(0.0))
    keys = ["case", "asked", "policy_place", "behind", "price", "own_gain", "action"]
    down = [False, False, False, False, False, True, False]
    return table.sort(keys, descending=down).drop("own_gain", "asked", "behind", "price")


def _without_conflicts(ranked: pl.DataFrame) -> pl.DataFrame:
    """A visit, a video call and a phone call are one call: of several only the best is suggested."""
    call = pl.col("channel").is_in(CALLS).fill_null(False)
    later = call & (call.cast(pl.Int32).cum_sum().over("case") > 1)
    first = pl.col("action").filter(call).first().over("case")
    return ranked.with_columns(
        rule=pl.when(later).then(pl.lit("conflicting")),
        detail=pl.when(later).then(pl.format("another call is suggested already: {}", first)),
    )


def give_days(ranked: pl.DataFrame, as_of: int, settings: SuggestSettings) -> pl.DataFrame:
    """Add `due_from`: owners fill their days best first, and a case waits `cooldown` between its own.

    What finds no day gets its rule; ranks close the gaps it leaves.
    """
    days = working_days(as_of)
    epoch = dt.date(1970, 1, 1)
    open_days = np.array([(d - epoch).days for d in days], dtype=np.int64)
    slim = ("owner_id", "rank", "waiting", "gain", "case", "action")
    queue = ranked.select(
        *slim,
        "rule",
        row=pl.int_range(pl.len(), dtype=pl.Int64),
        asked=pl.col("trigger").is_not_null(),
        under=(pl.col("contacts") < pl.col("band_low")).fill_null(False),
        passed=pl.col("ignored") > 0,
    ).filter(pl.col("rule").is_null())
    # after what users ask for and what waits for an answer: who gets too little; last what reps passed over
    queue = queue.sort(
        ["owner_id", "rank", "asked", "waiting", "under", "passed", "gain", "case", "action"],
        descending=[False, False, True, True, True, False, True, False, False],
        nulls_last=True,
    )
    found = first_days(
        queue["owner_id"].rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1,
        queue["case"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        open_days,
        settings.max_per_owner_day,
        -(-microseconds(settings.cooldown) // DAY_US),
    )
    day = np.full(ranked.height, -1, dtype=np.int64)
    day[queue["row"].to_numpy()] = found
    due = pl.Series(day).replace(-1, None).cast(pl.Int32).cast(pl.Date)
    ranked = ranked.with_columns(due_from=due)
    late = pl.col("rule").is_null() & pl.col("due_from").is_null()
    told = pl.format(
        "the owner has {} suggestions on every working day of the week", pl.lit(settings.max_per_owner_day)
    )
    ranked = ranked.with_columns(
        rule=pl.when(late).then(pl.lit("max_per_owner_day")).otherwise("rule"),
        detail=pl.when(late).then(told).otherwise("detail"),
    )
    kept = pl.col("rule").is_null()
    place = kept.cast(pl.Int32).cum_sum().over("case")
    return ranked.with_columns(rank=pl.when(kept).then(place).otherwise("rank").cast(pl.Int32))


def with_dates(chosen: pl.DataFrame, as_of: int, settings: SuggestSettings) -> pl.DataFrame:
    """Add due_to, expires_on, priority and suggestion_id to what is suggested."""
    last = working_days(as_of)[-1]
    expires = max(day_of(as_of + microseconds(settings.expires)), last)
    # urgent: the case did something, nobody has answered yet, and it is among the owner's first of the week
    urgent = pl.col("waiting") & (pl.col("due_from") == working_days(as_of)[0])
    keys = chosen.select("case_id", "action", "message").iter_rows()
    ids = [suggestion_id(case, action, message, day_of(as_of)) for case, action, message in keys]
    return chosen.with_columns(
        due_to=pl.lit(last),
        expires_on=pl.lit(expires),
        priority=pl.when(urgent.fill_null(False)).then(pl.lit("urgent")).otherwise(pl.lit("normal")),
        suggestion_id=pl.Series(ids, dtype=pl.String),
    )
