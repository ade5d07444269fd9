"""The stage that publishes a run."""

import pytest

from creditflow.errors import HomeUnusable
from tasks import publish as module
from tasks.publish import publish
from tasks.stage import take_timings


def refused(*_: object) -> None:
    raise HomeUnusable("scores", expected="a disk with space", found="a full one", remedy="Make room.")


def test_scores_and_database_are_published_and_timed(two_sets):
    run = two_sets.run("2005-04")
    publish.fn(run)
    assert run.home.published.is_file()
    found = sorted(path.parent.name for path in run.home.published.parent.glob("scores/*/scores.parquet"))
    assert found == ["month=2005-02", "month=2005-03", "month=2005-04"]
    parts = {timing.stage for timing in take_timings(run.run_id)}
    assert parts == {"publish", "publish: scores as Parquet", "publish: database"}


def test_scores_that_cannot_be_written_keep_the_earlier_database(two_sets, monkeypatch):
    run = two_sets.run("2005-04")
    publish.fn(run)
    before = run.home.published.read_bytes()
    monkeypatch.setattr(module.database, "publish_scores", refused)
    with pytest.raises(HomeUnusable, match="Make room"):
        publish.fn(run)
    assert run.home.published.read_bytes() == before
    assert not [path for path in run.home.published.parent.rglob("*") if ".new" in path.name]


def test_a_database_that_cannot_be_made_is_told_and_the_scores_are_whole(two_sets, monkeypatch):
    run = two_sets.run("2005-04")
    monkeypatch.setattr(module.database, "_copy", refused)
    with pytest.raises(HomeUnusable, match="Make room"):
        publish.fn(run)
    assert not run.home.published.exists()
    assert len(list(run.home.published.parent.glob("scores/*/scores.parquet"))) == 3
