import re

import pytest

from sql.library import query, scripts, standalone
from sql.publish import publish
from sql.warehouse import open_published, open_warehouse

# What a query's parameters look like; those left out are text.
COUNTS = (
    "position value threshold rows revision seconds pid bytes received accepted quarantined max_rows "
    "peak_rss_bytes limit bins lgd missed_default refused_good rows_paid rows_defaulted last_range_paid "
    "last_range_defaulted"
)
MOMENTS = "told_at evaluated_at ended_at started_at loaded_at decided_at scored_at"
VALUES = (
    dict.fromkeys(COUNTS.split(), 1)
    | dict.fromkeys(MOMENTS.split(), "2005-01-01")
    | dict.fromkeys(["has_label", "known_only", "known", "replaced"], True)
    | {"months": ["2005-01"], "runs": ["r"]}
)
ALL = [
    (shelf, script) for shelf in ("migrations", "queries", "views", "examples") for script in scripts(shelf)
]


@pytest.mark.parametrize(("shelf", "script"), ALL, ids=lambda v: getattr(v, "name", v))
def test_every_file_says_what_it_gives(shelf, script):
    assert len(script.about) > 20
    if shelf in ("queries", "views"):
        assert "Owner:" in script.about


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    with open_warehouse(tmp_path_factory.mktemp("schema") / "w.duckdb") as con:
        yield con


@pytest.mark.parametrize("script", scripts("queries"), ids=lambda s: s.name)
def test_every_query_binds_against_the_schema(schema, script):
    """DuckDB plans the statement: a column that a migration renamed is found here, not at night."""
    text = standalone(script.name)
    if "results" in text or "read_parquet" in text:
        pytest.skip("reads a frame or a file of the run")
    values = {name: VALUES.get(name, "2005-01") for name in set(re.findall(r"\$(\w+)", text))}
    schema.execute("EXPLAIN " + text, values or None)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    with open_warehouse(folder / "w.duckdb") as con:
        publish(con, folder / "p.duckdb")
    with open_published(folder / "p.duckdb") as con:
        yield con


@pytest.mark.parametrize("example", scripts("examples"), ids=lambda s: s.name)
def test_worked_example_answers_one_question_on_an_empty_publication(published, example):
    assert example.about.endswith("?")
    assert published.sql(example.text).columns


@pytest.mark.parametrize("view", scripts("views"), ids=lambda s: s.name)
def test_view_states_its_grain_and_can_be_read(published, view):
    assert re.search(r"Grain: \w", view.about)
    assert published.sql(f"FROM {view.name}").fetchall() == []


def test_a_query_built_on_no_other_stands_as_it_is():
    assert standalone("report_gains") == query("report_gains")
