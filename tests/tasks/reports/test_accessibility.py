"""Our pages in headless Chromium: no finding of axe-core, tables that sort, folds that open on paper."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe

from creditflow.month import Month
from tasks.reports.cards import build_cards
from tasks.reports.evidently_pages import EvidentlyPage
from tasks.reports.pack import build_month_pack, build_overview
from tasks.reports.pages import unavailable_page

pytestmark = pytest.mark.browser
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
WIDTHS = {"type": "rule", "values": ["scrollable-region-focusable"]}
OURS = [
    "index.html",
    "2005-03/*.html",
    pytest.param("2005-04/*.html", marks=pytest.mark.slow),
    "2005-05/[is]*.html",
    "models/*.html",
    "models/2005-04-1f0c9a7e/vae_supervised.html",
]


@pytest.fixture(scope="module")
def published(stored: Path, tmp_path_factory: pytest.TempPathFactory, reference: pl.DataFrame) -> Path:
    reports = tmp_path_factory.mktemp("accessible") / "reports"
    with duckdb.connect(str(stored), read_only=True) as con:
        build_cards(con, reports, reports.parent)
        for month in (3, 4, 5):
            build_month_pack(con, Month(2005, month), reports, reference=reference, evidently=False)
        build_overview(con, reports)
    return reports


@pytest.fixture(scope="module")
def screen(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield page
    page.close()


@pytest.fixture
def page(screen: Any) -> Iterator[Any]:
    errors: list[str] = []
    listen = lambda error: errors.append(str(error))  # noqa: E731 - it is taken off again
    screen.on("pageerror", listen)
    yield screen
    screen.remove_listener("pageerror", listen)
    assert errors == []


@pytest.fixture
def shown(page: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Opens a page of the base template whose main holds the markup: `shown(markup)`."""

    def opened(markup: str) -> Any:
        text = unavailable_page("2005-05", EvidentlyPage("drift", "Drift", "no reference", []))
        file = tmp_path / "page.html"
        file.write_text(text.replace("</main>", f"{markup}</main>"), "utf-8")
        page.goto(file.as_uri())
        return page

    return opened


# --- axe ------------------------------------------------------------------------------------------


def violations(screen: Any, rules: Any = RULES) -> list[tuple[str, str]]:
    found = Axe().run(screen, options={"runOnly": rules, "resultTypes": ["violations"]}).response
    assert found["testEngine"]["name"] == "axe-core"
    return [(rule["id"], node["html"][:200]) for rule in found["violations"] for node in rule["nodes"]]


@pytest.fixture
def found(screen: Any) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """What axe finds: every rule in light, then those that dark can change, then those that a phone can."""

    def everywhere() -> list[tuple[str, str]]:
        screen.emulate_media(color_scheme="light")
        screen.set_viewport_size({"width": 1280, "height": 900})
        light = violations(screen)
        screen.emulate_media(color_scheme="dark")
        dark = violations(screen, COLOURS)
        screen.set_viewport_size({"width": 400, "height": 900})
        return light + dark + violations(screen, WIDTHS)

    yield everywhere
    screen.emulate_media(color_scheme="light")
    screen.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.parametrize("pattern", OURS)
def test_axe_finds_nothing(published: Path, screen: Any, found: Any, pattern: str) -> None:
    pages = sorted(published.glob(pattern))
    assert pages
    for page in pages:
        screen.goto(page.as_uri())
        screen.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
        assert (page.name, found()) == (page.name, [])


def test_axe_finds_what_is_wrong(published: Path, screen: Any, found: Any) -> None:
    screen.goto((published / "models/reasons.html").as_uri())
    spoil = "(html) => document.querySelector('main').insertAdjacentHTML('beforeend', html)"
    chart = "<svg role='img' aria-label='a' width='700' height='99' style='min-width: 700px'></svg>"
    faint = "<p id='faint' style='color: var(--rule)'>text to be read</p>"
    screen.evaluate(spoil, f"<img src='data:,'>{faint}<figure>{chart}</figure>")
    expected = ["image-alt", *["color-contrast"] * 2, "scrollable-region-focusable"]
    assert sorted(rule for rule, _ in found()) == sorted(expected)


# --- Sorting --------------------------------------------------------------------------------------


def table(*cells: str, head: str = "<th>Value</th>", kind: str = "", foot: str = "") -> str:
    rows = "".join(f"<tr>{cell if cell.startswith('<td') else f'<td>{cell}</td>'}</tr>" for cell in cells)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>{foot}</table>'


def column(page: Any, number: int = 0) -> list[str]:
    return page.evaluate(
        "(n) => [...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[n].textContent)",
        number,
    )


def click(page: Any, name: str = "Value") -> str | None:
    """The direction after a click on the button of a column's head."""
    page.get_by_role("button", name=name).click()
    # The library moves the rows a millisecond later.
    page.wait_for_timeout(30)
    return page.get_by_role("columnheader", name=name).get_attribute("aria-sort")


NUMBER = '<th class="n">Value</th>'


@pytest.mark.parametrize(
    ("head", "rising"),
    [
        (NUMBER, ["−12.5", "0", "9", "1,000", "20,000"]),
        ("<th>Value</th>", ["-3", "2", "10", "1,234.5"]),
        (NUMBER, ["0.00%", "5 %", "12.3%", "100.0%"]),
        ('<th class="bar">Value</th>', ["0.5%", "9.5%", "10.1%"]),
        (NUMBER, ["12 bytes", "34.6 kB", "2.3 MB", "1.0 GB"]),
        (NUMBER, ["0.00013 ± 0.5", "0.0002 ± 0.1", "0.5 ± 0.0"]),
        (NUMBER, ["575–577", "600–700", "1,000–2,000"]),
        (NUMBER, ["9.00%", "18.00%", "above 100%: nobody"]),
        (NUMBER, ["1e-07", "0.002", "3"]),
        ("<th>Value</th>", ["2004-12", "2005-02", "2005-11"]),
        ("<th>Value</th>", ["2005-06-01 05:59:00 UTC", "2005-06-01 06:00:14 UTC", "2005-07-01 00:00:00 UTC"]),
        ("<th>Value</th>", ["pay_1", "pay_2", "pay_10"]),
        ("<th>Value</th>", ["9 lives", "10", "apple", "Banana", "cherry"]),
        ("<th>Value</th>", ["&lt;b&gt;", "alert", "L" * 200]),
    ],
)
def test_columns_sort_both_ways_with_unknown_last(
    shown: Callable[[str], Any], head: str, rising: list[str]
) -> None:
    mixed = ["—", *rising[1::2], "", *rising[::2]]
    if head == NUMBER:
        mixed.insert(1, "<span>one class only</span>")
    page = shown(table(*mixed, head=head))
    texts = [text.replace("&lt;", "<").replace("&gt;", ">") for text in rising]
    first, second = ("descending", "ascending"), (texts[::-1], texts)
    seen = {click(page): column(page), click(page): column(page)}
    assert set(seen) == set(first)
    for direction, expected in zip(first, second, strict=True):
        assert seen[direction][: len(texts)] == expected
        assert set(seen[direction][len(texts) :]) <= {"—", "", "one class only"}


def test_numbers_first_fall_and_words_first_rise(shown: Callable[[str], Any]) -> None:
    rows = [
        f'<td>{word}</td><td class="n">{number}</td>' for word, number in zip("bca", (1, 3, 2), strict=True)
    ]
    page = shown(table(*rows, head='<th>Word</th><th class="n">Number</th>'))
    assert (click(page, "Number"), column(page)) == ("descending", ["c", "a", "b"])
    assert (click(page, "Word"), column(page)) == ("ascending", ["a", "b", "c"])
    assert page.locator("[aria-sort]").count() == 1


def test_equal_rows_keep_their_order_and_the_foot_stays(shown: Callable[[str], Any]) -> None:
    rows = [f'<td>{word}</td><td class="n">{n}</td>' for word, n in (("x", 1), ("y", 2), ("z", 1), ("w", 2))]
    foot = "<tfoot><tr><th>All</th><td>99</td></tr></tfoot>"
    page = shown(table(*rows, head='<th>Word</th><th class="n">Number</th>', foot=foot))
    click(page, "Number")
    assert column(page) == ["y", "w", "x", "z"]
    assert page.locator("table > :last-child").inner_text().split() == ["All", "99"]


def test_a_cell_is_sorted_by_its_first_line_or_by_what_it_says(shown: Callable[[str], Any]) -> None:
    cells = ["0.7<br><span>9 est.</span>", "0.9<br>1", '<td data-sort="0.8">later</td>']
    page = shown(table(*cells, head=NUMBER))
    click(page)
    assert column(page) == ["0.91", "later", "0.79 est."]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts(shown: Callable[[str], Any], key: str) -> None:
    page = shown(table("1", "3", "2"))
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.closest('th') === null"):
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press(key)
    page.wait_for_timeout(30)
    assert column(page) == ["3", "2", "1"]


@pytest.mark.parametrize(
    "markup",
    [
        table("1", "2"),
        table("1", "2", "3", kind="heat"),
        table("1", "2", "3", kind="fixed"),
        table("1", "2", "3", head='<th class="no-sort">Value</th>'),
        table("1", "2", "3", head="<th> </th>"),
        table(*["<td>1</td><td>2</td>"] * 3, head='<th colspan="2">x</th>'),
        table('<td rowspan="2">1</td><td>2</td>', "3", "<td>4</td><td>5</td>", head="<th>x</th><th>y</th>"),
        "<table><tbody><tr><td>1</td></tr><tr><td>2</td></tr><tr><td>3</td></tr></tbody></table>",
        "<table><thead></thead><tbody></tbody></table>",
    ],
)  # fmt: skip
def test_tables_that_stay_as_they_are(shown: Callable[[str], Any], markup: str) -> None:
    assert shown(markup).locator("th button").count() == 0


def test_rows_that_span_columns_go_last(shown: Callable[[str], Any]) -> None:
    rows = [
        '<td>b</td><td colspan="2">none</td>',
        "<td>a</td><td>1</td><td>5</td>",
        "<td>c</td><td>2</td><td>4</td>",
    ]
    page = shown(table(*rows, head="<th>Word</th><th>One</th><th>Two</th>"))
    click(page, "Two")
    assert column(page) == ["a", "c", "b"]


@pytest.mark.parametrize("name", ["2005-05/stability.html", "2005-04/index.html", "index.html"])
def test_tables_of_a_pack_sort_and_their_heads_still_stick(published: Path, page: Any, name: str) -> None:
    page.goto((published / name).as_uri())
    tables = page.locator("table.sortable:visible")
    assert tables.count() > 0
    for one in tables.all():
        rows = one.locator("tbody tr")
        before = rows.all_inner_texts()
        one.locator("thead button").first.click()
        page.wait_for_timeout(30)
        assert one.locator("thead th").first.get_attribute("aria-sort") in ("ascending", "descending")
        assert sorted(rows.all_inner_texts()) == sorted(before)
        assert one.locator("thead th").first.evaluate("(th) => getComputedStyle(th).position") == "sticky"


def test_a_page_is_whole_without_javascript(published: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((published / "2005-05/index.html").as_uri())
    assert page.locator("thead th").count() > 20
    assert page.locator("button").count() == 0
    context.close()


# --- Paper ----------------------------------------------------------------------------------------


def test_printing_unfolds_and_undoes_links_to_files_and_leaves_all_as_it_was(
    shown: Callable[[str], Any],
) -> None:
    page = shown(
        '<details id="a"><summary>a</summary>x</details><details id="b" open><summary>b</summary>y</details>'
        '<a id="f" href="other.html">f</a> <a id="i" href="#a">i</a> <a id="w" href="https://example.org/">w</a>'
    )

    def state() -> list[Any]:
        return page.evaluate(
            "[...document.querySelectorAll('details')].map((fold) => fold.open).concat("
            "['f', 'i', 'w'].map((id) => document.getElementById(id).getAttribute('href')))"
        )

    before = state()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert state() == [True, True, None, "#a", "https://example.org/"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert state() == before == [False, True, "other.html", "#a", "https://example.org/"]
