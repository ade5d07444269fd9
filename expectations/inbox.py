"""Which files lie in the inbox: `clients_YYYY-MM.*` and `outcomes_YYYY-MM.*`."""

import os
import re
from pathlib import Path

from creditflow.errors import FileAmbiguous, FileMissing
from creditflow.month import Month
from expectations.headers import Kind
from expectations.reader import SUFFIXES
from expectations.textfile import unreadable

_FILE_NAME = re.compile(
    r"(clients|outcomes)_((?:19|2\d)\d{2}-(?:0[1-9]|1[0-2]))(\.csv|\.csv\.gz|\.parquet|\.xls|\.xlsx)"
)
_TEMPORARY = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")


def list_files(inbox: Path, kind: Kind) -> dict[Month, list[Path]]:
    """The files of a kind per month, in order of month and name; none where the inbox does not exist.

    Raises:
        FileUnreadable: the inbox cannot be read.
    """
    found: dict[Month, list[Path]] = {}
    for path in _visible(inbox):
        match = _FILE_NAME.fullmatch(path.name.lower())
        if match and match[1] == kind:
            found.setdefault(Month.parse(match[2]), []).append(path)
    return dict(sorted(found.items()))


def misnamed_files(inbox: Path) -> list[Path]:
    """Files that lie in the inbox and will never be read, as their name says no kind, month or format."""
    return [path for path in _visible(inbox) if not _FILE_NAME.fullmatch(path.name.lower())]


def find_file(inbox: Path, kind: Kind, month: Month) -> Path:
    """The one file of a kind and month.

    Raises:
        FileMissing: there is none.
        FileAmbiguous: there are several.
        FileUnreadable: the inbox cannot be read.
    """
    paths = list_files(inbox, kind).get(month, [])
    wanted = f"{kind}_{month}"
    if not paths:
        near = [p.name for p in misnamed_files(inbox) if p.name.lower().startswith(f"{kind}_{month}"[:-3])]
        raise FileMissing(
            str(inbox),
            expected=f"a file {wanted} ending in {', '.join(SUFFIXES)}",
            found=f"only {', '.join(near[:3])}" if near else "none" if inbox.is_dir() else "no such folder",
            remedy=f"Put {wanted}.csv there.",
        )
    if len(paths) > 1:
        raise FileAmbiguous(
            str(inbox),
            expected=f"one file {wanted}",
            found=f"{len(paths)}: {', '.join(p.name for p in paths)}",
            remedy="Keep the right one and move the others away.",
        )
    return paths[0]


def _visible(inbox: Path) -> list[Path]:
    """Regular files of the inbox, sorted by name, without hidden and temporary ones."""
    try:
        if inbox.exists() and not os.access(inbox, os.R_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        entries = sorted(inbox.iterdir()) if inbox.exists() else []
        return [path for path in entries if not _is_temporary(path.name) and path.is_file()]
    except OSError as error:
        raise unreadable(inbox, error) from error


def _is_temporary(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower().endswith(_TEMPORARY)
