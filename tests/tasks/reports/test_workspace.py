"""Evidently's workspace: what it holds, how it follows the database, and what it may never hold."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from functools import partial

import duckdb
import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from creditflow.errors import CreditflowError, HomeLocked, HomeUnusable, WarehouseCorrupt
from creditflow.month import Month
from sql.library import scripts
from sql.publish import publish
from sql.warehouse import open_warehouse
from tasks.home import Home
from tasks.reports import workspace
from tasks.reports.evidently_pages import unlinked
from tasks.reports.workspace import (
    SQUARED_ERROR,
    Sampling,
    ScoredMonth,
    kinds_of,
    project_id,
    update_workspace,
    workspace_folder,
)

ALL = Sampling(50_000, 42)
REALISED, LIVE = "2005-04", "2005-05"


def months(*texts):
    return [Month.parse(text) for text in texts]


def snapshots(home):
    """Every snapshot that is there, by month and kind."""
    found = {}
    for path in workspace_folder(home).glob("*/snapshots/*.json"):
        content = json.loads(path.read_text())
        found[content["metadata"]["month"], content["tags"][0]] = (path, content)
    return found


def value(snapshot, kind, **params):
    """The value of the snapshot's metric of this kind and these parameters."""
    for result in snapshot["metric_results"].values():
        described = result["metric_value_location"]["metric"]["params"]
        if described["type"] == f"evidently:metric_v2:{kind}" and params.items() <= described.items():
            return result
    raise AssertionError(f"no {kind} with {params}")


@pytest.fixture(scope="module")
def built(stored, reference, tmp_path_factory):
    """A home whose workspace was brought up to date once, and what that did."""
    home = Home(tmp_path_factory.mktemp("workspace") / "home")
    home.root.mkdir()
    shutil.copyfile(stored, home.warehouse)
    with duckdb.connect(str(home.warehouse)) as con:
        # The fixture applied the migrations without a record.
        con.execute("CREATE TABLE migrations (name VARCHAR, applied_at TIMESTAMP)")
        applied = [(script.name,) for script in scripts("migrations")]
        con.executemany("INSERT INTO migrations VALUES (?, now())", applied)
    return home, update_workspace(home, ALL, reference_of=lambda *_: reference)


@pytest.fixture
def home(built, tmp_path):
    """A copy of that home, to change."""
    shutil.copytree(built[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def quick(monkeypatch):
    """Snapshots in no time: a stand-in for Evidently, and the list of what it was asked for."""
    asked = []

    class Quick:
        def __init__(self, facts):
            self.facts = facts

        def dumps(self):
            return json.dumps({"metadata": self.facts.metadata, "tags": [self.facts.kind]})

    def build(facts, current, reference):
        asked.append((facts.scored.month, facts.kind, current.height, reference.height))
        return Quick(facts)

    monkeypatch.setattr(workspace, "_drift", build)
    monkeypatch.setattr(workspace, "_classification", build)
    return asked


@pytest.fixture
def update(reference):
    return partial(update_workspace, sampling=ALL, reference_of=lambda *_: reference)


# --- What it holds --------------------------------------------------------------------------------


def test_a_month_has_drift_and_with_outcomes_classification(built):
    home, updated = built
    assert updated.made == (f"{REALISED} drift", f"{REALISED} classification", f"{LIVE} drift")
    assert (updated.kept, updated.removed, updated.left_out) == (0, 0, ())
    found = snapshots(home)
    assert set(found) == {(REALISED, "drift"), (REALISED, "classification"), (LIVE, "drift")}
    _, content = found[REALISED, "classification"]
    assert datetime.fromisoformat(content["timestamp"]) == datetime(2005, 4, 1)
    assert content["tags"] == ["classification", REALISED, "logistic"]
    assert (
        content["metadata"].items()
        >= {
            "model": "logistic",
            "version": "2005-04-1f0c9a7e",
            "run_id": f"run-{REALISED}",
            "scored_clients": "400",
            "sampled_clients": "400",
            "reference_clients": "500",
        }.items()
    )


def test_the_figures_are_those_of_scikit_learn(built):
    home, _ = built
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        known = con.sql(
            "SELECT o.defaulted, s.pd FROM scores AS s JOIN outcomes AS o USING (month, client_id)"
            f" WHERE month = '{REALISED}' AND is_champion"
        ).pl()
    _, content = snapshots(home)[REALISED, "classification"]
    truth, flagged = known["defaulted"], known["pd"] >= 0.5
    for kind, expected in {
        "RocAuc": roc_auc_score(truth, known["pd"]),
        "Precision": precision_score(truth, flagged),
        "Recall": recall_score(truth, flagged),
    }.items():
        assert value(content, kind)["value"] == pytest.approx(expected, abs=1e-12)
    brier = value(content, "MeanValue", column=SQUARED_ERROR)["value"]
    assert brier == pytest.approx(brier_score_loss(truth, known["pd"]), abs=1e-12)
    assert value(content, "MeanValue", column="pd")["value"] == pytest.approx(known["pd"].mean(), abs=1e-12)
    rate = value(content, "CategoryCount", column="defaulted")["share"]["value"]
    assert rate == pytest.approx(truth.mean(), abs=1e-12)
    assert value(content, "RowCount")["value"] == 400


def test_every_panel_finds_its_metric_in_a_snapshot(built):
    """A name that Evidently does not know, or that no snapshot holds, would be an empty panel."""
    home, updated = built
    dashboard = json.loads((updated.folder / str(updated.project) / "dashboard.json").read_text())
    found = snapshots(home)
    metrics = [metric for panel in dashboard["panels"] for metric in panel["values"]]
    assert len(metrics) == 12
    for metric in metrics:
        (kind,) = metric["tags"]
        _, content = found[REALISED, kind]
        labels = {k: v for k, v in metric["metric_labels"].items() if k != "value_type"}
        assert value(content, metric["metric"].removeprefix("evidently:metric_v2:"), **labels)
    (tab,) = dashboard["tabs"]
    assert tab["panels"] == [panel["id"] for panel in dashboard["panels"]]


def test_drift_of_a_shifted_month_is_seen(built):
    home, _ = built
    quiet, shifted = (
        value(snapshots(home)[month, "drift"][1], "DriftedColumnsCount")["share"]["value"]
        for month in (REALISED, LIVE)
    )
    assert quiet < 0.2 < shifted


# But the least and the greatest of a month, which are the outer edges of its histogram.
_INNER_PDS = """
SELECT pd FROM scores WHERE is_champion
QUALIFY pd > min(pd) OVER (PARTITION BY month) AND pd < max(pd) OVER (PARTITION BY month)
"""


def test_no_client_is_in_it(built):
    """No identity, no raw row: aggregates whose size does not grow with the clients."""
    home, _ = built
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        clients = con.execute("SELECT DISTINCT client_id FROM clients").fetchall()
        pds = con.execute(_INNER_PDS).fetchall()
    texts = [path.read_text() for path in workspace_folder(home).rglob("*") if path.is_file()]
    assert not [c for (c,) in clients if any(f'"{c}"' in text for text in texts)]
    assert len(pds) > 700
    assert not [pd for (pd,) in pds if any(repr(pd) in text for text in texts)]
    # The bands of Evidently's 150 stretches, there and back: no list grows with the clients.
    for month in (REALISED, LIVE):
        assert max(_lengths(snapshots(home)[month, "drift"][1])) == 300
    # Curves of rates, without the PDs behind them; Evidently thins them out to at most 1,000 points.
    assert max(_lengths(snapshots(home)[REALISED, "classification"][1])) <= 1000


def test_columns_keep_their_values_and_lose_their_rows(reference):
    """Of 100 clients Evidently keeps every value of a column in the order in which it gets them."""
    side, columns = reference.head(100), [name for name in reference.columns if name != "defaulted"]
    apart = unlinked(side, columns)
    assert apart.columns == columns
    for name in columns:
        assert apart[name].sort().equals(side[name].sort())
    pairs = set(side.select("limit_bal", "pd").iter_rows())
    assert sum(pair in pairs for pair in apart.select("limit_bal", "pd").iter_rows()) <= 5
    assert unlinked(side, columns).equals(apart)


def _lengths(node):
    """The lengths of all lists in a snapshot."""
    if isinstance(node, dict):
        for child in node.values():
            yield from _lengths(child)
    elif isinstance(node, list):
        yield len(node)
        for child in node:
            yield from _lengths(child)


# --- How it follows the database ------------------------------------------------------------------


def test_an_unchanged_home_is_left_alone(home, update, quick):
    before = {path: path.stat().st_mtime_ns for path in workspace_folder(home).rglob("*") if path.is_file()}
    updated = update(home)
    assert (updated.made, updated.kept, updated.removed) == ((), 3, 0)
    assert quick == []
    assert before == {
        path: path.stat().st_mtime_ns for path in workspace_folder(home).rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ("UPDATE files SET run_id = 'r2' WHERE kind = 'outcomes'", [f"{REALISED} classification"]),
        (
            f"UPDATE scorings SET run_id = 'r2' WHERE month = '{REALISED}'",
            [f"{REALISED} drift", f"{REALISED} classification"],
        ),
        (f"UPDATE files SET run_id = 'r2' WHERE month = '{LIVE}'", [f"{LIVE} drift"]),
        (
            "UPDATE models SET manifest_sha256 = 'f' WHERE model = 'logistic'",
            [f"{REALISED} drift", f"{REALISED} classification", f"{LIVE} drift"],
        ),
        ("UPDATE files SET is_current = FALSE WHERE kind = 'outcomes'", []),
        (f"DELETE FROM scorings WHERE month = '{REALISED}'", []),
    ],
)
def test_what_changed_is_made_again_and_nothing_else(home, update, quick, change, made):
    earlier = set(snapshots(home))
    with open_warehouse(home.warehouse) as con:
        con.execute(change)
    updated = update(home)
    assert list(updated.made) == made
    gone = {"UPDATE files SET is_current": {(REALISED, "classification")}, "DELETE": {
        (REALISED, "drift"), (REALISED, "classification")}}  # fmt: skip
    expected = next((months for start, months in gone.items() if change.startswith(start)), set())
    assert set(snapshots(home)) == earlier - expected
    assert updated.kept + len(made) == len(earlier - expected)
    assert updated.removed == len(made) or updated.removed == len(expected)
    assert update(home).made == ()


@pytest.mark.parametrize("sampling", [Sampling(100, 42), Sampling(50_000, 43)])
def test_another_sampling_makes_all_again(home, update, quick, sampling):
    assert len(update(home, sampling=sampling).made) == 3
    rows = {current for _, _, current, _ in quick} | {reference for *_, reference in quick}
    assert rows == ({100} if sampling.rows == 100 else {400, 500})


def test_only_the_months_asked_for_are_made(home, update, quick):
    with open_warehouse(home.warehouse) as con:
        con.execute("UPDATE scorings SET run_id = 'r2'")
    updated = update(home, months=months(LIVE, "2005-06"))
    assert updated.made == (f"{LIVE} drift",)
    # The other month's were behind what is stored: better none than wrong ones.
    assert set(snapshots(home)) == {(LIVE, "drift")}


def test_ids_are_the_same_everywhere(home, built, update):
    shutil.rmtree(workspace_folder(home))
    names = {key: path.name for key, (path, _) in snapshots(built[0]).items()}
    updated = update(home)
    assert updated.project == project_id() == built[1].project
    assert {key: path.name for key, (path, _) in snapshots(home).items()} == names


def test_what_a_kill_or_another_version_left_is_swept(home, update, quick):
    folder = workspace_folder(home) / str(project_id())
    (folder / "snapshots" / "stray.json").write_text("{")
    (home.root / ".evidently.new").write_text("{")
    (folder / "metadata.json").unlink()
    other = workspace_folder(home) / "0b0e7d9c-0000-5000-8000-000000000000"
    shutil.copytree(folder, other)
    updated = update(home)
    assert (updated.made, updated.kept, updated.removed) == ((), 3, 1)
    assert not other.exists()
    assert json.loads((folder / "metadata.json").read_text())["name"] == "creditflow"


def test_months_that_share_a_champion_read_its_sample_once(home, reference, quick):
    shutil.rmtree(workspace_folder(home))
    read = []
    update_workspace(home, ALL, reference_of=lambda *key: read.append(key) or reference)
    assert read == [(home, "logistic", "2005-04-1f0c9a7e", "e" * 64)]


# --- What cannot be made --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE outcomes SET defaulted = 0", "no default"),
        ("UPDATE outcomes SET defaulted = 1", "is a default"),
    ],
)
def test_a_month_of_one_class_says_so_and_keeps_its_drift(home, update, quick, change, words):
    shutil.rmtree(workspace_folder(home))
    with open_warehouse(home.warehouse) as con:
        con.execute(change)
    updated = update(home)
    assert updated.made == (f"{REALISED} drift", f"{LIVE} drift")
    (left,) = updated.left_out
    assert left.startswith(f"{REALISED} classification: ")
    assert words in left


@pytest.mark.parametrize(("clients", "pd"), [(1, 0.3), (10, 0.0), (10, 1.0)])
def test_few_clients_and_a_constant_pd(home, update, clients, pd):
    """Each snapshot is made or its absence explained, and what is made is JSON that a browser reads."""
    with open_warehouse(home.warehouse) as con:
        for table in ("score_rows", "scorings"):
            con.execute(f"DELETE FROM {table} WHERE month = '{LIVE}'")
        few = con.execute("SELECT DISTINCT client_id FROM scores ORDER BY 1 LIMIT ?", [clients]).fetchall()
        con.execute("DELETE FROM score_rows WHERE NOT list_contains(?, client_id)", [[c for (c,) in few]])
        con.execute("UPDATE score_rows SET pd = ?", [pd])
        con.execute("UPDATE scorings SET run_id = 'r2'")
    updated = update(home)
    assert f"{REALISED} drift" in updated.made
    assert len(updated.made) + len(updated.left_out) == 2
    for _, content in snapshots(home).values():
        json.dumps(content, allow_nan=False)


def test_a_fault_within_evidently_costs_one_snapshot(home, update, quick, monkeypatch):
    def fails(*_):
        raise KeyError("column")

    shutil.rmtree(workspace_folder(home))
    monkeypatch.setattr(workspace, "_classification", fails)
    updated = update(home)
    assert updated.made == (f"{REALISED} drift", f"{LIVE} drift")
    assert updated.left_out == (
        f"{REALISED} classification: Evidently could not compute it (KeyError: 'column')",
    )


def test_empty_home_stays_empty(tmp_path, update):
    with pytest.raises(HomeUnusable, match="creditflow demo"):
        update(Home(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_no_month_scored(tmp_path, update):
    home = Home(tmp_path)
    with open_warehouse(home.warehouse):
        pass
    with pytest.raises(HomeUnusable, match="a scored month, found none"):
        update(home)
    assert not workspace_folder(home).exists()


def test_no_month_asked_for_is_scored(home, update):
    with pytest.raises(HomeUnusable, match="from 2010-01 to 2010-02"):
        update(home, months=months("2010-01", "2010-02"))


def test_damaged_database(home, update):
    home.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(WarehouseCorrupt):
        update(home)


def test_missing_artifact(home):
    shutil.rmtree(workspace_folder(home))
    with pytest.raises(CreditflowError, match="2005-04-1f0c9a7e"):
        update_workspace(home, ALL)


def test_two_at_a_time_take_turns(home, update):
    with workspace._only_one(home, 0), pytest.raises(HomeLocked, match="creditflow ui"):
        update(home, wait_seconds=0)


def test_the_readers_copy_is_read_while_the_database_is_held(home, update, quick):
    with open_warehouse(home.warehouse) as con:
        home.published.parent.mkdir(parents=True)
        publish(con, home.published)
    # The same state in both: what is there is seen to be up to date.
    home.warehouse.unlink()
    shutil.copyfile(home.published, home.warehouse)
    holder = _holds(home.warehouse)
    try:
        assert (update(home).made, update(home).kept) == ((), 3)
    finally:
        holder.kill()
        holder.wait()


_HOLD = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"


def _holds(path):
    """A process that has the database open for writing."""
    arguments = [sys.executable, "-c", _HOLD, str(path)]
    holder = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_disk_that_refuses(home, update, quick, monkeypatch):
    def refuses(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workspace.os, "fsync", refuses)
    shutil.rmtree(workspace_folder(home))
    with pytest.raises(HomeUnusable, match="No space left"):
        update(home)
    assert snapshots(home) == {}


@pytest.mark.parametrize(("outcomes_run", "kinds"), [(None, 1), ("r", 2)])
def test_kinds(outcomes_run, kinds):
    scored = ScoredMonth("2005-04", "m", "v", "sha", "c", "s", "r", 10)
    assert len(kinds_of(replace(scored, outcomes_run=outcomes_run))) == kinds
