"""Pull what a mapping needs from a live CRM into a folder of CSV files, which the mapping then reads.

Only the columns that mappings look at are asked for, so notes, signatures and addresses never leave the CRM.
A second pull asks for what changed since and appends it: readers take the newest version of each record, and
a deleted one comes again with IsDeleted. Each object's file appears whole or not at all; a pull that was cut
off goes on with the page it had reached.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from behavio.errors import JobError, LogError
from behavio.files import read_json, whole_file, write_json
from behavio.sources.mapping import Join, SourceMapping, built_in, load_mapping
from behavio.sources.salesforce import Salesforce
from behavio.sources.settings import one_of
from behavio.sources.vault import Vault

STATE = ".pulled.json"
GOING = ("UploadComplete", "InProgress", "JobComplete")
OVERLAP = timedelta(minutes=5)
"""Rows written while a query ran may carry a time before it: asked for again, merged by the reader."""


@dataclass(frozen=True)
class Pulled:
    """One object's pull: rows that came, since when (UTC, "" for everything), columns the org lacks."""

    object: str
    rows: int
    file: str
    since: str = ""
    lacking: tuple[str, ...] = ()


def pull(
    kinds: Sequence[str],
    folder: Path,
    session: Salesforce | Vault,
    *,
    everything: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> list[Pulled]:
    """Bring the files of these kinds (built-in names or mapping files) in `folder` up to date.

    Raises JobError for a kind that does not live in the session's system, LogError when it refuses.
    """
    wanted = needed(kinds, session.always, vault=isinstance(session, Vault))
    state = _state(folder)
    found: list[Pulled] = []
    for place, (object, (columns, optional)) in enumerate(wanted.items()):
        if progress is not None:
            progress(f"pulling {object}", place / len(wanted))
        try:
            one = _pull_one(object, columns, folder, session, state.get(object, {}), everything)
        except LogError as problem:
            if optional and "gave 404" in str(problem):
                continue  # an object this org does not use: the mapping does without it
            raise
        found.append(one[0])
        state[object] = one[1]
        write_json(folder / STATE, state)
    return found


def needed(
    kinds: Sequence[str], always: Sequence[str] = Salesforce.always, *, vault: bool = False
) -> dict[str, tuple[list[str], bool]]:
    """Objects and their columns that these mappings look at, and whether every one can do without."""
    found: dict[str, tuple[dict[str, None], bool]] = {}

    def ask(file: str, columns: Sequence[str], optional: bool) -> None:
        before, needless = found.get(file, ({}, True))
        found[file] = ({**before, **dict.fromkeys(c for c in columns if c)}, needless and optional)

    for kind in kinds:
        mapping = _mapping(kind, vault)
        ask(_object(mapping.file), sorted(mapping.needs), False)
        for join in mapping.joins.values():
            ask(_object(join.file), _joined(join), join.optional)
    return {o: ([*dict.fromkeys([*always, *c])], optional) for o, (c, optional) in found.items()}


def _mapping(kind: str, vault: bool) -> SourceMapping:
    own, homes = kind.endswith(".toml"), ("vault.",) if vault else ("veeva.", "lsc.")
    if not own:
        one_of(kind, tuple(k for k in built_in() if k.startswith(homes)), "kind")
    mapping = load_mapping(kind if own else None, "" if own else kind, Path())
    if not mapping.file or mapping.salesforce_ids == vault:
        where = "a vault" if vault else "Salesforce"
        raise JobError(f"{kind} does not live in {where}", hint=f"pull {'…, '.join(homes)}… kinds")
    return mapping


def _object(file: str) -> str:
    return file.rpartition(".")[0]


def _joined(join: Join) -> list[str]:
    return sorted({join.id, join.chain, *join.columns, *join.version, *join.where} - {""})


def query(object: str, columns: Sequence[str], fields: set[str], relations: set[str], where: str = "") -> str:
    """SOQL or VQL for those of the columns that the org has, with a condition or "" for every row."""
    have = [c for c in columns if c in fields or ("." in c and c.partition(".")[0] in relations)]
    return f"SELECT {', '.join(have)} FROM {object}{where}"


def _pull_one(
    object: str,
    columns: Sequence[str],
    folder: Path,
    session: Salesforce | Vault,
    before: dict[str, Any],
    all_rows: bool,
) -> tuple[Pulled, dict[str, Any]]:
    target, parts = folder / f"{object}.csv", folder / ".pull" / object
    fields, relations = session.names(object)
    whole_query = query(object, columns, fields, relations)
    same = before.get("query") == whole_query and target.is_file() and not all_rows
    since = str(before.get("upto", "")) if same else ""
    soql = query(object, columns, fields, relations, session.since(since) if since else "")
    job = _job(session, parts, soql)
    facts = session.wait(job["id"])
    rows = _pages(session, job, parts)
    expected = int(facts.get("numberRecordsProcessed", rows))
    if rows != expected:
        shutil.rmtree(parts)
        raise LogError(
            f"{object}: {rows:,} of {expected:,} rows came", hint="run the command again: it starts over"
        )
    if rows or since:
        _assemble(target, parts, append=bool(since))
    else:  # nothing to read is told by a missing file, as everywhere
        target.unlink(missing_ok=True)
    shutil.rmtree(parts)
    if not any(parts.parent.iterdir()):
        parts.parent.rmdir()
    lacking = tuple(c for c in columns if c not in fields and c.partition(".")[0] not in relations)
    state = {"query": whole_query, "upto": _earlier(str(facts["createdDate"])), "job": job["id"]}
    return Pulled(object, rows, str(target) if target.is_file() else "", since, lacking), state


def _job(session: Salesforce | Vault, parts: Path, soql: str) -> dict[str, Any]:
    """The job of an earlier attempt at the same question, if the org still holds it, else a new one."""
    note = parts / "job.json"
    if note.is_file():
        job = dict(read_json(note))
        try:
            if job.get("query") == soql and session.look(job["id"]).get("state") in GOING:
                return job
        except LogError:
            pass  # the org has forgotten it
        shutil.rmtree(parts)
    job = {
        "id": session.start(soql)["id"],
        "query": soql,
        "locator": "",
        "pages": 0,
        "rows": 0,
        "done": False,
    }
    parts.mkdir(parents=True, exist_ok=True)
    write_json(note, job)
    return job


def _pages(session: Salesforce | Vault, job: dict[str, Any], parts: Path) -> int:
    """Download the pages that are not here yet; the number of rows in all of them."""
    if not job["done"]:
        for content, rows, locator in session.pages(job["id"], job["locator"]):
            job["pages"] += 1
            with whole_file(parts / f"{job['pages']:06d}.csv") as draft:
                draft.write_bytes(content)
            job |= {"rows": job["rows"] + max(rows, 0), "locator": locator, "done": not locator}
            write_json(parts / "job.json", job)
    return int(job["rows"])


def _assemble(target: Path, parts: Path, *, append: bool) -> None:
    """One file of the pages, after what was there: the header once, each page ending with a line break."""
    with whole_file(target) as draft, draft.open("wb") as out:
        if append:
            with target.open("rb") as old:
                shutil.copyfileobj(old, out)
        for place, part in enumerate(sorted(parts.glob("*.csv"))):
            data = part.read_bytes()
            header, _, rest = data.partition(b"\n")
            kept = rest if append or place else header + b"\n" + rest
            out.write(kept if not kept or kept.endswith(b"\n") else kept + b"\n")


def _earlier(created: str) -> str:
    """The time of a job less the overlap, as SOQL writes it."""
    try:
        moment = datetime.fromisoformat(created.replace("+0000", "+00:00"))
    except ValueError:
        raise LogError(f"the org's time {created!r} cannot be read", hint="report this") from None
    return (moment - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    if not path.is_file():
        return {}
    try:
        return dict(read_json(path))
    except (ValueError, TypeError):
        raise LogError(f"{path} is damaged", hint="delete it: the next pull fetches everything") from None


def facts_of(found: Sequence[Pulled]) -> list[dict[str, Any]]:
    """JSON-able rows of what was pulled."""
    return [asdict(p) for p in found]
