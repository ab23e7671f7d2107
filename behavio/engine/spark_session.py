"""A Spark session that keeps quiet, and Spark's failures in words a user can act on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from behavio.errors import BehavioError, JobError, LogError

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # else a file with nanoseconds cannot be read at all
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.parquet.filterPushdown": "true",
}
"""What every count needs, set in a session of its own so that the caller's stays as it is."""

LOCAL = {
    "spark.app.name": "behavio",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
    "spark.driver.maxResultSize": "0",
    "spark.driver.host": "localhost",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}
"""A session on this machine, unless the caller names other values."""

LOG4J = """status = off
rootLogger.level = off
rootLogger.appenderRef.none.ref = none
appender.none.type = Null
appender.none.name = none
"""


def missing() -> str:
    """What this machine lacks to run Spark, "" when nothing is missing."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None and not os.environ.get("SPARK_REMOTE"):
        return "there is no Java" + (f" in JAVA_HOME ({home})" if home else "")
    return ""


def session(settings: Mapping[str, str] | None = None) -> Any:
    """A SparkSession: the one that spark-submit or a notebook has opened, else local ones on all cores.

    `settings` add to or replace those of a new local session; an open one is never changed. Raises JobError
    when pyspark or Java is missing or Spark does not start.
    """
    if lacks := missing():
        hint = "install Java 17 or newer" if "Java" in lacks else 'pip install "behavio[spark]"'
        raise JobError(f'engine = "spark": {lacks}', hint=f'{hint}, or write engine = "local"')
    from pyspark.sql import SparkSession

    with _without_warnings():
        found = SparkSession.getActiveSession()
        if found is None:
            found = _started(SparkSession.builder, settings or {})
        own = found.newSession()
        for key, value in SETTINGS.items():
            own.conf.set(key, value)
    return own


def _started(builder: Any, settings: Mapping[str, str]) -> Any:
    """A new session; what Java says while it starts is shown only when it fails."""
    if "SPARK_REMOTE" in os.environ:
        raise JobError(
            'engine = "spark": SPARK_REMOTE names a Spark Connect server, counts need a classic session',
            hint="start the job with spark-submit --master …, or unset SPARK_REMOTE for local cores",
        )
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    folder = Path(tempfile.mkdtemp(prefix="behavio-spark-"))
    quiet = folder / "log4j2.properties"
    quiet.write_text(LOG4J, encoding="utf-8")
    if not submitted:
        master = os.environ.get("SPARK_MASTER", "local[*]")
        options = {"spark.master": master} | LOCAL | dict(settings)
        java = options.get("spark.driver.extraJavaOptions", "")
        options["spark.driver.extraJavaOptions"] = f"-Dlog4j2.configurationFile=file:{quiet} {java}".strip()
        for key, value in options.items():
            builder = builder.config(key, value)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    said = folder / "said"
    try:
        with said.open("w") as out, _stderr_to(out.fileno()):
            return builder.getOrCreate()
    except Exception as problem:
        lines = said.read_text(errors="replace").strip().splitlines()
        why = next((line for line in lines if "Exception" in line or "rror" in line), "")
        why = why or (str(problem).splitlines() or ["it did not say why"])[0]
        hint = 'check the Java version (17 or newer) and spark-submit\'s settings, or write engine = "local"'
        raise JobError(f"Spark does not start: {why[:300]}", hint=hint) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stderr_to(target: int) -> Iterator[None]:
    """The Java process inherits this process's stderr when it starts: give it another one meanwhile."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """pyspark warns about pandas 3 whatever is asked of it; no pandas table is used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """Spark's exceptions as one LogError; pyspark's warnings are not the user's business."""
    with _without_warnings():
        try:
            yield
        except BehavioError:
            raise
        except Exception as problem:
            if not type(problem).__module__.startswith(("pyspark", "py4j")):
                raise
            raise _plain(what, str(problem)) from None


def guarded(batches: Iterator[Any], work: Callable[[Iterator[Any]], Iterator[Any]]) -> Iterator[Any]:
    """On a worker: let `work` go over the batches; its errors keep their hint on the way to the driver."""
    try:
        yield from work(batches)
    except BehavioError as problem:
        raise LogError(f"{problem}{MARK}{problem.hint}") from None


def _plain(what: str, text: str) -> LogError:
    """The reason in one line, and what can be done about it."""
    for sign, reason, hint in REASONS:
        if sign in text:
            return LogError(f"{what} {reason}", hint=hint)
    own = [line for line in text.splitlines() if line.startswith("behavio.errors.")]
    if own:
        said, _, hint = own[-1].partition(": ")[2].partition(MARK)
        return LogError(said, hint=hint)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("at ", "File ", "Caused by", "^", "Traceback"))]
    last = [line for line in telling if "Error" in line or "Exception" in line or line.startswith("[")]
    why = (last or telling or ["no reason was given"])[0]
    return LogError(
        f"Spark stopped at {what}: {why[:300]}", hint='try a part of the log with engine = "local"'
    )


MARK = " (hint) "
REASONS = (
    ("PATH_NOT_FOUND", "is not there", "is the path right, and can every worker of the cluster see it?"),
    (
        "S3AFileSystem not found",
        "lies on S3, which this Spark cannot read",
        "spark-submit --packages org.apache.hadoop:hadoop-aws:<the version of your Spark's Hadoop>",
    ),
    (
        "No FileSystem for scheme",
        "has an address this Spark cannot read",
        "add its Hadoop connector with --packages",
    ),
    ("UNABLE_TO_INFER_SCHEMA", "holds no Parquet file", "name a Parquet file, a folder of them or a pattern"),
    ("is not a Parquet file", "is no Parquet file", 'convert it once, or write engine = "local"'),
    ("CANNOT_READ_FILE_FOOTER", "is no Parquet file, or a damaged one", "fetch it again"),
    ("FAILED_READ_FILE", "holds a damaged Parquet file, or files of different types", "fetch it again"),
    ("AccessDenied", "may not be read", "ask for the right to read it"),
    ("Permission denied", "may not be read", "ask for the right to read it"),
    ("OutOfMemoryError", "does not fit the memory of a worker", "give Spark more memory or more partitions"),
)
