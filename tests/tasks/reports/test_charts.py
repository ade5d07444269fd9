"""Charts are the same bytes each time, carry the page's colours, and treat labels as text."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tasks.reports import charts
from tasks.reports.gather import DriftBin, DriftFact

BINS = [DriftBin("age", b, f"bin {b}", 0.1, 0.1, 0.0) for b in range(10)]


def fact(name: str, value: float | None) -> DriftFact:
    return DriftFact(name, "csi", value, "stable", 10, 10, "logistic", "v", None)


def every_chart() -> dict[str, Markup]:
    return {
        "histogram": charts.pd_histogram([0.025] * 40, [0.025] * 40),
        "bars": charts.drift_bars([fact("score", 0.3), fact("age", 0.15), fact("sex", None)]),
        "bins": charts.bin_bars("age", 3, BINS),
    }


def test_the_same_figures_give_the_same_bytes() -> None:
    assert every_chart() == every_chart()


@pytest.mark.parametrize("name", ["histogram", "bars", "bins"])
def test_a_chart_is_one_labelled_element_in_the_colours_of_the_page(name: str) -> None:
    svg = every_chart()[name]
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert "<style" not in svg
    assert "DejaVu" not in svg
    assert "metadata" not in svg


def test_ids_of_two_charts_do_not_meet() -> None:
    first, second = (charts.bin_bars("age", number, BINS) for number in (1, 2))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert all(f"#{i}" for i in re.findall(r'href="#([^"]+)"', first))
    assert set(re.findall(r'href="#([^"]+)"', first)) <= ids[0]
    assert set(re.findall(r"url\(#([^)]+)\)", first)) <= ids[0]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a$x^2$b", "a&b", '"quoted"'])
def test_a_label_is_only_text(name: str) -> None:
    root = ElementTree.fromstring(charts.drift_bars([fact(name, 0.3)]))
    assert name in ["".join(t.itertext()) for t in root.iter() if t.tag.endswith("}text")]
    assert ElementTree.fromstring(charts.bin_bars(name, 1, BINS)).attrib["aria-label"].endswith(name)


def test_a_long_label_is_cut() -> None:
    assert charts.shortened("x" * 200) == "x" * 35 + "…"
    assert charts.shortened("short") == "short"
    assert "x" * 40 not in charts.drift_bars([fact("x" * 200, 0.3)])


LONG = "an attribute with a very long name …"


@pytest.mark.parametrize(
    "dress",
    [
        lambda axes: axes.plot([0, 1e9], [-1e-6, 1e-6]),
        lambda axes: axes.barh([0, 1], [0.2, 0.3]) and axes.set_yticks([0, 1], [LONG, "age"]),
        lambda axes: axes.set(title="a title", xlabel="what runs", ylabel="what rises"),
        lambda axes: axes.set(xticks=[], yticks=[], ylabel="what rises"),
        lambda axes: axes.plot([1, 2], label="a line") and charts._legend(axes),
        lambda axes: axes.bar(["2026-01", "2026-02"], [1, 2]),
        # The last place is 6 × 0.05, by rounding a little beyond the end.
        lambda axes: axes.set(xlim=(0, 0.3), ylim=(0, 0.3), xlabel="what runs"),
    ],
    ids=["numbers", "names", "labels", "no ticks", "legend", "categories", "rounded end"],
)
def test_nothing_around_the_axes_is_cut_off_and_no_room_is_wasted(dress) -> None:
    with mpl.rc_context(charts._STYLE):
        figure = Figure(figsize=(5.2, 2.3))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        dress(axes)
        charts._make_room(figure, axes)
        figure.canvas.draw()
        taken, (width, height) = axes.get_tightbbox(), figure.bbox.size
    for room in (taken.x0, taken.y0, width - taken.x1, height - taken.y1):
        # Letters differ by a little from one way of drawing them to another.
        assert -3 < 72 * room / figure.dpi < 16
