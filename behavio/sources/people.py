"""Cases and consents: what is known about each case, and what it has agreed to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.log import CONSENT_SCHEMA, TIME, SourceCount
from behavio.sources.events import most_frequent
from behavio.sources.guess import guess, named_or_guessed
from behavio.sources.identities import Identities, identify, most_of
from behavio.sources.inputs import Folders
from behavio.sources.mapping import Field, SourceMapping, zone_of
from behavio.sources.patients import refuse_patient_keys, refuse_patient_source
from behavio.sources.privacy import EVERYBODY, Privacy
from behavio.sources.records import as_text
from behavio.sources.reshape import reshaped
from behavio.sources.settings import CasesSettings, ConsentSettings, one_of
from behavio.sources.sieve import Sieve
from behavio.sources.tabular import FILE, ROW, RawTable
from behavio.sources.times import read_times

CONSENT_COLUMNS = ("case_id", "channel", "state", "timestamp", "expires", "brand")
STATES = ("opt_in", "opt_out", "pending", "never")
INTEGER, DECIMAL = re.compile(r"-?(0|[1-9]\d{0,17})"), re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


def cases_of(
    table: RawTable,
    mapping: SourceMapping,
    settings: CasesSettings,
    base: Path,
    beside: Folders,
    privacy: Privacy = EVERYBODY,
) -> tuple[pl.DataFrame, pl.DataFrame, SourceCount, pl.DataFrame, Privacy]:
    """Cases (case_id and attributes, one row each), consents that stand in them, counts, rejected rows.

    The last part is `privacy` with the people barred whom the table says to have opted out.
    """
    plain = settings.kind in ("table", "sql") and settings.mapping is None
    if settings.case_id is not None or plain:
        column = named_or_guessed("case_id", settings.case_id, table.columns, table.files[0])
        mapping = replace(mapping, case_id=Field(column=(column,)))
    attributes = dict(mapping.attributes)
    for attribute, column in settings.columns.items():
        attributes[attribute] = Field(
            column=(named_or_guessed(attribute, column, table.columns, table.files[0]),)
        )
    keep = (*mapping.keep, *(settings.keep or (("*",) if plain else ())))
    if not privacy.patients:
        refuse_patient_source(mapping.patients, "[cases]")
        if plain or settings.mapping is not None:
            read = {c for f in (mapping.case_id, *attributes.values()) for c in f.needs} | set(keep)
            refuse_patient_keys([c for c in table.columns if c in read or "*" in keep], "[cases]")
    sieve = Sieve("cases", table, mapping, private=not plain, keep=keep, privacy=privacy)
    sieve.prepare(mapping, settings.joins, base, beside)
    case_key(sieve, mapping)
    _once(sieve)
    found = {a: sieve.text(f) for a, f in attributes.items() if sieve.can_fill(f)}
    fields = [mapping.case_id, *attributes.values()]
    used = {f.column[0] for f in fields if len(f.column) == 1 and not f.values and not f.trim}
    more = [c for c in sieve.columns if c not in used and c not in sieve.texts] if "*" in keep else []
    more += [c for c in keep if c != "*" and c not in more]
    for column in more:
        sieve.require([column], "keep")
        name = f"{column}_source" if column in found or column == "case_id" else column
        text = sieve.frame.schema[column] == pl.String
        found[name] = as_text(sieve.frame, column) if text else pl.col(column)
    cases = sieve.frame.select(pl.col("__case__").alias("case_id"), *(e.alias(a) for a, e in found.items()))
    cases = cases.with_columns(as_number(cases[c]) for c in cases.columns if c != "case_id")
    consents = _statements(sieve, mapping, settings)
    count = count_of(sieve, "cases", settings.kind, cases.height)
    return cases, consents, count, sieve.all_rejected(), sieve.privacy


def consents_of(
    table: RawTable,
    mapping: SourceMapping,
    settings: ConsentSettings,
    base: Path,
    beside: Folders,
    privacy: Privacy = EVERYBODY,
    identities: Identities | None = None,
    *,
    name: str = "consents",
) -> tuple[pl.DataFrame, SourceCount, pl.DataFrame]:
    """Every dated consent statement (CONSENT_SCHEMA), counts, rejected rows."""
    attributes = dict(mapping.attributes)
    if settings.kind in ("table", "sql") and settings.mapping is None:
        mapping, attributes = _guessed(table, settings)
    else:
        for what, column in settings.columns.items():
            field = Field(column=(named_or_guessed(what, column, table.columns, table.files[0]),))
            if what == "case_id":
                mapping = replace(mapping, case_id=field)
            elif what == "timestamp":
                mapping = replace(mapping, timestamp=field)
            else:
                attributes[what] = field
    for what in settings.columns:
        one_of(what, CONSENT_COLUMNS, "column")
    for attribute, value in settings.values.items():
        attributes[attribute] = Field(constant=value)
    mapping = replace(mapping, attributes=attributes)
    table, mapping = reshaped(table, mapping, settings.columns.values())
    attributes = dict(mapping.attributes)
    private = settings.kind not in ("table", "sql")
    sieve = Sieve(name, table, mapping, private=private, privacy=privacy)
    sieve.prepare(mapping, settings.joins, base, beside)
    case_key(sieve, mapping)
    for target, field, needed in (
        ("__time__", mapping.timestamp, True),
        ("__expires__", attributes.get("expires", Field()), False),
    ):
        _time(sieve, target, field, settings, mapping, needed=needed)
    if settings.identity is not None:
        identify(sieve, identities, settings.identity, mapping.case_id.needs, timed=True)
        sieve.bar()
    state, channel, brand = (attributes.get(n, Field()) for n in ("state", "channel", "brand"))
    sieve.require(state.needs, "state")
    known = sieve.text(state).str.to_lowercase().str.replace_all(r"[\s-]", "_")
    sieve.frame = sieve.frame.with_columns(known.alias("__state__"))
    sieve.reject(
        ~pl.col("__state__").is_in(list(STATES)) | pl.col("__state__").is_null(),
        " or ".join(state.needs),
        "the consent state is not known",
        f"map it to one of {', '.join(STATES)}",
    )
    consents = sieve.frame.select(
        pl.col("__case__").alias("case_id"),
        (sieve.text(channel).fill_null("*") if sieve.can_fill(channel) else pl.lit("*")).alias("channel"),
        pl.col("__state__").alias("state"),
        pl.col("__time__").alias("timestamp"),
        pl.col("__expires__").alias("expires"),
        pl.lit(name).alias("source"),
        pl.col(ROW).cast(pl.Int64).alias("source_row"),
        (sieve.text(brand) if sieve.can_fill(brand) else pl.lit(None, dtype=pl.String)).alias("brand"),
    ).cast(dict(CONSENT_SCHEMA))  # type: ignore[arg-type]
    return consents, count_of(sieve, name, settings.kind, consents.height), sieve.all_rejected()


def _guessed(table: RawTable, settings: ConsentSettings) -> tuple[SourceMapping, dict[str, Field]]:
    shown, columns = table.files[0], table.columns
    found: dict[str, Field] = {}
    for what in ("case_id", "timestamp", "state", "channel", "expires"):
        named = settings.columns.get(what)
        if named is None and (what in settings.values or what in ("channel", "expires")):
            usual = guess(what, columns)
            if usual is not None and what not in settings.values:
                found[what] = Field(column=(usual,))
            continue
        found[what] = Field(column=(named_or_guessed(what, named, columns, shown),))
    mapping = SourceMapping(case_id=found.pop("case_id"), timestamp=found.pop("timestamp"))
    return replace(mapping, timestamp_format=settings.timestamp_format), found


def case_key(sieve: Sieve, mapping: SourceMapping) -> None:
    """Fill __case__; rows without a case are rejected, those of barred people left out."""
    sieve.require(mapping.case_id.needs, "case_id")
    found = sieve.text(mapping.case_id).str.strip_chars()
    sieve.frame = sieve.frame.with_columns(
        pl.when(found.is_in(sieve.nothing)).then(None).otherwise(found).alias("__case__")
    )
    column = " or ".join(mapping.case_id.needs)
    sieve.reject(pl.col("__case__").is_null(), column, "the case id is empty", f"fill {column}")
    sieve.bar()


def _once(sieve: Sieve) -> None:
    """One row per case: the first of the last file stays; rows that say something else are counted apart."""
    if len(sieve.files) > 1:
        sieve.frame = sieve.frame.sort(FILE, descending=True, maintain_order=True)
    again = ~pl.struct("__case__").is_first_distinct()
    same = ~pl.struct("__case__", *sieve.columns).is_first_distinct()
    sieve.leave_out(again & same, "an equal row of the same case stands above")
    sieve.leave_out(~pl.struct("__case__").is_first_distinct(), "another row of the same case stands above")


def _time(
    sieve: Sieve,
    target: str,
    field: Field,
    settings: ConsentSettings,
    mapping: SourceMapping,
    *,
    needed: bool,
) -> None:
    zone = zone_of(settings, mapping)
    have = [c for c in field.needs if c in sieve.frame.columns]
    if needed:
        sieve.require(field.needs, "timestamp")
    if not have:
        sieve.frame = sieve.frame.with_columns(pl.lit(None, dtype=TIME).alias(target))
        return
    parts = []
    for column in have:
        times = read_times(sieve.frame[column], zone, settings.timestamp_format or mapping.timestamp_format)
        parts.append(times.utc)
        sieve.notes += [f"{n} ({column})" for n in times.notes]
    sieve.frame = sieve.frame.with_columns(pl.select(pl.coalesce(parts)).to_series().alias(target))
    written = pl.coalesce([as_text(sieve.frame, c) for c in have]).is_not_null()
    bad = pl.col(target).is_null() if needed else pl.col(target).is_null() & written
    sieve.reject(bad, " or ".join(have), "the time is empty or cannot be read", "set timestamp_format")


def _statements(sieve: Sieve, mapping: SourceMapping, settings: CasesSettings) -> pl.DataFrame:
    """Consents that stand in account columns, dated by the account's last change."""
    dated = next((c for c in mapping.version if c in sieve.frame.columns), None)
    time = pl.lit(None, dtype=TIME)
    if dated is not None:
        time = pl.lit(read_times(sieve.frame[dated], settings.timezone).utc)
    parts = [pl.DataFrame(schema=CONSENT_SCHEMA)]
    rows = sieve.frame.with_columns(time.alias("__time__"))
    for rule in mapping.consent:
        if rule.column in rows.columns:
            said = as_text(rows, rule.column).is_in(list(rule.inside))
            parts.append(
                rows.filter(said).select(
                    pl.col("__case__").alias("case_id"),
                    pl.lit(rule.channel).alias("channel"),
                    pl.lit(rule.state).alias("state"),
                    pl.col("__time__").alias("timestamp"),
                    pl.lit(None, dtype=TIME).alias("expires"),
                    pl.lit("cases").alias("source"),
                    pl.col(ROW).cast(pl.Int64).alias("source_row"),
                    pl.lit(None, dtype=pl.String).alias("brand"),
                )
            )
    return pl.concat(parts)


def as_number(column: pl.Series) -> pl.Series:
    """A text column as numbers when every value is written like one; "007" keeps the column text."""
    if column.dtype != pl.String or column.null_count() == column.len():
        return column
    values = column.drop_nulls().unique()
    if values.str.contains(rf"^(?:{INTEGER.pattern})$").all():
        return column.cast(pl.Int64)
    if values.str.contains(rf"^(?:{DECIMAL.pattern})$").all():
        return column.cast(pl.Float64)
    return column


def count_of(sieve: Sieve, role: str, kind: str, accepted: int) -> SourceCount:
    """What became of the rows; LogError when none could be used."""
    if accepted == 0 and sieve.n_rejected:
        raise LogError(
            f"no row of {sieve.files[0]} could be used for {role}", hint=most_frequent(sieve.all_rejected())
        )
    several = len(sieve.files)
    return SourceCount(
        name=role,
        kind=kind,
        file=sieve.files[0] if several == 1 else f"{several} files, {sieve.files[0]} first",
        read=sieve.n_read,
        accepted=accepted,
        rejected=sieve.n_rejected,
        merged=sum(sieve.left_out.values()),
        filtered=sieve.filtered,
        role=role,
        left_out=dict(sieve.left_out),
        notes=tuple(dict.fromkeys(sieve.notes)),
        unmatched_ids=most_of(sieve.unmatched),
    )
