"""Files that lie beside a source and are read with it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from behavio.sources.inputs import Folders, Input, find_inputs
from behavio.sources.mapping import Join
from behavio.sources.tabular import read_inputs


def second_file(join: Join, named: str | None, base: Path, beside: Folders) -> pl.DataFrame | None:
    """The rows of a joined file: the one the job names, else those beside the source, else None."""
    if named is not None:
        return read_inputs(find_inputs(named, base, join.file)).frame
    found = join_files(join, beside)
    return read_inputs([Input(p, str(p)) for p in found]).frame if found else None


def join_files(join: Join, beside: Folders) -> list[Path]:
    """The joined file of each export: in the folder of each of the source's files, whatever its ending."""
    names = [name.rpartition(".")[0] + "." for name in (join.file, *join.also)]
    found = []
    for folder in beside:
        near = [p for name in names if (p := file_beside(folder, name)) is not None]
        found += near[:1]
    return found


def file_beside(folder: Path, start: str) -> Path | None:
    """The first file of a folder whose name starts so, capital letters aside."""
    near = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().startswith(start.lower()))
    return near[0] if near else None
