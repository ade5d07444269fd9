"""Every figure with SQL beside it is what that SQL gives on the published database."""

import html
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from jsonschema import Draft202012Validator
from scipy.stats import norm

from creditflow.month import Month
from sql.library import printed, query, standalone
from sql.publish import publish
from tasks.reports.gather import gather_month
from tasks.reports.metrics import schema
from tasks.reports.pack import Sources, page_texts

REALISED, LIVE = "2005-04", "2005-05"
_PRINTED = re.compile(r'<pre[^>]*aria-label="SQL[^"]*"[^>]*><code>(.*?)</code>', re.DOTALL)


@pytest.fixture(scope="module")
def published(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("published")
    target = folder / "creditflow.duckdb"
    with duckdb.connect(shutil.copyfile(stored, folder / "warehouse.duckdb")) as con:
        publish(con, target)
    with duckdb.connect(str(target), read_only=True) as con:
        yield con


@pytest.fixture(scope="module")
def texts(stored: Path) -> dict[str, dict[str, str]]:
    made = {}
    with duckdb.connect(str(stored), read_only=True) as con:
        for month in (REALISED, LIVE):
            facts = gather_month(con, Month.parse(month))
            assert facts is not None
            made[month] = page_texts(Sources(con, facts, None), [])
    return made


@pytest.fixture(scope="module")
def metrics(texts: dict[str, dict[str, str]]) -> dict[str, dict]:
    return {month: json.loads(pages["metrics.json"]) for month, pages in texts.items()}


def row(con: duckdb.DuckDBPyConnection, name: str, **values: str | float) -> dict:
    (found,) = con.sql(printed(name, **values)).pl().to_dicts()
    return found


@pytest.mark.parametrize("month", [REALISED, LIVE])
def test_printed_sql_runs_on_the_published_database(texts, published, month) -> None:
    found = [html.unescape(sql) for text in texts[month].values() for sql in _PRINTED.findall(text)]
    assert len(found) >= (15 if month == REALISED else 7)
    for text in found:
        for statement in duckdb.extract_statements(text):
            assert published.execute(statement.query).fetchall(), text


@pytest.mark.parametrize("name", ["counts", "flags", "confusion", "grades", "concentration"])
def test_a_query_built_on_another_gives_the_same_by_itself(stored: Path, tmp_path: Path, name: str) -> None:
    built_on, by_itself = query(f"report_{name}"), standalone(f"report_{name}")
    values = {"month": REALISED, "lgd": 0.45, "missed_default": 5.0, "refused_good": 1.0}
    own, all_values = (
        {key: value for key, value in values.items() if f"${key}" in text} for text in (built_on, by_itself)
    )
    with duckdb.connect(shutil.copyfile(stored, tmp_path / "warehouse.duckdb")) as con:
        con.execute(f"CREATE TEMP TABLE month_cells AS {query('report_cells')}", {"month": REALISED})
        built = con.execute(built_on, own).fetchall()
    with duckdb.connect(str(stored), read_only=True) as con:
        alone = con.execute(by_itself, all_values).fetchall()
    assert built
    assert alone == built


def test_metrics_follow_their_schema(metrics) -> None:
    for found in metrics.values():
        Draft202012Validator(schema()).validate(found)


def statistic(found: dict, name: str) -> dict:
    champion = next(m for m in found["models"] if m["is_champion"])
    key = (champion["model"], champion["version"], name)
    return next(s for s in found["validation"] if (s["model"], s["version"], s["statistic"]) == key)


def test_discrimination(metrics, published) -> None:
    found = statistic(metrics[REALISED], "roc_auc")
    ranking, delong = (row(published, f"check_{n}", month=REALISED) for n in ("ranking", "delong"))
    assert found["value"] == pytest.approx(ranking["roc_auc"]) == pytest.approx(delong["roc_auc"])
    odds = math.log(found["value"] / (1 - found["value"]))
    half = norm.ppf(0.975) * delong["standard_error"] / (found["value"] * (1 - found["value"]))
    assert math.log(found["low"] / (1 - found["low"])) == pytest.approx(odds - half)
    assert math.log(found["high"] / (1 - found["high"])) == pytest.approx(odds + half)


def test_calibration(metrics, published) -> None:
    found = row(published, "check_calibration", month=REALISED)
    for name in ("brier", "brier_reference", "brier_skill"):
        assert statistic(metrics[REALISED], name)["value"] == pytest.approx(found[name])
    spiegelhalter = statistic(metrics[REALISED], "spiegelhalter")
    assert spiegelhalter["test_statistic"] == pytest.approx(found["spiegelhalter"])
    groups = published.sql(printed("check_groups", month=REALISED)).pl().to_dicts()
    terms = [g["term"] for g in groups if g["grouping"] == "tenth"]
    hosmer = statistic(metrics[REALISED], "hosmer_lemeshow")
    assert (sum(terms), len(terms)) == (pytest.approx(hosmer["test_statistic"]), hosmer["degrees"])


def test_grades_are_those_of_scores_and_outcomes(metrics, published) -> None:
    counted = published.sql(
        "SELECT s.grade, count(*) AS clients, sum(o.defaulted) AS defaulters, sum(s.pd) AS expected "
        "FROM scores AS s INNER JOIN outcomes AS o USING (month, client_id) "
        f"WHERE s.month = '{REALISED}' AND s.is_champion GROUP BY s.grade"
    ).fetchall()
    found = {
        g["group_label"]: (g["clients"], g["defaulters"], pytest.approx(g["expected"]))
        for g in metrics[REALISED]["calibration"]
        if g["grouping"] == "grade"
    }
    assert {grade: tuple(rest) for grade, *rest in counted} == found


def test_estimates_are_those_of_the_pds_alone(published) -> None:
    from models.estimate import estimated_metrics

    pds = published.sql(f"SELECT pd FROM scores WHERE month = '{LIVE}' AND is_champion").pl()["pd"]
    found, expected = row(published, "check_estimates", month=LIVE), estimated_metrics(pds)
    for name in ("roc_auc", "brier"):
        assert found[name] == pytest.approx(expected[name].value)
    assert found["default_rate"] == pytest.approx(expected["mean_pd"].value)


def test_selection_by_sex(metrics, published) -> None:
    labels = {1: "male", 2: "female"}
    for judged in published.sql(printed("check_selection", month=REALISED)).pl().to_dicts():
        found = {
            f["measure"]: f["value"]
            for f in metrics[REALISED]["fairness"]
            if (f["attribute"], f["group_label"]) == ("sex", labels[judged["sex"]])
        }
        for name in ("selection_rate", "true_positive_rate", "false_positive_rate", "observed_to_expected"):
            assert found[name] == pytest.approx(judged[name]), name


def test_migration_adds_up_to_both_months(metrics) -> None:
    found = metrics[LIVE]["migration"]
    everyone = sum(map(sum, found["cells"]))
    assert everyone + sum(found["joiners"].values()) == metrics[LIVE]["pd"]["clients"]
    assert everyone + sum(found["leavers"].values()) == metrics[REALISED]["pd"]["clients"]


def test_who_came_and_who_left_are_told_with_their_exposure(con) -> None:
    """Seven clients of the month go by new names: as many joiners and leavers."""
    for table in ("clients", "score_rows"):
        con.execute(
            f"UPDATE {table} SET client_id = 'new' || client_id "
            f"WHERE month = '{LIVE}' AND client_id BETWEEN '0000010' AND '0000016'"
        )
    moves = con.sql(query("report_migration"), params={"before": REALISED, "month": LIVE}).pl()
    came, left = moves.filter(pl.col("grade_before").is_null()), moves.filter(pl.col("grade_now").is_null())
    assert (came["clients"].sum(), left["clients"].sum()) == (7, 7)
    for found, month, ids in ((came, LIVE, "new%"), (left, REALISED, "0%")):
        bills = con.execute(
            "SELECT greatest(bill_amt1, 0) FROM clients WHERE month = ? AND client_id LIKE ? "
            "AND client_id[-7:] BETWEEN '0000010' AND '0000016'",
            [month, ids],
        ).fetchall()
        assert (len(bills), found["exposure"].sum()) == (7, pytest.approx(sum(bill for (bill,) in bills)))
    stayed = moves.drop_nulls(["grade_before", "grade_now"])
    assert stayed["exposure"].null_count() == stayed.height
    assert moves["clients"].sum() == stayed["clients"].sum() + 14


def test_expected_loss_is_pd_times_lgd_times_exposure(metrics, published) -> None:
    ((loss,),) = published.sql(
        "SELECT 0.5 * sum(s.pd * greatest(c.bill_amt1, 0)) FROM scores AS s "
        f"INNER JOIN clients AS c USING (month, client_id) WHERE s.month = '{LIVE}' AND s.is_champion"
    ).fetchall()
    found = metrics[LIVE]
    assert found["concentration"]["expected_loss"] == pytest.approx(loss)
    assert sum(0.5 * g["risked"] for g in found["grades"]) == pytest.approx(loss)


def test_gains_end_at_everybody(metrics) -> None:
    found = metrics[REALISED]["gains"]
    assert found[-1]["captured"] == 1
    assert sum(g["defaulters"] for g in found) == metrics[REALISED]["overview"]["defaulters"]
    assert metrics[LIVE]["gains"] == []


def test_concentration_of_a_published_example(con) -> None:
    """U.S. Department of Justice, "Herfindahl-Hirschman index": shares of 30, 30, 20 and 20 % make 2,600."""
    con.execute(
        "UPDATE score_rows SET grade = CASE WHEN n < 120 THEN 'A' WHEN n < 240 THEN 'B' "
        "WHEN n < 320 THEN 'C' ELSE 'D' END FROM (SELECT client_id AS id, "
        f"row_number() OVER (ORDER BY client_id) - 1 AS n FROM clients WHERE month = '{LIVE}') AS placed "
        f"WHERE month = '{LIVE}' AND client_id = id"
    )
    assert row(con, "report_concentration", month=LIVE, lgd=0.5)["hhi_clients"] == pytest.approx(0.26)
