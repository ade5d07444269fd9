"""Folders on whatever storage fsspec knows: a path, s3://, gs://, abfs://, sftp://, memory://, …

Files are put in place as a whole: by a rename where the storage has one, by a single upload where it is an
object store, whose uploads are seen whole or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import fsspec

from creditflow.errors import CreditflowError, StorageError, UsageError

T = TypeVar("T")

# Small files that are read or removed at the same time.
AT_A_TIME = 16
# A rename on one of these would be a copy and a deletion.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
# Where files wait for their rename.
UNFINISHED = "_unfinished"


class Place:
    """A folder, by its path or fsspec URL."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            UsageError: the URL holds a password, or nothing is installed that reads it.
        """
        self.url = _plain(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                self.url,
                expected="a folder, or a URL that fsspec reads",
                found=str(error),
                remedy="Correct it, or install the package that reads it (s3fs for s3://).",
            ) from error
        self.root = self.root.rstrip("/")
        # A listing that is kept is out of date as soon as another thread or worker writes.
        self.fs.dircache.use_listings_cache = False

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @property
    def is_local(self) -> bool:
        return "file" in self._protocols

    @property
    def _protocols(self) -> set[str]:
        return {self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)

    def files(self, under: str = "") -> dict[str, dict[str, Any]]:
        """Every file below the folder, or below one in it, by its name from here, as the storage lists it."""
        with self.told():
            self.fs.invalidate_cache()
            found = self.fs.find(self.path(under).rstrip("/"), detail=True)
        return {path[len(self.root) + 1 :]: facts for path, facts in sorted(found.items())}

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """The content of several files, many asked for at a time."""
        with self.told():
            return dict(zip(names, self._each(self.fs.cat_file, names), strict=True))

    def _each(self, function: Callable[[str], T], names: Sequence[str]) -> list[T]:
        # One by one and not as a list, in which fsspec takes names for patterns.
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(function, map(self.path, names)))

    def fetch(self, name: str, target: Path) -> Path:
        """The file on this machine: itself where it lies here, else a copy at `target`."""
        if self.is_local:
            return Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get_file(self.path(name), str(target))
        return target

    def put(self, file: Path, name: str) -> None:
        """Puts a file in place as a whole: nobody reads a part of it, and a kill leaves what was there.

        Raises:
            OSError: the storage fails, or holds something else afterwards.
        """
        target = self.path(name)
        if self._protocols & OBJECT_STORES:
            self.fs.put_file(str(file), target)
        else:
            unfinished = self.path(f"{UNFINISHED}/{uuid4().hex}")
            for path in (unfinished, target):
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(file), unfinished)
            self.fs.mv(unfinished, target)
        if (stored := self.fs.info(target)["size"]) != file.stat().st_size:
            raise OSError(f"{self.url}/{name} has {stored} bytes, and not {file.stat().st_size}")

    def write(self, content: bytes, name: str) -> None:
        """Puts a small file in place as a whole."""
        with self.told(), TemporaryDirectory(prefix="creditflow-") as folder:
            file = Path(folder) / "content"
            file.write_bytes(content)
            self.put(file, name)

    def remove(self, names: Iterable[str]) -> None:
        """Removes files."""
        with self.told():
            self._each(self.fs.rm_file, list(names))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Words the faults of a storage, of which each kind has its own tree."""
        try:
            yield
        except CreditflowError:
            raise
        except Exception as error:
            raise StorageError(
                self.url,
                expected="a folder that can be listed, read and written",
                found=in_a_line(error),
                remedy="Correct the address, or the permissions and credentials in the environment.",
            ) from error


def _plain(url: str) -> str:
    """The URL as it may be written down anywhere."""
    if "://" not in url:
        return str(Path(url).expanduser().resolve())
    if urlsplit(url).password is not None:
        raise UsageError(
            f"the {urlsplit(url).scheme}:// URL",
            expected="no password in it",
            found="one",
            remedy="Give credentials by the environment: URLs are written to manifests and logs.",
        )
    return url.rstrip("/")


def in_a_line(error: BaseException) -> str:
    """The kind of an error and its first words."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
