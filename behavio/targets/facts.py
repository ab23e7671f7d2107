"""What a run knows, as rows to deliver: labels, affinity, suggestions, tags, scores, with what may not go.

Rules that guard people are asked again at this door, on the consents of the run. `problem` is null for a row
that may go, else "name: why".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from behavio.suggest.candidates import privacy_flags
from behavio.suggest.plan import day_of
from behavio.suggest.reasons import contact_name
from behavio.targets.rows import RunTables, refused_channels

NAMES: dict[str, str] = {
    "case_id": "the account",
    "owner_id": "the rep",
    "territory": "territory of the account",
    "run_id": "the same for the same content",
    "model_version": "behavio and model",
    "consent_checked_at": "day on which consents were checked",
    "legal_basis": "as the job says",
    "segment": "label",
    "segment_id": "number of the label",
    "strength": "how surely it fits, 0–1",
    "channel": "f2f, phone, video, email …",
    "rating": "1–5: how readily the account answers there; 3 is as usual",
    "affinity": "share of contacts answered, 0–1",
    "suggestion_id": "stable id",
    "kind": "call, email or insight",
    "title": "what to do, in one line",
    "reason": "why, from real rows",
    "priority": "urgent or normal",
    "posted": "day of the newest event",
    "due_from": "first day",
    "due_to": "last good day",
    "expires_on": "last day it shows",
    "action": "activity",
    "message": "key message",
    "message_id": "stable id of the message",
    "brand": "product",
    "rank": "1 is first",
    "score": "probability in percent, 0–100",
    "probability": "of a response, 0–1",
    "tag_id": "stable id of a tag",
    "tag_brand": "product of a tag",
    "tag_driver": "driver of a tag",
    "rationals": "explanation as JSON",
    "metrics": "explanation as JSON, integers and texts only",
}
"""Names a mapping may use."""

CHUNK = 100_000
KINDS = {"email": "email", "f2f": "call", "video": "call", "phone": "call"}
SAID = {
    "privacy_opt_out": "privacy_opt_out: the person objected to the use of personal data",
    "unassigned": "unassigned: the case fits no segment",
    "missing_owner": "missing_owner: no sales contact owns this case",
    "medical_owner": "medical_owner: the owner works for the medical team only",
    "missing_reason": "missing_reason: it does not explain itself",
    "expired": "expired: its last day is over",
}


class Facts:
    """Rows of a run by the name of their set, in chunks of at most CHUNK rows sorted by case."""

    def __init__(self, tables: RunTables, run: Path, legal_basis: str | None = None) -> None:
        self.tables = tables
        self.run = run
        self.day = day_of(tables.as_of)
        self.stamp = {
            "run_id": tables.run_id,
            "model_version": tables.model_version,
            "consent_checked_at": self.day.isoformat(),
            "legal_basis": legal_basis,
        }
        self.objected = sorted(privacy_flags(tables.cases))
        self._sets: dict[str, Callable[[], pl.DataFrame]] = {
            "labels": self._labels,
            "affinity": self._affinity,
            "suggestions": self.suggestions,
            "tags": self._tags,
            "scores": self._scores,
            "message_scores": self._message_scores,
        }
        self._made: dict[str, pl.DataFrame] = {}

    def chunks(self, name: str) -> Iterator[pl.DataFrame]:
        """The rows of one set."""
        table = self._sets[name]()
        for start in range(0, table.height, CHUNK):
            stamps = [pl.lit(v, dtype=pl.String).alias(n) for n, v in self.stamp.items()]
            yield table.slice(start, CHUNK).with_columns(stamps)

    def cases(self) -> pl.Series:
        """Ids of every case of the run."""
        return self.tables.cases["case_id"].cast(pl.String)

    # the sets ------------------------------------------------------------------------------------

    def _people(self) -> pl.DataFrame:
        """One row per case: owner and territory where the run knows them."""
        cases = self.tables.cases
        columns = [
            (pl.col(n) if n in cases.columns else pl.lit(None)).cast(pl.String).alias(n)
            for n in ("owner_id", "territory")
        ]
        return cases.select(pl.col("case_id").cast(pl.String), *columns).unique("case_id")

    def _said(self, problem: str) -> pl.Expr:
        return pl.lit(SAID[problem])

    def _labels(self) -> pl.DataFrame:
        table = self.tables.segments
        if table is None:
            return pl.DataFrame()
        objected = pl.col("case_id").is_in(self.objected)
        table = table.with_columns(pl.col("case_id").cast(pl.String)).with_columns(
            problem=pl.when(objected)
            .then(self._said("privacy_opt_out"))
            .when(pl.col("segment_id") == -1)
            .then(self._said("unassigned"))
        )
        return table.join(self._people(), on="case_id", how="left").sort("case_id")

    def _affinity(self) -> pl.DataFrame:
        path = self.run / "suggestions" / "affinity.parquet"
        if not path.is_file():
            return pl.DataFrame()
        table = pl.read_parquet(path).with_columns(pl.col("case_id").cast(pl.String))
        table = table.with_columns(
            rating=rating(),
            problem=pl.when(pl.col("case_id").is_in(self.objected)).then(self._said("privacy_opt_out")),
        )
        return table.join(self._people(), on="case_id", how="left").sort("case_id", "channel")

    def suggestions(self) -> pl.DataFrame:
        """Every suggestion of the run, best first for every owner."""
        if "suggestions" in self._made:
            return self._made["suggestions"]
        table = self.tables.suggestions
        if table is None or table.height == 0:
            return pl.DataFrame()
        table = table.with_columns(pl.col("case_id", "owner_id").cast(pl.String))
        table = table.join(self._people().drop("owner_id"), on="case_id", how="left")
        table = table.with_columns(
            title=_titles(table),
            kind=pl.col("channel").replace_strict(KINDS, default="insight", return_dtype=pl.String),
            posted=pl.lit(self.day.isoformat()),
            score=(pl.col("probability") * 100).round(),
            problem=self._guarded(table),
            message_id=pl.col("message").map_elements(_short, return_dtype=pl.String),
        )
        made = table.sort("owner_id", "rank", "due_from", "suggestion_id", nulls_last=True)
        self._made["suggestions"] = made
        return made

    def _guarded(self, table: pl.DataFrame) -> pl.Expr:
        """Why a suggestion may not go."""
        refused = refused_channels(self.tables, table)
        pairs = pl.concat_str("case_id", "channel", pl.col("brand").fill_null(""), separator="\t")
        said = {
            f"{case}\t{channel}\t{brand}": f"no_consent: the consent for {channel} is {state}"
            for (case, channel, brand), state in refused.items()
        }
        none = pl.col("reason").is_null() | (pl.col("reason") == "")
        no_owner = pl.col("owner_id").is_null() | (pl.col("owner_id") == "")
        consent = (
            pairs.replace_strict(said, default=None, return_dtype=pl.String)
            if said
            else pl.lit(None, pl.String)
        )
        return pl.coalesce(
            pl.when(no_owner).then(self._said("missing_owner")),
            pl.when(pl.col("case_id").is_in(self.objected)).then(self._said("privacy_opt_out")),
            pl.when(pl.col("owner_id").is_in(sorted(self.tables.medical))).then(self._said("medical_owner")),
            consent,
            pl.when(none).then(self._said("missing_reason")),
            pl.when(pl.col("expires_on") < self.day).then(self._said("expired")),
        )

    def _tags(self) -> pl.DataFrame:
        table = self.suggestions()
        if table.height == 0:
            return table
        parts = []
        for name, column in (("tag_brand", "brand"), ("tag_driver", "message")):
            part = table.filter(pl.col(column).is_not_null() & (pl.col(column) != ""))
            parts.append(
                part.with_columns(
                    pl.col(column).alias(name),
                    tag_id=pl.concat_str("suggestion_id", pl.lit(f"__{name.removeprefix('tag_')}")),
                )
            )
        tags = pl.concat(parts, how="diagonal")
        for name in ("tag_brand", "tag_driver"):
            if name not in tags.columns:
                tags = tags.with_columns(pl.lit(None, pl.String).alias(name))
        return tags.sort("suggestion_id", "tag_id")

    def _scores(self) -> pl.DataFrame:
        table = self.suggestions()
        if table.height == 0:
            return table
        best = table.sort("probability", "suggestion_id", descending=[True, False], nulls_last=True)
        best = best.unique("case_id", keep="first", maintain_order=True)
        best = best.with_columns(rank=pl.col("score").rank("ordinal", descending=True).over("territory"))
        told = pl.struct("action", "score", "reason").map_elements(_rationals, return_dtype=pl.String)
        return best.with_columns(rationals=told).sort("case_id")

    def _message_scores(self) -> pl.DataFrame:
        table = self.suggestions()
        if table.height == 0:
            return table
        best = table.filter(pl.col("message").is_not_null())
        best = best.sort("probability", "suggestion_id", descending=[True, False], nulls_last=True)
        best = best.unique(["case_id", "message"], keep="first", maintain_order=True)
        best = best.with_columns(rank=pl.col("score").rank("ordinal", descending=True).over("case_id"))
        told = pl.struct("score", "base_probability", "evidence_n", "channel")
        return best.with_columns(metrics=told.map_elements(_metrics, return_dtype=pl.String)).sort(
            "case_id", "message"
        )


def rating() -> pl.Expr:
    """Channel affinity on five points: 3 while the usual share lies in the interval, 4 above and 2 below it,
    5 when half of what usually stays unanswered is answered too, 1 at half the usual share or less."""
    share, usual = pl.col("affinity"), pl.col("usual")
    high = pl.when(share >= usual + (1 - usual) / 2).then(5).otherwise(4)
    low = pl.when(share <= usual / 2).then(1).otherwise(2)
    return pl.when(pl.col("low") > usual).then(high).when(pl.col("high") < usual).then(low).otherwise(3)


def _titles(table: pl.DataFrame) -> pl.Series:
    """What to do in one line, made once for every distinct action, message and brand."""

    def title(row: dict[str, str | None]) -> str:
        name = contact_name(str(row["action"]))
        about = row["message"] or row["brand"]
        return f"{name[:1].upper()}{name[1:]}{f': {about}' if about else ''}"

    asked = table.select("action", "message", "brand")
    known = asked.unique().with_columns(title=pl.struct(pl.all()).map_elements(title, return_dtype=pl.String))
    joined = asked.join(known, on=asked.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined["title"]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _rationals(row: dict[str, object]) -> str:
    one = {
        "Category": row["action"],
        "Score": int(float(str(row["score"] or 0))),
        "Reasons": [row["reason"] or ""],
    }
    return json.dumps({"rationals": [one]}, ensure_ascii=False)


def _metrics(row: dict[str, object]) -> str:
    base = round(100 * float(str(row["base_probability"] or 0)))
    found = {
        "probability_percent": int(float(str(row["score"] or 0))),
        "usual_percent": base,
        "similar_contacts": int(str(row["evidence_n"] or 0)),
        "channel": row["channel"] or "",
    }
    return json.dumps(found, ensure_ascii=False)
