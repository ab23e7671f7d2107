"""The cases whose journeys are most alike, by the vectors that the models of a run learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

SHOWN = 5


def alike(run: Path, case_id: str, n: int = SHOWN) -> pl.DataFrame:
    """case_id, likeness (cosine), segment, next_activity, next_probability of the `n` most alike cases.

    Empty where the run learned no vectors or none for this case.
    """
    file = run / "models" / "embeddings.parquet"
    empty = {"case_id": pl.String(), "likeness": pl.Float64()}
    if not file.is_file():
        return pl.DataFrame(schema=empty)
    table = pl.read_parquet(file).with_columns(pl.col("case_id").cast(pl.String))
    own = table.filter(pl.col("case_id") == case_id)
    if own.height == 0:
        return pl.DataFrame(schema=empty)
    vectors = np.array(table["vector"].to_list(), dtype=np.float64)
    mine = np.asarray(own["vector"][0], dtype=np.float64)
    length = np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(mine), 1e-12)
    table = table.select("case_id", likeness=pl.Series(np.round(vectors @ mine / length, 6)))
    table = table.filter(pl.col("case_id") != case_id)
    found = table.sort("likeness", "case_id", descending=[True, False]).head(n)
    for path, columns in (
        ("segments/segments.parquet", {"segment": "segment"}),
        ("next/next_steps.parquet", {"activity": "next_activity", "probability": "next_probability"}),
    ):
        if (run / path).is_file():
            rows = pl.scan_parquet(run / path)
            if "rank" in rows.collect_schema().names():
                rows = rows.filter(pl.col("rank") == 1)
            own_rows = rows.select(pl.col("case_id").cast(pl.String), *columns).rename(columns)
            wanted = own_rows.filter(pl.col("case_id").is_in(found["case_id"].implode())).collect()
            found = found.join(wanted, on="case_id", how="left", maintain_order="left")
    return found
