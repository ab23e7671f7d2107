"""Texts from a catalogue, numbers and dates as their readers write them; what is not translated stays."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folder import build

import behavio.report
from behavio.errors import JobError
from behavio.report import ReportSettings, write_report
from behavio.report.context import say
from behavio.report.language import ENGLISH, language, places, speaking, t
from behavio.report.numbers import between, period, write

ROOM = Path(behavio.report.__file__).parent
SPACE = "\u00a0"


def literals() -> set[str]:
    """Texts the sections hand to `say`, as they stand in the code."""
    found = set()
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(" ".join(first.value.split()))
    return {text for text in found if re.search(r"[a-z]{3}", re.sub(r"\{\w+\}", "", text))}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (8012, "count", "8.012"),
        (2.6132, "ratio", "2,6"),
        (0.6149, "score", "61,5 %"),
        (0.004, "share", "unter 1 %"),
        (86_400 * 3, "seconds", "3 Tage"),
        ("2026-03-01", "date", "1. März 2026"),
    ],
)
def test_numbers_and_dates_are_german(value: object, kind: str, text: str) -> None:
    with speaking(language("de")):
        assert write(value, kind).replace(SPACE, " ") == text  # type: ignore[arg-type]
    assert write(8012, "count") == "8,012"  # and English again


def test_intervals_and_periods_are_german() -> None:
    from datetime import date

    with speaking(language("de")):
        assert between(2.2, 3.1, "ratio") == "2,2–3,1"
        assert between(-1.1, 1.9, "signed") == "−1,10 bis +1,90"
        assert period(date(2026, 1, 1), date(2026, 12, 31)).replace(SPACE, " ") == "1. Jan. – 31. Dez. 2026"


def test_texts_paths_and_what_is_put_in() -> None:
    with speaking(language("de")):
        assert t("Rep visit → email sent × 2") == "Außendienstbesuch → E-Mail gesendet × 2"
        assert say("{share} of {many} begin with {a}", share="3", many="HCPs", a="rep visit") == (
            "3 der HCPs beginnen mit: Außendienstbesuch"
        )
        assert t(" of {n}") == " von {n}"
        assert t("nobody translated this") == "nobody translated this"
        assert "<script>" not in say("{share} of {many} begin with {a}", share="<script>", many="x", a="y")


def test_sentences_of_other_stages_are_said_clause_by_clause() -> None:
    english = (
        "They open emails 1.5 h after they are sent (median, others 7.4 h); 62 % of email opens are "
        "followed directly "
        "by a portal visit (others 5 %); and email opens make up 21 % of their touchpoints (others 10 %)."
    )
    with speaking(language("de")):
        assert t(english) == (
            "Sie öffnen E-Mails 1,5 Std. nach dem Versand (Median, andere 7,4 Std.); auf 62 % der "
            "E-Mail-Öffnungen "
            "folgt unmittelbar ein Portalbesuch (andere 5 %); Anteil der E-Mail-Öffnungen an ihren "
            "Kontaktpunkten: 21 % (andere 10 %)."
        )
        assert t("Emails make up 9 % of their events (others 3 %): 2.5 times as often (2–3)") == (
            "Anteil der E-Mails an ihren Ereignissen: 9 % (andere 3 %): 2,5-mal so oft (2–3)"
        )
        late = t("A download comes 8.1 h after a positive reaction (median, others 30 days)")
        assert late == "Eine positive Reaktion, dann ein Download: 8,1 Std. später (Median, andere 30 Tage)"
        half = "They open emails 1.5 h after they are sent (median, others 7.4 h); and nobody knows this."
        assert t(half) == half  # never half in one language


def test_the_german_catalogue_is_nearly_whole() -> None:
    told = tomllib.loads((ROOM / "languages/de.toml").read_text(encoding="utf-8"))["texts"]
    texts = literals()
    missing = sorted(text for text in texts if text not in told)
    assert len(texts) > 120
    assert len(missing) <= 0.2 * len(texts), missing


@given(st.text(max_size=40))
def test_english_is_left_as_it_is(text: str) -> None:
    with speaking(ENGLISH):
        assert t(text) == text


@given(st.text(alphabet="abc {}→×,.0123456789 ", max_size=30))
def test_no_text_breaks_a_catalogue(text: str) -> None:
    with speaking(language("de")):
        assert isinstance(t(text), str)


def test_a_page_in_german_holds_the_same_numbers(tmp_path: Path) -> None:
    folder = build(tmp_path / "run")
    write_report(folder, ReportSettings(), tmp_path / "en")
    write_report(folder, ReportSettings(lang="de"), tmp_path / "de")
    for file in sorted((tmp_path / "en/tables").glob("*.csv")):
        twin = (tmp_path / "de/tables" / file.name).read_text(encoding="utf-8").splitlines()
        assert len(twin) == len(file.read_text(encoding="utf-8").splitlines())
    html = (tmp_path / "de/report.html").read_text(encoding="utf-8")
    assert '<html lang="de">' in html and "Zwei Gruppen von HCPs gehen dieselben Schritte" in html
    assert "Wie viele Aktivitäten die Karte zeigt" in html and "Außendienstbesuch" in html


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "fr.toml"
    mine.write_text(
        'code = "fr"\ndecimal = ","\nthousands = " "\n[texts]\n"Groups" = "Groupes"\n', encoding="utf-8"
    )
    with speaking(language(str(mine))) as own:
        assert (t("Groups"), t("Journeys"), own.code) == ("Groupes", "Journeys", "fr")
        assert write(8012, "count") == f"8{SPACE}012"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("code = ", "no catalogue"),
        ('colour = "red"', "which no catalogue has"),
        ('months = ["Jan"]', "twelve months"),
        ('[texts]\n"{n} of {m}" = "{n}"', "places"),
        ('[texts]\n"{n}" = "{n} {x}"', "places"),
    ],
)
def test_a_bad_catalogue_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=why) as told:
        language(str(path))
    assert told.value.hint


def test_places_of_a_text() -> None:
    assert places("{n} of {many}, {n}") == ["many", "n"]


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("repeated 20,898× · 3.4 h", "wiederholt 20.898× · 3,4 Std."),
        ("8,869 HCPs · 89 %", "8.869 HCPs · 89 %"),
        ("last seen for", "zuletzt bei"),
    ],
)
def test_a_line_of_a_drawing_has_its_numbers_put_right_once(english: str, german: str) -> None:
    from behavio.report.charts.embed import embedded

    drawing = f'<svg xmlns="http://www.w3.org/2000/svg"><text class="small">{english}</text></svg>'
    with speaking(language("de")):
        assert german in str(embedded(drawing))


def test_words_bend_after_a_preposition() -> None:
    with speaking(language("de")):
        assert say("Counted: {o} within {t} of the last step.", o="x", t=write(30.0, "days")).endswith(
            "innerhalb von 30\u00a0Tagen nach dem letzten Schritt."
        )


def test_endings_must_be_regular_expressions(tmp_path: Path) -> None:
    own = tmp_path / "xx.toml"
    own.write_text("code = 'xx'\n[endings]\n'(' = 'x'\n")
    with pytest.raises(JobError, match="no regular expression"):
        language(str(own))
