import polars as pl

from creditflow.month import Month
from tasks.home import Home
from tasks.status import month_table, waiting_files


def test_empty_home_has_no_months(tmp_path):
    assert month_table(Home(tmp_path)).is_empty()


def test_files_that_no_run_has_read_are_named_with_the_run_that_will(tmp_path):
    home = Home(tmp_path).prepare()
    for name in (
        "clients_2005-04",
        "clients_2005-05",
        "outcomes_2005-04",
        "outcomes_2005-05",
        "clients_2005-13",
    ):
        (home.inbox / f"{name}.csv").write_text("x")
    months = pl.DataFrame(
        {"month": ["2005-04"], "received": [5], "outcomes": [None]}, schema_overrides={"outcomes": pl.Int64}
    )
    assert waiting_files(home, months) == [
        "clients of 2005-05 are in the inbox: creditflow run 2005-05",
        f"outcomes of 2005-04 are in the inbox: the run of {Month(2005, 5)} or a later one reads them",
        "outcomes of 2005-05 are in the inbox: the run of 2005-06 or a later one reads them",
        "clients_2005-13.csv is in the inbox and is never read: name it clients_YYYY-MM or outcomes_YYYY-MM",
    ]
