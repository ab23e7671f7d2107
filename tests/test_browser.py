"""The report as people open it: Debian's chromium without a network, wide and narrow, dark and printed."""

from __future__ import annotations

import base64
import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from run_folder import build

from behavio.report import ReportSettings, write_report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if BROWSER is None or DRIVER is None:
        pytest.skip("chromium or chromedriver is not on this machine (apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra dev)")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("run"))
    write_report(folder, ReportSettings(), folder / "report")
    return folder / "report/report.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    names = {
        "call_f2f": "<script>document.title='hacked'</script>",
        "email_sent": "\"><img src='http://127.0.0.1:9/x' onerror=document.title='hacked'>",
        "email_open": "زيارة الطبيب في المستشفى",
        "portal_visit": "x" * 200,
        "email_click": "🧪" * 12,
    }
    folder = build(tmp_path_factory.mktemp("hostile"), rename=names)
    write_report(folder, ReportSettings(), folder / "report")
    return folder / "report/report.html"


def see(browser, page: Path, width: int, *, dark: bool = False) -> None:
    """Open the page at a width as a desktop or a phone would."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": [scheme]})
    browser.get(page.as_uri())


def artefact(name: str, content: bytes) -> None:
    """Keep a picture to be looked at, where BEHAVIO_ARTEFACTS names a folder."""
    folder = os.environ.get("BEHAVIO_ARTEFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_bytes(content)


def keep(browser, name: str) -> None:
    """Keep a picture of the whole page."""
    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    artefact(f"{name}.png", base64.b64decode(shot["data"]))


def complaints(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def requests(browser) -> list[str]:
    """Addresses the page asked for, apart from itself."""
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    return [u for u in asked if not u.startswith(("file:", "data:"))]


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_it_renders_without_errors_requests_or_sideways_scrolling(browser, report, width):
    complaints(browser), requests(browser)
    see(browser, report, width)
    keep(browser, f"report-{width}")
    assert browser.execute_script("return document.querySelectorAll('section').length") == 11
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert complaints(browser) == []
    assert requests(browser) == []


@pytest.mark.parametrize("width", [1180, 390])
def test_hostile_names_stay_text(browser, hostile, width):
    complaints(browser), requests(browser)
    see(browser, hostile, width)
    keep(browser, f"hostile-{width}")
    assert browser.title != "hacked"
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert (complaints(browser), requests(browser)) == ([], [])


@pytest.mark.parametrize("width", [1180, 768, 390])
def test_text_in_charts_is_never_small(browser, report, width):
    """Drawn size: the font size times how far the drawing is scaled."""
    see(browser, report, width)
    smallest = browser.execute_script(
        """return Math.min(...[...document.querySelectorAll('.drawing text, .drawing span')]
            .filter(e => e.getClientRects().length && e.textContent.trim() && !e.closest('.map'))
            .map(e => { const svg = e.ownerSVGElement;
              const scale = svg ? svg.getScreenCTM().a : 1;
              return parseFloat(getComputedStyle(e).fontSize) * scale; }))"""
    )
    assert smallest >= 11


def test_charts_are_drawn_again_for_a_phone(browser, report):
    shown = "return [...document.querySelectorAll('.%s')].filter(e => e.getClientRects().length).length"
    see(browser, report, 390)
    assert browser.execute_script(shown % "wide") == 0 < browser.execute_script(shown % "narrow")
    see(browser, report, 1180)
    assert browser.execute_script(shown % "narrow") == 0 < browser.execute_script(shown % "wide")


def column(browser, table: str, place: int) -> list[str]:
    script = "return [...document.querySelector(`section table[data-table=${arguments[0]}]`).tBodies[0].rows]"
    return browser.execute_script(script + ".map(r => r.cells[arguments[1]].dataset.v)", table, place)


def test_tables_sort_by_mouse_and_keyboard(browser, report):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    see(browser, report, 1180)
    path = "section .sheet table[data-table=models] th[data-column=accuracy] button"
    button = browser.find_element(By.CSS_SELECTOR, path)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    fallen = [float(v) for v in column(browser, "models", 2)]
    assert fallen == sorted(fallen, reverse=True)
    button.send_keys(Keys.ENTER)
    risen = [float(v) for v in column(browser, "models", 2)]
    assert risen == sorted(risen) and risen != fallen
    head = browser.find_element(By.CSS_SELECTOR, path.removesuffix(" button"))
    assert head.get_attribute("aria-sort") == "ascending"


def test_missing_values_sort_last(browser, report):
    from selenium.webdriver.common.by import By

    see(browser, report, 1180)
    button = browser.find_element(By.CSS_SELECTOR, "table[data-table=models] th[data-column=nll] button")
    browser.execute_script("arguments[0].click()", button)
    assert column(browser, "models", 4)[-1] == ""


def test_dark_mode_has_dark_paper_and_light_ink(browser, report):
    see(browser, report, 1180, dark=True)
    keep(browser, "report-dark")
    paper, ink = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    )
    brightness = [sum(int(v) for v in c[4:-1].split(",")) for c in (paper, ink)]
    assert brightness[0] < 120 < 600 < brightness[1]


def test_headings_and_links_lead_somewhere(browser, report):
    see(browser, report, 1180)
    dead = browser.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')]"
        ".filter(a => !document.getElementById(a.hash.slice(1))).length"
    )
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))"
    )
    assert dead == 0
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_a_link_to_a_table_opens_it(browser, report):
    see(browser, report, 1180)
    browser.execute_script("location.hash = 'table-facts'")
    browser.execute_script("window.dispatchEvent(new HashChangeEvent('hashchange'))")
    assert browser.execute_script("return document.getElementById('table-facts').open") is True


def test_it_prints_on_a4_with_everything_on_paper(browser, report):
    see(browser, report, 1180)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    options = {"preferCSSPageSize": True, "printBackground": True}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", options)["data"])
    artefact("report.pdf", pdf)
    assert pdf.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594" in pdf or b"/MediaBox [0 0 595" in pdf
    assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 20


def test_the_slider_shows_one_degree_of_detail_and_says_what_it_hides(browser, report):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    see(browser, report, 1180)
    shown = (
        "return [...document.querySelectorAll('#map .level')].filter(l => l.getClientRects().length)"
        ".map(l => [...l.querySelectorAll('.said')].find(p => p.getClientRects().length).textContent)"
    )
    slider = browser.find_element(By.CSS_SELECTOR, "#map input[type=range]")
    first = browser.execute_script(shown)
    assert len(first) == 1 and "hidden:" in first[0]
    assert "activities" in first[0]
    slider.send_keys(Keys.HOME)
    fewest = browser.execute_script(shown)
    assert len(fewest) == 1 and fewest != first
    assert slider.get_attribute("aria-valuetext") == fewest[0]
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(shown) != fewest
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert browser.execute_script(shown) == first  # paper shows the usual one, whatever is set
    assert browser.execute_script("return document.querySelector('.slider').getClientRects().length") == 0


def test_long_tables_filter(browser, report):
    from selenium.webdriver.common.by import By

    see(browser, report, 1180)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    field = browser.find_element(By.CSS_SELECTOR, "details#table-weekly .filter input")
    visible = (
        "return [...document.querySelectorAll('[data-table=weekly] tbody tr')]"
        ".filter(r => r.getClientRects().length).length"
    )
    whole = browser.execute_script(visible)
    field.send_keys("portal explorers")
    some = browser.execute_script(visible)
    assert 0 < some < whole
    field.clear()
    field.send_keys("no such step")
    assert browser.execute_script(visible) == 0


def test_groups_lead_to_their_journeys_and_lists_and_back(browser, report):
    see(browser, report, 1180)
    ways = browser.execute_script(
        "return [...document.querySelectorAll('.card')].map(c => [...c.querySelectorAll('.more "
        "a')].map(a => a.hash))"
    )
    assert len(ways) == 2 and all(w and w[0].startswith("#journeys-of-") for w in ways)
    assert all(
        browser.execute_script("return !!document.querySelector(arguments[0])", h) for w in ways for h in w
    )
    back = (
        "return [...document.querySelectorAll('td a')].every(a => document.querySelector(a.hash + '.card'))"
    )
    assert browser.execute_script(back)
    assert browser.execute_script("return document.querySelectorAll('td a').length") >= 2


COLOURS = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const f = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const paper = parse(getComputedStyle(document.body).backgroundColor);
const bad = [];
for (const e of document.querySelectorAll('p,li,h1,h2,h3,td,button,a,summary,figcaption,dd,dt,code,label')) {
  if (!e.getClientRects().length || !e.textContent.trim()) continue;
  const ink = parse(getComputedStyle(e).color);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.className + ': ' + e.textContent.trim().slice(0, 40));
}
return bad;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_the_paper(browser, report, dark):
    """WCAG AA: 4.5 to 1 for every text, in both modes."""
    see(browser, report, 1180, dark=dark)
    assert browser.execute_script(COLOURS) == []


def test_everything_has_a_name_for_a_screen_reader(browser, report):
    see(browser, report, 1180)
    nameless = browser.execute_script(
        """return [...document.querySelectorAll('[role=img],input,select,button,a,section,nav,[role=region]')]
            .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
                || e.textContent.trim() || (e.labels && e.labels.length)))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    tables = browser.execute_script(
        "return [...document.querySelectorAll('table')].filter(t => !t.caption || "
        "!t.querySelector('th[scope]')).length"
    )
    assert (nameless, tables) == ([], 0)
    svg = "return [...document.querySelectorAll('svg')].filter(s => s.getAttribute('aria-hidden') !== 'true'"
    assert browser.execute_script(svg + " && !s.closest('[role=img]')).length") == 0


def test_the_keyboard_reaches_every_control_in_order(browser, report):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    see(browser, report, 1180)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert browser.execute_script("return document.activeElement.className") == "skip"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.execute_script("return location.hash") == "#contents"
    odd = "return [...document.querySelectorAll('[tabindex]')].filter(e => Number(e.tabIndex) > 0).length"
    assert browser.execute_script(odd) == 0


@pytest.mark.parametrize("page", ["report"])
def test_axe_finds_no_serious_violation(browser, request, page):
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed (extra dev)")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    see(browser, request.getfixturevalue(page), 1180)
    browser.set_script_timeout(300)
    browser.execute_script(script)
    found = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations
            .filter(v => ['serious', 'critical'].includes(v.impact))
            .map(v => v.id + ': ' + v.nodes[0].html.slice(0, 120))))"""
    )
    assert found == []
