"""The whole way a person goes, in processes of their own: the demonstration, then a query, then again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


def creditflow(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"CREDITFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, env=env, cwd=TOP, capture_output=True, text=True, timeout=280)


@pytest.mark.flow
def test_demonstration_from_nothing_to_scores_and_pages(tmp_path):
    first = creditflow(tmp_path, "demo", "--months", "3", "--clients", "600")
    assert first.returncode == 0, first.stderr
    *months, summary = first.stdout.splitlines()
    assert [line[:7] for line in months] == ["2026-01", "2026-02", "2026-03"]
    assert summary.startswith("3 months: 3 done, 0 unchanged, 0 failed; ")
    assert "awaiting a first model" in first.stdout.lower()
    assert "Traceback" not in first.stderr
    assert "leaked" not in first.stderr
    reports = tmp_path / "published/reports"
    for page in ("index.html", "2026-02/index.html", "2026-02/drift.html", "2026-02/performance.html"):
        assert (reports / page).is_file(), page

    answer = creditflow(tmp_path, "sql", "SELECT month, clients FROM portfolio_by_month", "--csv")
    assert answer.stdout.splitlines()[0] == "month,clients"
    assert len(answer.stdout.splitlines()) == 4
    assert "2026-02" in creditflow(tmp_path, "status").stdout

    again = creditflow(tmp_path, "demo", "--months", "3", "--clients", "600")
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 3

    refused = creditflow(tmp_path, "run", "2026-04")
    assert refused.returncode == 1
    assert "clients_2026-04" in refused.stderr
    assert "Traceback" not in refused.stderr
