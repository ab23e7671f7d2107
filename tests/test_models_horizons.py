"""The next 7, 30 and 90 days, and the time axis of the nets: by hand, against slow twins, on odd logs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.kernels import moments as kernel
from behavio.models import timeline
from behavio.models.base import Prefixes
from behavio.models.fields import with_cases
from behavio.models.horizons import ANY, SCHEMA, Horizons, Moments
from behavio.models.inputs import (
    FADES,
    MOMENTS,
    NUMBERS,
    asked_of,
    memories,
    moments,
    readers,
    repeats,
    seen_as,
    width,
)
from behavio.models.learner import with_open
from behavio.models.neural import CNN, GRU, Transformer
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
US = DAY * 1_000_000


def busy_and_quiet(n: int = 120, days: int = 300) -> SequenceSet:
    """Half of the cases do a every 5 days, the other half b every 60 days."""
    traces, times = [], []
    for i in range(n):
        step = 5 if i % 2 else 60
        at = list(range(i % step, days, step))
        traces.append(["a" if i % 2 else "b"] * len(at))
        times.append([t * DAY for t in at])
    return SequenceSet.from_traces(traces, times)


@pytest.fixture(scope="module")
def model() -> Horizons:
    return Horizons(epochs=20).fit(busy_and_quiet())


def test_what_was_and_what_follows_by_hand() -> None:
    # one case: a day 0, b day 1, a day 4, b day 9; asked at day 4
    times = np.array([0, 1, 4, 9], dtype=np.int64) * US
    codes, offsets = np.array([0, 1, 0, 1]), np.array([0, 4])
    cases, at = np.array([0]), np.array([4 * US])
    ends = kernel.places_at(times, offsets, cases, at)
    assert ends.tolist() == [3]  # what happens at the moment itself is known
    counts, since = kernel.before(codes, times, offsets[cases], ends, at, np.array([2, 3, 10]) * US, 2)
    assert counts[0].tolist() == [[1, 0], [1, 1], [2, 1]]
    assert (since[0] // US).tolist() == [0, 3]
    then = kernel.after(codes, times, ends, offsets[cases + 1], at, np.array([4, 5]) * US, 2)
    assert then[0].tolist() == [[0, 0], [0, 1]]


def test_counts_equal_the_slow_ones() -> None:
    random = np.random.default_rng(3)
    traces = [random.choice(list("abc"), random.integers(1, 9)).tolist() for _ in range(20)]
    log = SequenceSet.from_traces(
        traces, [sorted(random.integers(0, 50 * DAY, len(t)).tolist()) for t in traces]
    )
    model = Horizons(days=(7, 30)).fit(log)
    model.days_ = np.array([7, 30])
    asked = Moments.at(log, 20 * US)
    real = model.counted(model.coded(log), asked)
    for k, case in enumerate(asked.cases):
        events = list(zip(log.times[log.offsets[case] : log.offsets[case + 1]], traces[case], strict=True))
        for i, days in enumerate((7, 30)):
            later = [a for t, a in events if 20 * US < t <= (20 + days) * US]
            assert real[k, i].tolist() == [len(later), *(later.count(a) for a in model.activities[1:])]


def test_chances_rise_with_the_horizon_and_know_who_is_busy(model: Horizons) -> None:
    log = busy_and_quiet()
    chance, number = model.ask(log, Moments.at(log, 200 * US))
    assert model.days_.tolist() == [7, 30, 90]
    assert (np.diff(chance, axis=1) >= 0).all() and (np.diff(number, axis=1) >= -1e-9).all()
    assert ((chance >= 0) & (chance <= 1)).all() and (number >= chance - 1e-12).all()
    busy, quiet = chance[1::2, 0, 0].mean(), chance[0::2, 0, 0].mean()
    assert busy > 0.9 and quiet < 0.35  # every 5 days; every 60 days: 7 of 60 moments
    assert number[1::2, 1, 1].mean() == pytest.approx(6, rel=0.25)  # 30 days of one a in 5 days


def test_a_horizon_over_the_end_of_the_log_is_not_taken_for_silence() -> None:
    # Everything goes on until the log ends; the last month must not teach that it stops.
    log = busy_and_quiet(120, 300)
    found = Horizons(epochs=20).fit(log)
    chance, _ = found.ask(log, Moments.at(log, int(np.max(log.times))))
    assert chance[1::2, 2, 1].mean() > 0.95


def test_table_and_same_bytes(model: Horizons, tmp_path: Path) -> None:
    log = busy_and_quiet()
    table = model.table(log, int(np.max(log.times)), top=1)
    assert table.schema == SCHEMA and table.height == 120 * 3 * 2
    assert table["activity"].to_list()[:2] == [ANY, ANY]
    model.save(tmp_path / "one")
    Horizons(epochs=20).fit(log).save(tmp_path / "two")
    for file in ("model.json", "learned.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    again = Horizons.load(tmp_path / "one").table(log, int(np.max(log.times)), top=1)
    assert again.equals(table)
    strange = SequenceSet.from_traces([["never seen"]], [[0]])
    assert np.isfinite(model.ask(strange, Moments.at(strange, 5 * US))[0]).all()


@pytest.mark.parametrize(
    ("traces", "times"),
    [
        ([["a"]], [[0]]),
        ([["a", "b"], ["a"]], [[0, 0], [0]]),
        ([["a", "a"]] * 3, [[0, 3650 * DAY]] * 3),
        ([["a"] * 4] * 2, [[0, DAY, 2 * DAY, 100 * DAY]] * 2),
    ],
)
def test_odd_logs(traces: list[list[str]], times: list[list[int]]) -> None:
    log = SequenceSet.from_traces(traces, times)
    found = Horizons(epochs=2).fit(log)
    table = found.table(log, int(np.max(log.times)))
    assert table.schema == SCHEMA and table["probability"].is_finite().all()
    untimed = Horizons().fit(replace(log, timed=False))
    assert untimed.table(log, 0).is_empty() and len(untimed.days_) == 0


def test_predict_within_as_typed(tmp_path: Path) -> None:
    log = busy_and_quiet(30)
    table = pl.DataFrame(
        {
            "case_id": log.case_ids.gather(pl.Series(log.case_of_event)),
            "activity": [log.vocabulary.names[t] for t in log.tokens],
            "timestamp": pl.Series(log.times).cast(pl.Datetime("us")),
        }
    )
    table.write_csv(tmp_path / "log.csv")
    words = ["predict", str(tmp_path / "log.csv"), "--within", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "behavio", *words], capture_output=True, text=True, check=True
    )
    rows = json.loads(done.stdout)
    assert {r["days"] for r in rows} == {7, 30, 90} and {r["activity"] for r in rows} == {ANY, "a", "b"}


def test_quantiles_of_a_survival_curve_by_hand() -> None:
    edges = np.array([0.0, 10.0, 20.0, 40.0])
    left = timeline.survival(np.array([[0.2, 0.5, 1.0]]))
    np.testing.assert_allclose(left, [[1.0, 0.8, 0.4, 0.0]])
    # half are over at 0.5 left: between 10 (0.8) and 20 (0.4), at 17.5; a fifth in the first step: no time
    found = timeline.quantiles(edges, left, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(found, [[0.0, 17.5, 35.0]])
    # 20 s passed: of the 0.4 left half are over at 0.2, at 30 s, in 10 s from now
    np.testing.assert_allclose(timeline.quantiles(edges, left, (0.5,), np.array([20.0])), [[10.0]])
    assert np.isnan(timeline.quantiles(edges, left, (0.5,), np.array([50.0]))).all()


@pytest.mark.parametrize("gaps", [[], [0.0], [0.0, 0.0, 5.0], [1e-6, 3e9], [7.0] * 9, list(range(2000))])
def test_edges_rise_and_hold_every_wait(gaps: list[float]) -> None:
    waits = np.array(gaps)
    edges = timeline.edges_of(waits)
    assert edges[0] == 0 and (np.diff(edges) > 0).all() and len(edges) < 300
    step = timeline.step_of(edges, waits)
    assert ((step >= 0) & (step < len(edges) - 1)).all()
    hazards = timeline.counted_hazards(step, np.zeros(len(step), dtype=np.int64), 2, len(edges) - 1)
    assert np.isfinite(hazards).all()


def test_an_open_gap_is_known_as_open() -> None:
    log = SequenceSet.from_traces([["a", "b"], ["a"]], [[0, DAY], [DAY // 2]])
    gap, says = asked_of(log)
    # b is the newest event of all; the second case has been silent for half a day
    assert gap.tolist() == [DAY, 0, DAY / 2] and says[0] == 1 and set(says[1:].tolist()) <= {-1, 0}
    assert says[2] == (-1 if log.open_cases().open[1] else 0)


def test_fields_are_read_as_values_and_as_numbers() -> None:
    names = [str(i) for i in range(40)]
    known = Vocabulary.of(names)
    codes = known.encode(pl.Series([names[i % 40] for i in range(400)], dtype=pl.String))
    log = SequenceSet.from_traces([["a", "b"]] * 200)
    log = replace(log, fields={"dose": Field(codes, known), "same": Field(np.full(400, 2, np.int32), known)})
    (dose,) = readers(log.fields)  # a field with one value says nothing
    assert len(dose.values) == 40 and len(dose.edges) == 15
    value, part = dose.columns(log)
    assert value.min() == 2 and part.min() == 2 and part.max() == 17
    assert part[0] == 2 and part[39] == 17  # 0 is among the smallest, 39 among the largest
    assert dose.columns(replace(log, fields={}))[0].max() == 0


def test_moments_by_hand() -> None:
    log = SequenceSet.from_traces([["a", "b", "a"]], [[0, 3600, 3600 + 2 * DAY]])  # a Thursday
    assert repeats(log).tolist() == [0, 0, 1]
    table = moments(log)
    assert table[:, 1].tolist() == [1, 2, 2] and table[:, 2].tolist() == [4, 4, 6]
    assert table[:, 4].tolist() == [1, 1, 2] and table[:, 5].tolist() == [1, 2, 3]
    assert (table < np.array(MOMENTS)).all()
    a = np.array([log.vocabulary.id("a")])
    no_clock, numbers = seen_as(log, 2, seasons=True, followed=a)
    assert (no_clock[:, :4] == 0).all() and no_clock[:, 5].tolist() == [1, 2, 3]
    assert (numbers[:, 3:] == 0).all() and numbers.shape[1] == width(1)
    assert np.array_equal(seen_as(log, 1, True, a)[1][:, NUMBERS:], memories(log, a))
    assert (seen_as(replace(log, timed=False), 0, True, a)[1][:, NUMBERS:] == 0).all()


@pytest.mark.parametrize("kind", [GRU, CNN, Transformer])
def test_every_net_says_what_and_when(kind: type[GRU], tmp_path: Path) -> None:
    from behavio.models import Prefixes
    from behavio.models.base import SequenceModel

    # after a comes b in a day or c in ten days
    random = np.random.default_rng(0)
    traces, times = [], []
    for i in range(80):
        t, trace, at = i * DAY, [], []
        for _ in range(8):
            quick = random.random() < 0.7
            trace += ["a", "b" if quick else "c"]
            at += [t, t + (1 if quick else 10) * DAY]
            t = at[-1] + DAY // 2
        traces.append(trace)
        times.append(at)
    log = SequenceSet.from_traces(traces, times)
    model = kind(hidden=16, epochs=8, members=2).fit(log)
    coded = model.coded(log)
    asked = Prefixes.of_cases(coded, 0)
    asked = asked[log.tokens[asked.ends - 1] == 2]
    rows = model.rows(coded, asked)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-9)
    assert 0.6 < rows[:, 3].mean() < 0.8
    for then, days in ((3, 1), (4, 10)):
        waits = model.when(coded, asked, np.full(len(asked), then), np.zeros(len(asked), dtype=np.int64))
        assert (np.diff(waits, axis=1) >= 0).all()
        assert np.median(waits[:, 1]) / US == pytest.approx(days, rel=0.4)
    late = model.when(coded, asked, np.full(len(asked), 4), np.full(len(asked), 9 * US))
    assert np.nanmedian(late[:, 1]) < 3 * US
    assert (model.waits(coded, asked) >= 0).all()
    assert model.states(coded, asked).shape == (len(asked), 32)
    model.save(tmp_path)
    np.testing.assert_allclose(
        SequenceModel.load(tmp_path).probabilities(log, asked[:9]), rows[:9], atol=1e-6
    )


def test_a_large_log_is_asked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from behavio.models import Prefixes, neural

    log = SequenceSet.from_traces([list("abcab")[: 1 + i % 5] for i in range(60)])
    model = GRU(hidden=8, epochs=1).fit(log)
    asked = Prefixes.of_cases(log, 0)[::-1]
    whole = model.probabilities(log, asked)
    monkeypatch.setattr(neural, "PIECE", 25)
    assert len(list(neural.pieces(log, asked))) > 4
    np.testing.assert_allclose(model.probabilities(log, asked), whole, atol=1e-6)


def test_slices_of_one_case_end_up_together() -> None:
    import torch

    from behavio.models.encoder import LONGEST, SHORTEST, Encoder, apart, slices

    random = np.random.default_rng(0)
    log = SequenceSet.from_traces([list("ab" if i % 2 else "cd") * (4 + i % 40) for i in range(60)])
    first, length = slices(log, np.arange(60), random)
    assert (length >= SHORTEST).all() and (length <= np.minimum(log.lengths, LONGEST)).all()
    assert (first >= log.offsets[:-1]).all() and (first + length <= log.offsets[1:]).all()
    # two cases, slices alike inside a case and square across: cross-entropy of 10 against 0, 0
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert apart(vectors).item() == pytest.approx(np.log(1 + 2 * np.exp(-10)), rel=1e-3)
    model = Encoder(dimensions=16, epochs=25).fit(log)
    found = model.embed(log)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    alike = found @ found.T
    same = np.arange(60)[:, None] % 2 == np.arange(60)[None, :] % 2
    assert alike[same].mean() > alike[~same].mean() + 0.2
    np.testing.assert_array_equal(Encoder(dimensions=16, epochs=25).fit(log).embed(log), found)
    alone = Encoder(dimensions=4, epochs=1).fit(SequenceSet.from_traces([["a"]]))
    assert np.isfinite(alone.embed(log)).all()


def test_memories_by_hand() -> None:
    day = FADES.index(129_600.0)  # a day and a half
    log = SequenceSet.from_traces([["a", "b", "a"], ["b"]], [[0, 1800, DAY], [5]])
    table = memories(log, np.array([log.vocabulary.id("a"), 0])).reshape(4, 2, len(FADES) + 2)
    assert (table[:, 1, :-2] == 0).all() and (table[:, 1, -2] == 1).all()  # nothing is followed there
    # half an hour after a its memory of half an hour is 1/e, after a day nothing but the new a is left
    assert np.allclose(table[:3, 0, 0], np.log1p([1, np.exp(-1), 1]), atol=1e-3)
    assert np.allclose(table[2, 0, day], np.log1p(1 + np.exp(-2 / 3)), atol=1e-3)
    assert table[:, 0, -2].tolist() == [0, 0, 0, 1]  # the second case never had an a
    assert np.allclose(table[:3, 0, -1], np.log1p([0, 0.5, 0]) / 5, atol=1e-3) and table[3, 0, -1] == 0


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**7)), min_size=1)


@given(logs=st.lists(STEPS, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_memories_match_a_slow_count(logs: list[list[tuple[str, int]]]) -> None:
    times = [np.cumsum([gap for _, gap in case]).tolist() for case in logs]
    log = SequenceSet.from_traces([[a for a, _ in case] for case in logs], times)
    followed = np.array([log.vocabulary.id("b")])
    table, row = memories(log, followed), 0
    for case, moment in zip(logs, times, strict=True):
        for now in range(len(case)):
            past = [t for (a, _), t in zip(case[: now + 1], moment, strict=False) if a == "b"]
            told = [np.log1p(sum(np.exp((t - moment[now]) / f) for t in past)) for f in FADES]
            told += [float(not past), np.log1p((moment[now] - past[-1]) / 3600) / 5 if past else 0.0]
            found = table[row] if followed[0] > 1 else told
            assert np.allclose(found, told, atol=3e-3)
            row += 1


def test_a_case_that_still_waits_is_learnt_from() -> None:
    log = SequenceSet.from_traces([["a", "b"], ["a"]], [[0, DAY], [DAY // 2]])
    asked = with_open(log, Prefixes.of_cases(log, 0))
    # one step, a then b, and the cases that are open at the newest event of the log
    still = np.flatnonzero(log.open_cases().open)
    assert asked.ends.tolist() == [1, *(log.offsets[1:][still])] and len(still) > 0


def test_an_open_gap_speaks_against_what_would_have_come_at_once() -> None:
    """Two activities, as likely as each other: b ends in the first step in 9 of 10 cases, c in 1 of 10.

    After one silent step P = .5 * .1 + .5 * .9 = .5; after two .5 * .1 * .1 + .5 * .9 * .9 = .41.
    """
    import torch

    from behavio.models.fitting import still_open

    ends = torch.tensor([[0.9] * 3, [0.1] * 3], requires_grad=True)
    score = torch.zeros(2, requires_grad=True)

    class Said:
        def scores(self, state: torch.Tensor) -> torch.Tensor:
            return score.expand(len(state), 2)

        def hazards(self, state: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
            return torch.logit(ends)[then]

    what, when = still_open(Said(), torch.zeros(3, 1), torch.tensor([0, 1, 2]))  # type: ignore[arg-type]
    assert torch.allclose(what, -torch.log(torch.tensor([1.0, 0.5, 0.41])), atol=1e-5)
    assert torch.allclose(when, what)
    (by_score,) = torch.autograd.grad(what[1], score, retain_graph=True)
    assert by_score[0] > 0 > by_score[1]  # silence makes b less likely
    assert torch.autograd.grad(when[1], score, allow_unused=True)[0] is None
    assert (torch.autograd.grad(when[1], ends)[0][:, 0] > 0).all()  # and both slower


def test_the_mean_of_the_parameters_by_hand() -> None:
    import torch

    from behavio.models.fitting import Mean

    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
        mean = Mean(net)  # type: ignore[arg-type]
        net.weight.fill_(3.0)
        mean.add(0.25)  # 1 + (3 - 1) / 4
        with mean.shown():
            assert net.weight.item() == 1.5
        assert net.weight.item() == 3.0
        mean.keep(None)
    assert net.weight.item() == 1.5


def test_attributes_of_cases_stand_beside_their_events() -> None:
    log = SequenceSet.from_traces([["a", "b"], ["a"], ["b"]])  # c0, c1, c2
    names = pl.DataFrame({"case_id": ["c2", "c0"], "region": ["north", None], "tier": ["x", "y"]})
    found = with_cases(log, names, ("region", "specialty"))
    assert list(found.fields) == ["case region"] and found.fields["case region"].codes.tolist() == [
        0,
        0,
        0,
        2,
    ]
    assert found.fields["case region"].vocabulary.activities == ("north",)
    many = pl.DataFrame({"case_id": [f"c{i}" for i in range(60)], "size": [i / 2 for i in range(60)]})
    steps = with_cases(log, many, ("size",)).fields["case size"]  # amounts are cut into steps
    assert steps.codes[0] == steps.codes[1] < steps.codes[2] < steps.codes[3]
    assert with_cases(log, names, ()) is log and with_cases(log, None, ("region",)) is log
