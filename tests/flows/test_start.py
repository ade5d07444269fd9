import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from creditflow.errors import ServerUnreachable
from flows import server, start
from flows.server import OwnServer, answers

# A flow in a process that has no server, then a line that tells where it found one.
FLOW = """
import sys, time
from pathlib import Path
from flows.quiet import prepare_environment
home = Path(sys.argv[1])
prepare_environment(home)
from flows import server, start
start.HEAVY = ()
with start.prefect_at_hand(home):
    from prefect import flow, task
    from prefect.settings import PREFECT_API_URL
    @flow
    def outer():
        return task(lambda: 7)()
    assert outer() == 7
    print(PREFECT_API_URL.value(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


def flow_process(home, seconds):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [sys.executable, "-c", FLOW, str(home), str(seconds)], stdout=subprocess.PIPE, text=True, env=env
    )


def silent(url, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not answers(url, 1):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.flow
@pytest.mark.parametrize("killed", [False, True])
def test_server_of_a_command_ends_with_it(tmp_path, killed):
    process = flow_process(tmp_path, 60 if killed else 0)
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    if killed:
        assert answers(url)
        process.send_signal(signal.SIGKILL)
    assert process.wait(60) == (-signal.SIGKILL if killed else 0)
    process.stdout.close()
    assert silent(url)
    # Its history is kept where it always was.
    assert (tmp_path / "prefect" / "prefect.db").is_file()


@pytest.mark.flow
def test_server_that_settings_name_is_used(prefect_server, tmp_path, monkeypatch):
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setattr(OwnServer, "start", lambda self: pytest.fail("a server was started"))
    monkeypatch.setattr(start, "HEAVY", ())
    named = PREFECT_API_URL.value()
    with start.prefect_at_hand(tmp_path):
        assert PREFECT_API_URL.value() == named


def test_brief_server_has_no_clock_and_no_pages_and_keeps_the_database(tmp_path):
    brief, long = (OwnServer(tmp_path, brief=b)._environment() for b in (True, False))
    assert brief["PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED"] == "false"
    assert brief["PREFECT_SERVER_UI_ENABLED"] == "false"
    assert "PREFECT_API_DATABASE_CONNECTION_URL" not in brief
    assert not any("TASK_RUN_RECORDER" in name or "EVENT_PERSISTER" in name for name in brief)
    assert "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED" not in long
    assert OwnServer(Path("f"), brief=True).log != OwnServer(Path("f")).log


# ── Migrations ──────────────────────────────────────────────────────────────────────────────────


def kept_at(database, revision):
    with closing(sqlite3.connect(database)) as con, con:
        con.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        con.execute("DELETE FROM alembic_version")
        con.execute("INSERT INTO alembic_version VALUES (?)", [revision])


def test_migrations_are_looked_for_until_a_server_of_this_prefect_has_made_them(tmp_path, monkeypatch):
    database = tmp_path / "a b%20?.db"
    server.remember_migrated(database)
    assert not server.is_migrated(database)
    assert not list(tmp_path.iterdir())  # a look makes no file
    kept_at(database, "one")
    assert not server.is_migrated(database)
    server.remember_migrated(database)
    assert server.is_migrated(database)
    kept_at(database, "two")  # put back from a backup, or kept by another Prefect meanwhile
    assert not server.is_migrated(database)
    server.remember_migrated(database)
    monkeypatch.setattr(server, "version", lambda _: "9.9")
    assert not server.is_migrated(database)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked at" * 99])
def test_migrations_of_a_damaged_database_are_left_to_prefect(tmp_path, content):
    database = tmp_path / "prefect.db"
    database.write_bytes(content)
    server.remember_migrated(database)
    assert not server.is_migrated(database)


def test_migrations_of_a_database_that_is_no_file_are_left_to_prefect():
    server.remember_migrated(None)
    assert not server.is_migrated(None)


@pytest.mark.slow
def test_second_server_of_a_database_finds_it_migrated(tmp_path):
    own = OwnServer(tmp_path)
    for migrate in ("true", "false"):
        assert own._environment()["PREFECT_API_DATABASE_MIGRATE_ON_START"] == migrate
        try:
            own.start().wait()
            with urllib.request.urlopen(f"{own.url}/api/admin/version", timeout=20) as reply:
                assert reply.status == 200
        finally:
            own.stop()


@pytest.mark.slow
def test_of_two_servers_of_a_new_database_one_makes_it_and_the_other_waits(tmp_path):
    def serve():
        own = OwnServer(tmp_path)
        try:
            own.start().wait()
            return answers(f"{own.url}/api")
        finally:
            own.stop()

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(serve) for _ in range(2)]
    assert [served.result() for served in both] == [True, True]
    # Nobody is kept out by what is left.
    assert server.is_migrated(tmp_path / "server.db")
    with FileLock(tmp_path / ".migrating", timeout=0):
        pass


def test_a_database_that_another_process_never_ends_making_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "START_SECONDS", 0.1)
    with (
        FileLock(tmp_path / ".migrating"),
        pytest.raises(ServerUnreachable, match="still making its database"),
    ):
        OwnServer(tmp_path).start()


def test_every_service_that_is_left_out_is_one_that_prefect_has():
    from prefect.settings.models.server.services import ServerServicesSettings

    names = {name.upper() for name in ServerServicesSettings.model_fields}
    off = [name for name in OwnServer(Path("f"), brief=True)._environment() if "_SERVICES_" in name]
    assert {n.removeprefix("PREFECT_SERVER_SERVICES_").removesuffix("_ENABLED") for n in off} <= names
