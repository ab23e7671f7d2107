"""Proof of what went in and what came out: fingerprints, versions, peak memory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import resource
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from behavio import __version__

PACKAGES = (
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "numba",
    "scikit-learn",
    "torch",
    "gensim",
    "pm4py",
    "r4pm",
    "pyspark",
)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprints(files: Iterable[tuple[str, Path]]) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of every input file, in the order given."""
    return [{"file": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for name, path in files]


def outputs_of(folder: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file below `folder`, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}


def plain(value: Any) -> Any:
    """Settings as JSON: dataclasses become tables, tuples lists, paths text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value.as_posix() if isinstance(value, Path) else value


def key_of(*parts: Any) -> str:
    """One SHA-256 over anything `plain` understands: the same parts, the same key."""
    text = json.dumps(plain(list(parts)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions that may change a result: Python, behavio and what it computes with."""
    found = {"python": platform.python_version(), "behavio": __version__}
    return found | {name: _version(name) for name in PACKAGES}


@cache
def code_fingerprint() -> str:
    """SHA-256 over behavio's own source files: changed code never reuses an old stage."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(
        p for p in here.rglob("*") if p.suffix in {".py", ".toml", ".html", ".css", ".js", ".j2"}
    ):
        digest.update(path.relative_to(here).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def peak_memory_mb() -> int:
    """Highest resident memory of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6) if sys.platform == "darwin" else round(peak * 1024 / 1e6)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
