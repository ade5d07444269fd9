"""The pack on disk: whole, linked, the same bytes each time, and replaced by rename."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import duckdb
import polars as pl
import pytest

from creditflow.errors import UsageError
from creditflow.month import Month
from tasks.reports import pack
from tasks.reports.cards import build_cards
from tasks.reports.pack import PRINTED, build_month_pack, build_overview

MONTHS = [Month(2005, 3), Month(2005, 4), Month(2005, 5)]
PAGES = {*PRINTED, "alerts.json", "metrics.json", "drift.html", "performance.html"}


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.html"))}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(file, fragment) of every link in a page of ours."""
    for target in re.findall(r'<a [^>]*href="([^"]*)"', page.read_text("utf-8")):
        path, _, fragment = unescape(target).partition("#")
        yield path, fragment


def build_all(con: duckdb.DuckDBPyConnection, reports: Path, reference: pl.DataFrame | None) -> None:
    for month in MONTHS:
        build_month_pack(con, month, reports, reference=reference, evidently=False)
    build_overview(con, reports)


def test_a_pack_holds_every_page_and_every_link_resolves(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, reference: pl.DataFrame
) -> None:
    reports = tmp_path / "reports"
    build_month_pack(con, MONTHS[1], reports, reference=reference)
    build_all(con, reports / "ours", reference)
    for month in ("2005-03", "2005-04", "2005-05"):
        assert {p.name for p in (reports / "ours" / month).iterdir()} == PAGES
    for page in (reports / "ours").rglob("*.html"):
        for path, fragment in links(page):
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), (page, path)
            assert not fragment or f'id="{fragment}"' in target.read_text("utf-8"), (page, fragment)
    build_overview(con, reports)
    for name in ("drift.html", "performance.html"):
        page = reports / "2005-04" / name
        assert all((page.parent / path).is_file() for path, _ in links(page) if path)
        assert 3_000_000 < page.stat().st_size < 7_000_000


def test_every_link_between_cards_packs_and_overview_resolves(
    con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    build_cards(con, reports, root)
    build_all(con, reports, None)
    for page in reports.rglob("*.html"):
        for path, fragment in links(page):
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), (page, path)
            assert not fragment or f'id="{fragment}"' in target.read_text("utf-8"), (page, fragment)
    linked = {path for path, _ in links(reports / "2005-05" / "index.html")}
    assert "../models/2005-04-1f0c9a7e/logistic.html" in linked
    assert "../models/reasons.html" in {p for p, _ in links(reports / "2005-05" / "explanations.html")}
    assert "models/index.html" in {path for path, _ in links(reports / "index.html")}


def test_a_pack_links_no_card_that_is_not_there(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    index = build_month_pack(con, MONTHS[1], tmp_path / "reports", reference=None, evidently=False)
    assert not any("models" in path for path, _ in links(index))


def test_the_same_warehouse_gives_the_same_bytes(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, reference: pl.DataFrame
) -> None:
    build_all(con, tmp_path / "one", reference)
    con.execute("SET threads = 1")
    build_all(con, tmp_path / "two", reference)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_rebuilt_pack_replaces_the_earlier_one_and_leaves_nothing_behind(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    first = build_month_pack(con, MONTHS[2], tmp_path / "reports", reference=None, evidently=False)
    assert first == tmp_path / "reports" / "2005-05" / "index.html"
    before = first.read_text("utf-8")
    con.execute("UPDATE runs SET message = 'another text'")
    build_month_pack(con, MONTHS[2], tmp_path / "reports", reference=None, evidently=False)
    assert "another text" in first.read_text("utf-8")
    assert "another text" not in before
    assert [p.name for p in (tmp_path / "reports").iterdir()] == ["2005-05"]


@pytest.mark.parametrize("step", ["month_page", "stability_page"])
def test_a_failed_build_leaves_the_earlier_pack(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reports = tmp_path / "reports"
    build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    before = content(reports)

    def fail(*_: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(pack.pages, step, fail)
    with pytest.raises(OSError, match="no space"):
        build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    assert content(reports) == before
    assert [p.name for p in reports.iterdir()] == ["2005-04"]


def test_a_failed_swap_puts_the_earlier_pack_back(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = tmp_path / "reports"
    build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    before = content(reports / "2005-04")
    real = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.startswith(pack._BUILDING):
            raise PermissionError("denied")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    assert content(reports / "2005-04") == before


@pytest.mark.parametrize("killed", ["between the renames", "while building", "before the clean-up"])
def test_a_killed_build_is_put_right_by_the_next(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, killed: str
) -> None:
    reports = tmp_path / "reports"
    index = build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    if killed == "between the renames":
        index.parent.rename(reports / ".earlier-2005-04")
    elif killed == "while building":
        (reports / ".building-2005-04").mkdir()
        (reports / ".building-2005-04" / "index.html").write_text("half")
    else:
        (reports / ".earlier-2005-04").mkdir()
    build_month_pack(con, MONTHS[1], reports, reference=None, evidently=False)
    assert [p.name for p in reports.iterdir()] == ["2005-04"]
    assert index.is_file()


def test_a_month_that_nobody_ran_is_a_usage_error(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"report pack of 1999-01: .* creditflow run 1999-01"):
        build_month_pack(con, Month(1999, 1), tmp_path, reference=None)
    assert list(tmp_path.glob("1999*")) == []


def test_the_overview_links_only_what_is_there(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    alone = build_overview(con, reports).read_text("utf-8")
    assert "<a href" not in alone.split("<main>")[1]
    build_month_pack(con, MONTHS[0], reports, reference=None, evidently=False)
    (reports / "study.html").write_text("study")
    beside = build_overview(con, reports).read_text("utf-8")
    assert 'href="study.html"' in beside
    assert 'href="2005-03/index.html"' in beside
    assert 'href="2005-04/index.html"' not in beside


def test_at_most_the_sample_goes_to_evidently(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, reference: pl.DataFrame
) -> None:
    index = build_month_pack(con, MONTHS[1], tmp_path / "reports", reference=reference, sample_rows=100)
    told = (
        "Computed on 100 of the 400 clients of the month against 100 of the 500 clients of the reference"
        " sample (a seeded sample)."
    )
    assert told in index.read_text("utf-8")
    assert told in (index.parent / "drift.html").read_text("utf-8")
    assert told in (index.parent / "performance.html").read_text("utf-8")


@pytest.mark.parametrize("defaulted", [0, 1])
def test_a_month_of_one_class_is_a_pack_with_a_reason(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, reference: pl.DataFrame, defaulted: int
) -> None:
    con.execute("UPDATE outcomes SET defaulted = ?", [defaulted])
    index = build_month_pack(con, MONTHS[1], tmp_path / "reports", reference=reference)
    text = (index.parent / "performance.html").read_text("utf-8")
    assert "the report needs both classes" in text
    assert "needs both classes" in index.read_text("utf-8")
