from uuid import uuid4

import pytest

from creditflow.errors import StorageError, UsageError
from tasks.storage import UNFINISHED, Place


@pytest.fixture(params=["path", "file", "memory"])
def place(request, tmp_path):
    urls = {"path": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": f"memory://{uuid4()}"}
    return Place(urls[request.param])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "local"
    path.write_bytes(b"scores")
    return path


def test_a_file_is_put_listed_read_and_fetched(place, file, tmp_path):
    assert place.files() == {}
    place.put(file, "month=2026-01/part.parquet")
    place.write(b"{}", "_run.json")
    files = place.files()
    assert {name: facts["size"] for name, facts in files.items()} == {
        "_run.json": 2,
        "month=2026-01/part.parquet": 6,
    }
    assert list(place.files("month=2026-01")) == ["month=2026-01/part.parquet"]
    assert place.read(list(files)) == {"_run.json": b"{}", "month=2026-01/part.parquet": b"scores"}
    assert place.fetch("month=2026-01/part.parquet", tmp_path / "copy").read_bytes() == b"scores"


def test_a_file_put_again_replaces_what_was_there(place, file):
    place.put(file, "part.parquet")
    file.write_bytes(b"other")
    place.put(file, "part.parquet")
    assert place.read(["part.parquet"]) == {"part.parquet": b"other"}


# fsspec takes them for patterns where it is given several paths.
@pytest.mark.parametrize("name", ["part[0].parquet", "part*.parquet", "part?.parquet"])
def test_names_are_no_patterns(place, file, name):
    place.put(file, "part0.parquet")
    place.put(file, name)
    assert place.read([name]) == {name: b"scores"}
    place.remove([name])
    assert list(place.files()) == ["part0.parquet"]


def test_what_is_not_whole_is_never_under_its_name(tmp_path, file, monkeypatch):
    place = Place(str(tmp_path / "out"))
    place.put(file, "part.parquet")

    def broken(source, target, **_):
        with open(target, "wb") as half:
            half.write(b"sco")
        raise OSError("the disk is gone")

    monkeypatch.setattr(place.fs, "put_file", broken)
    file.write_bytes(b"newer scores")
    with pytest.raises(OSError, match="the disk is gone"):
        place.put(file, "part.parquet")
    assert place.read(["part.parquet"]) == {"part.parquet": b"scores"}
    assert [name.split("/")[0] for name in place.files()] == [UNFINISHED, "part.parquet"]


def test_a_storage_that_kept_less_is_found_out(tmp_path, file, monkeypatch):
    place = Place(f"memory://{uuid4()}")
    monkeypatch.setattr(place.fs, "put_file", lambda source, target: place.fs.pipe_file(target, b"sco"))
    with pytest.raises(OSError, match="3 bytes, and not 6"):
        place.put(file, "part.parquet")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://bucket/scores", "nosuch"),
        ("ftp://me:secret@example.org/scores", "no password in it"),
    ],
)
def test_url_that_cannot_serve_is_a_usage_error(url, words):
    with pytest.raises(UsageError, match=words) as caught:
        Place(url)
    assert "secret" not in str(caught.value)


def test_a_path_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Place("out/").url == str(tmp_path / "out")
    assert Place("memory://out/").url == "memory://out"


def test_a_fault_of_a_storage_is_one_line(tmp_path):
    in_the_way = tmp_path / "out"
    in_the_way.write_text("a file")
    with pytest.raises(StorageError, match="out: expected a folder") as caught:
        Place(str(in_the_way)).write(b"{}", "_run.json")
    assert "\n" not in str(caught.value)
