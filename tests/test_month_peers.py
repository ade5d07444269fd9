"""The comparison of a month's run with its peers: what needs no peer installed."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pytest

from creditflow.columns import ATTRIBUTE_NAMES
from models.features import FeatureSet

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("month_peers")


@pytest.fixture(scope="module")
def scripts(peers: ModuleType) -> ModuleType:
    return importlib.import_module("month_peer_scripts")


def table(rows: int) -> pd.DataFrame:
    """Clients as a file holds them."""
    rng = np.random.default_rng(3)
    names = [
        "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", "PAY_0", *(f"PAY_{n}" for n in range(2, 7)),
        *(f"BILL_AMT{n}" for n in range(1, 7)), *(f"PAY_AMT{n}" for n in range(1, 7)),
    ]  # fmt: skip
    low = {"LIMIT_BAL": 10_000, "AGE": 21, "BILL_AMT": -2_000, "PAY_AMT": 0, "PAY_": -2}
    high = {"LIMIT_BAL": 500_000, "AGE": 75, "BILL_AMT": 90_000, "PAY_AMT": 9_000, "PAY_": 9}

    def limit(limits: dict[str, int], name: str, otherwise: int) -> int:
        return next((value for start, value in limits.items() if name.startswith(start)), otherwise)

    columns = {name: rng.integers(limit(low, name, 1), limit(high, name, 3), rows) for name in names}
    return pd.DataFrame({"ID": [f"C{n}" for n in range(rows)]} | columns)


# ── Processes ───────────────────────────────────────────────────────────────────────────────────


def ran(peers: ModuleType, folder: Path, code: str, seconds: float = 60, memory: float = 4.0):
    return peers.ran([sys.executable, "-c", code], folder, peers.Limits(seconds, int(memory * 2**30)))


def test_process_is_timed_and_weighed(tmp_path: Path) -> None:
    """From a process as small as the command's own: what it holds when it forks is the least that counts."""
    measured = "import time; held = b'x' * (200 << 20); time.sleep(0.3); print('scores')"
    code = (
        "import json, sys, month_peers as m; from dataclasses import asdict; from pathlib import Path\n"
        f"ended = m.ran([sys.executable, '-c', {measured!r}], Path('.'), m.Limits(60, 1 << 32))\n"
        "print(json.dumps(asdict(ended)))"
    )
    path = os.pathsep.join([str(FOLDER), str(FOLDER.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path, capture_output=True
    )
    ended = json.loads(done.stdout)
    assert (ended["failure"], ended["printed"]) == (None, "scores\n")
    assert 0.3 < ended["seconds"] < 20
    assert 200 < ended["peak"] < 300
    assert ended["processor"] < ended["seconds"]


@pytest.mark.parametrize(
    ("code", "seconds", "failure"),
    [
        ("import time; time.sleep(30)", 0.5, "stopped after 0 s"),
        ("held = bytearray(3 << 30)", 60, "out of memory beyond 1 GiB"),
        ("import numpy; numpy.ones(1 << 29)", 60, "out of memory beyond 1 GiB"),
    ],
)
def test_limits_are_told_by_name(
    peers: ModuleType, tmp_path: Path, code: str, seconds: float, failure: str
) -> None:
    assert ran(peers, tmp_path, code, seconds, 1.0).failure == failure


def test_script_that_fails_for_another_reason_stops_the_comparison(peers: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such column"):
        ran(peers, tmp_path, "raise KeyError('no such column')")


def test_scripts_take_their_own_number_of_threads(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ended = ran(
        peers, tmp_path, "import os; print(os.environ.get('OMP_NUM_THREADS'), os.environ['CREDITFLOW_HOME'])"
    )
    assert ended.printed.split() == ["None", str(tmp_path / "home")]


# ── Checks ──────────────────────────────────────────────────────────────────────────────────────


def test_too_few_scores_stop_the_comparison(peers: ModuleType) -> None:
    ended = peers.Ended(1.0, 1.0, 100.0, 'noise\n{"scores": 99}\n', None)
    with pytest.raises(RuntimeError, match="notebook wrote 99 scores instead of 100"):
        peers._check_scores("notebook", ended, 100)
    with pytest.raises(RuntimeError, match="instead of 700"):
        peers._check_scores("whole_month", ended, 100)
    peers._check_scores("notebook", ended, 99)


@pytest.mark.parametrize(("off", "refused"), [(0.0, False), (9e-6, False), (1.1e-5, True), (np.nan, True)])
def test_network_that_scores_otherwise_is_refused(
    peers: ModuleType, tmp_path: Path, off: float, refused: bool
) -> None:
    (tmp_path / "peers").mkdir()
    for name, add in (("a", 0.0), ("b", off)):
        np.save(tmp_path / "peers" / f"{name}.scores.npy", np.array([0.1, 0.2 + add]))
    if refused:
        with pytest.raises(RuntimeError, match="b scores otherwise than a"):
            peers._difference(tmp_path, "a", "b")
    else:
        assert peers._difference(tmp_path, "a", "b") == pytest.approx(off, rel=1e-6)


def test_notebooks_features_are_ours(scripts: ModuleType) -> None:
    """Utilisation, payment ratios and delays by the same names as in `models.features`."""
    clients = table(200)
    found = scripts.pandas_features(clients)
    names = dict(zip(clients.columns[1:], ATTRIBUTE_NAMES, strict=True))
    ours = FeatureSet().frame(pl.from_pandas(clients.rename(columns=names)))
    for name in (*(f"utilisation_{t}" for t in range(1, 7)), "delay_worst"):
        np.testing.assert_allclose(found[name], ours[name])
    owed = clients["BILL_AMT2"] > 0
    np.testing.assert_allclose(found["payment_ratio_1"][owed], ours["payment_ratio_1"].to_numpy()[owed])


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("AGE", 7, "odd age"),
        ("PAY_4", 12, "odd status"),
        ("LIMIT_BAL", 0, "limit of nothing"),
        ("ID", "C1", "repeated"),
    ],
)
def test_notebook_stops_at_a_bad_row(scripts: ModuleType, column: str, value: object, told: str) -> None:
    clients = table(50)
    scripts._check(clients)
    clients.loc[3, column] = value
    with pytest.raises(ValueError, match=told):
        scripts._check(clients)


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def test_every_script_has_its_title_and_every_pair_its_scripts(
    peers: ModuleType, scripts: ModuleType
) -> None:
    assert set(peers.TITLES) == {peers.OURS, *scripts.MONTHS}
    assert set().union(*peers.THINGS.values()) <= set(peers.TITLES)
    assert {name for pair in peers.PAIRS.values() for name in pair} == set(scripts.SCORINGS)


def test_page_gives_ratios_and_what_each_leaves_out(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "machine", lambda _: "x86_64")  # the peers need not be installed
    months = {name: peers.Ended(20.0, 30.0, 900.0, "", None) for name in peers.TITLES}
    months["creditflow"] = peers.Ended(10.0, 15.0, 700.0, "", None)
    months["notebook"] = peers.Ended(5.0, 6.0, 300.0, "", None)
    months["pyod"] = peers.Ended(60.0, 70.0, 800.0, "", "stopped after 60 s")
    alone = {name: peers.Alone(100.0, 50.0) for pair in peers.PAIRS.values() for name in pair}
    alone["ours_network"] = peers.Alone(300.0, 50.0)
    size = peers.Size(990, 1_000, months, alone, dict.fromkeys(peers.SAME, 3e-8))
    text = peers.page([size], peers.Limits(60, 2**31))
    for row in (
        "Written by `python benchmarks/month_peers.py 990`",
        "creditflow takes 10.0 s. More time: *notebook, the whole month* (6 of 10 things, 2.00 of its time)",
        "Less time, for less done: *notebook, one model* (3 of 10 things, 0.50 of its time).",
        "Not to the end: *PyOD VAE* (1 of 10 things).",
        "| creditflow, a reuse run | 10.0 | 1.00 | 15.0 | 700 | 100 | 700 | 10 of 10 | 1.0 |",
        "| notebook, the whole month | 20.0 | 2.00 | 30.0 | 900 | 50 | 350 | 6 of 10 | 3.3 |",
        "| LightGBM | 20.0 | 2.00 | 30.0 | 900 | 50 | 50 | 1 of 10 | 20.0 |",
        "| PyOD VAE | stopped after 60 s | | 70.0 | 800 | | | | |",
        "| its network alone, on encoded rows | 300 | 100 | 3.00 | 50 | 50 | 3.0e-08 |",
        "| gradient boosting beside LightGBM | 100 | 100 | 1.00 | 50 | 50 | other model |",
        "| gives reasons for scores | yes | no | no | no | no | no | no |",
    ):
        assert row in text
