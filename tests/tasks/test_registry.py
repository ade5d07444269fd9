import json
from dataclasses import replace

import polars as pl
import pytest

from creditflow.errors import ArtifactCorrupt, ArtifactMissing, ArtifactOutdated, HomeLocked, UsageError
from creditflow.month import Month
from tasks.home import Home
from tasks.registry import (
    ModelId,
    Reign,
    Wish,
    champion_in_force,
    compare,
    list_models,
    promote,
    reading,
    registered,
    reigns,
    resolve,
    rollback,
    show_model,
)

A, B, C = (ModelId("blend", version) for version in ("v1", "v2", "v3"))


@pytest.fixture
def wish(stocked):
    return Wish("the risk committee asked for it", "ada", stocked.options)


def champion(office, month=None):
    with office.warehouse() as con:
        reign = champion_in_force(con, Month.parse(month) if month else None)
    return (reign.champion.model, reign.champion.version[:7], str(reign.since))


# ── Histories ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], []),
        ([("run", A), ("run", A)], [(A, 1)]),
        ([("run", A), ("run", B), ("run", B)], [(A, 1), (B, 2)]),
        ([("run", A), ("promote", C), ("run", C)], [(A, 1), (C, 2)]),
        # a rollback goes back, and a second one goes further back, not forth again
        ([("run", A), ("run", B), ("rollback", A)], [(A, 3)]),
        ([("run", A), ("run", B), ("run", C), ("rollback", B)], [(A, 1), (B, 4)]),
        ([("run", A), ("run", B), ("run", C), ("rollback", B), ("rollback", A)], [(A, 5)]),
        # its run says the same
        ([("run", A), ("run", B), ("rollback", A), ("run", A), ("run", C)], [(A, 3), (C, 5)]),
        # a person may put back what was rolled back
        ([("run", A), ("run", B), ("rollback", A), ("promote", B)], [(A, 3), (B, 4)]),
        # history begins with a rollback: what came before is unknown
        ([("rollback", A)], [(A, 1)]),
    ],
)
def test_reigns(changes, expected):
    rows = [
        (f"2005-{n:02d}", action, m.model, m.version, "why") for n, (action, m) in enumerate(changes, start=1)
    ]
    assert reigns(rows) == [Reign(m, Month(2005, n), "why") for m, n in expected]


# ── Naming ──────────────────────────────────────────────────────────────────────────────────────


def test_names(two_sets):
    with two_sets.warehouse() as con:
        models = registered(con)
        old, new = (
            next(m for m in models if m.model == "blend" and m.version.startswith(v))
            for v in ("2005-02", "2005-04")
        )
        assert [m.version[:7] for m in models] == ["2005-04"] * 2 + ["2005-02"] * 2
        assert resolve(con, str(old)) == old
        assert resolve(con, "blend@2005-02") == old
        assert resolve(con, "champion") == new


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blend", ["one model", "blend@2005-04-", "blend@2005-02-", "Write more"]),
        ("blend@2005", ["one model", "blend@2005-04-"]),
        ("blend@2006", ["none of that name", "blend@2005-04-", "logistic@2005-02-", "models list"]),
        ("forest@2005-04", ["none of that name", "blend@2005-04-"]),
        ("2005-04", ["none of that name"]),
        ("", ["none of that name"]),
    ],
)
def test_names_of_none_or_several_say_what_exists(two_sets, text, words):
    with two_sets.warehouse() as con, pytest.raises(UsageError) as refused:
        resolve(con, text)
    for word in words:
        assert word in str(refused.value)


def test_model_alone_is_enough_where_it_has_one_version(office):
    office.month("2005-02")
    with office.warehouse() as con:
        assert resolve(con, "logistic") == resolve(con, "logistic@2005-02")


def test_many_models_are_not_all_named_in_an_error(office):
    office.ask(
        "INSERT INTO models BY NAME SELECT 'blend' AS model, 'v' || n AS version, '2005-01' AS month, "
        "[] AS training_months, 1 AS training_rows, 1 AS training_defaulters, '' AS training_sha256, "
        "'' AS manifest_sha256, '' AS artifact, 1 AS seed, 1 AS fit_seconds, '' AS code_version, "
        "'' AS run_id, now()::TIMESTAMP AS trained_at FROM range(30) AS t(n)"
    )
    with office.warehouse() as con, pytest.raises(UsageError, match="and 22 more"):
        resolve(con, "forest")


@pytest.mark.parametrize("ask", [list_models, lambda home: show_model(home, "champion")])
def test_home_without_a_database_says_how_to_begin(tmp_path, ask):
    with pytest.raises(UsageError, match="creditflow run MONTH"):
        ask(Home(tmp_path))
    assert not Home(tmp_path).warehouse.exists()


def test_home_without_a_champion_says_so(office):
    office.month("2005-01")
    assert list_models(office.home).is_empty()
    with pytest.raises(UsageError, match="champion in force"):
        show_model(office.home, "champion")


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────


def test_list_tells_of_every_model(two_sets):
    listed = list_models(two_sets.home)
    assert listed.height == 4
    new, old = (
        listed.filter(pl.col("model").str.starts_with(f"blend@{v}")).row(0, named=True)
        for v in ("2005-04", "2005-02")
    )
    assert (new["champion"], new["gate"], new["learned_from"]) == (
        "since 2005-04",
        "gate 2005-04",
        "2005-01 to 2005-03",
    )
    assert (old["champion"], old["gate"], old["learned_from"]) == (None, "first 2005-02", "2005-01")
    assert (new["calibrator"], new["attributes"], new["cut_off"]) == ("none", "unprotected", 0.25)
    assert 0.5 < old["held_out_roc_auc"] < new["held_out_roc_auc"] < 1


def test_list_names_a_refused_challenger(office, stand_in):
    office.month("2005-02")
    office.sets["2005-04"] = [stand_in("blend", 0.7), stand_in("logistic", 0.9)]
    office.month("2005-04")
    gates = {
        row["model"][: row["model"].index("@") + 8]: row["gate"]
        for row in list_models(office.home).to_dicts()
    }
    assert gates == {
        "blend@2005-04": "refused",
        "logistic@2005-04": None,
        "blend@2005-02": "first 2005-02",
        "logistic@2005-02": None,
    }


@pytest.fixture
def manifest(monkeypatch):
    facts = {
        "features": ["limit_bal", "pay_1"],
        "settings": {"estimator": {"k": 4}},
        "packages": {"torch": "2.13"},
    }
    written = facts | {"facts": {"sample": {"pool": 9_000}}}
    monkeypatch.setattr("models.artifacts.read_manifest", lambda folder, sha: written)
    return facts


def test_show_tells_all_from_tables_and_artifact(two_sets, manifest):
    facts = show_model(two_sets.home, "champion")
    assert facts["id"].startswith("blend@2005-04-")
    assert facts["champion_since"] == "2005-04"
    assert facts["training_months"] == ["2005-01", "2005-02", "2005-03"]
    assert {name: facts[name] for name in manifest} == manifest
    assert facts["sample"] == {"pool": 9_000}
    assert facts["calibration"]["candidates"] == {"none": {"brier": 0.13, "ece": 0.01}}
    assert facts["cut_off_facts"]["costs"] == {"missed_default": 5.0, "refused_good": 1.0}
    assert [check["passed"] for check in facts["gate"]] == [True] * 5
    assert [change["action"] for change in facts["promotions"]] == ["gate"]
    assert {row["metric"] for row in facts["metrics"]} >= {"roc_auc", "brier", "ece"}
    assert json.loads(json.dumps(facts, default=str))["seed"] == 42


def test_show_of_a_lost_artifact_tells_the_rest(two_sets):
    with two_sets.warehouse() as con:
        old = resolve(con, "blend@2005-02")
    two_sets.lose(old)
    facts = show_model(two_sets.home, str(old))
    assert "expected an artifact, found none" in facts["artifact_state"]
    assert (facts["features"], facts["packages"], facts["sample"]) == (None, None, None)
    assert facts["training_defaulters"] > 0
    assert facts["champion_since"] is None


def test_registry_is_read_while_a_run_holds_the_database(two_sets, monkeypatch):
    from sql.publish import publish

    with two_sets.warehouse() as con:
        publish(con, two_sets.home.published)

    def held(path):
        raise HomeLocked(str(path), expected="no other process", found="one", remedy="Wait.")

    monkeypatch.setattr("tasks.registry.open_warehouse", held)
    assert list_models(two_sets.home).height == 4


# ── Comparing ───────────────────────────────────────────────────────────────────────────────────


def test_comparison_is_on_the_clients_whom_both_scored(two_sets, wish):
    """Scores that were replaced count too: month 2005-04 was scored by both."""
    promote(two_sets.home, "blend@2005-02", wish)
    two_sets.month("2005-04")
    two_sets.realise("2005-04")
    a, b, rows = compare(two_sets.home, "blend@2005-04", "blend@2005-02", two_sets.options)
    assert (a.version[:7], b.version[:7]) == ("2005-04", "2005-02")
    realised = rows.filter(sample="realised")
    assert realised["month"].unique().to_list() == ["2005-04"]
    assert set(realised["clients"]) == {2500}
    auc = realised.filter(metric="roc_auc").row(0, named=True)
    assert auc["difference"] == pytest.approx(auc["a"] - auc["b"])
    assert 0 < auc["low"] < auc["difference"] < auc["high"]
    ks = realised.filter(metric="ks").row(0, named=True)
    assert (ks["low"], ks["high"]) == (None, None)
    held_out = rows.filter(sample="held out")
    assert held_out["difference"].null_count() == held_out.height > 0


def test_models_of_one_set_are_compared_on_one_held_out_part(two_sets):
    _, _, rows = compare(two_sets.home, "blend@2005-04", "logistic@2005-04", two_sets.options)
    held_out = rows.filter(sample="held out", metric="roc_auc").row(0, named=True)
    assert held_out["difference"] == pytest.approx(held_out["a"] - held_out["b"])
    assert held_out["month"] == "2005-04"
    assert rows.filter(sample="realised").is_empty()


def test_few_defaulters_give_no_interval(two_sets, wish):
    promote(two_sets.home, "blend@2005-02", wish)
    two_sets.month("2005-04")
    two_sets.realise("2005-04", rate=0.01)
    _, _, rows = compare(two_sets.home, "blend@2005-04", "blend@2005-02", two_sets.options)
    assert rows.filter(sample="realised")["low"].null_count() == 7


def test_model_is_not_compared_with_itself(two_sets):
    with pytest.raises(UsageError, match="twice"):
        compare(two_sets.home, "champion", "blend@2005-04", two_sets.options)


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────


def test_promotion_counts_from_the_newest_month_and_its_run_follows(two_sets, wish):
    change = promote(two_sets.home, "logistic@2005-04", wish)
    assert (str(change.month), change.before.model) == ("2005-04", "blend")
    assert champion(two_sets) == ("logistic", "2005-04", "2005-04")
    developed = two_sets.month("2005-04")
    assert (developed.verdict, developed.champion.model) == ("reuse", "logistic")
    assert "the risk committee asked for it" in developed.reason
    assert two_sets.ask("SELECT DISTINCT model FROM scores WHERE month = '2005-04'") == [("logistic",)]
    row = two_sets.ask(
        "SELECT action, from_model, decided_by, reason FROM promotions WHERE action = 'promote'"
    )
    assert row == [("promote", "blend", "ada", "the risk committee asked for it")]
    # What the choice answered to stays on record, and the next month begins with the chosen model.
    assert two_sets.ask("SELECT count(*) FROM gate_checks WHERE month = '2005-04'") == [(5,)]
    two_sets.load("2005-05", seed=5)
    assert two_sets.month("2005-05").champion.model == "logistic"


def test_later_month_decides_otherwise(two_sets, wish, stand_in):
    promote(two_sets.home, "logistic@2005-02", wish)
    two_sets.month("2005-04")
    two_sets.load("2005-05", seed=5)
    two_sets.realise("2005-04")
    two_sets.sets["2005-05"] = [stand_in("blend", 0.0)]
    developed = two_sets.month("2005-05")
    assert developed.champion.version.startswith("2005-05-")
    assert champion(two_sets) == ("blend", "2005-05", "2005-05")


def test_promotion_from_an_earlier_month_cascades_as_months_are_run_again(two_sets, wish):
    promote(two_sets.home, "logistic@2005-02", wish, Month(2005, 3))
    assert champion(two_sets, "2005-03") == ("logistic", "2005-02", "2005-03")
    assert champion(two_sets) == (
        "blend",
        "2005-04",
        "2005-04",
    )  # its own decision stands until it is run again
    two_sets.month("2005-03")
    two_sets.month("2005-04")
    held_against = two_sets.ask("SELECT DISTINCT champion FROM gate_checks WHERE month = '2005-04'")
    assert held_against == [("logistic",)]


def test_rollback_goes_back_one_champion_and_no_further_than_the_first(two_sets, wish):
    change = rollback(two_sets.home, wish)
    assert change.champion.version.startswith("2005-02-")
    assert champion(two_sets) == ("blend", "2005-02", "2005-04")
    two_sets.month("2005-04")
    assert champion(two_sets) == ("blend", "2005-02", "2005-02")  # all its months are by it again
    with pytest.raises(
        UsageError, match=r"earlier champion to go back to, found blend@2005-02-.*the first one"
    ):
        rollback(two_sets.home, wish)


def test_rollback_undoes_a_promotion(two_sets, wish):
    promote(two_sets.home, "logistic@2005-02", wish)
    assert rollback(two_sets.home, wish).champion.version.startswith("2005-04-")
    assert champion(two_sets) == ("blend", "2005-04", "2005-04")


def nothing_written(office):
    return office.ask("SELECT count(*) FROM promotions WHERE action IN ('promote', 'rollback')") == [(0,)]


@pytest.mark.parametrize(
    ("model", "reason", "since", "words"),
    [
        ("blend@2005-02", "  ", None, "--reason"),
        ("forest", "why", None, "none of that name"),
        ("champion", "why", None, "not champion already"),
        ("logistic@2005-04", "why", Month(2005, 3), "2005-04, when"),
    ],
)
def test_promotion_that_makes_no_sense_is_refused(two_sets, wish, model, reason, since, words):
    with pytest.raises(UsageError, match=words):
        promote(two_sets.home, model, replace(wish, reason=reason), since)
    assert nothing_written(two_sets)


def test_first_champion_cannot_be_rolled_back(office, wish):
    office.month("2005-02")
    with pytest.raises(UsageError, match="go back to"):
        rollback(office.home, wish)


@pytest.mark.parametrize("act", ["promote", "rollback"])
def test_artifact_that_cannot_be_loaded_is_not_put_in_force(two_sets, wish, act):
    with two_sets.warehouse() as con:
        two_sets.lose(resolve(con, "blend@2005-02"))
    with pytest.raises(ArtifactMissing):
        promote(two_sets.home, "blend@2005-02", wish) if act == "promote" else rollback(two_sets.home, wish)
    assert nothing_written(two_sets)


def test_artifact_is_checked_against_the_sum_on_record(two_sets, wish, monkeypatch):
    def load(folder, sha):
        raise ArtifactCorrupt(str(folder), expected=sha, found="another sum", remedy="Restore it.")

    monkeypatch.setattr("models.artifacts.load", load)
    with pytest.raises(ArtifactCorrupt, match="sha of logistic"):
        promote(two_sets.home, "logistic@2005-02", wish)


def test_model_that_knows_what_the_settings_leave_out_is_refused(two_sets, wish, stand_in):
    two_sets.options = replace(two_sets.options, attributes="all")
    two_sets.sets["2005-04"] = [
        stand_in("blend", 0.2, attributes="all"),
        stand_in("logistic", 0.9, attributes="all"),
    ]
    knowing = two_sets.month("2005-04", asked=True).champion
    with pytest.raises(ArtifactOutdated, match="CREDITFLOW_ATTRIBUTES=all"):
        promote(two_sets.home, f"logistic@{knowing.version}", wish)


def test_no_choice_while_a_run_goes_on(two_sets, wish):
    from filelock import FileLock

    with FileLock(two_sets.home.root / ".lock", is_singleton=False), pytest.raises(HomeLocked):
        promote(two_sets.home, "blend@2005-02", wish)
    assert nothing_written(two_sets)


def test_nothing_is_created_where_there_is_nothing(tmp_path, wish):
    with pytest.raises(UsageError), reading(Home(tmp_path / "none")):
        pass
    with pytest.raises(UsageError):
        rollback(Home(tmp_path / "none"), wish)
    assert not (tmp_path / "none").exists()
