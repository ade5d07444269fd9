"""File discovery: one file a month, or one clear line."""

import os
from pathlib import Path

import pytest

from creditflow.errors import FileAmbiguous, FileMissing, FileUnreadable
from creditflow.month import Month
from expectations.intake import find_file, fingerprint, list_files, misnamed_files

MONTH = Month(2005, 9)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "xls", "xlsx", "CSV"])
def test_finds_each_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clients_2005-09.{suffix}"
    path.touch()
    assert find_file(tmp_path, "clients", MONTH) == path


def test_ignores_other_files(tmp_path: Path) -> None:
    for name in (".clients_2005-09.csv", "~$clients_2005-09.xlsx", "clients_2005-09.csv.part", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "clients_2005-09.csv").mkdir()
    (tmp_path / "clients_2005-13.csv").touch()
    (tmp_path / "outcomes_2005-09.csv").touch()
    assert list_files(tmp_path, "clients") == {}
    assert [p.name for p in misnamed_files(tmp_path)] == ["clients_2005-13.csv", "notes.txt"]
    assert list(list_files(tmp_path, "outcomes")) == [MONTH]


def test_lists_months_in_order(tmp_path: Path) -> None:
    for month in ("2005-10", "2004-12", "2005-09"):
        (tmp_path / f"clients_{month}.csv").touch()
    assert [str(m) for m in list_files(tmp_path, "clients")] == ["2004-12", "2005-09", "2005-10"]


def test_missing_names_the_near_miss(tmp_path: Path) -> None:
    (tmp_path / "clients_2005-09.txt").touch()
    with pytest.raises(FileMissing, match=r"clients_2005-09 ending in .csv.*only clients_2005-09.txt"):
        find_file(tmp_path, "clients", MONTH)
    with pytest.raises(FileMissing, match="no such folder"):
        find_file(tmp_path / "absent", "clients", MONTH)


def test_two_files_are_ambiguous(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        (tmp_path / f"clients_2005-09.{suffix}").touch()
    with pytest.raises(FileAmbiguous, match=r"2: clients_2005-09.csv, clients_2005-09.parquet"):
        find_file(tmp_path, "clients", MONTH)


def test_inbox_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(FileUnreadable, match="read permission"):
        find_file(tmp_path, "clients", MONTH)


def test_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clients_2005-09.csv"
    path.write_text("x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileUnreadable, match=r"Permission denied\. Give the user"):
        fingerprint(path)


def test_fingerprint_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert fingerprint(path).sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(path).bytes == 3
    with pytest.raises(FileMissing):
        fingerprint(tmp_path / "absent")
