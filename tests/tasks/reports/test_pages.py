"""Our own pages: every section has a figure or a reason, and data is only text."""

import re
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import polars as pl
import pytest

from creditflow.month import Month
from tasks.reports import pages, scores
from tasks.reports.evidently_pages import EvidentlyPage
from tasks.reports.gather import gather_alerts, gather_month, gather_overview
from tasks.reports.pack import Sources, page_texts

VOID = {"meta", "link", "br", "img", "hr", "input"}
NO_EVIDENTLY = [lambda: EvidentlyPage("drift", "Drift", "left out on request", [])]

REALISED, LIVE = "2005-04", "2005-05"


class Outline(HTMLParser):
    """Open tags balance; gathers tags, ids, links and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.sections: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        source = values.get("href") if tag == "link" else values.get("src")
        self.loads += [source] if source else []
        if tag == "section":
            self.sections.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "section" in self.open:
            self.sections[-1] += data


def every_page(
    con: duckdb.DuckDBPyConnection, reference: pl.DataFrame | None, only: str = ""
) -> dict[str, str]:
    """Name to text of our pages for all months of the warehouse, or for one of them."""
    months = [row for row in gather_overview(con) if only in row.month]
    made = {"overview": pages.overview_page(months, frozenset({months[0].month}), None)}
    for row in months:
        facts = gather_month(con, Month.parse(row.month))
        assert facts is not None
        texts = page_texts(Sources(con, facts, reference), NO_EVIDENTLY)
        made |= {
            f"{row.month} {name.removesuffix('.html')}": t for name, t in texts.items() if "html" in name
        }
    return made


@pytest.fixture(scope="module")
def made(stored: Path, reference: pl.DataFrame) -> dict[str, str]:
    """The pages of the warehouse as it was filled."""
    with duckdb.connect(str(stored), read_only=True) as con:
        return every_page(con, reference)


def test_pages_are_well_formed_and_load_nothing(made: dict[str, str]) -> None:
    for name, text in made.items():
        outline = Outline(text)
        assert outline.open == [], name
        assert outline.loads == ["data:,"], name
        assert len(outline.ids) == len(set(outline.ids)), name
        assert outline.tags.count("script") == 1, name  # ours: it sorts tables and opens details for print
        # The two addresses that only name things: of SVG, and in the licence of the script.
        assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/|unlicense\.org>)", text), name
        assert len(text.encode()) < 2_000_000, name
        assert text.startswith('<!DOCTYPE html>\n<html lang="en">'), name
        assert 'name="viewport"' in text, name


def test_no_section_is_empty(made: dict[str, str]) -> None:
    for name, text in made.items():
        for section in re.findall(r"<section>(.*?)</section>", text, flags=re.S):
            assert re.search(r"<(table|svg|dl|ul|details|article)|class=\"reason\"", section), (
                name,
                section[:200],
            )


def test_every_entry_of_the_contents_leads_to_a_heading(made: dict[str, str]) -> None:
    for name, text in made.items():
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(Outline(text).ids), name


def test_markup_and_long_labels_are_only_text(
    con: duckdb.DuckDBPyConnection, reference: pl.DataFrame
) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    con.execute("UPDATE models SET model = ? WHERE model = 'logistic'", [hostile])
    con.execute("UPDATE score_rows SET model = ?, grade = ? WHERE model = 'logistic'", [hostile, hostile])
    con.execute("UPDATE scorings SET champion = ? WHERE champion = 'logistic'", [hostile])
    con.execute("UPDATE performance SET model = ? WHERE model = 'logistic'", [hostile])
    con.execute("UPDATE files SET file_name = ?, run_id = ?", [hostile, hostile])
    con.execute("UPDATE runs SET message = ?, command = ?", [hostile, hostile])
    con.execute("UPDATE decisions SET reason = ?, rule = ?", [hostile, hostile])
    con.execute("UPDATE retrain_rules SET reason = ?, value = ?, threshold = ?", [hostile, hostile, hostile])
    con.execute("UPDATE gate_checks SET reason = ?, name = ?", [hostile, hostile])
    con.execute("UPDATE promotions SET reason = ?, decided_by = ?, action = 'rollback'", [hostile, hostile])
    con.execute("UPDATE reason_texts SET reason = ?", [hostile])
    con.execute("UPDATE reasons SET reason_1 = ?, unusual_1 = ?", [hostile, hostile])
    con.execute("UPDATE expectation_results SET meaning = ?, reason = ?", [hostile, hostile])
    con.execute("UPDATE drift_bins SET label = ?", [hostile])
    con.execute("UPDATE drift SET reason = ?, band = ?", [hostile, hostile])
    made = every_page(con, reference)
    for name, text in made.items():
        assert "img" not in Outline(text).tags, name
        assert text.count("<script") == 1, name
    data = made["2005-04 data-quality"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in data
    assert "L" * 79 + "…" in data
    assert "&lt;img src=x" in made["2005-04 index"]


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("2005-04 validation", ["Default rate", "Realised on the month", "0.7684", "logistic"]),
        ("2005-04 index", ["403", "400", "retrain", "the champion is older than the limit", "7 months"]),
        ("2005-05 validation", ["Not available: outcomes for 2005-05 not yet received."]),
        (
            "2005-04 index",
            ["first champion", "nobody: there was none", "highest held-out ROC AUC", "creditflow"],
        ),
        ("2005-04 index", ["No check of the gate is recorded", "their PD reaches the cut-off of 18.00%"]),
        ("2005-04 index", ["with a known outcome", "defaulted; they are", "of all known defaulters"]),
        (
            "2005-05 index",
            ["champion age", ">met<", ">not met<", "could not be evaluated: the month before has no drift"],
        ),
        (
            "2005-05 index",
            ["Refused: vae_supervised", "4,400 clients of 2005-04", "-0.0110 to 0.0030", ">failed<"],
        ),
        (
            "2005-05 index",
            [
                "No change in this month: logistic",
                "How many of them defaulted is not known",
                "beta",
                "18.00%",
            ],
        ),
        (
            "2005-05 explanations",
            ["400 of 400 clients are explained", "the highest PD", "odds × 4.95", "R01", "Most unusual:"],
        ),
        (
            "2005-03 explanations",
            ["No reasons: awaiting a first model."],
        ),
        ("2005-03 index", ["No challenger was judged: there is nothing yet", "there is no champion yet"]),
        ("2005-03 index", ["No scores: awaiting a first model.", "wait", "no outcome is known anywhere"]),
        ("2005-03 stability", ["Not computed: awaiting a first model."]),
        ("2005-04 stability", ["not computed: one value only in the reference sample"]),
        (
            "2005-04 data-quality",
            ["no earlier month", "not run", ">counted<", "All 3 quarantined rows.", "below 0"],
        ),
        ("overview", ["awaiting a first model", "needs attention", "moderate", "0.7684", "0.7724 est."]),
        ("2005-05 validation", ["Estimated from the PDs", "and not the truth", "0.7724"]),
    ],
)
def test_pages_tell_what_is_known_and_why_the_rest_is_not(
    made: dict[str, str], page: str, texts: list[str]
) -> None:
    assert [t for t in texts if t not in made[page]] == []


def test_a_long_quarantine_states_its_total(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO quarantine SELECT month, kind, file_sha256, 1000 + n, client_id, rule, column_name, "
        "value, violations, raw_row FROM quarantine, range(1200) r(n)"
        " WHERE month = '2005-05' AND row_number = 17"
    )
    con.execute("UPDATE files SET received = received + 1200, quarantined = 1203 WHERE month = '2005-05'")
    facts = gather_month(con, Month(2005, 5))
    assert facts is not None
    assert "The first 200 of 1,203 quarantined rows" in pages.data_quality_page(facts)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM drift",
        "DELETE FROM drift_bins",
        "UPDATE drift SET value = NULL, band = 'not run', reason = 'ten clients'",
        "DELETE FROM performance",
        "UPDATE performance SET value = NULL, reason = 'one class only'",
        "DELETE FROM models",
        "DELETE FROM decisions",
        "DELETE FROM runs",
        "DELETE FROM expectation_results",
        "DELETE FROM outcomes",
        "UPDATE outcomes SET defaulted = 0",
        "UPDATE outcomes SET defaulted = 1",
        "UPDATE score_rows SET grade = NULL, points = NULL",
        "UPDATE score_rows SET pd = 0.5, grade = 'C'",
        "DELETE FROM score_rows; DELETE FROM scorings",
        "DELETE FROM quarantine; UPDATE files SET received = accepted, quarantined = 0",
        "UPDATE clients SET bill_amt1 = -1",
        "DELETE FROM score_rows WHERE client_id > '0000010'",
        "UPDATE drift SET value = 12.5",
        "DELETE FROM retrain_rules",
        "DELETE FROM promotions",
        "DELETE FROM reasons",
        "DELETE FROM reason_texts",
        "UPDATE reasons SET reason_1 = NULL, reason_2 = NULL, reason_3 = NULL, reason_4 = NULL",
        "UPDATE reasons SET reason_1 = 'R99'",
        "UPDATE reasons SET unusual_1 = NULL, unusual_2 = NULL, unusual_3 = NULL",
        "UPDATE reasons SET unusual_1 = 'a_column_of_old'",
        "DELETE FROM reasons WHERE client_id <> '0000042'",
        "UPDATE score_rows SET flagged = NULL",
        "UPDATE score_rows SET flagged = FALSE WHERE is_champion",
        "UPDATE score_rows SET flagged = TRUE WHERE is_champion",
        "UPDATE models SET cut_off = 1.0000000000000002, training_months = ['2005-03']",
        "UPDATE models SET cut_off = NULL, attributes = NULL, calibrator = NULL",
    ],
)
def test_a_month_with_gaps_still_gives_whole_pages(con: duckdb.DuckDBPyConnection, change: str) -> None:
    con.execute(change)
    for name, text in every_page(con, None, "2005-04").items():
        assert Outline(text).open == [], name
        assert "None" not in re.sub(r"None of", "", text), name
        assert not re.search(r"\bnan\b|\binf\b", text.lower()), name


def test_a_month_whose_file_was_refused_says_so(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO runs BY NAME SELECT * REPLACE ('2005-06' AS month, 'refused' AS status,"
        " 'no file for the month' AS message) FROM runs WHERE month = '2005-05'"
    )
    made = every_page(con, None, "2005-06")
    assert "the last run ended refused" in made["2005-06 index"]
    assert "no file for the month" in made["overview"]


def test_an_empty_warehouse_has_an_overview(empty_con: duckdb.DuckDBPyConnection) -> None:
    text = pages.overview_page(gather_overview(empty_con), frozenset(), None)
    assert "No month has been run yet." in text
    assert Outline(text).open == []


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (pages.count(1234567), "1,234,567"),
        (pages.count(None), "—"),
        (pages.count(0), "0"),
        (pages.share(0.12345), "12.35%"),
        (pages.share(None), "—"),
        (pages.figure(0.77444), "0.7744"),
        (pages.figure(1234.5, 1), "1,234.5"),
        (pages.moment(datetime(2005, 6, 1, 6, 0, 0)), "2005-06-01 06:00:00 UTC"),
        (pages.known(""), "—"),
        (pages.known(0), "0"),
        (pages.signed(-0.5), "−0.50"),
        (pages.signed(1.25, 1), "+1.2"),
        (pages.spoken("champion_age"), "champion age"),
        (pages.plain(5.0), "5"),
        (pages.plain(0.25), "0.25"),
        (pages.sentence("no end"), "No end."),
        (pages.sentence("An end."), "An end."),
        (pages.cut_off(0.16667), "16.67%"),
        (pages.cut_off(1.0000000000000002), "above 100%: nobody"),
        (pages.cut_off(None), "—"),
    ],
)
def test_figures_are_written_one_way(shown: str, text: str) -> None:
    assert shown == text


def test_the_months_default_class_shares_add_up(reference: pl.DataFrame) -> None:
    shares = scores._reference_shares(reference)
    assert shares is not None
    assert sum(shares) == pytest.approx(1.0, abs=1e-12)
    assert scores._reference_shares(reference.clear()) is None


def test_the_shape_of_new_months(con: duckdb.DuckDBPyConnection, add: Callable[..., None]) -> None:
    add("2005-06", 10, seed=5, outcomes=True)
    assert "10 clients scored" in every_page(con, None, "2005-06")["2005-06 index"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM reasons", "No client of this month is explained"),
        (
            "UPDATE reasons SET reason_1 = NULL, reason_2 = NULL, reason_3 = NULL, reason_4 = NULL",
            "No client has a reason",
        ),
        ("UPDATE reasons SET reason_1 = 'R99'", "Reason R99, which is no longer in the list of reasons."),
        ("UPDATE reasons SET unusual_1 = NULL, unusual_2 = NULL, unusual_3 = NULL", "has no one-class VAE"),
        ("UPDATE score_rows SET flagged = NULL", "Nobody was judged against a cut-off"),
        ("DELETE FROM retrain_rules", "No evaluation of the rules is recorded for this month."),
        ("UPDATE decisions SET verdict = 'reuse'", "no new set was developed, and the champion stays"),
        ("DELETE FROM decisions", "No challenger was judged: the month has not come that far."),
    ],
)
def test_a_section_that_cannot_be_computed_says_why(
    con: duckdb.DuckDBPyConnection, change: str, told: str
) -> None:
    con.execute(change)
    con.execute("DELETE FROM gate_checks")
    assert any(told in text for text in every_page(con, None, "2005-05").values())


# --- Alerts -----------------------------------------------------------------------------------------


def add_alert(con: duckdb.DuckDBPyConnection, rule: str, state: str, **changes: object) -> None:
    row = {
        "run_id": "r1", "month": LIVE, "position": 1, "severity": "warning", "about_month": REALISED,
        "value": 0.31, "threshold": 0.25, "message": "Found.", "remedy": "Look.",
    } | changes | {"rule": rule, "state": state, "evaluated_at": datetime(2005, 6, 1)}  # fmt: skip
    names = ", ".join(row)
    con.execute(f"INSERT INTO alerts ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def alert_pages(con: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    facts = gather_month(con, Month.parse(LIVE))
    assert facts is not None
    overview = pages.overview_page(
        gather_overview(con), frozenset({LIVE, REALISED}), None, None, gather_alerts(con)
    )
    return page_texts(Sources(con, facts, None), [])["index.html"], overview


def test_raised_alerts_stand_on_top_by_severity_and_in_the_month_s_row(
    con: duckdb.DuckDBPyConnection,
) -> None:
    add_alert(con, "attribute_drift", "raised", message="<script>alert(1)</script>")
    add_alert(con, "score_drift", "raised", severity="critical", position=2)
    add_alert(con, "auc_decay", "not run", message="No outcome is known.")
    add_alert(con, "calibration", "raised", month=REALISED, severity="info")
    month, overview = alert_pages(con)
    for page in (month, overview):
        assert page.index("▲ critical") < page.index("△ warning") < page.index('class="headline')
        assert "<script>alert(1)</script>" not in page
        assert f"about {REALISED}" in page
    assert "0 of 3 rules are clear, 1 could not be evaluated" in month
    assert "No outcome is known." in month
    row = overview[overview.index("<tbody>") :]
    assert "▲ 1 critical" in row
    assert "△ 1 warning" in row
    assert "● 1 info" in row
    assert "Raised in other months:" in overview


@pytest.mark.parametrize(
    ("state", "words"), [("clear", "✓ No alert is raised."), (None, "No alert rule was evaluated")]
)
def test_month_without_raised_alerts_says_whether_any_rule_was_evaluated(
    con: duckdb.DuckDBPyConnection, state: str | None, words: str
) -> None:
    if state:
        add_alert(con, "score_drift", state)
    month, overview = alert_pages(con)
    assert words in month
    assert words in overview


# --- Months that are hard to measure ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "page", "told"),
    [
        ("UPDATE outcomes SET defaulted = 0", "validation", "one class only: 0 defaulters among 400 clients"),
        (
            "UPDATE outcomes SET defaulted = 0",
            "validation",
            "none of 400 clients with a known outcome defaulted",
        ),
        ("UPDATE outcomes SET defaulted = 0", "segments", "fewer than 20 defaulters"),
        (
            "UPDATE outcomes SET defaulted = 1",
            "validation",
            "one class only: 400 defaulters among 400 clients",
        ),
        ("UPDATE outcomes SET defaulted = 1", "segments", "fewer than 20"),
        ("DELETE FROM outcomes", "segments", "outcomes not yet received"),
        ("DELETE FROM outcomes", "validation", "outcomes for 2005-04 not yet received"),
        ("UPDATE score_rows SET grade = 'C'", "scores", "All clients are in one grade"),
        ("UPDATE score_rows SET grade = 'C'", "validation", "All clients are in one grade"),
        ("UPDATE score_rows SET grade = NULL", "validation", "gives no grades"),
        ("UPDATE score_rows SET pd = 0.25", "validation", "all clients have one PD"),
        ("UPDATE score_rows SET pd = 0.25", "validation", "tells no two clients apart"),
        ("UPDATE score_rows SET pd = 0", "validation", "all 0 or all 1"),
        ("UPDATE score_rows SET flagged = NULL", "segments", "no cut-off is known"),
        ("UPDATE score_rows SET flagged = NULL", "validation", "nobody was judged against a cut-off"),
        ("DELETE FROM score_rows WHERE client_id > '0000010'", "segments", "fewer than 100"),
        ("UPDATE clients SET bill_amt1 = -1", "scores", "no client has a positive balance"),
        ("UPDATE clients SET sex = 7", "segments", "other codes"),
        ("DELETE FROM score_rows WHERE NOT is_champion", "validation", "No challenger scored"),
    ],
)
def test_a_month_that_is_hard_to_measure_says_what_it_could_not_do(
    con: duckdb.DuckDBPyConnection, reassess: Callable[[str], None], change: str, page: str, told: str
) -> None:
    con.execute(change)
    reassess("2005-04")
    made = every_page(con, None, "2005-04")
    for name, text in made.items():
        assert Outline(text).open == [], name
        assert not re.search(r"\bnan\b|\binf\b|>None<", text), name
    assert told in made[f"2005-04 {page}"]


def test_clients_with_other_ids_cannot_migrate(con: duckdb.DuckDBPyConnection) -> None:
    for table in ("score_rows", "clients"):
        con.execute(f"UPDATE {table} SET client_id = 'x' || client_id WHERE month = '2005-04'")
    assert "No migration: no client of 2005-05 is in 2005-04" in every_page(con, None, LIVE)[f"{LIVE} scores"]


def test_labels_of_two_hundred_characters_and_markup_are_only_text_everywhere(
    con: duckdb.DuckDBPyConnection,
) -> None:
    hostile = "<img src=x onerror=alert(1)>" + "L" * 200
    for table, column in (
        ("segments", "group_label"),
        ("fairness", "group_label"),
        ("calibration", "group_label"),
        ("validation", "reason"),
        ("comparisons", "model"),
    ):
        con.execute(f"UPDATE {table} SET {column} = ?", [hostile])
    for name, text in every_page(con, None, "2005-04").items():
        assert "<img" not in text, name


def test_alert_about_an_earlier_month_colours_that_month_too(con: duckdb.DuckDBPyConnection) -> None:
    add_alert(con, "auc_decay", "raised", severity="critical", message="The AUC fell.")
    facts = gather_month(con, Month.parse(REALISED))
    assert facts is not None
    assert [a.month for a in facts.later_alerts] == [LIVE]
    text = page_texts(Sources(con, facts, None), [])["index.html"]
    assert "Red: 2005-04" in text
    assert 'The AUC fell. <span class="small">Raised by the run of 2005-05.</span>' in text
    _, overview = alert_pages(con)
    row = re.search(r'<th scope="row"><a href="2005-04/.*?</tr>', overview, re.DOTALL)
    assert row
    assert "▲ red" in row[0]


def test_verdict_lists_raised_alerts_with_their_thresholds(con: duckdb.DuckDBPyConnection) -> None:
    add_alert(con, "score_drift", "raised", severity="critical", month=REALISED, about_month=None)
    facts = gather_month(con, Month.parse(REALISED))
    assert facts is not None
    text = page_texts(Sources(con, facts, None), [])["index.html"]
    table = text[text.index('aria-label="What the verdict rests on"') :]
    assert table.index("Score drift") < table.index("critical beyond 0.25") < table.index("Rows")
