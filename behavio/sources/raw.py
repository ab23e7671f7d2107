"""The raw table a source's settings name, from files or a database, with no column more than needed."""

from __future__ import annotations

from pathlib import Path

from behavio.sources.beside import file_beside
from behavio.sources.database import Address, snapshot
from behavio.sources.feed import read_feed
from behavio.sources.inputs import Folders, Input, find_inputs
from behavio.sources.mapping import PLACE, SourceMapping, load_mapping
from behavio.sources.settings import CasesSettings, DatedSettings, SourceSettings, one_of
from behavio.sources.tabular import RawTable, read_inputs
from behavio.sources.zipped import inside

AnySettings = SourceSettings | CasesSettings | DatedSettings
PLAIN = ("table", "xes", "ocel", "sql")
"""Kinds without a mapping: columns are guessed or named, and all of them are kept."""

ALWAYS = (
    *("CreatedDate", "LastModifiedDate", "SystemModstamp", "created_date__v", "modified_date__v"),
    *("data_privacy_opt_out__v", "Data_Privacy_Opt_Out_vod__c", "Data_Privacy_Opt_Out__c"),
)
"""Columns looked at wherever they are: how late a record came, and who may not be processed."""


def raw_table(
    settings: AnySettings, base: Path, *, whole: bool = False
) -> tuple[RawTable, SourceMapping, Folders]:
    """The rows as read, the mapping that explains them, and the folders where joined files lie.

    Only columns that mapping and settings can refer to are read, unless `whole`.
    """
    mapping = load_mapping(settings.mapping, settings.kind, base)
    for name in settings.joins:
        one_of(name, (*mapping.join, *(["header"] if mapping.header else [])), "join")
    columns = None if whole else wanted_columns(mapping, settings)
    files, beside = files_of(settings, mapping, base, columns)
    if mapping.header and settings.url is None:
        return read_feed(files, mapping.header, settings.joins.get("header"), base), mapping, beside
    try:
        table = read_inputs(
            files,
            format=settings.kind if settings.kind in ("xes", "ocel") else settings.format,
            delimiter=settings.delimiter,
            encoding=settings.encoding,
            sheet=settings.sheet,
            object_type=getattr(settings, "object_type", None),
            columns=columns,
        )
    finally:
        if settings.url is not None:
            files[0].path.unlink()
    return table, mapping, beside


def files_of(
    settings: AnySettings, mapping: SourceMapping, base: Path, columns: set[str] | None, *, hold: bool = False
) -> tuple[list[Input], Folders]:
    """The files of a source, a database as a snapshot, and the folders where joined files lie."""
    if settings.url is not None:
        order = getattr(settings, "order", None)
        address = Address(settings.url, settings.query, settings.table, settings.password_env, order)
        return [snapshot(address, base, columns, hold=hold)], (base,)
    place, usual = base / settings.path, (mapping.file, *mapping.also)
    named = [n for n in usual if n and place.is_dir() and file_beside(place, n.rpartition(".")[0] + ".")]
    files = [inside(f, usual) for f in find_inputs(settings.path, base, named[0] if named else mapping.file)]
    return files, tuple(dict.fromkeys(f.path.parent for f in files))


def wanted_columns(mapping: SourceMapping, settings: AnySettings) -> set[str] | None:
    """Columns of events that mapping and settings can refer to; None where all are kept or compared.

    The times of making and changing a record tell how late a source is, under whatever name.
    """
    if not isinstance(settings, SourceSettings) or (settings.kind in PLAIN and settings.mapping is None):
        return None
    if mapping.loose:
        return None
    named = [*settings.keep, *settings.columns.values()]
    if "*" in (*mapping.keep, *named):
        return None
    for said in (settings.case_id, settings.activity, settings.timestamp, settings.order):
        if said is not None:
            named += PLACE.findall(said) or [said]
    nested = [
        *(["event_params"] if mapping.params else []),
        mapping.explode,
        *mapping.aliases,
        *mapping.parts,
    ]
    return {c for c in (*mapping.needs, *mapping.keep, *named, *nested, *ALWAYS) if c}
