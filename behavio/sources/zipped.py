"""Zip archives of extracts: the one file of the archive that a source means."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import PurePosixPath

from behavio.errors import LogError
from behavio.sources.inputs import Input, format_by_name


def inside(item: Input, usual: tuple[str, ...]) -> Input:
    """The input itself, or of a zip archive the file that bears a usual name, else its only readable one.

    Raises LogError when the archive is damaged, or when several files could be meant.
    """
    if item.path.suffix.lower() != ".zip":
        return item
    try:
        with zipfile.ZipFile(item.path) as archive:
            names = [n for n in archive.namelist() if _readable(n)]
    except (zipfile.BadZipFile, OSError) as problem:
        raise LogError(
            f"{item.shown} is no zip archive, or a damaged one", hint="fetch it again"
        ) from problem
    stems = {_stem(name) for name in usual if name}
    found = [n for n in names if _stem(n) in stems] or names
    if len(found) != 1:
        listed = ", ".join(found[:8]) or "none"
        raise LogError(
            f"{item.shown} holds {len(found)} files that could be meant: {listed}",
            hint="unpack it and name the file",
        )
    return replace(item, shown=f"{item.shown}/{found[0]}", member=found[0])


def unzipped(data: bytes, item: Input) -> bytes:
    """The bytes of the archive's file that is meant. Raises LogError when they cannot be unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read(item.member)
    except (zipfile.BadZipFile, OSError, RuntimeError, KeyError, NotImplementedError) as problem:
        raise LogError(
            f"{item.shown} cannot be unpacked: {problem}", hint="unpack it and name the file"
        ) from None


def _stem(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[0].lower()


def _readable(name: str) -> bool:
    path = PurePosixPath(name)
    return not name.endswith("/") and path.parts[0] != "__MACOSX" and bool(format_by_name(path))
