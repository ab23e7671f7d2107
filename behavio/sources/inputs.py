"""Files a source names: found, opened, unpacked, their format and encoding recognised."""

from __future__ import annotations

import codecs
import errno
import fcntl
import gzip
import os
import signal
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePath

from behavio.errors import JobError, LogError
from behavio.sources.settings import nearest

ENDINGS = {
    "csv": "csv",
    "txt": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
    "xlsx": "xlsx",
    "xlsm": "xlsx",
    "xes": "xes",
    "jsonocel": "ocel",
    "xmlocel": "ocel",
}
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp")
"""Endings that programs give a file while they still write or fetch it."""
PACKED = (".gz", ".zst")
FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF",
}
WAIT = "wait until it is whole, then read it again; of a file that never closes, read a copy"
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay"}
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LATIN = {"latin_1", "cp1252", "iso8859_15", "iso8859_1", "cp1250", "cp1254", "cp1257", "iso8859_9", "ascii"}
GUESSABLE = [*sorted(LATIN), "cp1251", "koi8_r", "cp1253", "shift_jis", "gb18030", "big5", "euc_kr"]


Folders = tuple[Path, ...]
"""Folders of the files of one source: where the files joined to it lie, each export with its own."""


@dataclass(frozen=True, slots=True)
class Input:
    """One file to read: where it lies, how messages and tables name it, and what to say about it.

    `member` is the file meant inside a zip archive.
    """

    path: Path
    shown: str
    notes: tuple[str, ...] = ()
    member: str = ""


def find_inputs(named: str, base: Path, usual: str = "") -> list[Input]:
    """The files behind a path, a folder or a pattern, in alphabetical order.

    `usual` is the file looked for when a folder is named. Raises LogError when there is none.
    """
    place = base / named
    notes: tuple[str, ...] = ()
    if place.is_dir():
        paths, notes = _finished(_in_folder(place, usual), named)
    elif place.exists():
        paths = [place]
    elif any(c in named for c in "*?["):
        root = Path(place.anchor) if place.is_absolute() else Path()
        pattern = str(place.relative_to(root)) if place.is_absolute() else str(place)
        paths = sorted(p for p in root.glob(pattern) if p.is_file())
        if not paths:
            raise LogError(f"no file fits {named}", hint=f"looked in {base.resolve()}")
        paths, notes = _finished(paths, named)
    else:
        raise LogError(f"there is no file {named}", hint=_hint_for(place))
    return [Input(p, shown(p, base, named), () if i else notes) for i, p in enumerate(paths)]


def _finished(paths: list[Path], named: str) -> tuple[list[Path], tuple[str, ...]]:
    """The files that are whole by their name, and a note on the others."""
    open_ones = [p for p in paths if p.name.lower().endswith(UNFINISHED)]
    if not open_ones:
        return paths, ()
    listed = ", ".join(p.name for p in open_ones[:5]) + (" …" if len(open_ones) > 5 else "")
    if len(open_ones) == len(paths):
        raise LogError(f"{named} holds only files that are still being written: {listed}", hint=WAIT)
    whole = [p for p in paths if p not in open_ones]
    return whole, (f"left out, still being written by their names: {listed}",)


def _bears(path: Path, usual: str) -> bool:
    """True for a file of the usual name, whatever its ending."""
    stem = usual.lower().rpartition(".")[0] + "."
    return bool(usual) and path.is_file() and path.name.lower().startswith(stem)


def _in_folder(folder: Path, usual: str) -> list[Path]:
    try:
        inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        files = [p for p in inside if p.is_file()]
    except PermissionError:
        raise LogError(f"no permission to look into {folder}", hint="ask for read access") from None
    named = [p for p in files if _bears(p, usual)]
    if usual and not named:  # a folder of exports, one folder each
        named = [q for p in inside if p.is_dir() for q in sorted(p.iterdir()) if _bears(q, usual)]
    readable = named or [p for p in files if format_by_name(p) or p.name.lower().endswith(UNFINISHED)]
    if not readable:
        raise LogError(
            f"{folder} is a folder without a readable file",
            hint=f"name a file, or put {', '.join(sorted(set(ENDINGS.values())))} files there",
        )
    return readable


def _hint_for(place: Path) -> str:
    folder = place.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either; paths are relative to the job file"
    near = nearest(place.name, sorted(p.name for p in folder.iterdir()))
    return f"did you mean {place.with_name(near)}?" if near else f"look into {folder}"


def shown(path: Path, base: Path, named: str) -> str:
    """How messages and tables name a file: relative to the job where it was named so."""
    if Path(named).is_absolute():
        return path.as_posix()
    return Path(os.path.relpath(path, base)).as_posix()


def format_by_name(path: PurePath) -> str:
    """Format that the ending promises, "" when it promises none; .gz and .zst are looked through."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return ENDINGS.get(name.rpartition(".")[2], "") if "." in name else ""


def load(item: Input) -> bytes:
    """All bytes of a file, unpacked. Raises LogError when it cannot be read, is cut off or is empty."""
    try:
        data = _whole(item)
        if item.member:
            from behavio.sources.zipped import unzipped

            return unzipped(data, item)
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            try:
                data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
            except OSError as problem:
                raise EOFError(str(problem)) from problem
    except PermissionError:
        raise LogError(f"no permission to read {item.shown}", hint="ask for read access") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise LogError(f"{item.shown} is packed and cut off or damaged", hint="fetch it again") from problem
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise LogError(f"{item.shown} cannot be read: {reason}", hint="fetch it again") from problem
    if len(data) < 1_000_000 and not data.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise LogError(f"{item.shown} is empty", hint="export it again, with a header and at least one row")
    return data


def _whole(item: Input) -> bytes:
    """All bytes of a file that nobody is writing. Raises LogError when somebody is."""
    if not item.path.is_file():  # a pipe has no size, and ends when its writer is done
        return item.path.read_bytes()
    with steady(item) as stream:
        return stream.read()


@contextmanager
def steady(item: Input) -> Iterator[FileIO]:
    """A regular file, open for reading. Raises LogError at its end when somebody is writing it."""
    with item.path.open("rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        held = held_open(stream.fileno())
        yield stream
        after = os.fstat(stream.fileno())
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    if held or changed:
        how = "a program has it open for writing" if held else "it changed while it was read"
        raise LogError(f"{item.shown} is still being written: {how}", hint=WAIT)


def held_open(handle: int) -> bool:
    """True when a program has the file open for writing; False also where that cannot be known.

    Linux grants a read lease only while nobody has the file open for writing (fcntl(2), F_SETLEASE).
    Network file systems refuse leases for other reasons, so only local ones are asked.
    """
    if not hasattr(fcntl, "F_SETLEASE") or _file_system(os.fstat(handle).st_dev) not in LOCAL:
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default, unlike the usual SIGIO
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as problem:
        return problem.errno == errno.EAGAIN
    return False


def _file_system(device: int) -> str:
    """Type of the mounted file system with this device number, "" when unknown."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        own, _, rest = line.partition(" - ")
        if own.split()[2:3] == [wanted]:
            return rest.partition(" ")[0]
    return ""


def recognise(data: bytes, item: Input, named: str | None) -> tuple[str, list[str]]:
    """Format of these bytes and notes; content wins over the ending, a named format over both."""
    promised = format_by_name(item.path)
    found = _by_content(data, item)
    if not found and promised in ("parquet", "arrow", "xlsx", "ocel"):
        name = {"parquet": "Parquet file", "arrow": "Arrow file", "xlsx": "Excel workbook"}
        what = name.get(promised, "OCEL file")
        raise LogError(f"{item.shown} is no {what}, or a damaged one", hint="fetch it again")
    final = named or found or (promised if promised in ("csv", "tsv") else "csv")
    odd = promised and final != promised and {final, promised} != {"csv", "tsv"}
    return final, [f"{item.path.name} ends like {promised} but holds {final}"] if odd else []


def _by_content(data: bytes, item: Input) -> str:
    """Format the first bytes tell, "" for none; LogError for what is no table of ours."""
    for magic, what in FOREIGN.items():
        if data.startswith(magic):
            if b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k" in data:
                what = "a workbook locked with a password"
            hint = "open it and save the table as .xlsx or CSV (UTF-8)"
            raise LogError(f"{item.shown} is {what}", hint=hint)
    if data[:4] == b"PK\x03\x04":
        from behavio.sources.excel import what_zip_holds

        if (what := what_zip_holds(data)) != "xlsx":
            hint = "save the table as .xlsx or CSV (UTF-8), or unpack the archive, and read that"
            raise LogError(f"{item.shown} is {what}", hint=hint)
        return "xlsx"
    head = data[:400].lstrip(b"\xef\xbb\xbf \t\r\n")
    if data[:4] == b"PAR1":
        return "parquet"
    if data[:6] == b"ARROW1" or data[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    if data[:16] == b"SQLite format 3\x00":
        return "ocel"
    if head[:1] == b"<":
        return "ocel" if b"<object-types" in data else "xes"
    if head[:1] == b"{" and b'"objectTypes"' in data and b'"eventTypes"' in data:
        return "ocel"
    return "jsonl" if head[:1] in (b"{", b"[") else ""


def decode(data: bytes, item: Input, named: str | None) -> tuple[bytes, list[str], bool]:
    """The text as UTF-8 bytes without a mark, notes, and whether unreadable bytes were replaced."""
    if named is not None:
        return _decode_named(data, item, named), [f"encoding named: {named}"], False
    for mark, encoding in MARKS:
        if data.startswith(mark):
            if encoding == "utf-8-sig":
                data = data[3:]
                break
            return _decode_found(data, encoding, f"encoding {encoding.upper()}")
    sample = data[:4_000]
    zeros = sample.count(0)
    if zeros > len(sample) * 0.3:
        encoding = "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
        return _decode_found(data, encoding, f"encoding {encoding.upper()}, found without its mark")
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return _decode_guessed(data)
    return data, [], False


def _decode_named(data: bytes, item: Input, encoding: str) -> bytes:
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode("utf-8", "replace")
    except LookupError:
        raise JobError(
            f"encoding {encoding!r} is not known", hint="utf-8, utf-16, cp1252, latin-1, …"
        ) from None
    except UnicodeDecodeError as problem:
        raise LogError(
            f"{item.shown} is not {encoding}: byte {problem.start:,} does not fit",
            hint="leave encoding out to have it recognised",
        ) from None


def _decode_found(data: bytes, encoding: str, note: str) -> tuple[bytes, list[str], bool]:
    """Text in an encoding its bytes tell; damaged characters are replaced and told."""
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    damaged = "\ufffd" in text
    notes = [note, "with damaged characters: their rows are rejected"] if damaged else [note]
    return text.encode("utf-8", "replace"), notes, damaged


def _decode_guessed(data: bytes) -> tuple[bytes, list[str], bool]:
    """Text that is no clean UTF-8: UTF-8 with damage, else the encoding charset-normalizer finds likely."""
    lenient = data.decode("utf-8", "replace")
    n_bad = lenient.count("\ufffd")
    n_good = sum(len(c) for c in _non_ascii(lenient)) - n_bad
    if n_good > n_bad:
        return lenient.encode(), [f"UTF-8 with {n_bad:,} damaged characters: their rows are rejected"], True
    from charset_normalizer import from_bytes

    lines = [line for line in data[:4_000_000].splitlines() if not line.isascii()][:500]
    best = from_bytes(b"\n".join(lines), cp_isolation=GUESSABLE).best()
    encoding = "cp1252" if best is None or best.encoding in LATIN else best.encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = data.decode(encoding)
    return text.encode(), [f"encoding recognised as {encoding}; name it if letters look wrong"], False


def _non_ascii(text: str) -> Sequence[str]:
    import re

    return re.findall(r"[^\x00-\x7f]+", text)
