"""Segments from run to run: matched, named, counted, frozen, overruled; held against another segmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from oracles_segments import planted
from sklearn.metrics import adjusted_rand_score
from test_segments import LABELS, hcp_log, log_of

from behavio import api
from behavio.cli import cli
from behavio.errors import JobError, LogError, ModelError, RunError
from behavio.files import read_json
from behavio.job import job_from
from behavio.log import EventLog
from behavio.run import run
from behavio.segments import SegmentSettings, write_segments
from behavio.segments.agreement import adjusted_rand
from behavio.segments.challenge import challenge, explained, other_labels
from behavio.segments.living import Previous, kept_names, match
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.sequences import SequenceSet

FAST = SegmentSettings(k=3, restarts=3, subgroups=False)


def written(log: EventLog, folder: Path, settings: SegmentSettings = FAST) -> dict:
    folder.mkdir(parents=True)
    return write_segments(log, SequenceSet.from_log(log), settings, 7, folder)


def labels_in(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "segments.parquet")


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_rand_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 60), rng.integers(-1, 3, 60)
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b))
    assert adjusted_rand(a, a) == adjusted_rand(np.zeros(5, int), np.ones(5, int)) == 1.0


def test_kept_split_merged_new_and_gone_by_hand() -> None:
    # then: A 0–9, B 10–19, C 20–29, D 30–39; now: x = A, y = B + most of C, z and w = halves of D
    then = np.repeat([0, 1, 2, 3], 10)
    now = np.concatenate([np.zeros(10), np.ones(18), [2, 2], np.full(5, 2), np.full(5, 3)]).astype(int)
    found = match(now, ["x", "y", "z", "w"], then, ["A", "B", "C", "D"])
    assert found.before == (0, 1, -1, 3)  # z has five of D, as w has, but shares two cases of C besides
    rows = {(r["segment"], r["change"], r["other"]) for r in found.changes}
    assert rows == {
        ("x", "kept", "A"),
        ("y", "kept", "B"),
        ("z", "split", "D"),
        ("w", "kept", "D"),
        ("C", "merged", "y"),
    }
    # moved: 8 of C to y, 2 of C to z, 5 of D to z
    assert (found.common, found.moved, found.churn) == (40, 15, 15 / 40)
    assert kept_names(["x", "y", "C", "w"], found, ["A", "B", "C", "D"]) == ("A", "B", "C, kind 2", "D")


def test_a_case_unassigned_or_absent_before_did_not_move() -> None:
    found = match(np.array([0, 0, -1, 0]), ["x"], np.array([0, -1, 0, -2]), ["A"])
    assert (found.common, found.moved) == (1, 0)
    nobody = match(np.array([0, 0]), ["x"], np.array([-2, -2]), ["A"])
    assert nobody.before == (-1,) and nobody.churn == 0.0
    assert {r["change"] for r in nobody.changes} == {"new", "gone"}


def test_names_are_kept_and_five_percent_more_cases_move_few(tmp_path: Path) -> None:
    log, _ = hcp_log(252)
    few = replace(
        log,
        events=log.events.filter(pl.col("case_id") < "c00240"),
        cases=log.cases.filter(pl.col("case_id") < "c00240"),
    )
    written(few, tmp_path / "one")
    table = labels_in(tmp_path / "one").with_columns(pl.col("segment").replace("Quick openers", "Our stars"))
    table.write_parquet(tmp_path / "one" / "segments.parquet")
    facts = written(log, tmp_path / "two", replace(FAST, previous=str(tmp_path / "one")))
    names = {s["segment"] for s in read_json(tmp_path / "two" / "profiles.json")["segments"]}
    assert "Our stars" in names and "Quick openers" not in names
    assert facts["churn"] <= 0.05
    both = labels_in(tmp_path / "two").join(table, on="case_id")
    assert (both["segment"] != both["segment_right"]).mean() <= 0.05
    changes = pl.read_parquet(tmp_path / "two" / "changes.parquet")
    assert changes["change"].unique().to_list() == ["kept"]


def test_too_much_churn_stops_the_run(tmp_path: Path) -> None:
    log, _ = hcp_log(120)
    written(log, tmp_path / "one")
    table = labels_in(tmp_path / "one")
    mixed = table["segment"].sample(fraction=1.0, shuffle=True, seed=1)
    ids = table["segment_id"].sample(fraction=1.0, shuffle=True, seed=1)
    table.with_columns(mixed, ids).write_parquet(tmp_path / "one" / "segments.parquet")
    with pytest.raises(ModelError, match="would change their segment, the limit is 50%") as stopped:
        written(log, tmp_path / "two", replace(FAST, previous=str(tmp_path / "one")))
    assert "frozen" in stopped.value.hint


def test_frozen_scoring_reproduces_unchanged_cases_exactly(tmp_path: Path) -> None:
    log, _ = hcp_log(150)
    written(log, tmp_path / "one")
    more, _ = hcp_log(180, seed=3)
    new = more.events.with_columns(pl.format("n{}", "case_id").alias("case_id"))
    events = pl.concat([log.events, new]).sort("case_id", "timestamp", "event_index")
    both = replace(log, events=events, cases=pl.DataFrame({"case_id": events["case_id"].unique().sort()}))
    settings = replace(FAST, previous=str(tmp_path / "one"), frozen=True)
    facts = written(both, tmp_path / "two", settings)
    after = labels_in(tmp_path / "two").filter(pl.col("case_id").str.starts_with("c"))
    assert after.select(LABELS).equals(labels_in(tmp_path / "one").select(LABELS))
    assert facts["churn"] == 0.0 and facts["rows_out"] == 330
    assert any("nothing was learned" in n for n in facts["notes"])
    written(both, tmp_path / "three", replace(settings, previous=str(tmp_path / "two")))  # and so on
    assert labels_in(tmp_path / "three").equals(labels_in(tmp_path / "two"))


def test_a_previous_run_of_another_world(tmp_path: Path) -> None:
    log, _ = hcp_log(120)
    other = log_of([["x", "y", "z", "x"], ["z", "x", "y"]] * 30)
    written(other, tmp_path / "one", replace(FAST, k=2))
    previous = replace(FAST, previous=str(tmp_path / "one"))
    with pytest.raises(ModelError, match="activities the previous run never met"):
        written(log, tmp_path / "two", replace(previous, frozen=True))
    ids = log.events.with_columns(pl.format("p{}", "case_id").alias("case_id"))
    stranger = replace(log, events=ids, cases=pl.DataFrame({"case_id": ids["case_id"].unique().sort()}))
    facts = written(stranger, tmp_path / "three", previous)  # not frozen: learned anew, told so
    assert any("no case is in both" in n for n in facts["notes"])
    with pytest.raises(RunError, match="holds no segments"):
        written(log, tmp_path / "four", replace(FAST, previous=str(tmp_path)))
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunError, match="cannot be read"):
        Previous.read(tmp_path / "bad.parquet")


def test_experts_decide_and_their_word_survives(tmp_path: Path) -> None:
    log, _ = hcp_log(120)
    written(log, tmp_path / "one")
    first = labels_in(tmp_path / "one")
    names = sorted(first["segment"].unique())
    case, mine = first["case_id"][0], first["segment"][0]
    wanted = next(n for n in names if n != mine)
    file = tmp_path / "overrides.csv"
    file.write_text(
        f"case_id,segment,reason,date\n{case},{wanted},retired,2026-05-01\nzz,{wanted},x,2026-05-01\n"
    )
    facts = written(log, tmp_path / "two", replace(FAST, overrides=str(file)))
    row = labels_in(tmp_path / "two").row(0, named=True)
    assert (row["segment"], row["assigned"], row["reason"], row["date"]) == (
        *(wanted, "expert", "retired"),
        "2026-05-01",
    )
    assert any("1 cases that experts placed are not in this log" in n for n in facts["notes"])
    written(log, tmp_path / "three", replace(FAST, previous=str(tmp_path / "two")))
    again = labels_in(tmp_path / "three").row(0, named=True)
    assert (again["segment"], again["assigned"], again["reason"]) == (wanted, "expert", "retired")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c00000,Nobody,why,2026-01-01", "no segment is called 'Nobody'"),
        ("c00000,Quick openers,,2026-01-01", "needs a case_id and a reason"),
        ("c00000,Quick openers,why,soon", "is no date"),
        ("c00000,Quick openers,a,2026-01-01\nc00000,Late openers,b,2026-01-01", "decides twice"),
    ],
)
def test_wrong_overrides_are_refused(tmp_path: Path, line: str, said: str) -> None:
    log, _ = hcp_log(120)
    (tmp_path / "o.csv").write_text(f"case_id,segment,reason,date\n{line}\n")
    with pytest.raises(JobError, match=said):
        written(log, tmp_path / "s", replace(FAST, overrides=str(tmp_path / "o.csv")))


def test_owner_and_review_are_kept_and_an_overdue_review_is_said(tmp_path: Path) -> None:
    log, _ = hcp_log(90)  # days from 1970 on
    facts = written(log, tmp_path / "s", replace(FAST, owner="Brand lead", review="1970-01-05"))
    assert facts["owner"] == "Brand lead" and facts["review"] == "1970-01-05"
    assert any("were to be reviewed on 1970-01-05" in n for n in facts["notes"])
    fine = written(log, tmp_path / "t", replace(FAST, review="2090-01-01"))
    assert not any("reviewed" in n for n in fine["notes"])


def test_explained_by_hand() -> None:
    # all variance lies between two groups; none does; one group explains nothing
    y = np.array([[0.0], [0.0], [2.0], [2.0]])
    assert explained(y, np.array([0, 0, 1, 1])) == 1.0
    # [0, 0, 0, 1]: inside 8/3 over 2, in all 4 over 3: what chance would explain
    assert explained(y, np.array([0, 1, 0, 1])) < 0 == pytest.approx(explained(y, np.array([0, 0, 0, 1])))
    assert explained(y, np.zeros(4, int)) == 0.0


def test_a_segmentation_that_knows_nothing_adds_nothing(tmp_path: Path) -> None:
    log, truth = hcp_log(240)
    sequences = SequenceSet.from_log(log)
    model = SemiMarkovMixture(k=3, restarts=3, seed=7).fit(sequences)
    label, strength = model.predict(sequences)
    names = ["one", "two", "three"]
    ids = sequences.case_ids
    mine = pl.DataFrame({"case_id": ids, "segment": [names[g] for g in label], "strength": strength})
    dice = np.random.default_rng(0).integers(0, 3, 240)
    found = challenge(
        mine, names, pl.DataFrame({"case_id": ids, "other": dice.astype(str)}), sequences, model, 7
    )
    what = found.explains.filter(pl.col("what") == "what they do later").row(0, named=True)
    assert what["segments"] > 0.3 > 0.05 > abs(what["other"])
    assert what["segments_add"] > 0.3 and what["other_adds_low"] <= 0.02
    assert abs(found.agreement) < 0.05
    same = challenge(mine, names, pl.DataFrame({"case_id": ids, "other": truth}), sequences, model, 7)
    assert same.agreement > 0.9 and same.misplaced.height < 12
    assert same.table.filter(pl.col("partner")).height == 3
    with pytest.raises(LogError, match="no case is in both"):
        challenge(mine, names, pl.DataFrame({"case_id": ["q"], "other": ["a"]}), sequences, model, 7)


def test_other_segmentations_are_read_or_refused(tmp_path: Path) -> None:
    cases = pl.DataFrame({"case_id": ["a", "b"], "potential": ["high", "low"]})
    assert other_labels("potential", cases)["other"].to_list() == ["high", "low"]
    (tmp_path / "crm.csv").write_text("case_id,segment\na,1\nb,2\n")
    assert sorted(other_labels(str(tmp_path / "crm.csv"), cases)["other"]) == ["1", "2"]
    with pytest.raises(JobError, match="neither a file nor a column"):
        other_labels("potentail", cases)
    (tmp_path / "twice.csv").write_text("case_id,segment\na,1\na,2\n")
    with pytest.raises(LogError, match="puts a case in two groups"):
        other_labels(str(tmp_path / "twice.csv"), cases)
    (tmp_path / "none.csv").write_text("id,segment\na,1\n")
    with pytest.raises(LogError, match="has the columns"):
        other_labels(str(tmp_path / "none.csv"), cases)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("living")
    log, truth = hcp_log(150)
    log.events.select("case_id", "activity", "timestamp").write_parquet(folder / "log.parquet")
    ids = [f"c{i:05d}" for i in range(150)]
    pl.DataFrame({"case_id": ids, "segment": truth}).write_csv(folder / "crm.csv")
    table = {
        "source": {"log": {"path": "log.parquet"}},
        "segments": {"k": 3, "restarts": 3, "subgroups": False},
    }
    run(job_from(table, name="one", base=folder), folder / "one")
    table["segments"] |= {"previous": "one", "owner": "Brand lead", "review": "1970-01-05"}
    run(job_from(table, name="two", base=folder), folder / "two")
    return folder / "one", folder / "two"


def test_a_run_goes_on_from_a_run_and_says_so(two_runs: tuple[Path, Path]) -> None:
    one, two = two_runs
    manifest = read_json(two / "manifest.json")
    assert manifest["stages"]["segments"]["facts"]["owner"] == "Brand lead"
    assert manifest["stages"]["segments"]["facts"]["churn"] == 0.0
    found = api.segment_changes(one, two)
    assert found is not None and found["moved"] == 0
    assert api.segment_changes(one, "nothing.csv") is None
    done = CliRunner().invoke(cli, ["compare", str(one), str(two)])
    assert done.exit_code == 0 and "Segments. 0 of 150 cases" in done.output


def test_the_command_prints_rules_proof_challenge_and_neighbours(two_runs: tuple[Path, Path]) -> None:
    _, two = two_runs
    ask = CliRunner()
    rules = ask.invoke(cli, ["segments", str(two), "--rules"])
    assert (
        rules.exit_code == 0 and rules.output.startswith("1. ") and "cases not used to make" in rules.output
    )
    proof = ask.invoke(cli, ["segments", str(two), "--proof"])
    assert proof.exit_code == 0 and "Found again in 8 resamples" in proof.stdout
    assert "to be reviewed on 1970-01-05, owner Brand lead" in proof.stderr
    crm = str(two.parent / "crm.csv")
    other = ask.invoke(cli, ["segments", str(two), "--against", crm])
    assert other.exit_code == 0 and "150 cases in both, agreement 1.00" in other.stdout
    k = ask.invoke(cli, ["segments", str(two), "--against", "2", "--json"])
    assert k.exit_code == 0 and '"misplaced"' in k.stdout
    near = ask.invoke(cli, ["segments", str(two), "--like", "c00000", "--csv"])
    assert near.exit_code == 0 and len(near.stdout.splitlines()) == 11
    for wrong in (["--against", "nowhere.csv"], ["--like", "nobody"], ["--rules", "--sizes"]):
        assert ask.invoke(cli, ["segments", str(two), *wrong]).exit_code in (1, 2)


def test_planted_groups_without_order_are_said_to_need_order(tmp_path: Path) -> None:
    log, _ = planted("order", 300, 2, groups=3, size=8)
    from behavio.segments.proof import stability, without

    model = SemiMarkovMixture(k=3, restarts=4, seed=7, smoothing=20.0).fit(log)
    label = model.predict(log)[0]
    assert stability(model, log, 7, 3).mean > 0.8
    row = without(model, log, label, "order", 7)
    assert row["gain"] < 0.02 and row["agreement"] < 0.1
    assert without(model, log, label, "clock", 7)["agreement"] > 0.8
