"""Tables of the page as native charts of a slide: bars, floating intervals, stacked weeks, lines, dots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from behavio.report.language import ARROW, t
from behavio.report.tables import Column, Table

Box = tuple[int, int, int, int]
MOST, ROWS, WIDE = 12, 9, 6
SIZES = (12, 11, 10)
"""Sizes of table text in points, the first that fits."""
POINT, LETTER = 12_700, 0.56
"""EMU of a point; width of a letter against its size, with a little to spare."""
ACCENT, MUTED, SILENT = "1F5F8B", "8A867C", "E4E2DC"
STACKED = ("weekly", "states")
FORMATS = {
    "share": "0%",
    "score": "0.0%",
    "count": "#,##0",
    "ratio": "0.0",
    "signed": "+0.00;-0.00",
    "nats": "0.00",
}
MIDDLES = ("lift", "relative", "net")


def add_chart(slide: Any, table: Table, box: Box, hues: Mapping[str, str], alt: str) -> None:
    """The chart that fits the table; a table of texts stays a table."""
    if table.name in STACKED:
        frame = _stacked(slide, table, box, hues)
    elif table.name == "reliability":
        frame = _dots(slide, table, box)
    elif table.name == "retention":
        frame = _line(slide, table, box)
    else:
        middle = next((c for c in table.columns if c.name in MIDDLES), None)
        bar = next((c for c in table.columns if c.bar), None)
        ends = {"low", "high"} <= {c.name for c in table.columns}
        if middle is not None and ends and _positive(table, middle.name):
            frame = _intervals(slide, table, middle, box)
        elif bar is not None or middle is not None:
            frame = _bars(slide, table, bar or middle, box)  # type: ignore[arg-type]
        else:
            columns = table.columns[:WIDE]
            rows = [[_said(table, i, c) for c in columns] for i in range(min(ROWS, len(table.rows)))]
            add_table(slide, [clean(t(c.title)) for c in columns], rows, box)
            return
    described = frame._element.nvGraphicFramePr.cNvPr
    described.set("descr", clean(alt)[:2000])


def add_table(slide: Any, head: Sequence[str], rows: Sequence[Sequence[str]], box: Box) -> None:
    """A native table; the first row is its head, columns as wide as their texts ask, rows as many as fit."""
    from pptx.util import Pt

    left, top, width, height = box
    lines = [[clean(text) for text in row] for row in (head, *rows)]
    widths = _widths(lines, width)
    size = next((s for s in SIZES if sum(_heights(lines, widths, s)) <= height), SIZES[-1])
    heights = _heights(lines, widths, size)
    while len(lines) > 2 and sum(heights) > height:
        lines, heights = lines[:-1], heights[:-1]
    shape = slide.shapes.add_table(len(lines), len(head), left, top, width, sum(heights))
    for j, wide in enumerate(widths):
        shape.table.columns[j].width = wide
    for i, row in enumerate(lines):
        shape.table.rows[i].height = heights[i]
        for j, text in enumerate(row):
            cell = shape.table.cell(i, j)
            cell.text = text
            for paragraph in cell.text_frame.paragraphs:
                paragraph.font.size = Pt(size)


def _widths(lines: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths of columns in EMU: by their longest text, none so narrow or so wide that others suffer."""
    longest = [min(max(8, *(len(row[j]) for row in lines)), 40) for j in range(len(lines[0]))]
    return [width * n // sum(longest) for n in longest]


def _heights(lines: Sequence[Sequence[str]], widths: Sequence[int], size: int) -> list[int]:
    """Heights of rows in EMU, by how often their texts wrap at this size in points."""
    found = []
    for row in lines:
        room = [max(1, int((wide / POINT - 15) / (size * LETTER))) for wide in widths]
        wrapped = max(-(-max(len(text), 1) // fits) for text, fits in zip(row, room, strict=True))
        found.append(int(POINT * (10 + size * 1.25 * wrapped)))
    return found


def _said(table: Table, i: int, column: Column) -> str:
    return table.text(i, column.name)


def _positive(table: Table, middle: str) -> bool:
    values = [r[n] for r in table.rows for n in ("low", middle, "high")]
    return all(v is not None and v >= 0 for v in values)


def labels(table: Table) -> list[str]:
    """What each row is called: its first two texts; without any, its first cell."""
    texts = [c.name for c in table.columns if c.kind == "text"][:2]
    found = []
    for i, row in enumerate(table.rows):
        said = [str(t(row[name])) for name in texts if row[name] is not None]
        between = ARROW if table.name == "flows" else " · "
        found.append(clean(between.join(said or [table.text(i, table.columns[0].name)])))
    return found


def _bars(slide: Any, table: Table, column: Column, box: Box) -> Any:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    rows = sorted(range(len(table.rows)), key=lambda i: -(table.rows[i][column.name] or 0))[:MOST]
    rows.sort()
    data = CategoryChartData(number_format=FORMATS.get(column.kind, "General"))
    names = labels(table)
    data.categories = [names[i] for i in rows]
    data.add_series(clean(t(column.title)), [table.rows[i][column.name] for i in rows])
    frame = slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, *box, data)
    _dress(frame.chart, column.kind, reverse=True)
    _fill(frame.chart.plots[0].series[0], ACCENT)
    _value_labels(frame.chart.plots[0], column.kind)
    frame.chart.value_axis.visible = False
    frame.chart.plots[0].gap_width = 60
    return frame


def _intervals(slide: Any, table: Table, middle: Column, box: Box) -> Any:
    """Bars that float from the lower to the upper end, cut where the estimate lies."""
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    rows = range(min(MOST, len(table.rows)))
    data = CategoryChartData(number_format=FORMATS.get(middle.kind, "General"))
    names = labels(table)
    data.categories = [f"{names[i]}  {table.text(i, middle.name)}" for i in rows]
    low = [table.rows[i]["low"] for i in rows]
    value = [table.rows[i][middle.name] for i in rows]
    high = [table.rows[i]["high"] for i in rows]
    data.add_series(clean(t("From")), low)
    data.add_series(clean(t(middle.title)), [max(v - a, 0.0) for v, a in zip(value, low, strict=True)])
    data.add_series(clean(t("To")), [max(b - v, 0.0) for b, v in zip(high, value, strict=True)])
    frame = slide.shapes.add_chart(XL_CHART_TYPE.BAR_STACKED, *box, data)
    _dress(frame.chart, middle.kind, reverse=True)
    series = frame.chart.plots[0].series
    series[0].format.fill.background()
    _fill(series[1], ACCENT)
    _fill(series[2], "7FA9C4")
    frame.chart.plots[0].overlap, frame.chart.plots[0].gap_width = 100, 80
    return frame


def _stacked(slide: Any, table: Table, box: Box, hues: Mapping[str, str]) -> Any:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE, XL_LEGEND_POSITION
    from pptx.util import Pt

    kinds = [c for c in table.columns if c.kind == "share"]
    data = CategoryChartData(number_format="0%")
    data.categories = [str(row["bin"]) for row in table.rows]
    for c in kinds:
        data.add_series(clean(t(c.title)), [row[c.name] for row in table.rows])
    frame = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_STACKED, *box, data)
    chart = frame.chart
    _dress(chart, "share")
    for series, c in zip(chart.plots[0].series, kinds, strict=True):
        _fill(series, hues.get(c.name, MUTED).lstrip("#") if c.name in hues else SILENT)
    chart.plots[0].gap_width, chart.plots[0].overlap = 0, 100
    chart.value_axis.maximum_scale = 1.0
    _seldom(chart, len(table.rows) // 10)
    chart.has_legend = True
    chart.legend.position = XL_LEGEND_POSITION.BOTTOM
    chart.legend.include_in_layout = False
    chart.legend.font.size = Pt(11)
    return frame


def _line(slide: Any, table: Table, box: Box) -> Any:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    data = CategoryChartData(number_format="0%")
    data.categories = [table.text(i, "months_since") for i in range(len(table.rows))]
    title = next(c.title for c in table.columns if c.name == "share")
    data.add_series(clean(t(title)), [row["share"] for row in table.rows])
    frame = slide.shapes.add_chart(XL_CHART_TYPE.LINE_MARKERS, *box, data)
    _dress(frame.chart, "share")
    frame.chart.plots[0].series[0].format.line.color.rgb = _rgb(ACCENT)
    _value_labels(frame.chart.plots[0], "share")
    return frame


def _dots(slide: Any, table: Table, box: Box) -> Any:
    """Said against seen, with the line on which it comes as often as said."""
    from pptx.chart.data import XyChartData
    from pptx.enum.chart import XL_CHART_TYPE, XL_MARKER_STYLE

    data = XyChartData(number_format="0%")
    seen = data.add_series(clean(t("Came true")))
    for row in table.rows:
        seen.add_data_point(row["predicted"], row["seen"])
    line = data.add_series(clean(t("as often as said")))
    for end in (0.0, 1.0):
        line.add_data_point(end, end)
    frame = slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *box, data)
    chart = frame.chart
    _dress(chart, "share")
    series = chart.plots[0].series
    series[0].format.line.fill.background()
    series[0].marker.size, series[0].marker.style = 10, XL_MARKER_STYLE.CIRCLE
    series[0].marker.format.fill.solid()
    series[0].marker.format.fill.fore_color.rgb = _rgb(ACCENT)
    series[1].marker.style = XL_MARKER_STYLE.NONE
    series[1].format.line.color.rgb = _rgb(MUTED)
    for axis in (chart.value_axis, chart.category_axis):
        axis.minimum_scale, axis.maximum_scale = 0.0, 1.0
        axis.tick_labels.number_format, axis.tick_labels.number_format_is_linked = "0%", False
    return frame


def _dress(chart: Any, kind: str, reverse: bool = False) -> None:
    from pptx.util import Pt

    chart.has_legend, chart.has_title = False, False
    chart.font.size = Pt(12)
    value = chart.value_axis
    value.has_major_gridlines = False
    value.minimum_scale = None if kind == "signed" else 0.0
    value.tick_labels.number_format = FORMATS.get(kind, "General")
    value.tick_labels.number_format_is_linked = False
    if reverse:  # the first row on top, the axis of values at the bottom all the same
        from pptx.enum.chart import XL_TICK_LABEL_POSITION

        chart.category_axis.reverse_order = True
        chart.category_axis.has_major_gridlines = False
        value.tick_label_position = XL_TICK_LABEL_POSITION.HIGH
        value.format.line.fill.background()


def _seldom(chart: Any, every: int) -> None:
    """Name every so many-th category only."""
    from lxml import etree

    axis = chart.category_axis._element
    skip = etree.Element(f"{{{axis.nsmap['c']}}}tickLblSkip")
    skip.set("val", str(max(every, 1)))
    last = axis.find(f"{{{axis.nsmap['c']}}}noMultiLvlLbl")
    if last is not None:
        last.addprevious(skip)
    else:
        axis.append(skip)


def _value_labels(plot: Any, kind: str) -> None:
    from pptx.util import Pt

    plot.has_data_labels = True
    plot.data_labels.number_format = FORMATS.get(kind, "General")
    plot.data_labels.number_format_is_linked = False
    plot.data_labels.font.size = Pt(12)


def _fill(series: Any, hue: str) -> None:
    series.format.fill.solid()
    series.format.fill.fore_color.rgb = _rgb(hue)


def _rgb(hue: str) -> Any:
    from pptx.dml.color import RGBColor

    return RGBColor.from_string(hue.upper())


def clean(text: object) -> str:
    """A text as XML may hold it."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", str(text))
