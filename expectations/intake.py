"""The way in: find a month's file in the inbox, read it, hold it against the suite, split its rows.

    path = find_file(inbox, "clients", month)
    checked = check_file(path, "clients", month, workdir, Context())

gives Parquet files of the accepted and the quarantined rows and the result of every rule, or raises
an `InputRefused` whose one line says what was expected, what was found, where, and what to do.
Rows received = accepted + quarantined. Rows are streamed; only the IDs and a hash of each row are held in
memory for the whole file, about 100 bytes a row.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from creditflow.month import Month
from expectations.checked import CheckedFile, Context, ExpectationResult
from expectations.checking import Check
from expectations.headers import Kind
from expectations.inbox import find_file, list_files, misnamed_files
from expectations.reader import open_raw
from expectations.settling import look, settle, unsettled
from expectations.staging import stage_table
from expectations.suite import load_suite
from expectations.textfile import Fingerprint, fingerprint, writing

__all__ = [
    "CheckedFile",
    "Context",
    "ExpectationResult",
    "Fingerprint",
    "Kind",
    "check_file",
    "find_file",
    "fingerprint",
    "list_files",
    "misnamed_files",
    "settle",
]


def check_file(path: Path, kind: Kind, month: Month, workdir: Path, context: Context) -> CheckedFile:
    """Read a file, hold it against its suite and split its rows.

    Args:
        workdir: folder (made if absent) for the Parquet files, named after kind, month and digest.

    Raises:
        InputRefused: the file cannot be taken; see creditflow.errors for the kinds.
        HomeUnusable: `workdir` cannot be written to.
        SuiteInvalid: the suite of the kind cannot be applied.
    """
    rules = load_suite(kind)
    before = look(path)
    with _workspace(workdir) as stage:
        raw = open_raw(path, kind, stage)
        table, facts = stage_table(path, raw, stage)
        checked = Check(path, kind, month, workdir, context, rules, raw, table, facts).run()
    if look(path) != before:
        raise unsettled(path)
    return checked


@contextmanager
def _workspace(workdir: Path) -> Iterator[Path]:
    """A folder for intermediate files, removed at the end whatever happens."""
    with writing(workdir / "stage"):
        workdir.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=".intake-", dir=workdir)
    with holder as folder:
        yield Path(folder)
