"""`creditflow ui` in a process of its own: what it serves, to whom, and how it ends."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from creditflow.columns import ATTRIBUTES
from creditflow.errors import ServerUnreachable
from flows import cli, ui
from flows.server import free_port
from flows.settings import load_settings
from sql.warehouse import open_warehouse
from tasks.home import Home
from tasks.reports.workspace import Sampling, update_workspace, workspace_folder

FIRST = "2021-01"
DEFAULTS = Sampling(50_000, 42)
# Every connection and look-up that a Python process tries, as the interpreter itself reports them.
_TELL = """
import os, sys
def tell(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"):
        with open(os.environ["TOLD"], "a") as file:
            file.write(f"{event} {args[1] if event == 'socket.connect' else args[0]}\\n")
sys.addaudithook(tell)
"""


# ── A home ──────────────────────────────────────────────────────────────────────────────────────


def clients(rows, seed):
    """Attributes, score, pd and outcome; the PD follows the newest payment status."""
    rng = np.random.default_rng(seed)
    highest = {
        name: 9_000 if role == "amount" else 4 for name, role in ((a.name, a.role) for a in ATTRIBUTES)
    }
    frame = pl.DataFrame({name: rng.integers(1, high, rows) for name, high in highest.items()})
    score = frame["pay_1"].to_numpy() - 3 + rng.normal(scale=0.4, size=rows)
    pd = 1 / (1 + np.exp(-score))
    outcome = (rng.random(rows) < pd).astype(np.int8)
    frame = frame.cast({a.name: a.dtype for a in ATTRIBUTES})
    return frame.with_columns(score=pl.Series(score), pd=pl.Series(pd), defaulted=pl.Series(outcome))


_INSERTS = (
    "INSERT INTO clients BY NAME SELECT * EXCLUDE (score, pd, defaulted), 'x' AS file_sha256 FROM frame",
    "INSERT INTO outcomes SELECT month, client_id, defaulted, 'outcomes', 'x' FROM frame",
    "INSERT INTO score_rows BY NAME SELECT month, client_id, score, pd, 'logistic' AS model,"
    " TRUE AS is_champion FROM frame",
    "INSERT INTO scorings SELECT DISTINCT month, 'logistic', 'v1', 'live', 'r1', 'x', 'c0de',"
    " now()::TIMESTAMP FROM frame",
)


def add_month(home, month, seed, rows=150):
    """A scored month with outcomes, as a run leaves it."""
    numbered = clients(rows, seed).with_row_index("row_number", offset=1)
    frame = numbered.with_columns(  # noqa: F841  (read by name)
        client_id=pl.format("C{}", "row_number"), month=pl.lit(month)
    )
    with open_warehouse(home.warehouse) as con:
        for kind in ("clients", "outcomes"):
            con.execute(
                "INSERT INTO files VALUES (?, ?, 'x', '', 9, 1, true, false, ?, ?, 0, '', 'r', '2021-03-05')",
                [month, kind, rows, rows],
            )
        for insert in _INSERTS:
            con.execute(insert)


def register(home, manifest_sha256):
    with open_warehouse(home.warehouse) as con:
        con.execute(_MODEL, [FIRST, manifest_sha256])


_MODEL = """
INSERT INTO models BY NAME
SELECT
    'logistic' AS model, 'v1' AS version, $1 AS month, [$1] AS training_months, 1 AS training_rows,
    1 AS training_defaulters, 'x' AS training_sha256, $2 AS manifest_sha256, 'a' AS artifact, 42 AS seed,
    1.0 AS fit_seconds, 'c0de' AS code_version, 'r1' AS run_id, now()::TIMESTAMP AS trained_at
"""


def reference_of(*_):
    return clients(200, seed=99)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A home whose only month is in its workspace already, so that a command has nothing to make."""
    home = Home(tmp_path_factory.mktemp("ui") / "home")
    home.root.mkdir()
    add_month(home, FIRST, seed=1)
    register(home, "m")
    update_workspace(home, DEFAULTS, reference_of=reference_of)
    return home


class Command:
    """`creditflow ui` at work; its output is read as it comes."""

    def __init__(self, home, folder, *arguments):
        (folder / "sitecustomize.py").write_text(_TELL)
        self.told = folder / "told.txt"
        self.port = free_port()
        environment = {
            "CREDITFLOW_HOME": str(home.root),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(folder),
            "TOLD": str(self.told),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "ui", "--port", str(self.port), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = []

    def serving(self):
        """Waits for the line that says where; returns the address of the server and of the project."""
        for line in self.process.stdout:
            self.said.append(line)
            found = re.match(r"serving (http://\S+:\d+)/projects/(\S+) +\(Ctrl-C ends\)$", line)
            if found:
                return found[1], found[2]
        raise AssertionError(f"{self.said} {self.process.stderr.read()}")

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def served(prepared, tmp_path_factory):
    """The prepared home, served; ended by SIGTERM at the end of the module."""
    command = Command(prepared, tmp_path_factory.mktemp("served"))
    try:
        command.url, command.project = command.serving()
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as reply:
        return reply.status, reply.headers, reply.read()


def get_json(url):
    return json.loads(get(url)[2])


def refusal(url, method="GET", **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=20)
    return error.value.code, error.value.read().decode()


# ── What is served ──────────────────────────────────────────────────────────────────────────────


def test_the_page_and_its_snapshots_are_served(served):
    assert served.url == f"http://127.0.0.1:{served.port}"
    status, headers, page = get(f"{served.url}/projects/{served.project}")
    assert status == 200
    assert b'<div id="root">' in page
    assert headers["Content-Security-Policy"].startswith("default-src 'self' ")
    (project,) = get_json(f"{served.url}/api/projects/")
    assert (project["id"], project["name"]) == (served.project, "creditflow")
    listed = get_json(f"{served.url}/api/projects/{served.project}/snapshots")
    assert sorted(snapshot["name"] for snapshot in listed) == [f"{FIRST} classification", f"{FIRST} drift"]
    assert {snapshot["timestamp"] for snapshot in listed} == {"2021-01-01T00:00:00"}


def test_every_panel_has_points(served):
    dashboard = get_json(f"{served.url}/api/v2/dashboards/{served.project}")
    assert len(dashboard["panels"]) == 10
    for panel in dashboard["panels"]:
        asked = [{k: m[k] for k in ("tags", "metadata", "metric", "metric_labels")} for m in panel["values"]]
        request = urllib.request.Request(
            f"{served.url}/api/v2/snapshots/{served.project}/data_series_batch",
            data=json.dumps({"series_filter": asked}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            series = json.loads(reply.read())["series"] if asked else []
        assert len(series) == len(asked), panel["title"]
        assert all(value is not None for one in series for value in one["values"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/projects/{project}"),
        ("POST", "/api/projects/"),
        ("POST", "/api/v2/dashboards/{project}"),
        ("POST", "/api/v2/snapshots/{project}"),
    ],
)
def test_nothing_can_be_changed(served, prepared, method, path):
    code, words = refusal(served.url + path.format(project=served.project), method)
    assert code == 403
    assert "nothing is changed here" in words
    assert (workspace_folder(prepared) / served.project / "metadata.json").is_file()


def test_a_page_of_elsewhere_that_resolves_to_loopback_is_refused(served):
    assert refusal(f"{served.url}/api/projects/", Host=f"evil.example:{served.port}")[0] == 400
    assert get(f"{served.url}/api/projects/", Host=f"localhost:{served.port}")[0] == 200


def test_it_calls_nobody(served):
    """The interpreters' own account: connections to loopback alone, no git, no telemetry."""
    get(f"{served.url}/api/version")
    get_json(f"{served.url}/api/projects/{served.project}/reports")
    told = served.told.read_text().splitlines()
    # The guard works: it saw the command look whether its page answers, and start it.
    assert any(line == f"socket.connect ('127.0.0.1', {served.port})" for line in told)
    started = [line for line in told if line.startswith("subprocess")]
    assert started == [f"subprocess.Popen {sys.executable}"]
    reached = {line for line in told if not line.startswith("subprocess")}
    allowed = ("socket.connect ('127.0.0.1'", "socket.getaddrinfo 127.0.0.1")
    assert not [line for line in reached if not line.startswith(allowed)]


def test_a_snapshot_made_while_it_serves_appears(served, prepared):
    add_month(prepared, "2021-02", seed=2)
    update_workspace(prepared, DEFAULTS, reference_of=reference_of)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        listed = get_json(f"{served.url}/api/projects/{served.project}/snapshots")
        if len(listed) == 4:
            break
        time.sleep(0.2)
    assert {snapshot["metadata"]["month"] for snapshot in listed} == {FIRST, "2021-02"}


# Last of those that ask the served page.
def test_sigterm_ends_it_with_its_page(served):
    assert served.end(signal.SIGTERM) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", served.port), timeout=5)
    assert served.process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_page_outlives_its_command(prepared, tmp_path, number, code):
    command = Command(prepared, tmp_path)
    command.serving()
    assert command.end(number) == code
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", command.port), timeout=5).close()
        except OSError:
            return
        time.sleep(0.2)
    pytest.fail("the page is still served")


# ── Building, and refusals ──────────────────────────────────────────────────────────────────────


def ask(*arguments):
    """The command in this process: exit code and the error, if one was raised."""
    result = CliRunner().invoke(cli.app, ["ui", *arguments])
    return (
        getattr(result.exception, "exit_code", result.exit_code),
        str(result.exception or ""),
        result.output,
    )


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    """A copy of the prepared home, in force."""
    shutil.copytree(prepared.root, tmp_path / "home")
    monkeypatch.setenv("CREDITFLOW_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def test_build_only_reads_the_sample_of_the_champions_artifact(home, capsys):
    """With a real model, whose sums are checked; its sample is what the months are held against."""
    from models.artifacts import save
    from models.develop import develop

    data = clients(1_200, seed=5).drop("score", "pd").with_row_index("client_id")
    (model,) = develop(data.cast({"client_id": pl.String}), seed=7, names=["logistic"])
    digest = save(model, home.artifacts / "v1" / "logistic")
    with open_warehouse(home.warehouse) as con:
        con.execute("UPDATE models SET manifest_sha256 = ?", [digest])
    ui.ui(load_settings(), (FIRST, FIRST), "127.0.0.1", 8000, build_only=True)
    made = capsys.readouterr().out
    assert "snapshots 2 made, 0 unchanged" in made
    metadata = [
        json.loads(path.read_text())["metadata"] for path in workspace_folder(home).rglob("snapshots/*.json")
    ]
    assert {facts["reference_clients"] for facts in metadata} == {str(model.reference.height)}


def test_a_port_that_is_taken(home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, words, _ = ask("--port", port)
    assert code == 1
    assert words.startswith(f"port {port} of 127.0.0.1: ")
    assert "in use" in words


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--months", "2021-01", "2021-13", "--build-only"), 2, "--months"),
        (("--months", "2021-02", "2021-01", "--build-only"), 2, "2021-02 to 2021-01"),
        (("--months", "2030-01", "2030-02", "--build-only"), 1, "from 2030-01 to 2030-02"),
        (("--host", "192.0.2.1"), 2, "192.0.2.1"),
        (("--host", "no such host"), 2, "--host"),
    ],
)
def test_refusals(home, arguments, code, words):
    found, error, _ = ask(*arguments)
    assert found == code
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "arguments", [("--port", "0"), ("--port", "65536"), ("--port", "x"), ("--months", "2021-01")]
)
def test_option_values_that_are_none(home, arguments):
    assert ask(*arguments)[0] == 2


def test_empty_and_damaged_homes(home):
    home.warehouse.write_bytes(b"no database" * 1000)
    code, words, _ = ask("--build-only")
    assert code == 1
    assert "creditflow restore" in words
    home.warehouse.unlink()
    code, words, _ = ask("--build-only")
    assert code == 1
    assert "creditflow demo" in words


@pytest.mark.slow
def test_a_workspace_that_evidently_cannot_read_is_one_line(home, capsys):
    (snapshot, *_) = workspace_folder(home).rglob("snapshots/*.json")
    snapshot.write_text("{")
    with pytest.raises(ServerUnreachable, match=r"server\.log.*may be deleted"):
        ui.ui(load_settings(), None, "127.0.0.1", free_port(), build_only=False)


@pytest.mark.parametrize(
    ("host", "url", "names"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}", ["127.0.0.1:{port}", "localhost:{port}"]),
        ("0.0.0.0", "http://127.0.0.1:{port}", []),
    ],
)
def test_addresses(host, url, names):
    with ui._bound(host, free_port()) as listener:
        port = listener.getsockname()[1]
        assert ui._url(listener) == url.format(port=port)
        assert ui._names(listener) == [name.format(port=port) for name in names]
