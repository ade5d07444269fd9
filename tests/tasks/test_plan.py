import hashlib
import json
import shutil
import time
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.month import Month
from expectations import digests
from sql.warehouse import open_warehouse
from tasks import ledger
from tasks.derived import due_months, record_made
from tasks.home import Home, locked
from tasks.ledger import digest
from tasks.options import Options
from tasks.plan import differences, plan, stale_months, unread_outcomes, views

M = Month.parse
MONTHS = [M("2005-04"), M("2005-05"), M("2005-06")]
ENDED = datetime(2005, 7, 1, 6, 30)
FACTS = {
    "clients": "a",
    "earlier_clients": {"2005-04": "b", "2005-05": "c"},
    "outcomes": {"2005-04": "d"},
    "unread_outcomes": [],
    "champion": ["blend@1"],
    "chosen": [],
    "options": {"seed": 42, "evidently": True},
    "code": "x",
    "as_of": "then",
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"clients": "z"}, ["its client file has other content"]),
        ({"earlier_clients": {"2005-04": "b", "2005-05": "z"}}, ["clients of 2005-05 were revised"]),
        ({"earlier_clients": {"2005-05": "c"}}, ["clients of 2005-04 no longer count"]),
        ({"outcomes": {"2005-04": "d", "2005-05": "e"}}, ["outcomes of 2005-05 arrived"]),
        ({"outcomes": {"2005-04": "z"}}, ["outcomes of 2005-04 were revised"]),
        (
            {"outcomes": {"2005-04": "d"} | {f"2006-0{n}": "e" for n in range(1, 6)}},
            ["outcomes of 2006-01 to 2006-05 (5 months) arrived"],
        ),
        ({"unread_outcomes": ["2005-01"]}, ["outcomes of 2005-01 wait to be loaded"]),
        ({"champion": ["blend@2"]}, ["the champion was blend@1, is blend@2"]),
        ({"champion": []}, ["the champion was blend@1, is none"]),
        ({"chosen": ["logistic@1"]}, ["a person's choice was none, is logistic@1"]),
        ({"options": {"seed": 43, "evidently": True}}, ["settings changed: seed"]),
        ({"options": {"seed": 42, "evidently": True, "new": 1}}, ["settings changed: new"]),
        ({"code": "y"}, ["the code changed"]),
        (
            {"as_of": "now", "outcomes": {}, "earlier_clients": {}},
            ["it was scored as of then, not as of now"],
        ),
        ({"clients": "z", "code": "y"}, ["its client file has other content", "the code changed"]),
    ],
)
def test_what_has_changed_is_said_in_words(changed, words):
    assert differences(FACTS, FACTS | changed) == words


@given(st.dictionaries(st.sampled_from(sorted(FACTS)), st.just(None)))
def test_equal_facts_have_equal_digests_whatever_their_order(order):
    again = {name: FACTS[name] for name in [*order, *FACTS]}
    assert digest(again) == digest(FACTS)


def test_home_that_is_not_there_is_planned_and_not_made(tmp_path):
    home = Home(tmp_path / "home")
    steps = plan(home, [M("2005-04")], Options())
    assert [(step.action, step.never_done) for step in steps] == [("missing", True)]
    assert (stale_months(home, Options()), unread_outcomes(home)) == ({}, [])
    assert not home.root.exists()


def test_month_that_was_never_run_is_to_be_run_and_the_ones_after_it_too(tmp_path):
    home = Home(tmp_path)
    home.inbox.mkdir()
    for month in ("2005-04", "2005-06"):
        (home.inbox / f"clients_{month}.csv").write_text("ID")
    with open_warehouse(home.warehouse):
        pass
    steps = plan(home, [M("2005-04"), M("2005-05"), M("2005-06")], Options())
    assert [step.action for step in steps] == ["run", "missing", "run"]
    assert steps[0].reason == "it was never run"
    assert "clients_2005-05" in steps[1].reason


def test_refused_run_is_named_with_its_message(tmp_path):
    home = Home(tmp_path)
    home.inbox.mkdir()
    (home.inbox / "clients_2005-04.csv").write_text("ID")
    with open_warehouse(home.warehouse) as con:
        con.execute(
            "INSERT INTO runs BY NAME SELECT 'r' AS run_id, '2005-04' AS month, 'run' AS command, "
            "'refused' AS status, now()::TIMESTAMP AS started_at, 'c' AS code_version, 1 AS pid, "
            "'no column' AS message"
        )
    (step,) = plan(home, [M("2005-04")], Options())
    assert (step.action, step.reason) == ("run", "its last run was refused: no column")


def test_database_of_an_earlier_version_is_looked_at_and_not_migrated(tmp_path):
    home = Home(tmp_path)
    home.inbox.mkdir()
    (home.inbox / "clients_2005-04.csv").write_text("ID")
    with open_warehouse(home.warehouse) as con:
        con.execute(
            "INSERT INTO runs BY NAME SELECT 'r' AS run_id, '2005-04' AS month, 'run' AS command, "
            "'done' AS status, now()::TIMESTAMP AS started_at, now()::TIMESTAMP AS ended_at, "
            "'c' AS code_version, 1 AS pid"
        )
        con.execute("DELETE FROM migrations WHERE name = '003_operations'")
        con.execute("CHECKPOINT")
    before = hashlib.sha256(home.warehouse.read_bytes()).hexdigest()
    (step,) = plan(home, [M("2005-04")], Options())
    assert (step.action, step.reason) == ("run", "it was run by an earlier version of creditflow")
    assert not step.never_done
    assert hashlib.sha256(home.warehouse.read_bytes()).hexdigest() == before


# ── A home that is up to date ───────────────────────────────────────────────────────────────────


@pytest.fixture
def done(tmp_path):
    """Three months, loaded and run to their end as the ledger has it, with outcomes of the first."""
    home = Home(tmp_path / "home").prepare()
    with open_warehouse(home.warehouse) as con:
        for name in ("clients_2005-04", "clients_2005-05", "clients_2005-06", "outcomes_2005-04"):
            (home.inbox / f"{name}.csv").write_text(name)
            kind, month = name.split("_")
            sha256 = hashlib.sha256(name.encode()).hexdigest()
            con.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, 9, 1, true, false, 1, 1, 0, 'c', 'r', ?)",
                [month, kind, sha256, f"{name}.csv", ENDED],
            )
        for month, made_from in due_months(con, MONTHS[-1], "report").items():
            record_made(con, month, "report", made_from)
        for number, month in enumerate(MONTHS):
            home.month_page(month).parent.mkdir(parents=True)
            home.month_page(month).write_text("page")
            finish(con, home, month, f"r{number}")
            con.execute(
                "INSERT INTO stage_timings VALUES (?, ?, 'a', ?, 1, 1)",
                [f"r{number}", str(month), 10.0 * number],
            )
    shutil.copy(home.warehouse, home.published)
    return home


def finish(con, home, month, run_id, as_of="then"):
    found = ledger.facts(con, month, Options(), ledger.contents(con, home), as_of)
    con.execute(
        "INSERT INTO runs BY NAME SELECT ? AS run_id, ? AS month, 'run' AS command, 'done' AS status, "
        "$3::TIMESTAMP AS started_at, $3::TIMESTAMP AS ended_at, 'c' AS code_version, 1 AS pid, "
        "? AS fingerprint, ? AS facts",
        [run_id, str(month), ENDED, digest(found), json.dumps(found)],
    )


def looked(home, **given):
    """Action and reason of each month."""
    return [
        (step.action, step.reason) for step in plan(home, MONTHS, given.pop("options", Options()), **given)
    ]


UNCHANGED = ("skip", "unchanged since the run of 2005-07-01 06:30 UTC")
PERHAPS = ("perhaps", "unchanged so far; an earlier month may change its champion")


def revise(home, name):
    (home.inbox / f"{name}.csv").write_text("other content")


def test_months_that_are_up_to_date_are_skipped_with_the_moment_of_their_run(done):
    assert looked(done) == [UNCHANGED] * 3
    assert stale_months(done, Options()) == {}
    assert views(done) == dict.fromkeys(MONTHS, "then")


def test_force_runs_every_month(done):
    assert looked(done, force=True) == [("run", "asked for (--force)")] * 3


def test_months_scored_as_of_then_are_run_as_of_now(done):
    assert looked(done, as_of="now") == [("run", "it was scored as of then, not as of now")] * 3


def test_month_scored_as_of_now_is_stale_only_by_the_present_of_now(done):
    with open_warehouse(done.warehouse) as con:
        con.execute("DELETE FROM runs WHERE month = '2005-06'")
        finish(con, done, MONTHS[2], "r2", "now")
    assert stale_months(done, Options()) == {}
    assert views(done)[MONTHS[2]] == "now"
    assert looked(done, as_of="now")[2] == UNCHANGED
    assert looked(done)[2] == ("run", "it was scored as of now, not as of then")


def test_months_after_one_that_is_run_are_run_perhaps(done):
    revise(done, "clients_2005-04")
    assert looked(done) == [("run", "its client file has other content"), PERHAPS, PERHAPS]
    assert stale_months(done, Options()) == {MONTHS[0]: "its client file has other content"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("outcomes_2005-05", "outcomes of 2005-05 arrived; outcomes of 2005-05 wait to be loaded"),
        ("outcomes_2005-04", "outcomes of 2005-04 were revised; outcomes of 2005-04 wait to be loaded"),
    ],
)
def test_outcomes_concern_the_months_after_theirs(done, name, reason):
    revise(done, name)
    month = M(name.split("_")[1])
    assert stale_months(done, Options()) == {later: reason for later in MONTHS if later > month}
    assert unread_outcomes(done) == [month]


def test_outcomes_of_the_newest_month_make_no_month_stale(done):
    revise(done, "outcomes_2005-06")
    assert stale_months(done, Options()) == {}
    assert unread_outcomes(done) == [MONTHS[2]]


def test_file_that_was_taken_away_is_missed_only_where_it_is_needed(done):
    (done.inbox / "clients_2005-05.csv").unlink()
    assert looked(done) == [UNCHANGED] * 3
    actions = [action for action, _ in looked(done, force=True)]
    assert actions == ["run", "missing", "run"]


def test_settings_and_code_that_changed_are_said(done, monkeypatch):
    assert looked(done, options=Options(seed=43)) == [("run", "settings changed: seed")] * 3
    monkeypatch.setattr(ledger, "code_version", lambda: "another")
    assert set(stale_months(done, Options()).values()) == {"the code changed"}


@pytest.mark.parametrize("lost", ["page", "published", "run", "readable"])
def test_month_that_readers_do_not_see_is_to_be_run(done, lost):
    if lost == "page":
        done.month_page(MONTHS[2]).unlink()
    elif lost == "published":
        done.published.unlink()
    elif lost == "readable":
        done.published.write_bytes(b"x" * 9000)
    else:
        with open_warehouse(done.published) as con:
            con.execute("DELETE FROM runs WHERE month = '2005-06'")
    assert stale_months(done, Options())[MONTHS[2]] == "its last run was not published"


def test_pages_behind_their_month_are_stale_but_for_a_run_that_has_yet_to_write_them(done):
    with open_warehouse(done.warehouse) as con:
        con.execute("UPDATE derived SET made_from = 'older' WHERE month = '2005-05'")
    assert stale_months(done, Options()) == {MONTHS[1]: "report behind what the month now holds"}
    assert stale_months(done, Options(), figures_only=True) == {}


def test_time_of_a_month_is_that_of_its_last_run_or_the_mean_of_all(done):
    (done.inbox / "clients_2005-07.csv").write_text("new")
    steps = plan(done, [*MONTHS, M("2005-07")], Options(), force=True)
    assert [step.seconds for step in steps] == [0.0, 10.0, 20.0, 10.0]
    assert [step.never_done for step in steps] == [False, False, False, True]


def test_look_changes_no_byte(done):
    def sums():
        files = sorted(path for path in done.root.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    revise(done, "clients_2005-04")
    before = sums()
    looked(done)
    looked(done, as_of="now", force=True)
    stale_months(done, Options())
    views(done)
    unread_outcomes(done)
    assert sums() == before


def test_second_process_reads_no_file_that_stays(done, monkeypatch):
    long_ago = SimpleNamespace(time_ns=lambda: time.time_ns() + 3600 * 10**9)
    monkeypatch.setattr(digests, "time", long_ago)
    monkeypatch.setattr(digests, "_known", {})
    # Only who holds the lock writes down what was read.
    stale_months(done, Options())
    assert not done.digests.exists()
    with locked(done, "the run of 2005-06", 0):
        stale_months(done, Options())
    digests._known.clear()
    revise(done, "clients_2005-06")
    read, chunks = [], digests.raw_chunks
    monkeypatch.setattr(digests, "raw_chunks", lambda path, to: read.append(path.name) or chunks(path, to))
    assert stale_months(done, Options()) == {MONTHS[2]: "its client file has other content"}
    assert read == ["clients_2005-06.csv"]


def test_file_too_new_to_be_remembered_is_read_once_a_look(done, monkeypatch):
    revise(done, "outcomes_2005-04")
    monkeypatch.setattr(digests, "_known", {})
    read, chunks = [], digests.raw_chunks
    monkeypatch.setattr(digests, "raw_chunks", lambda path, to: read.append(path.name) or chunks(path, to))
    stale_months(done, Options())
    assert sorted(read) == sorted(path.name for path in done.inbox.iterdir())
