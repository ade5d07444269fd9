"""Brings the UCI set *Default of Credit Card Clients* into the inbox, month by month.

The set is one sheet of 30,000 clients. The study takes the client's ID as a stand-in for time, and so does
this import: the clients, in the order of their IDs, become as many monthly client files as asked for, each
with an outcomes file. Cells are carried over as the text they were; a row that cannot be read goes into a
monthly file all the same, so that validation sets it aside there, by name and rule.

Without a file the set is fetched from its public home. What arrives is brought into the canonical CSV, whose
SHA-256 is known, and nothing is written unless it matches.
"""

import hashlib
import io
import ipaddress
import ssl
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, NoReturn
from urllib.parse import urlsplit

import polars as pl

from creditflow import __version__
from creditflow.columns import AMOUNT_NAMES, CLIENT_ID, CLIENT_SCHEMA, OUTCOME, ROW_NUMBER
from creditflow.errors import (
    ContentRefused,
    DownloadFailed,
    FileMissing,
    HeaderRefused,
    InputRefused,
    UsageError,
)
from creditflow.month import Month
from expectations.headers import STATEMENT_MONTH
from expectations.reader import RawTable, open_raw, parsing
from tasks.inbox import STUDY_HEADER, Delivery, Progress, State, delivery, writing

UCI_URL = "https://archive.ics.uci.edu/static/public/350/default+of+credit+card+clients.zip"
UCI_SHA256 = "88bacc449fc3f84194870a0a7314f95385256cf0fc8b534c2c0789bc3035235f"
MOST_DOWNLOADED_BYTES = 32 * 2**20
MOST_UNPACKED_BYTES = 64 * 2**20
_BLOCK_BYTES = 64 * 1024
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_SET_SUFFIXES = (".xls", ".xlsx", ".csv")
_BY_HAND = "Or download the set by hand and name it: creditflow import-uci FILE."
_CLIENT, _MONTH, _PLACE = "client_number", "month_index", "place"


@dataclass(frozen=True)
class DownloadOptions:
    """How patient a download is.

    `timeout_seconds` holds for every single wait, `deadline_seconds` for an attempt as a whole; the pause
    before the next attempt starts at `pause_seconds` and doubles.
    """

    attempts: int = 4
    timeout_seconds: float = 20
    deadline_seconds: float = 300
    pause_seconds: float = 1


# ── Import ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ImportedMonth:
    """One month of the import; `outcomes` is None when the source has no label column."""

    month: Month
    rows: int
    first_id: str
    last_id: str
    clients: Path
    outcomes: Path | None
    state: State


@dataclass(frozen=True)
class UciImport:
    """What an import delivered.

    `rows` is the sum over the months: nothing is lost. Among them are `unreadable_ids`, which come last;
    `blank_rows` held no value at all and are left out.
    """

    source: str
    rows: int
    blank_rows: int
    unreadable_ids: int
    months: tuple[ImportedMonth, ...]

    @property
    def paths(self) -> list[Path]:
        return [path for m in self.months for path in (m.clients, m.outcomes) if path]

    def lines(self) -> list[str]:
        """The report: a line a month, the sum, and what is worth knowing."""
        lines = [_month_line(month) for month in self.months]
        lines.append(f"{self.rows:,} clients from {self.source}, in the order of their IDs")
        if self.unreadable_ids:
            lines.append(f"{self.unreadable_ids:,} of them have an ID that is no number; they come last")
        if self.blank_rows:
            lines.append(f"{self.blank_rows:,} blank rows were left out")
        return lines


def _month_line(month: ImportedMonth) -> str:
    ending = "" if month.outcomes else ", no outcomes as the source has no label column"
    state = {"new": "", "unchanged": " (already there)", "replaced": " (replaced)"}[month.state]
    return f"{month.month}: {month.rows:,} clients, ID {month.first_id} to {month.last_id}{ending}{state}"


def import_uci(
    file: Path | None,
    inbox: Path,
    first: Month,
    months: int,
    *,
    url: str = UCI_URL,
    overwrite: bool = False,
    progress: Progress | None = None,
    options: DownloadOptions | None = None,
) -> UciImport:
    """Splits the set into `months` monthly client files without label, and their outcomes files.

    The months are contiguous in the numeric order of ID, and their sizes differ by at most one client
    (copies of an ID stay together). All files are delivered, or none.

    Args:
        file: the set in any format and spelling that a client file may have; None: it is downloaded.
        url: where it is downloaded from: https, or http on this machine itself.
        overwrite: replace files of the same name that differ.
        progress: called with (what, done, total).
        options: how patient a download is.

    Raises:
        InputRefused: the file cannot be read, or its header is not that of the set.
        DownloadFailed: the set could not be fetched, or is not the published one.
        UsageError: `months` is not from 1 to the number of clients, or files would be replaced.
        HomeUnusable: the inbox cannot be written to.
    """
    tell = progress or _silent
    _require_months(months, None)
    with delivery(inbox, overwrite=overwrite) as files:
        work = _made(files.folder / "work")
        path = file or _download_to(work, url, options or DownloadOptions(), tell)
        raw = _open(path, work)
        plan = _plan(raw, path, months)
        delivered = []
        for index in range(months):
            tell(f"writing {first.plus(index)}", index, months)
            delivered.append(_deliver(files, raw, path, plan, first.plus(index), index))
    return _report(str(file or url), raw, plan, delivered)


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


def _made(folder: Path) -> Path:
    with writing(folder):
        folder.mkdir()
    return folder


def _require_months(months: int, clients: int | None) -> None:
    if months < 1 or (clients is not None and months > clients):
        most = "the number of clients" if clients is None else f"{clients:,}, the number of clients"
        raise UsageError(
            "months",
            expected=f"a number from 1 to {most}",
            found=str(months),
            remedy="Ask for another number.",
        )


def _open(path: Path, work: Path) -> RawTable:
    if not path.exists():
        raise FileMissing(
            str(path), expected="the UCI data set", found="nothing at this path", remedy="Check the path."
        )
    raw = open_raw(path, "clients", _made(work / "text"))
    if STATEMENT_MONTH in raw.header.names:
        raise HeaderRefused(
            path.name,
            expected="the 25 columns of the UCI set, which knows no months",
            found=f"a month column, {raw.header.spelling(STATEMENT_MONTH)!r}",
            remedy="Put a monthly file into the inbox as clients_YYYY-MM instead of importing it.",
        )
    return raw


def _report(source: str, raw: RawTable, plan: pl.DataFrame, months: list[ImportedMonth]) -> UciImport:
    rows = sum(month.rows for month in months)
    if rows != plan.height:
        raise RuntimeError(f"{source}: {plan.height} rows read, {rows} delivered")
    return UciImport(source, rows, raw.rows - rows, plan[_CLIENT].null_count(), tuple(months))


# ── Split ───────────────────────────────────────────────────────────────────────────────────────


def _plan(raw: RawTable, path: Path, months: int) -> pl.DataFrame:
    """row_number, client_number, place and month_index of every row that is not blank."""
    with parsing(path, "a file"):
        rows = raw.frame.filter(_has_value(raw)).select(ROW_NUMBER, _number().alias(_CLIENT)).collect()
    if not rows.height:
        raise ContentRefused(
            path.name, expected="at least one client", found="a header only", remedy="Send the whole set."
        )
    _require_months(months, rows.height)
    ordered = rows.sort(_CLIENT, ROW_NUMBER, nulls_last=True).with_row_index(_PLACE)
    month = (pl.col(_PLACE).cast(pl.Int64) * months) // rows.height
    # Copies of an ID stay in one month: apart, nobody would notice that they are copies.
    together = pl.when(pl.col(_CLIENT).is_null()).then(month).otherwise(month.first().over(_CLIENT))
    return ordered.with_columns(together.alias(_MONTH))


def _has_value(raw: RawTable) -> pl.Expr:
    cells = [pl.col(name) for name in (*raw.header.names, *raw.extras)]
    return pl.any_horizontal(cell.str.strip_chars().fill_null("") != "" for cell in cells)


def _number() -> pl.Expr:
    """The ID as a whole number, also where it is written as 5.0; null where it is none."""
    text = pl.col(CLIENT_ID).str.strip_chars()
    real = text.cast(pl.Float64, strict=False)
    whole = pl.when(real.is_finite() & (real == real.floor())).then(real).cast(pl.Int64, strict=False)
    return pl.coalesce(text.cast(pl.Int64, strict=False), whole)


def _deliver(
    files: Delivery, raw: RawTable, path: Path, plan: pl.DataFrame, month: Month, index: int
) -> ImportedMonth:
    part = plan.filter(pl.col(_MONTH) == index).select(ROW_NUMBER, _PLACE).lazy()
    with parsing(path, "a file"):
        rows = raw.frame.join(part, on=ROW_NUMBER).sort(_PLACE).collect()
    clients = files.add("clients", month, "csv", _text_writer(rows, list(CLIENT_SCHEMA), raw.extras))
    outcomes = None
    if OUTCOME in raw.header.names:
        outcomes = files.add("outcomes", month, "csv", _text_writer(rows, [CLIENT_ID, OUTCOME], ()))
    states = {files.states[target] for target in (clients, outcomes) if target}
    state: State = "replaced" if "replaced" in states else "new" if "new" in states else "unchanged"
    ids = rows[CLIENT_ID].fill_null("(none)").to_list() or ["-"]
    return ImportedMonth(month, rows.height, ids[0], ids[-1], clients, outcomes, state)


def _text_writer(rows: pl.DataFrame, names: list[str], extras: tuple[str, ...]) -> Callable[[Path], None]:
    """Writes cells as they are; cells beyond the header stay beyond the header."""
    kept = [name for name in extras if rows[name].null_count() < rows.height]
    header = ",".join([*(STUDY_HEADER[name] for name in names), *("" for _ in kept)])

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(header.encode() + b"\n")
            rows.select(*names, *kept).write_csv(stream, include_header=False)

    return write


# ── Download ────────────────────────────────────────────────────────────────────────────────────


class _Passing(Exception):
    """Something that may be gone at the next attempt; its text completes 'found …'."""


def _download_to(folder: Path, url: str, options: DownloadOptions, tell: Progress) -> Path:
    archive = fetch(url, options, tell)
    name, content = _unpacked(archive, url)
    sheet = folder / f"downloaded{Path(name).suffix.lower()}"
    with writing(sheet):
        sheet.write_bytes(content)
    text = _canonical(sheet, _made(folder / "download"), url)
    _verify(text, url)
    path = folder / "default_of_credit_card_clients.csv"
    with writing(path):
        path.write_bytes(text)
    return path


def fetch(url: str, options: DownloadOptions, tell: Progress) -> bytes:
    """What stands at `url`; passing failures are tried again with a doubling pause.

    Raises:
        DownloadFailed: no https, a certificate that does not hold, no answer, a refusal, or too much data.
    """
    _check_url(url)
    for attempt in range(1, options.attempts + 1):
        try:
            return _attempt(url, options, tell)
        except _Passing as failure:
            if attempt == options.attempts:
                raise _failed(
                    url,
                    "the data set",
                    f"{failure} ({attempt} attempts)",
                    f"Check the network and try again later. {_BY_HAND}",
                ) from failure
            tell(f"trying again: {failure}", attempt, options.attempts)
            time.sleep(options.pause_seconds * 2 ** (attempt - 1))
    raise ValueError("at least one attempt is needed")


def _attempt(url: str, options: DownloadOptions, tell: Progress) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": f"creditflow/{__version__}"})  # noqa: S310
    with _answer(request, url, options) as answer:
        try:
            return _body(answer, url, options, tell)
        except (TimeoutError, OSError, HTTPException) as error:
            raise _Passing(_reason(error)) from error


@contextmanager
def _answer(request: urllib.request.Request, url: str, options: DownloadOptions) -> Iterator[HTTPResponse]:
    try:
        answer = _opener(url).open(request, timeout=options.timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _RETRIED_STATUS:
            raise _Passing(f"HTTP {error.code} {error.reason}") from error
        remedy = f"The set may have moved. {_BY_HAND}"
        raise _failed(url, "the data set", f"HTTP {error.code} {error.reason}", remedy) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise _untrusted(url, error.reason) from error
        raise _Passing(_reason(error.reason)) from error
    except (TimeoutError, OSError, HTTPException) as error:
        raise _Passing(_reason(error)) from error
    with answer:
        yield answer


def _untrusted(url: str, error: ssl.SSLCertVerificationError) -> DownloadFailed:
    found = f"one that cannot be verified ({error.verify_message})"
    return _failed(url, "a valid certificate", found, f"Check the clock and the proxy. {_BY_HAND}")


def _body(answer: HTTPResponse, url: str, options: DownloadOptions, tell: Progress) -> bytes:
    announced = answer.headers.get("Content-Length", "")
    total = int(announced) if announced.isdigit() else 0
    content, ends = bytearray(), time.monotonic() + options.deadline_seconds
    _check_size(max(total, 0), url)
    while block := answer.read1(_BLOCK_BYTES):
        content += block
        _check_size(len(content), url)
        tell("downloading", len(content), max(total, len(content)))
        if time.monotonic() > ends:
            raise _Passing(f"only {len(content):,} bytes after {options.deadline_seconds:g} s")
    if len(content) < total:
        raise _Passing(f"a connection that broke after {len(content):,} of {total:,} bytes")
    return bytes(content)


def _check_size(size: int, url: str) -> None:
    if size > MOST_DOWNLOADED_BYTES:
        raise _failed(
            url,
            f"at most {MOST_DOWNLOADED_BYTES:,} bytes",
            f"{size:,} or more",
            f"Check the address. {_BY_HAND}",
        )


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"no connection ({text})"


def _failed(url: str, expected: str, found: str, remedy: str) -> DownloadFailed:
    return DownloadFailed(url, expected=expected, found=found, remedy=remedy)


# Addresses


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to addresses that would have been accepted in the first place."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_url(newurl, secure=urlsplit(req.full_url).scheme == "https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    # A proxy cannot reach this machine's own loopback address.
    proxies = [urllib.request.ProxyHandler({})] if _is_loopback(url) else []
    return urllib.request.build_opener(secure, _Redirects(), *proxies)


def _check_url(url: str, secure: bool = False) -> None:
    scheme = urlsplit(url).scheme
    if scheme == "https" or (scheme == "http" and not secure and _is_loopback(url)):
        return
    raise _failed(url, "an https address", f"{scheme or 'no'} scheme", f"Use https. {_BY_HAND}")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Content


def _unpacked(archive: bytes, url: str) -> tuple[str, bytes]:
    """Name and content of the one sheet in the zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as box:
            sheets = [m for m in box.infolist() if m.filename.lower().endswith(_SET_SUFFIXES)]
            if len(sheets) != 1:
                names = ", ".join(m.filename for m in box.infolist()[:5]) or "nothing"
                _refuse_content(url, "a zip archive with one sheet (.xls)", names)
            return sheets[0].filename, _member(box, sheets[0], url)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        _refuse_content(url, "a complete zip archive", f"a damaged one ({error})", error)


def _member(box: zipfile.ZipFile, member: zipfile.ZipInfo, url: str) -> bytes:
    # The size that the archive states may be a lie: what counts is what comes out.
    with box.open(member) as stream:
        content = stream.read(MOST_UNPACKED_BYTES + 1)
    if len(content) > MOST_UNPACKED_BYTES:
        expected = f"a sheet of at most {MOST_UNPACKED_BYTES:,} bytes"
        _refuse_content(url, expected, f"an archive of {len(box.filelist)} files that unpacks to more")
    return content


def _canonical(sheet: Path, stage: Path, url: str) -> bytes:
    """The set as the published CSV: original header, amounts as 20000.0, codes as whole numbers."""
    types = {name: pl.Float64 if name in AMOUNT_NAMES else pl.Int64 for name in (*CLIENT_SCHEMA, OUTCOME)}
    try:
        cells = open_raw(sheet, "clients", stage).frame.collect()
        typed = cells.select(pl.col(name).cast(pl.Float64).cast(dtype) for name, dtype in types.items())
    except (InputRefused, pl.exceptions.PolarsError) as error:
        _refuse_content(url, "the sheet of the UCI set", str(error).splitlines()[0].rstrip("."), error)
    return typed.rename(STUDY_HEADER).write_csv().encode()


def _verify(text: bytes, url: str) -> None:
    found = hashlib.sha256(text).hexdigest()
    if found != UCI_SHA256:
        _refuse_content(url, f"a set whose canonical CSV has SHA-256 {UCI_SHA256}", found)


def _refuse_content(url: str, expected: str, found: str, cause: Exception | None = None) -> NoReturn:
    remedy = f"Nothing was written. The set may have changed, or something on the way altered it. {_BY_HAND}"
    raise _failed(url, expected, found, remedy) from cause
