"""The pages in headless Chromium, from file://: no error, no request beyond the file, charts drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from creditflow.month import Month
from tasks.reports.pack import build_month_pack, build_overview

pytestmark = pytest.mark.browser
OURS = [
    ("index.html", 4),
    ("2005-03/index.html", 0),
    ("2005-04/index.html", 1),
    ("2005-05/index.html", 1),
    ("2005-04/data-quality.html", 0),
    ("2005-05/stability.html", 4),
    ("2005-05/performance.html", 0),
]


@pytest.fixture(scope="module")
def published(stored: Path, tmp_path_factory: pytest.TempPathFactory, reference: pl.DataFrame) -> Path:
    reports = tmp_path_factory.mktemp("published") / "reports"
    with duckdb.connect(str(stored), read_only=True) as con:
        for month in (3, 4, 5):
            build_month_pack(con, Month(2005, month), reports, reference=reference)
        build_overview(con, reports)
    return reports


@pytest.mark.parametrize(("page", "charts"), OURS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)])
def test_our_pages_open_offline(
    published: Path, open_page: Callable[..., Any], page: str, charts: int, dark: bool, width: int
) -> None:
    seen = open_page(published / page, counts=("svg[role=img]",), dark=dark, width=width)
    assert seen.errors == []
    assert [r for r in seen.requests if not r.startswith(("file:", "data:"))] == []
    assert seen.counts["svg[role=img]"] == charts
    assert seen.overflow <= 0, "the page itself scrolls sideways"
    assert "creditflow" in seen.text


@pytest.mark.parametrize(
    ("page", "click"),
    [
        # A row of the drift table holds small canvases; its plot is drawn when the row is opened.
        ("2005-04/drift.html", "button[aria-label='Detail panel visibility toggle']"),
        ("2005-05/drift.html", "button[aria-label='Detail panel visibility toggle']"),
        ("2005-04/performance.html", None),
    ],
)
def test_evidently_pages_open_offline_with_their_plots(
    published: Path, open_page: Callable[..., Any], page: str, click: str | None
) -> None:
    plots = ".js-plotly-plot .main-svg"
    drawn = f"{plots} .trace, {plots} .hm, {plots} .scatterlayer path"
    seen = open_page(published / page, counts=(drawn, "tbody canvas"), click=click, wait_for=plots)
    assert seen.errors == []
    assert [r for r in seen.requests if not r.startswith(("file:", "data:", "blob:"))] == []
    assert seen.counts[drawn] > 0
    assert seen.counts["tbody canvas"] == (20 if click else 0)
    assert "All months" in seen.text
    assert "clients of the reference sample" in seen.text


def test_markup_in_the_data_is_read_as_text(published: Path, open_page: Callable[..., Any]) -> None:
    seen = open_page(published / "2005-04/data-quality.html", counts=("script", "img"))
    assert "<script>alert(1)</script>" in seen.text
    assert seen.counts == {"script": 0, "img": 0}
