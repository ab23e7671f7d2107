"""From patients to HCPs: each patient counts once, with who prescribed the newest line; only counts leave.

A cell of fewer than k patients is not told, nor can it be worked out from sums (`protect`). What is left
can meet data about HCPs: nothing in it is about a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import false_discovery, shares
from behavio.treatment.lines import JOINER
from behavio.treatment.protect import told
from behavio.treatment.settings import TreatmentSettings
from behavio.treatment.survival import OTHERS

NOBODY = ""
"""Stands for the prescriber of patients whose newest line names none."""
MIX = {
    "case_id": pl.String(),  # the HCP
    "regimen": pl.String(),
    "n_patients": pl.Int64(),
    "share": pl.Float64(),
    "rest": pl.Float64(),  # among all patients of other HCPs
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "q_value": pl.Float64(),
}
PROFILES = {
    "case_id": pl.String(),
    "profile": pl.String(),  # "age 65 or older", "sex F", "diabetes yes"
    "n_patients": pl.Int64(),
    "share_of_hers": pl.Float64(),
    "elsewhere": pl.Float64(),  # share on the focus drug among such patients of other HCPs
    "n_focus": pl.Int64(),  # of her own: null where that cannot be told
    "share": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "q_value": pl.Float64(),
    "potential": pl.Float64(),  # more patients on the focus drug if she treated them as others do
    "basis": pl.String(),  # profile: her own use in it; mix: her use over all profiles stands for it
}
HCPS = {
    "case_id": pl.String(),
    "treated_patients": pl.Int64(),
    "main_regimen": pl.String(),
    "focus_share": pl.Float64(),
    "focus_against_rest": pl.String(),  # more | less | alike
    "focus_profile": pl.String(),  # the profile with the surest and largest potential
}


@dataclass(frozen=True, eq=False)
class Attributed:
    """What HCPs do, from k patients on.

    hcps        HCPS, one row per HCP          mix       MIX          profiles  PROFILES
    suppressed  how many cells were held back: small ones, and those that would give them away
    n_hcps      prescribers before that        n_unattributed  patients whose newest line names nobody
    """

    hcps: pl.DataFrame
    mix: pl.DataFrame
    profiles: pl.DataFrame
    suppressed: dict[str, int]
    n_hcps: int
    n_unattributed: int
    focus: str


def attributed(
    lines: pl.DataFrame, persons: pl.DataFrame, names: list[str], settings: TreatmentSettings
) -> Attributed:
    """Aggregate the newest line of every patient to the HCP who prescribed its start.

    persons  case_id and one text column per kind of profile (`profiles_of`)
    names    regimens told by name; the others are told together
    """
    newest = lines.sort("case_id", "line").group_by("case_id", maintain_order=True).last()
    focus = settings.focus or _most_frequent(newest)
    on = pl.col("regimen").str.split(JOINER).list.contains(focus)
    rest = pl.when(on).then(pl.lit(f"(others with {focus})")).otherwise(pl.lit(OTHERS))
    regimen = pl.when(pl.col("regimen").is_in(names)).then("regimen").otherwise(rest)
    patients = newest.select(
        "case_id",
        hcp=pl.col("prescriber").fill_null(NOBODY),
        regimen=regimen,
        on=pl.when(on).then(pl.lit("on")).otherwise(pl.lit("off")),
    ).join(persons, on="case_id", how="left", maintain_order="left")
    sizes = patients.group_by("hcp").agg(n=pl.len()).sort("hcp")
    counts = sizes["n"].to_numpy()
    nobody = (sizes["hcp"] == NOBODY).to_numpy()
    named = np.flatnonzero(~nobody)  # how many patients name nobody is told
    seen = told(counts, [named], settings.k, nobody) & ~nobody
    known = sizes.filter(pl.Series(seen))
    mix, held = _mix(patients, known, settings.k)
    use = _use(patients, known, settings.k)
    kinds = [c for c in persons.columns if c != "case_id"]
    parts = [_profiles(patients, kind, known, use, settings.k) for kind in kinds]
    profiles = pl.concat([pl.DataFrame(schema=PROFILES), *(p for p, _ in parts)])
    q = false_discovery(profiles["q_value"].to_numpy().astype(float))  # p-values until all kinds are known
    profiles = profiles.with_columns(q_value=pl.Series(q, dtype=pl.Float64).fill_nan(None))
    hidden = {
        "hcps": int((~seen & ~nobody).sum()),
        "regimens": held,
        "profiles": sum(h for _, h in parts),
    }
    return Attributed(
        _hcps(known, mix, profiles, use),
        mix,
        profiles,
        hidden,
        int((~nobody).sum()),
        int(counts[nobody].sum()),
        focus,
    )


def _most_frequent(newest: pl.DataFrame) -> str:
    drugs = newest.select(pl.col("regimen").str.split(JOINER).explode().alias("drug"))
    return str(drugs.group_by("drug").len().sort("len", "drug", descending=[True, False])["drug"][0])


def _cells(
    patients: pl.DataFrame, keys: list[str], sums: list[list[str]], known: pl.DataFrame, k: int
) -> tuple[pl.DataFrame, int]:
    """Counts of patients by `keys` (the first is hcp), those that may be told, and how many are held back.

    sums  the keys that remain in each sum that could be known; sums of one HCP only of HCPs that are told
    """
    cells = patients.group_by(keys).agg(n=pl.len()).sort(keys)
    seen = cells["hcp"].is_in(known["hcp"].to_list())
    cells = cells.with_columns(_row=pl.int_range(pl.len()), _seen=seen)
    groups = []
    for left in sums:
        own = cells.filter("_seen") if "hcp" in left else cells
        rows = own.group_by(left, maintain_order=True).agg("_row")
        groups += [np.array(r) for r in rows["_row"].to_list()]
    may = told(cells["n"].to_numpy(), groups, k, ~cells["_seen"].to_numpy())
    kept = cells.with_columns(_told=pl.Series(may) & seen)
    held = kept.filter(pl.col("_seen") & ~pl.col("_told")).height
    return kept.filter("_told").drop("_row", "_seen", "_told"), held


def _mix(patients: pl.DataFrame, known: pl.DataFrame, k: int) -> tuple[pl.DataFrame, int]:
    """Regimens of each HCP against all patients of others; a regimen holds the focus drug or it does not."""
    sums = [["hcp"], ["hcp", "on"], ["regimen"]]
    cells, held = _cells(patients, ["hcp", "regimen", "on"], sums, known, k)
    totals = patients.group_by("regimen").agg(all=pl.len())
    table = cells.join(totals, on="regimen").join(known.rename({"n": "of"}), on="hcp").sort("hcp", "regimen")
    return _against(table, patients.height).select(*MIX).cast(MIX), held  # type: ignore[arg-type]


def _against(table: pl.DataFrame, total: int) -> pl.DataFrame:
    """n of `of` against (all − n) of (total − of), row by row."""
    found = [
        shares(np.array([a - n]), total - of, np.array([n]), of)
        for n, of, a in table.select("n", "of", "all").iter_rows()
    ]
    q = false_discovery(np.array([c.p_value[0] for c in found]))
    columns: dict[str, Any] = {
        "share": [c.b[0] for c in found],
        "rest": [c.a[0] for c in found],
        "difference": [c.difference[0] for c in found],
        "low": [c.low[0] for c in found],
        "high": [c.high[0] for c in found],
        "q_value": q,
    }
    made = [pl.Series(n, v, dtype=pl.Float64) for n, v in columns.items()]
    return table.with_columns(made).rename({"hcp": "case_id", "n": "n_patients"})


def _profiles(
    patients: pl.DataFrame, kind: str, known: pl.DataFrame, use: pl.DataFrame, k: int
) -> tuple[pl.DataFrame, int]:
    """Who her patients are, and the focus drug among them against such patients of the others.

    use  case_id, focus_share: of HCPs where that may be told
    Where her own use in a profile is too small to tell, her use over all profiles stands for it.
    """
    own = patients.with_columns(profile=pl.col(kind).fill_null("(unknown)"))
    cells, held = _cells(own, ["hcp", "profile"], [["hcp"], ["profile"]], known, k)
    sums = [["hcp", "profile"], ["hcp", "on"], ["profile", "on"]]  # and what these add up to
    split, _ = _cells(own, ["hcp", "profile", "on"], sums, known, k)
    yes = split.filter(on="on").select("hcp", "profile", n_focus="n")
    no = split.filter(on="off").select("hcp", "profile", n_off="n")
    every = own.group_by("profile").agg(people=pl.len(), all=(pl.col("on") == "on").sum().cast(pl.Int64))
    table = cells.join(yes.join(no, on=["hcp", "profile"]), on=["hcp", "profile"], how="left")
    table = table.join(every.filter(pl.col("all") >= k), on="profile")
    table = table.join(known.select("hcp", of="n"), on="hcp").filter(pl.col("profile") != "(unknown)")
    table = table.join(use.select(hcp="case_id", hers="focus_share"), on="hcp", how="left")
    rows = [_profile(kind, *row) for row in table.sort("hcp", "profile").select(_ROW).iter_rows()]
    return pl.DataFrame(rows, schema=PROFILES, orient="row"), held


_ROW = ("hcp", "profile", "n", "of", "people", "all", "n_focus", "n_off", "hers")


def _profile(
    kind: str,
    hcp: str,
    profile: str,
    n: int,
    of: int,
    people: int,
    every: int,
    n_focus: int | None,
    n_off: int | None,
    hers: float | None,
) -> tuple:
    """One row of PROFILES; the p-value stands in q_value until all of them are known."""
    head = (hcp, f"{kind} {profile}", n, n / of)
    if n_focus is not None and n_off is not None:
        mine = n_focus + n_off
        c = shares(np.array([every - n_focus]), people - mine, np.array([n_focus]), mine)
        values = [float(v[0]) for v in (c.b, c.difference, c.low, c.high, c.p_value)]
        return (*head, float(c.a[0]), n_focus, *values, max(-values[1], 0.0) * n, "profile")
    elsewhere = every / people
    gain = None if hers is None else max(elsewhere - hers, 0.0) * n
    return (*head, elsewhere, None, None, None, None, None, None, gain, None if hers is None else "mix")


def _use(patients: pl.DataFrame, known: pl.DataFrame, k: int) -> pl.DataFrame:
    """case_id, focus_share, focus_against_rest of HCPs where that may be told."""
    cells, _ = _cells(patients, ["hcp", "on"], [["hcp"], ["on"]], known, k)
    every = int((patients["on"] == "on").sum())
    use = cells.filter(on="on").with_columns(all=pl.lit(every)).join(known.rename({"n": "of"}), on="hcp")
    use = _against(use.sort("hcp"), patients.height)
    word = pl.when(pl.col("low") > 0).then(pl.lit("more")).when(pl.col("high") < 0).then(pl.lit("less"))
    return use.select(
        "case_id", focus_share=pl.col("share").round(3), focus_against_rest=word.otherwise(pl.lit("alike"))
    )


def _hcps(known: pl.DataFrame, mix: pl.DataFrame, profiles: pl.DataFrame, use: pl.DataFrame) -> pl.DataFrame:
    """One row per HCP: how she treats now, and the profile to look at.

    That is the one with the largest potential: surely below the others in it, or, where her own use in
    profiles cannot be told, below the others over all.
    """
    main = mix.filter(~pl.col("regimen").str.starts_with("(others")).sort(
        "n_patients", "regimen", descending=[True, False]
    )
    main = main.group_by("case_id", maintain_order=True).first().select("case_id", main_regimen="regimen")
    below = use.filter(focus_against_rest="less")["case_id"].to_list()
    sure = (pl.col("high") < 0) & (pl.col("q_value") <= 0.05)
    by_mix = (pl.col("basis") == "mix") & pl.col("case_id").is_in(below)
    named = ~pl.col("profile").str.ends_with(" no")  # nobody looks for patients without a comorbidity
    lever = profiles.filter(named & (sure | by_mix) & (pl.col("potential") > 0))
    lever = lever.sort("potential", "profile", descending=[True, False])
    lever = lever.group_by("case_id", maintain_order=True).first()
    table = known.select(case_id="hcp", treated_patients=pl.col("n").cast(pl.Int64))
    for more in (main, use, lever.select("case_id", focus_profile="profile")):
        table = table.join(more, on="case_id", how="left", maintain_order="left")
    return table.select(*HCPS).cast(HCPS)  # type: ignore[arg-type]


def profiles_of(persons: pl.DataFrame, comorbid: pl.DataFrame, words: list[str]) -> pl.DataFrame:
    """case_id, age, sex, and one column per comorbidity: what a profile may be made of.

    persons   case_id, sex, age (years at the newest line), each perhaps null
    comorbid  case_id, comorbidity
    """
    band = (
        pl.when(pl.col("age") < 50)
        .then(pl.lit("under 50"))
        .when(pl.col("age") < 65)
        .then(pl.lit("50 to 64"))
        .otherwise(pl.lit("65 or older"))
    )
    table = persons.select("case_id", age=pl.when(pl.col("age").is_not_null()).then(band), sex="sex")
    for word in words:
        having = comorbid.filter(comorbidity=word)["case_id"].unique().to_list()
        table = table.with_columns(
            pl.when(pl.col("case_id").is_in(having)).then(pl.lit("yes")).otherwise(pl.lit("no")).alias(word)
        )
    return table
