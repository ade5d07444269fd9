import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from creditflow.columns import ATTRIBUTES
from creditflow.errors import HomeUnusable
from sql import publish as module
from sql.glossary import _glossary
from sql.library import query, scripts
from sql.publish import OWN, TABLES, marks, publish, publish_scores
from sql.warehouse import copy_rows, execute, open_published, open_warehouse, storage_version, transaction

MONTHS = ("2005-04", "2005-05", "2005-06")
# The tables of a month's clients.
LARGE = (
    "clients",
    "outcomes",
    "quarantine",
    "expectation_results",
    "score_rows",
    "scorings",
    "scores_history",
    "reasons",
)


@pytest.fixture
def con(tmp_path):
    with open_warehouse(tmp_path / "w.duckdb") as opened:
        yield opened


def test_every_table_view_and_column_carries_its_meaning(con, tmp_path):
    publish(con, tmp_path / "p.duckdb")
    with open_published(tmp_path / "p.duckdb") as reader:
        bare = reader.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        )
        assert bare.fetchall() == []
        tables = {
            t
            for (t,) in reader.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        }
        used = {
            c
            for (c,) in reader.execute(
                "SELECT column_name FROM duckdb_columns() WHERE NOT internal"
            ).fetchall()
        }
    assert tables == {*TABLES, *OWN}
    unused = {name for name in _glossary()[1] if name.rpartition(".")[2] not in used}
    assert unused == set()


def test_storage_is_that_of_older_clients(con, tmp_path):
    publish(con, tmp_path / "p.duckdb")
    with open_published(tmp_path / "p.duckdb") as reader:
        tags = reader.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
    assert "v1.4.0" in json.dumps(tags[0][0])


def test_views_do_not_remember_the_name_of_the_new_file(con, tmp_path):
    publish(con, tmp_path / "it's a name.duckdb")
    (tmp_path / "it's a name.duckdb").rename(tmp_path / "renamed.duckdb")
    with open_published(tmp_path / "renamed.duckdb") as reader:
        assert reader.execute("SELECT count(*) FROM portfolio_by_month").fetchall() == [(0,)]


def test_reader_never_fails_and_never_sees_less_while_it_is_replaced(con, tmp_path):
    target = publish(con, tmp_path / "p.duckdb")
    seen, stop, faults = [], threading.Event(), []

    def poll():
        while not stop.is_set():
            try:
                with duckdb.connect(str(target), read_only=True) as reader:
                    seen.append(reader.execute("SELECT count(*) FROM backfills").fetchall()[0][0])
            except duckdb.Error as error:
                faults.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    for _ in range(8):
        con.execute(
            "INSERT INTO backfills BY NAME SELECT 'b' AS backfill_id, '1' AS first_month, '2' AS last_month, "
            "'r' AS reason, 'w' AS requested_by, now()::TIMESTAMP AS started_at"
        )
        publish(con, target)
    stop.set()
    thread.join()
    assert faults == []
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_failure_leaves_the_published_file_and_no_leftover(con, tmp_path, monkeypatch):
    from sql import publish as module

    target = publish(con, tmp_path / "p.duckdb")
    before = target.read_bytes()

    def refused(*_: object) -> None:
        raise duckdb.BinderException("refused")

    monkeypatch.setattr(module, "comment", refused)
    with pytest.raises(duckdb.BinderException, match="refused"):
        publish(con, target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if ".new" in p.name] == []


def test_what_has_to_come_first_keeps_the_earlier_file_where_it_fails(con, tmp_path):
    target = publish(con, tmp_path / "p.duckdb")
    before = target.read_bytes()
    prepared = []

    def fails() -> None:
        prepared.extend(path.name for path in tmp_path.iterdir() if ".new" in path.name)
        assert target.read_bytes() == before
        raise OSError("the scores could not be written")

    with pytest.raises(HomeUnusable, match="could not be written"):
        publish(con, target, first=fails)
    assert prepared, "it was called before there was anything to put in place"
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if ".new" in p.name] == []


# ── A writer that writes as runs do ─────────────────────────────────────────────────────────────


@dataclass
class Writer:
    """The writer's database, changed through the named queries in the order in which the stages run them."""

    con: duckdb.DuckDBPyConnection
    folder: Path
    runs: int = 0
    contents: int = 0
    paths: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def _parquet(self, rows: pl.DataFrame) -> str:
        path = self.folder / f"rows-{next(self.paths)}.parquet"
        rows.write_parquet(path)
        return str(path)

    def _moment(self) -> datetime:
        return datetime(2005, 7, 1) + timedelta(seconds=self.runs)

    def load(self, kind: str, month: str, rows: int, *, again: bool = False, label: bool = False) -> None:
        """As tasks/load.py stores a file; `again` is the content that was loaded last, by newer code."""
        self.runs += 1
        self.contents += 0 if again else 1
        sha, key = f"sha-{self.contents}", {"month": month, "kind": kind}
        with transaction(self.con):
            revision = execute(self.con, "next_revision", **key, sha256=sha)[0][0]
            execute(self.con, "retire_files", **key)
            execute(self.con, "forget_file", **key, revision=revision)
            facts = {"revision": revision, "sha256": sha, "file_name": "f", "bytes": 1, "has_label": label}
            counts = {"received": rows + 1, "accepted": rows, "quarantined": 1}
            stamps = {"code_version": f"c{self.runs}", "run_id": f"r{self.runs}", "loaded_at": self._moment()}
            execute(self.con, "insert_file", **key, **facts, **counts, **stamps)
            if kind == "clients":
                execute(self.con, "delete_clients", month=month)
                path = self._parquet(self._clients(rows))
                execute(self.con, "insert_clients", month=month, sha256=sha, path=path)
            if kind == "outcomes" or not execute(self.con, "outcomes_from_file", month=month):
                self._outcomes(month, sha, rows if label or kind == "outcomes" else 0, kind)
            self._findings(month, kind, sha)

    def _clients(self, rows: int) -> pl.DataFrame:
        ids = [f"{n:04d}" for n in range(rows)]
        values = {a.name: [self.runs % 100] * rows for a in ATTRIBUTES if a.name != "client_id"}
        return pl.DataFrame({"client_id": ids, **values, "row_number": range(rows)})

    def _outcomes(self, month: str, sha: str, rows: int, kind: str) -> None:
        execute(self.con, "delete_outcomes", month=month)
        if rows:
            known = {"client_id": [f"{n:04d}" for n in range(rows)], "defaulted": [self.runs % 2] * rows}
            source = "outcomes" if kind == "outcomes" else "label"
            path = self._parquet(pl.DataFrame(known))
            execute(self.con, "insert_outcomes", month=month, sha256=sha, source=source, path=path)

    def _findings(self, month: str, kind: str, sha: str) -> None:
        key = {"month": month, "kind": kind, "sha256": sha}
        texts = ("client_id", "rule", "column_name", "value", "violations", "raw_row")
        path = self._parquet(
            pl.DataFrame({"row_number": [1], **{name: [f"run {self.runs}"] for name in texts}})
        )
        execute(self.con, "delete_quarantine", **key)
        execute(self.con, "insert_quarantine", **key, path=path)
        execute(self.con, "delete_expectation_results", **key)
        names = ("rule", "expectation", "column_name", "meaning", "examples", "reason")
        values: dict[str, Any] = {name: [f"run {self.runs}"] for name in names}
        values |= {"position": [1], "severity": ["info"], "outcome": ["passed"], "evaluated": [1]}
        self.con.register("results", pl.DataFrame({**values, "unexpected": [0]}))
        execute(self.con, "insert_expectation_results", **key)
        self.con.unregister("results")

    def score(self, month: str, rows: int, explained: int) -> None:
        """As tasks/score.py scores a month, whose clients are loaded first."""
        if not execute(self.con, "current_file", month=month, kind="clients"):
            self.load("clients", month, rows)
        self.runs += 1
        ids = [f"{n:04d}" for n in range(rows)]
        scored = pl.DataFrame({"client_id": ids}).with_columns(
            model=pl.lit("blend"), is_champion=True, score=self.runs / 7, pd=self.runs / 9
        )
        columns = ("model", "reason_1", "unusual_1")
        reasons = scored.head(explained).select(
            "client_id", *(pl.lit(str(self.runs)).alias(c) for c in columns)
        )
        with transaction(self.con):
            execute(self.con, "archive_scores", month=month, run_id=f"r{self.runs}")
            self.lose_scores(month)
            stamps = {"run_id": f"r{self.runs}", "code_version": "c", "scored_at": self._moment()}
            path = self._parquet(scored)
            execute(self.con, "insert_scores", month=month, paths=[path])
            key = {"month": month, "champion": "blend", "version": "v"}
            if rows:
                execute(self.con, "insert_scoring", **key, basis="live", sha256="s", **stamps)
            if explained:
                key = {"month": month, "version": "v", "path": self._parquet(reasons)}
                execute(self.con, "insert_reasons", **key)

    def note(self) -> None:
        """Something small: a backfill begins."""
        self.runs += 1
        words = dict.fromkeys(("first", "last", "reason", "requested_by"), "x")
        # Whatever else a backfill's row may come to hold is text here.
        names = set(re.findall(r"\$(\w+)", query("start_backfill"))) - {"started_at", *words}
        values = {"started_at": self._moment(), **dict.fromkeys(names, f"b{self.runs}"), **words}
        execute(self.con, "start_backfill", **values)

    def lose(self, month: str) -> None:
        """As where an earlier database is put back: a month that was published is not in it."""
        for table in (*LARGE, "files"):
            self.con.execute(f"DELETE FROM {table} WHERE month = $month", {"month": month})

    def lose_scores(self, month: str) -> None:
        for what in ("scores", "scoring", "reasons"):
            execute(self.con, f"delete_{what}", month=month)


@pytest.fixture
def writer(con, tmp_path):
    return Writer(con, tmp_path)


def tables_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows, and those of the view `scores`, in an order of their own."""
    with duckdb.connect(str(path), read_only=True) as reader:
        names = reader.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        names = [*(name for (name,) in names), "scores"]
        return {name: reader.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in names}


def shape_of(path: Path) -> list[list[tuple[Any, ...]]]:
    """Columns, views and comments."""
    with duckdb.connect(str(path), read_only=True) as reader:
        return [
            reader.execute(f"SELECT {columns} FROM {source}() WHERE NOT internal ORDER BY ALL").fetchall()
            for source, columns in (
                ("duckdb_columns", "table_name, column_name, column_index, data_type, is_nullable, comment"),
                ("duckdb_views", "view_name, sql, comment"),
                ("duckdb_tables", "table_name, comment"),
            )
        ]


def row_copies(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The copies made from now on row by row."""
    made: list[Path] = []

    def copy(con: duckdb.DuckDBPyConnection, fresh: Path) -> None:
        made.append(fresh)
        copy_rows(con, fresh)

    monkeypatch.setattr(module, "copy_rows", copy)
    return made


# ── It holds what the writer holds ──────────────────────────────────────────────────────────────

month, rows = st.sampled_from(MONTHS), st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.sampled_from(["clients", "outcomes"]), month, rows),
        st.tuples(st.just("again"), st.sampled_from(["clients", "outcomes"]), month, rows),
        st.tuples(st.just("label"), month, rows),
        st.tuples(st.just("score"), month, rows, rows),
        st.tuples(st.just("note")),
        st.tuples(st.just("lose"), month),
        st.tuples(st.just("lose_scores"), month),
        st.tuples(st.just("publish")),
    ),
    min_size=3,
    max_size=14,
)


@pytest.fixture(scope="module")
def stepper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    with open_warehouse(folder / "w.duckdb") as con:
        yield Writer(con, folder)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_a_publication_holds_the_writer_s_tables(stepper, steps):
    """The writer goes on from example to example; each begins with the months of the one before lost."""
    target, scores = stepper.folder / "p.duckdb", stepper.folder / "scores"
    publish(stepper.con, target)
    for name, *values in [*(("lose", m) for m in MONTHS), *steps, ("publish",)]:
        if name == "publish":
            publish(stepper.con, target)
            publish_scores(stepper.con, scores)
        elif name in ("again", "label"):
            kind, *rest = values if name == "again" else ("clients", *values)
            stepper.load(kind, *rest, **{name: True})
        else:
            getattr(stepper, name)(*values)
    published = tables_of(target)
    for table in (*TABLES, "scores"):
        assert published[table] == stepper.con.execute(f"FROM {table} ORDER BY ALL").fetchall(), table
    stored = stepper.con.sql("SELECT * EXCLUDE (month), month FROM scores").pl()
    files = sorted(scores.glob("*/*.parquet"))
    assert len(files) == stored["month"].n_unique()
    if files:
        found = pl.read_parquet(files, hive_partitioning=True)
        assert_frame_equal(found.sort(pl.all()), stored.sort(pl.all()))


def test_copied_by_bytes_or_by_rows_it_is_the_same(writer, tmp_path, monkeypatch):
    by_bytes, by_rows = tmp_path / "bytes.duckdb", tmp_path / "rows.duckdb"
    for month in MONTHS:
        writer.load("clients", month, 3, label=True)
        writer.score(month, 3, 2)
    copies = row_copies(monkeypatch)
    publish(writer.con, by_bytes)
    assert copies == []
    monkeypatch.setattr(module, "storage_version", lambda _: "v2.0.0")
    publish(writer.con, by_rows)
    assert len(copies) == 1
    assert tables_of(by_bytes) == tables_of(by_rows)
    assert shape_of(by_bytes) == shape_of(by_rows)
    for path in (by_bytes, by_rows):
        with open_published(path) as reader:
            assert storage_version(reader) == "v1.4.0"


def test_a_file_that_is_mostly_air_is_not_copied_with_it(writer, tmp_path, monkeypatch):
    writer.load("clients", MONTHS[0], 3)
    writer.con.execute("CREATE TABLE t AS SELECT random() FROM range(4_000_000); CHECKPOINT; DROP TABLE t")
    copies = row_copies(monkeypatch)
    target = publish(writer.con, tmp_path / "p.duckdb")
    assert len(copies) == 1
    assert target.stat().st_size < (tmp_path / "w.duckdb").stat().st_size / 4


def test_what_the_log_still_holds_is_published(writer, tmp_path):
    writer.con.execute("CHECKPOINT; SET wal_autocheckpoint = '1TB'")
    writer.note()
    assert (tmp_path / "w.duckdb.wal").stat().st_size > 0
    assert len(tables_of(publish(writer.con, tmp_path / "p.duckdb"))["backfills"]) == 1


def test_publishing_changes_nothing_of_the_writer_s(writer, tmp_path):
    writer.load("clients", MONTHS[0], 3)
    writer.con.execute("CHECKPOINT")
    before = (tmp_path / "w.duckdb").read_bytes()
    publish(writer.con, tmp_path / "p.duckdb")
    assert (tmp_path / "w.duckdb").read_bytes() == before


def test_every_statement_that_writes_to_a_large_table_is_among_the_steps_above():
    """A new way to write is a new way to leave a mark as it was: it has to be thought of here."""
    writes = re.compile(rf"(?:INSERT INTO|DELETE FROM|UPDATE|TRUNCATE)\s+({'|'.join(LARGE)})\b")
    writing = {script.name for script in scripts("queries") if writes.search(script.text)}
    with open(__file__, encoding="utf-8") as source:
        stepped = source.read()
    deleting = {"delete_scores", "delete_scoring", "delete_reasons"}
    named = {name for name in writing if f'"{name}"' in stepped} | deleting
    assert writing == named
    top = Path(module.__file__).resolve().parent.parent
    code = [p for room in ("tasks", "flows", "models", "expectations") for p in (top / room).rglob("*.py")]
    assert len(code) > 40
    assert [p.name for p in code if writes.search(p.read_text("utf-8"))] == []


def test_the_mark_of_a_month_changes_with_its_scores_and_with_nothing_else(writer):
    for month in MONTHS:
        writer.load("clients", month, 2)
        writer.score(month, 2, 1)
    before = marks(writer.con)
    assert sorted(before) == list(MONTHS)
    writer.load("outcomes", MONTHS[1], 2)
    assert marks(writer.con) == before
    writer.score(MONTHS[1], 2, 1)
    after = marks(writer.con)
    assert {month for month in MONTHS if after[month] != before[month]} == {MONTHS[1]}
    writer.lose_scores(MONTHS[0])
    assert sorted(marks(writer.con)) == list(MONTHS[1:])


def test_readers_get_all_tables_but_the_writer_s_own(con):
    known = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert known - set(TABLES) == {"migrations", "derived"}


# ── Whatever was published before ───────────────────────────────────────────────────────────────


def write(path: Path, statement: str) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute(statement)


SPOILT = {
    "absent": lambda p: p.unlink(),
    "no database": lambda p: p.write_bytes(b"x" * 9000),
    "empty": lambda p: p.write_bytes(b""),
    "cut short": lambda p: os.truncate(p, p.stat().st_size // 2),
    "written to by somebody": lambda p: write(p, "UPDATE clients SET age = 99"),
    "a log beside it": lambda p: p.with_name(f"{p.name}.wal").write_bytes(b"x" * 900),
    "a table more": lambda p: write(p, "CREATE TABLE mine (n INTEGER)"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_the_earlier_file_does_not_matter(writer, tmp_path, what):
    writer.load("clients", MONTHS[0], 3)
    expected = tables_of(publish(writer.con, tmp_path / "other.duckdb"))
    target = publish(writer.con, tmp_path / "p.duckdb")
    SPOILT[what](target)
    publish(writer.con, target)
    assert tables_of(target) == expected


# ── Readers, kills and full disks ───────────────────────────────────────────────────────────────


def test_connection_stays_with_the_file_that_it_opened(writer, tmp_path):
    writer.load("clients", MONTHS[0], 3)
    target = publish(writer.con, tmp_path / "p.duckdb")
    code = (
        "import duckdb, sys\n"
        f"con = duckdb.connect({str(target)!r}, read_only=True)\n"
        "for line in sys.stdin: print(con.execute(line).fetchall()[0][0], flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as day:

        def ask(text: str) -> int:
            day.stdin.write(text + "\n")
            day.stdin.flush()
            return int(day.stdout.readline())

        assert ask("SELECT count(*) FROM clients") == 3
        for months in (1, 2):
            writer.load("clients", MONTHS[months], 3)
            publish(writer.con, target)
            # Columns that it had not read before come from the earlier file, too.
            assert ask("SELECT count(*) FROM clients") == 3
            assert (
                ask("SELECT count(DISTINCT month) FROM champion_scores RIGHT JOIN clients USING (month)") == 1
            )
        day.stdin.close()
    with open_published(target) as reader:
        assert reader.execute("SELECT count(*) FROM clients").fetchall() == [(9,)]


@pytest.mark.parametrize("at", ["copy_bytes", "_finish", "comment", "put_in_place"])
def test_kill_leaves_the_earlier_file_whole_and_the_next_publication_sweeps(tmp_path, at):
    code = (
        "import os, sys; from pathlib import Path; from sql import publish as module\n"
        "from sql.warehouse import open_warehouse\n"
        "folder = Path(sys.argv[1])\n"
        "with open_warehouse(folder / 'w.duckdb') as con:\n"
        "    module.publish(con, folder / 'p.duckdb')\n"
        "    con.execute(\"INSERT INTO reason_texts VALUES ('R1', 'r', 'm')\")\n"
        "    at = getattr(module, sys.argv[2])\n"
        "    def die(*arguments):\n"
        "        if sys.argv[2] != 'put_in_place': at(*arguments)\n"
        "        os.kill(os.getpid(), 9)\n"
        "    setattr(module, sys.argv[2], die)\n"
        "    module.publish(con, folder / 'p.duckdb')"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), at])
    assert killed.returncode == -signal.SIGKILL
    target = tmp_path / "p.duckdb"
    assert tables_of(target)["reason_texts"] == []
    with open_warehouse(tmp_path / "w.duckdb") as con:
        publish(con, target)
    assert tables_of(target)["reason_texts"] == [("R1", "r", "m")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.duckdb", "w.duckdb"]


@pytest.mark.parametrize("at", ["copy_bytes", "put_in_place", "comment"])
def test_full_disk_is_named_and_leaves_the_earlier_file(writer, tmp_path, monkeypatch, at):
    target = publish(writer.con, tmp_path / "p.duckdb")
    before = target.read_bytes()
    writer.note()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, at, full)
    with pytest.raises(HomeUnusable, match="No space left"):
        publish(writer.con, target)
    assert target.read_bytes() == before
    monkeypatch.undo()
    publish(writer.con, target)
    assert len(tables_of(target)["backfills"]) == 1


def test_copy_without_the_kernel_s_help_is_the_same(tmp_path, monkeypatch):
    source = tmp_path / "a"
    source.write_bytes(os.urandom(3_000_000))

    def refused(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    for name in ("b", "c", "d"):
        module.copy_bytes(source, tmp_path / name)
        assert (tmp_path / name).read_bytes() == source.read_bytes()
        if name == "b":
            monkeypatch.setattr(os, "copy_file_range", refused)
        elif name == "c":
            monkeypatch.delattr(os, "copy_file_range")


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────


def test_scores_as_parquet_are_read_by_every_tool(writer, tmp_path):
    folder = tmp_path / "scores"
    for month in MONTHS:
        writer.score(month, 4, 0)
    written = publish_scores(writer.con, folder)
    assert [p.relative_to(folder).as_posix() for p in written] == [
        f"month={m}/scores.parquet" for m in MONTHS
    ]
    stored = writer.con.sql("SELECT * EXCLUDE (month), month FROM scores").pl()
    assert_frame_equal(pl.scan_parquet(folder).collect(), stored)
    assert pd.read_parquet(folder).astype({"month": str})["month"].tolist() == stored["month"].to_list()
    relation = duckdb.sql(f"FROM read_parquet('{folder}/*/*.parquet') ORDER BY ALL")
    assert relation.types == writer.con.sql("SELECT * EXCLUDE (month), month FROM scores").types


def test_only_months_that_changed_are_written(writer, tmp_path):
    folder = tmp_path / "scores"
    for month in MONTHS:
        writer.score(month, 2, 0)
    publish_scores(writer.con, folder)
    assert publish_scores(writer.con, folder) == []
    writer.score(MONTHS[1], 2, 0)
    writer.lose_scores(MONTHS[2])
    (folder / f"month={MONTHS[0]}" / "scores.parquet").write_bytes(b"damaged")
    (folder / f"month={MONTHS[0]}" / ".scores.parquet.1.new").write_bytes(b"of a killed run")
    assert [p.parent.name for p in publish_scores(writer.con, folder)] == [f"month={m}" for m in MONTHS[:2]]
    assert sorted(p.name for p in folder.rglob("*")) == sorted(
        [*(f"month={m}" for m in MONTHS[:2]), *["scores.parquet"] * 2]
    )


def test_scores_as_parquet_keep_the_order_in_which_they_were_written(writer, tmp_path):
    """Rows of several row groups, by several threads: a join would mix them."""
    writer.con.execute("SET threads = 4")
    writer.score(MONTHS[0], 600_000, 0)
    (written,) = publish_scores(writer.con, tmp_path / "scores")
    assert pl.read_parquet(written)["client_id"].cast(pl.Int64).is_sorted()
