"""The way in: find a month's file in the inbox, read it, hold it against the suite, split its rows.

    path = find_file(inbox, "clients", month)
    checked = check_file(path, "clients", month, workdir, Context())

gives Parquet files of the accepted and the quarantined rows and the result of every rule, or raises
an `InputRefused` whose one line says what was expected, what was found, where, and what to do.
Rows received = accepted + quarantined. Rows are streamed; of the whole file only hashes are held in memory,
16 bytes a row, and 16 more of each client that it is held against.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from creditflow.month import Month
from expectations.checked import CheckedFile, Context, ExpectationResult, Step, no_step
from expectations.checking import Check
from expectations.digests import fingerprint
from expectations.headers import Kind
from expectations.inbox import find_file, list_files, misnamed_files
from expectations.reader import open_raw, suffix_of
from expectations.settling import look, settle, unsettled
from expectations.staging import stage_table
from expectations.suite import load_suite
from expectations.textfile import Fingerprint, require_space, writing

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

# Bytes on disk while a file is loaded, per byte of it: the numbers of all its rows, the accepted ones, and
# those in the warehouse; the unpacked text of an archive too. Rather too few: what fits is not to be refused.
SPACE = {".csv": 1.5, ".csv.gz": 6.0, ".parquet": 2.0, ".xls": 1.0, ".xlsx": 1.0}


def check_file(
    path: Path, kind: Kind, month: Month, workdir: Path, context: Context, *, step: Step = no_step
) -> CheckedFile:
    """Read a file, hold it against its suite and split its rows.

    Args:
        workdir: folder (made if absent) for the Parquet files, named after kind, month and digest.
        step: entered around each part: "read", "check" and "split".

    Raises:
        InputRefused: the file cannot be taken; see creditflow.errors for the kinds.
        HomeUnusable: `workdir` cannot be written to, or has not the space that the file needs.
        SuiteInvalid: the suite of the kind cannot be applied.
    """
    rules = load_suite(kind)
    before = look(path)
    require_space(path, workdir, SPACE[suffix_of(path)])
    with _workspace(workdir) as stage:
        with step("read"):
            raw = open_raw(path, kind, stage)
            table, facts = stage_table(path, raw, stage)
        checked = Check(path, kind, month, workdir, context, rules, raw, table, facts, step).run()
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
