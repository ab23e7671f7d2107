"""Counts on a Spark cluster: the same functions over partitions of whole cases, merged on the workers.

Rows are read by Spark, hashed by case into partitions, sorted there by (case, time, source, order, file,
row), handed to Python as Arrow batches, cut into shards of whole cases and counted by the kernels that count
locally. Answers meet in a tree of further partitions; one merged answer comes to the driver, in parts that
were settled on the workers where the count knows how (`Count.split`, `Count.settle`).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np
import polars as pl

from behavio.engine import Answer, Count, Encoded
from behavio.engine.local import LocalEngine
from behavio.engine.spark_log import SparkLog
from behavio.engine.spark_rows import FILE, ROW, TextTimes, blank, checked, quoted, reasons_of
from behavio.engine.spark_session import guarded, missing, plain_errors, session
from behavio.errors import LogError
from behavio.sequences import UNKNOWN, SequenceSet, Vocabulary

__all__ = ["Facts", "SparkEngine", "SparkLog", "facts_of", "missing", "session"]

PARTITION_EVENTS = 2_000_000
SHARD_EVENTS = 1_000_000
FAN_IN = 16
"""So many answers are merged by one worker at a time."""
MOST_ACTIVITIES = 1_000_000
ORDER = ("case", "micros", "source", "place", FILE, ROW)


@dataclass(frozen=True)
class SparkEngine:
    """Asks a count of every partition of a SparkLog; a SequenceSet is counted on this machine.

    spark       the session, a quiet local one when none is given or open
    partitions  how many; by default one per core, and more so that none holds over two million events
    parts       into how many parts an answer that grows with the log is cut while it is merged
    read        how times written as texts are read, for sources whose clock is "text"
    kept        the sorted partitions of the log asked last, on the workers: further counts start from there
    """

    spark: Any = field(default_factory=session)
    partitions: int | None = None
    parts: int = 8
    shard_events: int = SHARD_EVENTS
    read: TextTimes | None = None
    kept: dict[SparkLog, Any] = field(default_factory=dict, compare=False, repr=False)

    def run(self, count: Count[Answer], log: Encoded) -> Answer:
        """The merged answer over all partitions. Raises LogError when Spark cannot read or count."""
        if isinstance(log, SequenceSet):
            return LocalEngine().run(count, log)
        assert isinstance(log, SparkLog)
        answers = self._ask(count, log)
        if not answers:
            raise LogError("the log has no event", hint="look at the rejected rows and the columns named")
        return reduce(count.merge, answers)

    def cases(self, log: SparkLog) -> tuple[int, int, dict[int, int]]:
        """Cases, events, and per source the rows equal to an earlier one (merged where it says so)."""
        from pyspark.sql import functions as F

        ask = partial(_measure, log=log, shard_events=self.shard_events)
        schema = "cases long, events long, source int, repeats long"
        with plain_errors("counting cases"):
            rows = self._sorted(log, with_rest=True).mapInArrow(partial(guarded, work=ask), schema)
            sums = [F.sum(c).alias(c) for c in ("cases", "events", "repeats")]
            found = rows.groupBy("source").agg(*sums).collect()
        n_cases, n_events = (sum(r[c] or 0 for r in found) for c in ("cases", "events"))
        return n_cases, n_events, {r["source"]: r["repeats"] for r in found if r["source"] >= 0}

    def rejected(self, log: SparkLog, most: int = 100_000, folder: str | None = None) -> pl.DataFrame:
        """The first rejected rows: source, __file__, __row__, column, reason, raw, in source order.

        `folder`, any place the workers can write, gets all of them as Parquet.
        """
        with plain_errors("looking at rejected rows"):
            rows = checked(self.spark, log, self.read, raw=True).filter("reason is not null")
            rows = rows.select("source", FILE, ROW, "reason", "raw")
            if folder is not None:
                rows.write.mode("overwrite").parquet(folder)
            first = rows.orderBy("source", FILE, ROW).limit(most)
            return _told(pl.DataFrame(pl.from_arrow(first.toArrow())), log)

    def _ask(self, count: Count[Answer], log: SparkLog) -> list[Answer]:
        """Every part of the answer, merged and settled on the workers, in the order of parts."""
        n = self._partitions(log)
        parts = min(self.parts, n) if count.split else 1
        merging = any(s.repeats == "merge" for s in log.sources)
        ask = partial(_ask, count=count, log=log, parts=parts, shard_events=self.shard_events)
        schema = "part int, place int, answer binary"
        with plain_errors("counting"):
            rows = self._kept(log, with_rest=merging).mapInArrow(partial(guarded, work=ask), schema)
            left = n
            while True:
                last = left <= FAN_IN
                join = partial(_join, merge=count.merge, settle=count.settle if last else None, fan_in=FAN_IN)
                left = math.ceil(left / FAN_IN)
                rows = rows.selectExpr("part", f"int(place div {FAN_IN}) as block", "place", "answer")
                rows = rows.repartition(max(1, min(parts * left, n)), "part", "block")
                rows = rows.sortWithinPartitions("part", "block", "place").mapInArrow(
                    partial(guarded, work=join), schema
                )
                if last:
                    break
            found = rows.collect()
        return [pickle.loads(r["answer"]) for r in sorted(found, key=lambda r: r["part"])]

    def _kept(self, log: SparkLog, *, with_rest: bool) -> Any:
        """`_sorted`, worked out once for all counts over one log; the log before it is let go."""
        if log not in self.kept:
            self.forget()
            self.kept[log] = self._sorted(log, with_rest=with_rest).persist()
        return self.kept[log]

    def forget(self) -> None:
        """Let the workers drop the partitions they keep."""
        while self.kept:
            self.kept.popitem()[1].unpersist()

    def _sorted(self, log: SparkLog, *, with_rest: bool) -> Any:
        """Accepted rows, each partition holding whole cases in the total order of an event log."""
        from pyspark.sql import functions as F

        rows = checked(self.spark, log, self.read).filter(F.col("reason").isNull())
        order = [c for c in ORDER if c != "place" or any(s.order for s in log.sources)]
        order = [c for c in order if c != "source" or with_rest or len(log.sources) > 1]
        keys = [F.col(c).asc_nulls_last() for c in order]
        rows = rows.select(*order, "activity", *(["rest"] if with_rest else []))
        return rows.repartition(self._partitions(log), "case").sortWithinPartitions(*keys)

    def _partitions(self, log: SparkLog) -> int:
        if self.partitions is not None:
            return self.partitions
        cores = self.spark.sparkContext.defaultParallelism
        return max(cores, math.ceil(log.n_events / PARTITION_EVENTS))


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What one pass over the rows tells, before anything is ordered.

    reasons     source, column, reason, hint, rows: why rows were rejected
    sources     source, read, accepted, first, last (µs), early, late: rows and span of each source
    vocabulary  the distinct activities
    """

    reasons: pl.DataFrame
    sources: pl.DataFrame
    vocabulary: Vocabulary


def facts_of(engine: SparkEngine, log: SparkLog, frames: list[Any], early: int, late: int) -> Facts:
    """Count rows per source, reason and activity; events before `early` and after `late` (µs) apart."""
    from pyspark.sql import functions as F

    name = F.when(F.col("reason").isNull(), F.col("activity")).alias("name")
    time, here = F.col("micros"), F.col("reason").isNull()
    counts = [
        F.count("*").alias("rows"),
        F.min(F.when(here, time)).alias("first"),
        F.max(F.when(here, time)).alias("last"),
        F.sum((here & (time < early)).cast("long")).alias("early"),
        F.sum((here & (time > late)).cast("long")).alias("late"),
    ]
    with plain_errors("reading " + ", ".join(s.path for s in log.sources)):
        rows = checked(engine.spark, log, engine.read, frames)
        grouped = rows.groupBy("source", "reason", name).agg(*counts).limit(MOST_ACTIVITIES)
        table = pl.DataFrame(pl.from_arrow(grouped.toArrow()))
    if table.height >= MOST_ACTIVITIES:
        raise LogError(
            f"there are {MOST_ACTIVITIES:,} different activities or more",
            hint="is the activity free text? name a column of short names",
        )
    accepted = pl.col("reason").is_null()
    sources = table.group_by("source").agg(
        pl.col("rows").sum().alias("read"),
        pl.col("rows").filter(accepted).sum().alias("accepted"),
        pl.col("first").min(),
        pl.col("last").max(),
        pl.col("early").sum(),
        pl.col("late").sum(),
    )
    reasons = table.filter(~accepted).group_by("source", "reason").agg(pl.col("rows").sum())
    names = table.filter(accepted)["name"].unique().to_list()
    return Facts(
        _told(reasons, log).sort("source", "rows", "reason", descending=[False, True, False]),
        sources.sort("source"),
        Vocabulary.of(names),
    )


def _told(rows: pl.DataFrame, log: SparkLog) -> pl.DataFrame:
    """The same rows with the words behind their reasons: `column`, `reason` and `hint`."""
    words = [
        (number, place, *told)
        for number, source in enumerate(log.sources)
        for place, told in enumerate(reasons_of(source))
    ]
    kinds = {"source": rows.schema["source"], "reason": rows.schema["reason"]}
    kinds |= dict.fromkeys(("column", "words", "hint"), pl.String())
    known = pl.DataFrame(words, schema=kinds, orient="row")
    found = rows.join(known, on=["source", "reason"], how="left", maintain_order="left")
    return found.drop("reason").rename({"words": "reason"})


def largest(frame: Any, column: str, kind: str) -> tuple[int, float]:
    """Cells that are not empty, and of numbers the largest without its sign."""
    from pyspark.sql import functions as F

    cell = F.col(quoted(column))
    here = ~blank(cell) if kind == "text" else cell.isNotNull()
    number = F.abs(cell.cast("double"))
    top = F.max(F.when(number < float("inf"), number)) if kind in ("whole", "number") else F.lit(0.0)
    with plain_errors(f"looking at the column {column}"):
        row = frame.agg(F.sum(here.cast("long")).alias("n"), top.alias("top")).collect()[0]
    return int(row["n"] or 0), float(row["top"] or 0.0)


def _frames(batches: Iterator[Any], shard_events: int) -> Iterator[pl.DataFrame]:
    """Sorted batches of one partition as tables of whole cases, each about `shard_events` rows."""
    held: list[pl.DataFrame] = []
    n = 0
    for batch in batches:
        frame = pl.DataFrame(pl.from_arrow(batch))
        if frame.height == 0:
            continue
        held.append(frame)
        n += frame.height
        if n < shard_events or frame["case"][0] == frame["case"][-1]:
            continue
        whole = pl.concat(held)
        cut = _last_case(whole)
        yield whole[:cut]
        held, n = [whole[cut:]], whole.height - cut
    if n:
        yield pl.concat(held)


def _last_case(frame: pl.DataFrame) -> int:
    """Where the last case starts."""
    other = (frame["case"] != frame["case"][-1]).arg_true()
    return 0 if other.len() == 0 else int(other[-1]) + 1


def _again(frame: pl.DataFrame) -> pl.Series:
    """True for each row equal to an earlier one of its source."""
    return frame.select(
        ~pl.struct("case", "micros", "source", "activity", "rest").is_first_distinct()
    ).to_series()


def _once(frame: pl.DataFrame, log: SparkLog) -> pl.DataFrame:
    """Without the repeated rows of sources that merge them."""
    merging = [i for i, s in enumerate(log.sources) if s.repeats == "merge"]
    return frame.filter(~(_again(frame) & frame["source"].is_in(merging))) if merging else frame


def sequences_of(frame: pl.DataFrame, log: SparkLog) -> SequenceSet:
    """A table of whole cases in order, coded under the log's vocabulary."""
    runs = frame["case"].rle().struct.unnest()
    tokens = log.vocabulary.encode(frame["activity"])
    if (frame["activity"].filter(pl.Series(tokens == UNKNOWN)) != log.vocabulary.names[UNKNOWN]).any():
        raise LogError("the files changed while they were counted", hint="run the job again with --from log")
    offsets = np.concatenate([[0], np.cumsum(runs["len"].to_numpy())]).astype(np.int64)
    times, last = frame["micros"].to_numpy(), offsets[1:] - 1
    return SequenceSet(
        tokens=tokens,
        offsets=offsets,
        times=times,
        case_ids=runs["value"].alias("case_id"),
        vocabulary=log.vocabulary,
        timed=log.timed,
        running=log.running(times[last], tokens[last]),
    )


def _ask(
    batches: Iterator[Any], count: Count[Any], log: SparkLog, parts: int, shard_events: int
) -> Iterator[Any]:
    """On a worker: the answer of one partition, cut into parts."""
    answer, some = None, False
    for frame in _frames(batches, shard_events):
        found = count.of(sequences_of(_once(frame, log), log))
        answer, some = (count.merge(answer, found) if some else found), True
    if some:
        cut = count.split(answer, parts) if count.split else [answer]
        for part, piece in enumerate(cut):
            yield _row(part, _place(), piece)


def _join(
    batches: Iterator[Any], merge: Callable[[Any, Any], Any], settle: Callable[[Any], Any] | None, fan_in: int
) -> Iterator[Any]:
    """On a worker: answers of one part and block merged in the order of places."""
    key: tuple[int, int] | None = None
    answer: Any = None
    for batch in batches:
        for row in batch.to_pylist():
            found = pickle.loads(row["answer"])
            if key == (row["part"], row["block"]):
                answer = merge(answer, found)
                continue
            if key is not None:
                yield _row(*key, settle(answer) if settle else answer)
            key, answer = (row["part"], row["block"]), found
    if key is not None:
        yield _row(*key, settle(answer) if settle else answer)


def _measure(batches: Iterator[Any], log: SparkLog, shard_events: int) -> Iterator[Any]:
    """On a worker: cases, events and repeats of one partition; source −1 carries cases and events."""
    import pyarrow as pa

    for frame in _frames(batches, shard_events):
        again = frame.filter(_again(frame))["source"].value_counts()
        sources = [-1, *again["source"].to_list()]
        zeros = [0] * (len(sources) - 1)
        columns = {
            "cases": pa.array([frame["case"].n_unique(), *zeros], pa.int64()),
            "events": pa.array([_once(frame, log).height, *zeros], pa.int64()),
            "source": pa.array(sources, pa.int32()),
            "repeats": pa.array([0, *again["count"].to_list()], pa.int64()),
        }
        yield pa.RecordBatch.from_pydict(columns)


def _place() -> int:
    """The number of this partition."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 0 if context is None else int(context.partitionId())


def _row(part: int, place: int, answer: Any) -> Any:
    """One answer as a batch of one row."""
    import pyarrow as pa

    columns = {
        "part": pa.array([part], pa.int32()),
        "place": pa.array([place], pa.int32()),
        "answer": pa.array([pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)], pa.binary()),
    }
    return pa.RecordBatch.from_pydict(columns)
