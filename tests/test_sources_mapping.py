from __future__ import annotations

from pathlib import Path

import pytest

from behavio.errors import JobError
from behavio.sources import LogInputs, SourceSettings, built_in, read_log
from behavio.sources.mapping import Field, parse_mapping
from behavio.sources.settings import kinds


def test_every_built_in_kind_has_a_mapping_that_parses():
    roles = ("events", "cases", "consents", "plan", "affiliations")
    mapped = {k: role for role in roles for k in kinds(role) if k in built_in()}
    assert sorted(mapped) == sorted(built_in())
    assert "veeva.call" in kinds("events") and "veeva.account" in kinds("cases")
    for kind, text in built_in().items():
        mapping = parse_mapping(text, kind)
        assert mapping.title and mapping.file and mapping.case_id.needs
        assert mapping.role == mapped[kind], "a mapping says its own role, also one that is like another"


@pytest.mark.parametrize("kind", sorted(built_in()))
def test_a_copied_mapping_that_is_not_edited_means_the_same(kind, tmp_path):
    from behavio.sources.mapping import load_mapping

    (tmp_path / "mine.toml").write_text(built_in()[kind])
    assert load_mapping("mine.toml", "table", tmp_path) == load_mapping(None, kind, tmp_path)


SFMC = """
title = "Opens (marketing cloud)"
id = "SubscriberKey"
case_id = "SubscriberKey"
timestamp = "EventDate"
activity = "email_open: {JobID}"
drop = ["EmailAddress"]
[attributes]
channel = { constant = "email" }
content = "JobID"
[[filter]]
column = "IsUnique"
in = ["1", "true"]
why = "a further open of the same mail"
"""


def test_a_new_source_needs_a_mapping_and_no_code(tmp_path: Path):
    # the view stores Central Standard Time without daylight saving: 10:00 is 16:00 UTC, in July too
    (tmp_path / "opens.toml").write_text(SFMC.replace('id = "SubscriberKey"\ncase', "case"))
    (tmp_path / "opens.csv").write_text(
        "SubscriberKey,JobID,EventDate,IsUnique,EmailAddress\n"
        "A1,7,7/15/2026 10:00:00 AM,True,a@b.example\nA1,7,7/15/2026 11:00:00 AM,False,a@b.example\n"
    )
    settings = SourceSettings(
        path="opens.csv", mapping="opens.toml", timezone="Etc/GMT+6", keep=("IsUnique",)
    )
    log = read_log(LogInputs({"opens": settings}, tmp_path))
    row = log.events.row(0, named=True)
    assert (row["activity"], row["timestamp"].hour, row["content"], row["IsUnique"]) == (
        "email_open: 7",
        16,
        "7",
        "True",
    )
    assert log.sources[0].left_out == {"a further open of the same mail": 1}
    assert "EmailAddress" not in log.events.columns


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('case_ids = "x"', "unknown key 'case_ids'", "did you mean 'case_id'?"),
        ("[[filter]]\ncolum = 'x'\nwhy = 'y'", "unknown key 'colum'", "did you mean 'column'?"),
        ("[[filter]]\ncolumn = 'x'", "lacks the key 'why'", "add why"),
        (
            "[[filter]]\ncolumn = 'x'\nwhy = 'y'\ninside = ['a']",
            "unknown key 'inside'",
            "known: column, why, in, not_in",
        ),
        ("[activity]\nvalue = {a = 'b'}", "unknown key 'value'", "did you mean 'values'?"),
        ("[attributes]\nbrand = {column = 'x', strict = 'yes'}", "has the wrong type", "expected bool"),
        (
            "[session]\nkey = ['a']\nactivity = 'v'\ncolumn = 'n'\nburst = 'many'",
            "has the wrong type",
            "expected int",
        ),
        ("attributes = 5", "must be a table", ""),
        ("case_id = 5.5.5", "is not valid TOML", ""),
    ],
)
def test_a_wrong_word_names_the_nearest(text, message, hint):
    with pytest.raises(JobError) as caught:
        parse_mapping(text, "mine.toml")
    assert message in str(caught.value) and "mine.toml" in str(caught.value)
    assert hint in caught.value.hint


def test_a_mapping_that_is_not_there(tmp_path):
    (tmp_path / "opens.toml").write_text(SFMC)
    with pytest.raises(JobError, match="cannot be read") as caught:
        read_log(LogInputs({"x": SourceSettings(path="x.csv", mapping="open.toml")}, tmp_path))
    assert "did you mean opens.toml?" in caught.value.hint


def test_fields_as_people_write_them():
    assert Field.of("Account_vod__c", "here") == Field(column=("Account_vod__c",))
    assert Field.of(["a", "b"], "here").needs == ("a", "b")
    assert Field.of("{a}: {b}", "here").needs == ("a", "b")
    assert Field.of({"constant": "x"}, "here").needs == ()


def test_a_join_that_the_mapping_does_not_know_is_refused(tmp_path):
    (tmp_path / "calls.csv").write_text("Id\n1\n")
    settings = SourceSettings(path="calls.csv", kind="veeva.call", joins={"products": "p.csv"})
    with pytest.raises(JobError, match="join 'products' is not known") as caught:
        read_log(LogInputs({"x": settings}, tmp_path))
    assert "did you mean 'product'?" in caught.value.hint
