"""`creditflow models`, as a person runs it, on a home whose months were run."""

import json
import re

import pytest
from typer.testing import CliRunner

from creditflow.errors import ArtifactCorrupt, CreditflowError, UsageError
from creditflow.month import Month
from flows import cli, models_cli
from flows.monthly import monthly
from flows.options import run_options
from flows.settings import load_settings
from tasks.plan import finished

LAST = "2026-04"
COMMANDS = ("list", "show", "compare", "promote", "rollback")


def models(*arguments):
    """What the command printed; its error is raised, as the entry point would see it."""
    result = CliRunner().invoke(cli.app, ["models", *arguments], catch_exceptions=True)
    if isinstance(result.exception, CreditflowError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(cli.app, ["models", command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_says_how_a_model_is_named():
    assert "blend@2005-06-1a2b3c4d" in str(models_cli.app.info.epilog)
    assert "champion" in str(models_cli.app.info.epilog)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show"],
        ["compare", "a", "b"],
        ["promote", "a", "--reason", "x"],
        ["rollback", "--reason", "x"],
    ],
)
def test_home_without_models_says_how_to_begin(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("CREDITFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError, match="creditflow run MONTH"):
        models(*arguments)
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_change_without_a_reason_is_a_usage_error(command):
    arguments = [command, "blend"] if command == "promote" else [command]
    result = CliRunner().invoke(cli.app, ["models", *arguments])
    assert result.exit_code == 2


# ── On a home ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ids(home):
    """Every model's ID by name; the set of the home is one."""
    return {row["model"].partition("@")[0]: row["model"] for row in json.loads(models("list", "--json"))}


@pytest.fixture
def challenger(ids):
    """A model of the set that is not champion."""
    champion = json.loads(models("show", "--json"))["id"]
    return next(ids[name] for name in ("logistic", "gradient_boosting") if ids[name] != champion)


@pytest.mark.flow
def test_list_is_a_table_of_every_model(ids):
    printed = models("list")
    assert all(identity in printed for identity in ids.values())
    assert len(re.findall("since 2026-02", printed)) == 1
    assert "first 2026-02" in printed


@pytest.mark.flow
def test_show_has_no_empty_field(ids):
    facts = json.loads(models("show", "--json"))
    assert facts["champion_since"] == "2026-02"
    assert "every sum matches" in facts["artifact_state"]
    assert len(facts["features"]) > 50
    assert facts["settings"]
    assert facts["packages"]["torch"]
    assert facts["calibration"]["chosen"] == facts["calibrator"]
    assert {row["sample"] for row in facts["metrics"]} == {"held_out", "estimated", "realised"}
    printed = models("show")
    for words in ("seed", "SHA-256", "PD 0.", "roc_auc", "not run: no champion", "platt", "learned from"):
        assert words in printed
    assert "None" not in printed


@pytest.mark.flow
def test_compare_is_month_by_month_on_the_same_clients(ids, home):
    found = json.loads(models("compare", ids["logistic"], ids["vae_anomaly"], "--json"))
    auc = {(row["sample"], row["month"]): row for row in found["rows"] if row["metric"] == "roc_auc"}
    assert set(auc) == {("held out", "2026-02"), *(("realised", f"2026-0{n}") for n in (1, 2, 3))}
    assert all(row["clients"] > 0 for row in auc.values())
    for row in auc.values():
        assert row["difference"] == pytest.approx(row["a"] - row["b"])
    printed = models("compare", ids["logistic"], ids["vae_anomaly"])
    assert ids["logistic"] in printed
    assert "low, high: paired bootstrap" not in printed  # a hint, not a result


@pytest.mark.slow
@pytest.mark.flow
def test_promotion_makes_the_month_due_and_its_run_scores_by_it(home, challenger, ask):
    def up_to_date():
        return bool(finished(home, [Month.parse(LAST)], run_options(load_settings())))

    assert up_to_date()
    before = json.loads(models("show", "--json"))["id"]
    printed = models("promote", challenger, "--reason", "it can be explained")
    assert printed.startswith(f"{challenger} is champion from {LAST} on, after {before}")
    assert not up_to_date()
    monthly(LAST)
    assert up_to_date()
    scored = f"SELECT DISTINCT model || '@' || version FROM scores WHERE month = '{LAST}' AND is_champion"
    assert ask(home, scored) == [(challenger,)]
    drift = f"SELECT DISTINCT model || '@' || version FROM drift WHERE month = '{LAST}'"
    assert ask(home, drift) == [(challenger,)]
    decision = ask(home, f"SELECT verdict, rule, reason FROM decisions WHERE month = '{LAST}'")[0]
    assert decision[:2] == ("reuse", "a person's choice")
    assert "it can be explained" in home.month_page(Month.parse(LAST)).read_text()
    models("rollback", "--reason", "a mistake")
    assert not up_to_date()
    monthly(LAST)
    assert ask(home, scored) == [(before,)]


@pytest.mark.flow
def test_damaged_artifact_is_not_promoted(home, challenger, ask):
    victim = next(
        (home.artifacts / challenger.partition("@")[2] / challenger.partition("@")[0]).glob("*.skops")
    )
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=victim.name):
        models("promote", challenger, "--reason", "why not")
    assert ask(home, "SELECT action FROM promotions") == [("first",)]
    assert "sha-256" in json.loads(models("show", challenger, "--json"))["artifact_state"].lower()
