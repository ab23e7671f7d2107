"""Files that lie beside a source and are read with it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from behavio.sources.inputs import find_inputs
from behavio.sources.mapping import Join
from behavio.sources.tabular import read_inputs


def second_file(join: Join, named: str | None, base: Path, beside: Path | None) -> pl.DataFrame | None:
    """The rows of a joined file: the one the job names, else the one beside the source, else None."""
    if named is not None:
        return read_inputs(find_inputs(named, base, join.file)).frame
    if beside is None:
        return None
    found = join_file(join, beside)
    return None if found is None else read_inputs(find_inputs(str(found), Path())).frame


def join_file(join: Join, beside: Path) -> Path | None:
    """The joined file in the folder of the source, whatever its ending."""
    for name in (join.file, *join.also):
        if (found := file_beside(beside, name.rpartition(".")[0] + ".")) is not None:
            return found
    return None


def file_beside(folder: Path, start: str) -> Path | None:
    """The first file of a folder whose name starts so, capital letters aside."""
    near = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().startswith(start.lower()))
    return near[0] if near else None
