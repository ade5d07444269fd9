"""Files that stay are read once, by whichever process; what may have changed is read again."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from expectations import digests
from expectations.digests import fingerprint, read_fingerprint, recall, remember

NAME = "clients_2005-09.csv"
OLD = time.time_ns() - 3600 * 10**9


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known, and what the test writes is an hour old when it is read."""
    monkeypatch.setattr(digests, "_known", {})
    later(monkeypatch, 3600.0)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock = SimpleNamespace(time_ns=lambda: time.time_ns() + int(seconds * 1e9))
    monkeypatch.setattr(digests, "time", clock)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    read: list[str] = []
    chunks = digests.raw_chunks

    def counted(path: Path, digest: Any) -> Any:
        read.append(path.name)
        return chunks(path, digest)

    monkeypatch.setattr(digests, "raw_chunks", counted)
    return read


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / NAME).write_bytes(b"abc")
    os.utime(folder / NAME, ns=(OLD, OLD))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / ".digests.json"


def begin_again(inbox: Path, store: Path) -> None:
    """As in another process: only the store is known."""
    digests._known.clear()
    recall(inbox, store)


# ── Read once ───────────────────────────────────────────────────────────────────────────────────


def test_file_that_stays_is_read_once_in_a_process_and_once_in_all(
    inbox: Path, store: Path, reads: list[str]
) -> None:
    first = fingerprint(inbox / NAME)
    assert first == digests.Fingerprint(hashlib.sha256(b"abc").hexdigest(), 3)
    assert fingerprint(inbox / NAME) == first
    remember(inbox, store)
    begin_again(inbox, store)
    assert fingerprint(inbox / NAME) == first
    assert reads == [NAME]


def test_what_is_about_to_be_loaded_is_read_whatever_is_remembered(
    inbox: Path, store: Path, reads: list[str]
) -> None:
    fingerprint(inbox / NAME)
    remember(inbox, store)
    store.write_text(store.read_text().replace(hashlib.sha256(b"abc").hexdigest(), "0" * 64))
    begin_again(inbox, store)
    assert fingerprint(inbox / NAME).sha256 == "0" * 64
    assert read_fingerprint(inbox / NAME).sha256 == hashlib.sha256(b"abc").hexdigest()
    # What was read counts from then on, here and in the store.
    remember(inbox, store)
    begin_again(inbox, store)
    assert fingerprint(inbox / NAME).sha256 == hashlib.sha256(b"abc").hexdigest()
    assert reads == [NAME, NAME]


def test_inbox_that_is_a_link_elsewhere(
    inbox: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "inbox").symlink_to(inbox)
    monkeypatch.chdir(tmp_path)
    linked = Path("home/inbox")
    fingerprint(linked / NAME)
    remember(linked, store)
    begin_again(linked, store)
    fingerprint(linked / NAME)
    assert reads == [NAME]
    # The names are relative: the folder may be moved, or be the target of another link.
    begin_again(inbox, store)
    fingerprint(inbox / NAME)
    assert reads == [NAME]


# ── Read again ──────────────────────────────────────────────────────────────────────────────────


def longer(path: Path) -> None:
    path.write_bytes(b"abcd")
    os.utime(path, ns=(OLD, OLD))


def touched(path: Path) -> None:
    os.utime(path, ns=(OLD + 1, OLD + 1))


def rewritten(path: Path) -> None:
    """Same size, same modification time, other content: only the change time tells."""
    time.sleep(0.02)
    path.write_bytes(b"abd")
    os.utime(path, ns=(OLD, OLD))


def replaced(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"abd")
    os.utime(fresh, ns=(OLD, OLD))
    fresh.replace(path)


@pytest.mark.parametrize("change", [longer, touched, rewritten, replaced])
def test_file_that_looks_touched_is_read_again(
    inbox: Path, store: Path, reads: list[str], change: Callable[[Path], None]
) -> None:
    fingerprint(inbox / NAME)
    remember(inbox, store)
    change(inbox / NAME)
    for known in (lambda: None, lambda: begin_again(inbox, store)):
        known()
        assert fingerprint(inbox / NAME).sha256 == hashlib.sha256((inbox / NAME).read_bytes()).hexdigest()
    assert reads == [NAME, NAME, NAME]


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_each_part_of_what_a_file_looks_like_counts(
    inbox: Path, store: Path, reads: list[str], field: str
) -> None:
    fingerprint(inbox / NAME)
    remember(inbox, store)
    told = json.loads(store.read_text())
    found = (inbox / NAME).stat()
    assert told["files"][NAME][field] == getattr(found, {"inode": "st_ino"}.get(field, f"st_{field}"))
    told["files"][NAME][field] += 1
    store.write_text(json.dumps(told))
    begin_again(inbox, store)
    fingerprint(inbox / NAME)
    assert reads == [NAME, NAME]


@pytest.mark.parametrize(
    ("seconds", "mtime"),
    [(1.0, OLD), (3600.0, time.time_ns() + 7200 * 10**9)],
    ids=["changed a second ago", "of the future"],
)
def test_file_too_new_to_show_a_further_change_is_not_remembered(
    inbox: Path,
    store: Path,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    mtime: int,
) -> None:
    os.utime(inbox / NAME, ns=(mtime, mtime))
    later(monkeypatch, seconds)
    fingerprint(inbox / NAME)
    fingerprint(inbox / NAME)
    remember(inbox, store)
    assert reads == [NAME, NAME]
    assert not store.exists()


def test_file_that_changes_while_it_is_read_is_not_remembered(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(path: Path, digest: Any) -> Any:
        digest.update(b"abc")
        yield b"abc"
        touched(path)

    monkeypatch.setattr(digests, "raw_chunks", changing)
    fingerprint(inbox / NAME)
    assert digests._known == {}


# ── The store ───────────────────────────────────────────────────────────────────────────────────


def test_store_is_for_its_owner_and_rewritten_only_where_it_says_something_else(
    inbox: Path, store: Path
) -> None:
    fingerprint(inbox / NAME)
    store.with_name(f"{store.name}.new").write_text("left by a kill")
    remember(inbox, store)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    before = store.stat().st_ino, store.stat().st_mtime_ns
    begin_again(inbox, store)
    remember(inbox, store)
    assert (store.stat().st_ino, store.stat().st_mtime_ns) == before
    assert sorted(path.name for path in store.parent.iterdir()) == [store.name, "inbox"]


def test_file_that_is_gone_is_dropped(inbox: Path, store: Path) -> None:
    (inbox / "outcomes_2005-08.csv").write_bytes(b"x")
    for path in inbox.iterdir():
        fingerprint(path)
    remember(inbox, store)
    assert sorted(json.loads(store.read_text())["files"]) == [NAME, "outcomes_2005-08.csv"]
    (inbox / NAME).unlink()
    remember(inbox, store)
    assert list(json.loads(store.read_text())["files"]) == ["outcomes_2005-08.csv"]


def entry(**changed: Any) -> str:
    usual = {"size": 3, "mtime_ns": 1, "ctime_ns": 1, "inode": 1, "sha256": "0" * 64}
    return json.dumps({"format": 1, "files": {NAME: usual | changed}})


DAMAGED = {
    "empty": b"",
    "cut short": entry().encode()[:-9],
    "no text": b"\xff\xfe\x00",
    "list": b"[1]",
    "null": b"null",
    "no files": b'{"format": 1}',
    "files a list": b'{"format": 1, "files": [1]}',
    "other format": entry().replace('"format": 1', '"format": 2').encode(),
    "no format": entry().replace('"format": 1, ', "").encode(),
    "entry a number": b'{"format": 1, "files": {"a": 1}}',
    "size as text": entry(size="3").encode(),
    "size true": entry(size=True).encode(),
    "fraction": entry(mtime_ns=1.5).encode(),
    "no digest": entry(sha256=None).encode(),
    "digest too short": entry(sha256="0" * 63).encode(),
    "part of an entry": b'{"format": 1, "files": {"a": {"size": 3}}}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_store_is_not_used_and_is_replaced(
    inbox: Path, store: Path, reads: list[str], content: bytes
) -> None:
    store.write_bytes(content)
    recall(inbox, store)
    assert digests._known == {}
    fingerprint(inbox / NAME)
    remember(inbox, store)
    begin_again(inbox, store)
    fingerprint(inbox / NAME)
    assert reads == [NAME]


def test_entry_of_the_form_is_taken(inbox: Path, store: Path) -> None:
    store.write_text(entry())
    recall(inbox, store)
    assert len(digests._known) == 1


def test_store_that_cannot_be_written_fails_nothing(
    inbox: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint(inbox / NAME)
    store.mkdir()
    remember(inbox, store)
    recall(inbox, store)
    assert [path.name for path in store.parent.iterdir() if path.suffix == ".new"] == []

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    remember(inbox, store)
    remember(inbox / "gone", store)


def test_empty_inbox_leaves_no_store(tmp_path: Path, store: Path) -> None:
    (tmp_path / "inbox").mkdir()
    remember(tmp_path / "inbox", store)
    assert not store.exists()
