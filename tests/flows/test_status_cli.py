import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from creditflow.month import Month
from flows import show, status_cli
from tasks.schedule import Overdue
from tasks.status import MonthStatus, Status, Waiting

NOW = datetime(2026, 11, 22, 23, 4, tzinfo=UTC)
MONTH = MonthStatus(
    month="2005-09",
    file="clients_2005-09.csv",
    revision=2,
    file_sha256="f00",
    loaded_at=NOW,
    received=30_000,
    accepted=29_990,
    quarantined=10,
    model="vae_supervised",
    version="2005-05-3e57e821",
    basis="live",
    scored=29_990,
    scored_at=NOW,
    outcomes=29_001,
    defaulters=6_000,
    auc_estimated=0.75093,
    auc_estimated_sd=0.0086,
    auc_realised=0.78774,
    psi=0.0096,
    psi_band="stable",
    run_id="r",
    run_command="schedule",
    run_status="done",
    run_started_at=NOW,
    run_ended_at=NOW,
    run_message="said",
    alerts_critical=1,
    alerts_warning=2,
    alerts_info=0,
    report="built",
    report_built_at=NOW,
    stale=False,
    stale_reason=None,
)
EMPTY = replace(
    MONTH, **dict.fromkeys(f for f in MonthStatus.__dataclass_fields__ if f not in ("month", "report"))
)
FOUND = Status(Path("/home"), NOW, "warehouse", None, None, (MONTH,), (), ())


@pytest.fixture
def shown(monkeypatch):
    """What `status` prints for a Status, at a width."""

    def ask(status, width=160, newest=None, as_json=False):
        text = io.StringIO()
        console = Console(file=text, width=width, soft_wrap=True, highlight=False)
        monkeypatch.setattr(show, "out", console)
        monkeypatch.setattr(show, "hints", console)
        monkeypatch.setattr(status_cli, "look", lambda *_: status)
        monkeypatch.setattr(status_cli, "run_options", lambda *_: None)
        monkeypatch.setattr(status_cli.typer, "echo", console.print)
        status_cli.answer(SimpleNamespace(home=Path("/home")), newest, as_json)
        return text.getvalue()

    return ask


# What a reader looks for, in the layout of every width: 80 columns leave out the file's name.
ALWAYS = (
    "2005-09",
    "30,000",
    "10",
    "vae_supervised",
    "29,990",
    "29,001",
    "0.7509",
    "0.7877",
    "0.0096",
    "built",
)


@pytest.mark.parametrize("width", [80, 100, 120, 160, 1000])
def test_table_fits_and_says_everything(shown, width):
    text = shown(FOUND, width)
    assert max(map(len, text.splitlines())) <= width
    missing = [
        word
        for word in (*ALWAYS, "2005-05-3e57e821", "done 2026-11-22", "current", "1 crit 2 warn")
        if word not in text
    ]
    assert missing == []
    assert ("clients_2005-09.csv" in text) == (width >= 120)


def test_terminal_of_sixty_columns_folds_and_loses_nothing(shown):
    text = shown(FOUND, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert [word for word in ALWAYS if word not in text.replace("\n", "")] in ([], ["vae_supervised"])


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_month_of_which_nothing_is_known_has_dashes(shown, width):
    text = shown(replace(FOUND, months=(replace(EMPTY, report="none"),)), width)
    assert "None" not in text
    assert text.count("–") >= 8


@pytest.mark.parametrize(("stale", "word"), [(True, "stale"), (False, "current"), (None, "?")])
def test_state(shown, stale, word):
    assert word in shown(replace(FOUND, months=(replace(MONTH, stale=stale, stale_reason="it changed"),)))


def test_lines_below_the_table_say_what_a_cell_cannot(shown):
    months = (
        replace(EMPTY, month="2005-10", report="none", run_status="refused", run_message="too many rows"),
        replace(MONTH, stale=True, stale_reason="outcomes of 2005-08 were corrected"),
    )
    overdue = (Overdue(Month(2005, 11), NOW), Overdue(Month(2005, 12), NOW + timedelta(days=31)))
    waiting = (Waiting("clients", "2005-10", "clients of 2005-10 are in the inbox"),)
    text = shown(replace(FOUND, months=months, overdue=overdue, waiting=waiting))
    assert text.splitlines()[-5:] == [
        "2005-10 refused: too many rows",
        "2005-09 is stale: outcomes of 2005-08 were corrected",
        "Bring them up to date: creditflow rebuild",
        "clients of 2005-10 are in the inbox",
        "overdue: clients of 2005-11 to 2005-12, 2 months, the first expected by 2026-11-22 23:04 UTC",
    ]


def test_many_stale_months_of_one_reason_share_a_line(shown):
    reasons = ["the code changed"] * 4 + ["its file changed"] * 2
    months = tuple(
        replace(MONTH, month=f"2005-0{9 - n}", stale=True, stale_reason=reason)
        for n, reason in enumerate(reasons)
    )
    assert shown(replace(FOUND, months=months)).splitlines()[-4:] == [
        "4 months from 2005-06 to 2005-09 are stale: the code changed",
        "2005-05 is stale: its file changed",
        "2005-04 is stale: its file changed",
        "Bring them up to date: creditflow rebuild",
    ]


def test_many_waiting_files_share_a_line(shown):
    def files(kind, count):
        return tuple(Waiting(kind, f"2005-0{n}", f"{kind} {n}") for n in range(1, count + 1))

    text = shown(replace(FOUND, waiting=(*files("clients", 4), *files("outcomes", 3), *files("misnamed", 4))))
    assert text.splitlines()[-8:] == [
        "clients of 4 months from 2005-01 to 2005-04 are in the inbox: "
        "creditflow backfill 2005-01 2005-04 --reason …",
        *(f"outcomes {n}" for n in (1, 2, 3)),
        *(f"misnamed {n}" for n in (1, 2, 3, 4)),
    ]


def test_one_overdue_month(shown):
    text = shown(replace(FOUND, overdue=(Overdue(Month(2005, 11), NOW),)))
    assert text.splitlines()[-1] == "overdue: clients of 2005-11, expected by 2026-11-22 23:04 UTC"


def test_copy_is_called_a_copy(shown):
    busy = "the run of 2005-10 (process 7, since noon) is going on"
    text = shown(replace(FOUND, source="published", problem=busy, not_looked_at=busy))
    assert f"This is the published copy: {busy}" in text
    assert "Stale or not: not looked at" in text


def test_months_that_nobody_could_hold_against_the_inbox(shown):
    text = shown(replace(FOUND, not_looked_at="two client files of 2005-10"))
    assert text.splitlines()[-1] == "Stale or not: not looked at (two client files of 2005-10)"


def test_nothing_to_show_is_one_line(shown):
    text = shown(replace(FOUND, source="none", problem="warehouse.duckdb: damaged", months=(), overdue=None))
    assert text == "No month can be shown: warehouse.duckdb: damaged\n"
    empty = shown(replace(FOUND, source="none", months=()))
    assert empty == "No month yet in /home. Begin with: creditflow demo\n"


def test_newest_months_only(shown):
    months = tuple(replace(MONTH, month=f"2005-0{n}") for n in (9, 8, 7, 6))
    text = shown(replace(FOUND, months=months), newest=2)
    assert "2005-08 " in text
    assert "2005-07 " not in text
    assert "and 2 earlier months" in text
    assert [
        m["month"] for m in json.loads(shown(replace(FOUND, months=months), newest=1, as_json=True))["months"]
    ] == ["2005-09"]


def test_text_of_a_file_is_no_markup(shown):
    text = shown(replace(FOUND, months=(replace(MONTH, file="[red]clients.csv[/red]"),)))
    assert "[red]clients.csv[/red]" in text


# ── As a command ────────────────────────────────────────────────────────────────────────────────


def command(home, *arguments):
    env = os.environ | {"CREDITFLOW_HOME": str(home), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "status", *arguments], env=env, capture_output=True, text=True
    )


def test_empty_home_is_an_answer(tmp_path):
    done = command(tmp_path / "home", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["source"], found["months"], found["waiting"], found["overdue"]) == ("none", [], [], [])
    assert not (tmp_path / "home").exists()


def test_damaged_home_is_an_answer_of_one_line(tmp_path):
    (tmp_path / "warehouse.duckdb").write_bytes(b"no database" * 500)
    done = command(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("No month can be shown: ")
    assert "creditflow restore BACKUP" in line


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_number_of_months_is_one_or_more(tmp_path, number):
    done = command(tmp_path / "home", "--months", number)
    assert done.returncode == 2
    assert "--months" in done.stderr


def test_a_look_pays_for_no_heavy_import():
    heavy = "{'torch', 'prefect', 'sklearn', 'pandas', 'evidently', 'great_expectations', 'scipy'}"
    code = f"import sys, flows.status_cli, tasks.status; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
