"""Evidently's pages: built where they can be, and a reason in words where they cannot."""

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tasks.reports import evidently_pages
from tasks.reports.evidently_pages import EvidentlyPage, Job, Kind, Whole

MONTH = "2005-04"
WHOLE = Whole(500, 500)


def drawn(
    kind: Kind,
    path: Path,
    current: pl.DataFrame,
    reference: pl.DataFrame | None,
    whole: Whole = WHOLE,
    earlier: Path | None = None,
) -> EvidentlyPage:
    return Job(kind, path, MONTH, current, reference, whole, earlier).draw()


def outcomes(*values: int | None) -> pl.DataFrame:
    frame = pl.DataFrame({"pd": [0.1 + 0.01 * n for n in range(len(values))], "defaulted": values})
    return frame.cast({"pd": pl.Float64, "defaulted": pl.Int8})


MIXED = outcomes(*([0, 1, 0, 0] * 20))


def test_a_drift_page_says_what_it_was_computed_on(tmp_path: Path, reference: pl.DataFrame) -> None:
    path = tmp_path / "drift.html"
    page = drawn("drift", path, reference.head(300), reference, Whole(9000, 500))
    text = path.read_text("utf-8")
    assert page.reason is None
    assert page.notes[0] == (
        "Computed on 300 of the 9,000 clients of the month against all 500 clients of the reference sample"
        " (a seeded sample)."
    )
    assert page.notes[0] in text
    assert f"<title>{page.title}</title>" in text
    assert '<a href="index.html">2005-04</a>' in text
    assert "Wasserstein" in text
    assert "Jensen-Shannon" in text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f.with_columns(age=pl.lit(None, pl.Int16)),
        lambda f: f.with_columns(age=pl.lit(float("nan"))),
        lambda f: f.drop("age"),
    ],
    ids=["all null", "all NaN", "absent"],
)
@pytest.mark.parametrize("side", ["current", "reference"])
def test_an_empty_column_is_left_out_and_named(
    tmp_path: Path, reference: pl.DataFrame, spoil: Callable[[pl.DataFrame], pl.DataFrame], side: str
) -> None:
    frames = {"current": reference.head(60), "reference": reference.tail(60)}
    frames[side] = spoil(frames[side])
    page = drawn("drift", tmp_path / "drift.html", frames["current"], frames["reference"], WHOLE)
    assert page.reason is None
    assert page.notes[-1] == "Left out, empty or absent on one side: age."


def test_constant_columns_and_ten_clients_are_no_obstacle(tmp_path: Path, reference: pl.DataFrame) -> None:
    constant = reference.head(10).with_columns(age=pl.lit(30), pay_1=pl.lit(0), limit_bal=pl.lit(1e5))
    assert drawn("drift", tmp_path / "drift.html", constant, reference, WHOLE).reason is None
    assert drawn("drift", tmp_path / "drift.html", constant, constant, WHOLE).reason is None


@pytest.mark.parametrize(
    ("rows", "with_reference", "reason"),
    [
        (10, False, "the champion's reference sample is not available"),
        (0, True, "no client was scored"),
    ],
)
def test_drift_without_two_sides_says_why(
    tmp_path: Path, reference: pl.DataFrame, rows: int, with_reference: bool, reason: str
) -> None:
    path = tmp_path / "drift.html"
    page = drawn("drift", path, reference.head(rows), reference if with_reference else None, WHOLE)
    assert page.reason == reason
    assert not path.exists()


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (outcomes(), "outcomes for 2005-04 not yet received"),
        (outcomes(0, 0, 0), "every one of the 3 known outcomes is no default"),
        (outcomes(1, 1), "every one of the 2 known outcomes is a default"),
        (outcomes(None, None), "no outcome is known"),
    ],
    ids=["none", "no default", "all default", "unknown"],
)
def test_performance_needs_two_classes(tmp_path: Path, current: pl.DataFrame, reason: str) -> None:
    path = tmp_path / "performance.html"
    page = drawn("performance", path, current, MIXED, WHOLE)
    assert page.reason is not None
    assert reason in page.reason
    assert not path.exists()


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        (MIXED, "against all 80 clients of the reference sample."),
        (None, "Shown without a reference sample"),
        (outcomes(0, 0), "every one of the 2 known outcomes is no default"),
    ],
    ids=["both", "none", "one class"],
)
def test_performance_stands_beside_the_reference_where_it_can(
    tmp_path: Path, reference: pl.DataFrame | None, note: str
) -> None:
    path = tmp_path / "performance.html"
    page = drawn("performance", path, MIXED, reference, Whole(80, 80))
    assert page.reason is None
    assert note in " ".join(page.notes)
    assert note in path.read_text("utf-8")


def test_a_failure_inside_evidently_becomes_the_reason(
    tmp_path: Path, reference: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise KeyError("1")

    monkeypatch.setattr(evidently_pages, "_drift_html", fail)
    path = tmp_path / "drift.html"
    page = drawn("drift", path, reference, reference, WHOLE)
    assert page.reason == "Evidently could not compute it (KeyError: '1')"
    assert page.notes == []
    assert not path.exists()


def test_what_the_banner_says_is_escaped() -> None:
    page = evidently_pages.EvidentlyPage("drift", "<b>", None, ["<script>"])
    bare = '<meta charset="UTF-8"></head><body>\n <div id="root_x"></div></body>'
    framed = evidently_pages._framed(bare, "<i>", page)
    assert not any(tag in framed for tag in ("<b>", "<script>", "<i>"))
    assert "&lt;script&gt;" in framed


# --- A page for itself, and one that is kept -------------------------------------------------------


def without_identifiers(html: str) -> str:
    """Evidently's widgets have names that are drawn anew each time."""
    return re.sub(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", "", html)


def test_a_page_of_what_it_shows_is_the_page_of_the_whole_preset(reference: pl.DataFrame) -> None:
    from evidently import Report

    columns, _ = evidently_pages.comparable(reference, reference)
    preset, now, then = evidently_pages.drift_parts(columns, reference.head(200), reference)
    whole = Report([preset]).run(now, then).get_html_str(as_iframe=False)
    shown = evidently_pages._drift_html(columns, reference.head(200), reference)
    assert without_identifiers(shown) == without_identifiers(whole)


def drawn_at(path: Path, current: pl.DataFrame, earlier: Path | None = None, whole: Whole = WHOLE) -> bytes:
    assert drawn("performance", path, current, MIXED, whole, earlier).reason is None
    return path.read_bytes()


def test_a_page_of_the_same_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn_at(tmp_path / "first.html", MIXED)
    monkeypatch.setattr(evidently_pages, "_performance_html", None)  # what calls it fails
    assert drawn_at(tmp_path / "second.html", MIXED.clone(), tmp_path / "first.html") == first


@pytest.mark.parametrize("change", ["rows", "notes", "code", "page cut short", "no earlier page"])
def test_a_page_of_something_else_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "first.html"
    first = drawn_at(path, MIXED)
    if change == "code":
        monkeypatch.setattr(evidently_pages, "code_version", lambda: "0123456789ab")
    if change == "page cut short":
        path.write_bytes(first[:1000] + first[1100:])
    current = MIXED.with_columns(pd=1 - pl.col("pd")) if change == "rows" else MIXED
    whole = Whole(9000, 500) if change == "notes" else WHOLE
    earlier = tmp_path / "absent.html" if change == "no earlier page" else path
    second = drawn_at(tmp_path / "second.html", current, earlier, whole)
    assert second.lstrip().startswith(b"<!DOCTYPE")
    assert second not in (first, path.read_bytes())
