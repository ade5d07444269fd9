"""Every error that creditflow raises, in one tree.

The library raises; the command line turns an error into one line and its `exit_code`.

    CreditflowError                 exit code 1
    ├── InputRefused                a file, a month or a row set that cannot be taken
    │   ├── MonthInvalid            the text is no month
    │   ├── FileMissing             no file for the month
    │   ├── FileAmbiguous           more than one file for the month
    │   ├── FileUnreadable          truncated, wrong encoding, no permission
    │   │   └── FileUnsettled       still being written
    │   ├── HeaderRefused           missing, duplicate or unknown column
    │   └── ContentRefused          a critical expectation failed, or too many rows set aside
    ├── StorageError
    │   ├── HomeUnusable            the home folder is full, read-only or absent
    │   ├── HomeLocked              another run holds the lock
    │   ├── WarehouseCorrupt        the database cannot be opened
    │   ├── WarehouseNewer          the database was written by a newer creditflow
    │   ├── MemoryLimitReached      DuckDB needs more than CREDITFLOW_MEMORY_LIMIT, and cannot move it to disk
    │   ├── HomeOccupied            a restore would replace what is there
    │   ├── OutputOccupied          the folder for scores holds those of another run, or something else
    │   ├── BackupUnusable          the folder for backups is full, read-only, absent or inside the home
    │   └── BackupCorrupt           a file of a backup is missing, changed, additional, or no backup's
    ├── ArtifactError
    │   ├── ArtifactMissing
    │   ├── ArtifactCorrupt         a sum in the manifest does not match its file
    │   ├── ArtifactNewer           the manifest was written by a newer creditflow
    │   └── ArtifactOutdated        written by an older creditflow, or for other features
    ├── TrainingError
    │   ├── TrainingRefused         one class only, too few defaulters, no outcomes
    │   └── TrainingDiverged        the loss is not a number
    ├── ScoringIncomplete       partitions could not be scored; the others were
    ├── ClusterUnreachable      no Dask scheduler answers, or it has no workers
    ├── BackfillIncomplete          months of a backfill failed; the others were run
    ├── QueryFailed                 a query of an analyst that DuckDB refuses
    ├── ServerUnreachable           no Prefect server answers, or the one to be started does not start
    ├── DownloadFailed              the public data set could not be fetched or verified
    ├── PrintFailed                 the browser that prints pages failed, hung or wrote no PDF
    └── UsageError                  exit code 2
        └── SuiteInvalid            a file of rules in expectations/ that cannot be applied
"""


class CreditflowError(Exception):
    """Base of all errors, worded as: where, what was expected, what was found, what to do.

    Args:
        where: the file, row, column, month or setting concerned.
        expected: what was required there.
        found: what was there instead.
        remedy: what the reader can do next.
    """

    exit_code = 1

    def __init__(self, where: str, *, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        super().__init__(where, expected, found, remedy)

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, found {self.found}. {self.remedy}"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments have to survive a trip between processes.
        return (_rebuild, (type(self), self.where, self.expected, self.found, self.remedy))


def _rebuild(
    kind: type[CreditflowError], where: str, expected: str, found: str, remedy: str
) -> CreditflowError:
    return kind(where, expected=expected, found=found, remedy=remedy)


class InputRefused(CreditflowError): ...


class MonthInvalid(InputRefused): ...


class FileMissing(InputRefused): ...


class FileAmbiguous(InputRefused): ...


class FileUnreadable(InputRefused): ...


class FileUnsettled(FileUnreadable): ...


class HeaderRefused(InputRefused): ...


class ContentRefused(InputRefused): ...


class StorageError(CreditflowError): ...


class HomeUnusable(StorageError): ...


class HomeLocked(StorageError): ...


class WarehouseCorrupt(StorageError): ...


class WarehouseNewer(StorageError): ...


class MemoryLimitReached(StorageError): ...


class HomeOccupied(StorageError): ...


class OutputOccupied(StorageError): ...


class BackupUnusable(StorageError): ...


class BackupCorrupt(StorageError): ...


class ArtifactError(CreditflowError): ...


class ArtifactMissing(ArtifactError): ...


class ArtifactCorrupt(ArtifactError): ...


class ArtifactNewer(ArtifactError): ...


class ArtifactOutdated(ArtifactError): ...


class TrainingError(CreditflowError): ...


class TrainingRefused(TrainingError, ValueError):
    """Also a ValueError: scikit-learn's contract asks for one where data cannot be trained on."""


class TrainingDiverged(TrainingError): ...


class ScoringIncomplete(CreditflowError): ...


class ClusterUnreachable(CreditflowError): ...


class BackfillIncomplete(CreditflowError): ...


class QueryFailed(CreditflowError): ...


class ServerUnreachable(CreditflowError): ...


class DownloadFailed(CreditflowError): ...


class PrintFailed(CreditflowError): ...


class UsageError(CreditflowError):
    exit_code = 2


class SuiteInvalid(UsageError): ...
