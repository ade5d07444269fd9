"""The public data set arrives whole, or not at all."""

import hashlib
import io
import re
import socket
import ssl
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest
import xlwt

from creditflow.columns import CLIENT_SCHEMA, OUTCOME
from creditflow.errors import (
    ContentRefused,
    DownloadFailed,
    FileMissing,
    FileUnreadable,
    HeaderRefused,
    HomeUnusable,
    UsageError,
)
from creditflow.month import Month
from expectations.intake import Context, check_file
from models.simulator import SimulationSettings, simulate
from tasks import uci
from tasks.inbox import STUDY_HEADER
from tasks.uci import DownloadOptions, import_uci

FIRST = Month(2005, 4)
QUICK = DownloadOptions(attempts=2, timeout_seconds=0.5, deadline_seconds=0.6, pause_seconds=0.01)
LABEL = STUDY_HEADER[OUTCOME]


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """A small set in the shape of the real one: 100 clients with IDs 1 … 100, and labels."""
    month = next(simulate(SimulationSettings(FIRST, 1, 100)))
    labelled = month.clients.with_columns(
        pl.int_range(1, 101).alias("client_id"), month.outcomes[OUTCOME].cast(pl.Int64)
    )
    return labelled.select(*CLIENT_SCHEMA, OUTCOME).rename(STUDY_HEADER)


def lines_of(path) -> list[str]:
    return path.read_text().splitlines()


def delivered(inbox, kind: str) -> pl.DataFrame:
    """All files of a kind below each other, as text."""
    files = sorted(inbox.glob(f"{kind}_*.csv"))
    return pl.concat([pl.read_csv(f, infer_schema=False) for f in files])


# ── Splitting a file ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("months", [1, 3, 6, 7, 100])
def test_months_are_contiguous_even_and_complete(table, tmp_path, months):
    table.sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "set.csv")
    report = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, months)
    sizes = [m.rows for m in report.months]
    assert report.rows == sum(sizes) == 100
    assert max(sizes) - min(sizes) <= 1
    assert [m.month for m in report.months] == [FIRST.plus(k) for k in range(months)]
    assert delivered(tmp_path / "inbox", "clients")["ID"].to_list() == [str(n) for n in range(1, 101)]
    assert len(report.paths) == len(list((tmp_path / "inbox").iterdir())) == 2 * months


def test_cells_are_carried_over_and_the_label_is_split_off(table, tmp_path):
    table.write_csv(tmp_path / "set.csv")
    import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 4)
    source = pl.read_csv(tmp_path / "set.csv", infer_schema=False)
    assert delivered(tmp_path / "inbox", "clients").equals(source.drop(LABEL))
    assert delivered(tmp_path / "inbox", "outcomes").equals(source.select("ID", LABEL))
    assert LABEL not in lines_of(tmp_path / "inbox" / "clients_2005-04.csv")[0]


def _semicolons(text):
    return text.replace(",", ";")


def _crlf_with_mark(text):
    return "\ufeff" + text.replace("\n", "\r\n")


def _banner(text):
    return "," + ",".join(f"X{n}" for n in range(1, 24)) + ",Y\n" + text


def _x_names(text):
    return _banner("").removesuffix("\n").replace(",X1", "ID,X1", 1) + "\n" + text.split("\n", 1)[1]


@pytest.mark.parametrize("spell", [str, _semicolons, _crlf_with_mark, _banner, _x_names])
def test_every_spelling_gives_the_same_months(table, tmp_path, spell):
    text = table.write_csv()
    (tmp_path / "plain.csv").write_text(text)
    (tmp_path / "spelled.csv").write_bytes(spell(text).encode())
    for name in ("plain", "spelled"):
        import_uci(tmp_path / f"{name}.csv", tmp_path / name, FIRST, 3)
    plain, spelled = (
        {p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("plain", "spelled")
    )
    assert plain == spelled


def test_a_set_without_label_gives_no_outcomes_and_says_so(table, tmp_path):
    table.drop(LABEL).write_parquet(tmp_path / "set.parquet")
    report = import_uci(tmp_path / "set.parquet", tmp_path / "inbox", FIRST, 2)
    assert not list((tmp_path / "inbox").glob("outcomes_*"))
    assert "no outcomes as the source has no label column" in report.lines()[0]


def test_nothing_is_lost_of_rows_that_cannot_be_read(table, tmp_path):
    header, *rows = table.write_csv().splitlines()
    cells = [row.split(",") for row in rows]
    cells[0][0] = "<script>"  # no number for an ID: goes last
    cells[1][1] = "a lot"  # text in a number
    cells[2][24] = "7"  # an outcome other than 0/1
    cells[3] = cells[3][:10]  # too few cells
    cells[4].append("one too many")
    cells[5][0] = ""  # no ID: goes last
    text = "\n".join([header, *(",".join(c) for c in cells), "", ""])
    (tmp_path / "set.csv").write_text(text)
    report = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 2)
    assert (report.rows, report.unreadable_ids) == (100, 2)
    assert "2 of them have an ID that is no number; they come last" in report.lines()
    checked = [
        check_file(m.clients, "clients", m.month, tmp_path / "work", Context(max_quarantine_share=1))
        for m in report.months
    ]
    assert sum(c.received for c in checked) == 100
    aside = pl.concat([pl.read_parquet(c.quarantine_parquet) for c in checked])
    rules = set(aside["rule"])
    assert {"text in a number", "too many fields", "missing client ID", "missing value"} <= rules
    assert lines_of(report.months[1].clients)[-2].startswith("<script>,")
    assert lines_of(report.months[0].clients)[4].split(",")[-1] == "one too many"
    outcomes = pl.concat([pl.read_csv(m.outcomes, infer_schema=False) for m in report.months])
    assert outcomes.height == 100
    assert outcomes.filter(pl.col("ID") == "3")[LABEL].to_list() == ["7"]


def test_copies_of_an_id_stay_in_one_month(table, tmp_path):
    doubled = table.with_columns(pl.when(pl.col("ID") == 51).then(50).otherwise("ID").alias("ID"))
    doubled.write_csv(tmp_path / "set.csv")
    report = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 2)
    assert [m.rows for m in report.months] == [51, 49]
    first = pl.read_csv(report.months[0].clients)
    assert first["ID"].to_list()[-2:] == [50, 50]


def test_ids_are_ordered_as_numbers_also_when_written_with_decimals(table, tmp_path):
    spelled = table.with_columns(pl.col("ID").cast(pl.Float64).cast(pl.String).alias("ID"))
    spelled.write_csv(tmp_path / "set.csv")
    report = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 10)
    assert [(m.first_id, m.last_id) for m in report.months][:2] == [("1.0", "10.0"), ("11.0", "20.0")]


def test_ids_of_64_bits_keep_every_digit(table, tmp_path):
    large = table.with_columns(pl.col("ID") + 9_223_372_036_854_775_700)
    large.write_csv(tmp_path / "set.csv")
    report = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 2)
    assert report.months[0].last_id == "9223372036854775750"
    assert report.unreadable_ids == 0


def test_importing_twice_changes_nothing_and_other_months_need_overwrite(table, tmp_path):
    table.write_csv(tmp_path / "set.csv")
    first = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 2)
    again = import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 2)
    assert {m.state for m in first.months} == {"new"}
    assert {m.state for m in again.months} == {"unchanged"}
    assert again.lines()[0] == "2005-04: 50 clients, ID 1 to 50 (already there)"
    before = {p: p.read_bytes() for p in (tmp_path / "inbox").iterdir()}
    with pytest.raises(UsageError, match="--overwrite"):
        import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 4)
    assert {p: p.read_bytes() for p in (tmp_path / "inbox").iterdir()} == before
    assert import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 4, overwrite=True).months[0].rows == 25


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("set.csv", None, FileMissing, "nothing at this path"),
        ("set.csv", "", FileUnreadable, "an empty file"),
        ("set.txt", "ID\n1\n", FileUnreadable, "ending '.txt'"),
        ("set.csv", "ID,LIMIT_BAL\n1,2\n", HeaderRefused, "missing"),
        ("set.xls", "not a workbook", FileUnreadable, "XLS workbook"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_and_leaves_nothing(tmp_path, name, content, error, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=re.escape(words)):
        import_uci(tmp_path / name, tmp_path / "inbox", FIRST, 1)
    assert list((tmp_path / "inbox").iterdir()) == []


def test_a_header_without_rows_is_refused(table, tmp_path):
    table.clear().write_csv(tmp_path / "set.csv")
    with pytest.raises(ContentRefused, match="expected at least one client, found a header only"):
        import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 1)


def test_a_monthly_file_is_not_the_set(table, tmp_path):
    table.with_columns(pl.lit("2005-04").alias("month")).write_csv(tmp_path / "set.csv")
    with pytest.raises(HeaderRefused, match="a month column, 'month'"):
        import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, 1)


@pytest.mark.parametrize("months", [0, -1, 101])
def test_as_many_months_as_there_are_clients_at_most(table, tmp_path, months):
    table.write_csv(tmp_path / "set.csv")
    with pytest.raises(UsageError, match=rf"months: expected a number from 1 to .*, found {months}"):
        import_uci(tmp_path / "set.csv", tmp_path / "inbox", FIRST, months)


def test_an_inbox_that_is_no_folder_is_named(table, tmp_path):
    table.write_csv(tmp_path / "set.csv")
    with pytest.raises(HomeUnusable, match="writable folder"):
        import_uci(tmp_path / "set.csv", tmp_path / "set.csv" / "inbox", FIRST, 1)


# ── Download ────────────────────────────────────────────────────────────────────────────────────


def workbook(table: pl.DataFrame) -> bytes:
    """The set as its public home serves it: an .xls sheet with a banner row above the header."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    banner = ["", *(f"X{n}" for n in range(1, 24)), "Y"]
    for number, row in enumerate([banner, table.columns, *table.rows()]):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def packed(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as box:
        for name, data in files.items():
            box.writestr(name.replace("__", "."), data)
    return content.getvalue()


class _Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; a path that starts with a behaviour's name misbehaves that way."""

    def do_GET(self):
        behaviour, _, name = self.path.lstrip("/").partition("/")
        self.server.asked.append(self.path)
        getattr(self, f"_{behaviour}")(self.server.files.get(name, b""))

    def _send(self, content: bytes, status: int = 200, length: int | None = None, **headers: str):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if length != -1:
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def _plain(self, content):
        self._send(content)

    def _nowhere(self, content):
        self._send(b"no such page", 404)

    def _broken(self, content):
        self._send(b"busy", 503)

    def _flaky(self, content):
        self._send(content) if len(self.server.asked) > 1 else self._broken(content)

    def _cut(self, content):
        self._send(content[: len(content) // 2], length=len(content))

    def _unannounced(self, content):
        self._send(content, length=-1)

    def _large(self, content):
        self._send(b"", length=10**12)

    def _moved(self, content):
        self._send(b"", 302, Location=f"/plain/{self.path.rpartition('/')[2]}")

    def _away(self, content):
        self._send(b"", 302, Location="http://example.org/set.zip")

    def _circle(self, content):
        self._send(b"", 302, Location=self.path)

    def _silent(self, content):
        time.sleep(1.5)

    def _drip(self, content):
        self.send_response(200)
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(table):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.daemon_threads = True
        running.handle_error = lambda *arguments: None  # a client that hangs up early is part of the tests
        running.files = {"set.zip": packed(sheet__xls=workbook(table))}
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def known(table, monkeypatch):
    """Makes the small set the published one."""
    monkeypatch.setattr(uci, "UCI_SHA256", hashlib.sha256(table.write_csv().encode()).hexdigest())


def download(server, path, inbox, **more):
    url = f"http://127.0.0.1:{server.server_port}/{path}"
    return import_uci(None, inbox, FIRST, 2, url=url, options=QUICK, **more)


@pytest.mark.parametrize("behaviour", ["plain", "flaky", "unannounced", "moved"])
def test_the_set_is_fetched_verified_and_split(server, known, table, tmp_path, behaviour):
    steps = []
    report = download(
        server, f"{behaviour}/set.zip", tmp_path / "inbox", progress=lambda *step: steps.append(step)
    )
    table.write_csv(tmp_path / "set.csv")
    import_uci(tmp_path / "set.csv", tmp_path / "by_hand", FIRST, 2)
    names = {p.name for p in (tmp_path / "inbox").iterdir()}
    assert names == {p.name for p in (tmp_path / "by_hand").iterdir()}
    for name in names:
        assert (tmp_path / "inbox" / name).read_bytes() == (tmp_path / "by_hand" / name).read_bytes()
    assert report.rows == 100
    assert steps[-1] == ("writing 2005-05", 1, 2)
    assert any(what == "downloading" and done == total for what, done, total in steps)
    assert (behaviour == "flaky") == any(what.startswith("trying again: HTTP 503") for what, *_ in steps)


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_a_sheet_of_another_format_is_taken_when_its_content_is_right(server, known, table, tmp_path, suffix):
    content = io.BytesIO()
    table.write_excel(content) if suffix == "xlsx" else table.write_csv(content)
    server.files["set.zip"] = packed(**{f"sheet__{suffix}": content.getvalue()})
    assert download(server, "plain/set.zip", tmp_path).rows == 100


@pytest.mark.parametrize(
    ("behaviour", "found", "requests"),
    [
        ("nowhere", "HTTP 404", 1),
        ("broken", r"HTTP 503 .* \(2 attempts\)", 2),
        ("cut", r"a connection that broke after [\d,]+ of [\d,]+ bytes \(2 attempts\)", 2),
        ("large", "1,000,000,000,000 or more", 1),
        ("away", "an https address, found http scheme", 1),
        ("circle", "HTTP 302", None),
        ("silent", r"no answer in time \(2 attempts\)", 2),
        ("drip", r"only [\d,]+ bytes after 0.6 s \(2 attempts\)", 2),
    ],
)
def test_a_download_that_fails_says_how_and_leaves_nothing(server, tmp_path, behaviour, found, requests):
    with pytest.raises(DownloadFailed, match=found) as failure:
        download(server, f"{behaviour}/set.zip", tmp_path / "inbox")
    assert "creditflow import-uci FILE" in str(failure.value)
    assert list((tmp_path / "inbox").iterdir()) == []
    assert requests is None or len(server.asked) == requests


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda t: b"<html>maintenance</html>", "a complete zip archive, found a damaged one"),
        (lambda t: b"", "a complete zip archive, found a damaged one"),
        (lambda t: packed(sheet__xls=workbook(t))[:-400], "a complete zip archive, found a damaged one"),
        (lambda t: packed(read__me=b"hello"), "one sheet .*found read.me"),
        (lambda t: packed(), "one sheet .*found nothing"),
        (lambda t: packed(a__xls=b"1", b__xls=b"2"), "one sheet .*found a.xls, b.xls"),
        (lambda t: packed(sheet__xls=b"\xd0\xcf\x11\xe0" + bytes(500)), "the sheet of the UCI set, found"),
        (lambda t: packed(sheet__xls=workbook(t.drop("AGE"))), "1 missing: AGE"),
        (lambda t: packed(sheet__xls=workbook(t.head(99))), "canonical CSV has SHA-256 [0-9a-f]{64}, found"),
        (
            lambda t: packed(sheet__xls=workbook(t.with_columns(pl.col("AGE") + 1))),
            "canonical CSV has SHA-256 [0-9a-f]{64}, found",
        ),
        (
            lambda t: packed(sheet__csv=t.drop(LABEL).write_csv().encode()),
            "the sheet of the UCI set, found",
        ),
        (
            lambda t: packed(sheet__csv=t.write_csv().replace("\n1,", "\n1,x").encode()),
            "the sheet of the UCI set, found",
        ),
    ],
)
def test_wrong_content_is_refused_and_leaves_nothing(server, known, table, tmp_path, content, found):
    server.files["set.zip"] = content(table)
    with pytest.raises(DownloadFailed, match=found) as failure:
        download(server, "plain/set.zip", tmp_path / "inbox")
    assert "Nothing was written." in str(failure.value)
    assert list((tmp_path / "inbox").iterdir()) == []


def test_a_damaged_member_is_refused(server, known, table, tmp_path):
    whole = bytearray(packed(sheet__xls=workbook(table)))
    whole[len(whole) // 2] ^= 0xFF
    server.files["set.zip"] = bytes(whole)
    with pytest.raises(DownloadFailed, match="a damaged one"):
        download(server, "plain/set.zip", tmp_path / "inbox")


def test_a_zip_bomb_is_not_unpacked(server, tmp_path, monkeypatch):
    monkeypatch.setattr(uci, "MOST_UNPACKED_BYTES", 1_000_000)
    server.files["set.zip"] = packed(sheet__xls=bytes(5_000_000))
    with pytest.raises(DownloadFailed, match=r"at most 1,000,000 bytes, found an archive .* unpacks to more"):
        download(server, "plain/set.zip", tmp_path / "inbox")


def test_a_download_without_end_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(uci, "MOST_DOWNLOADED_BYTES", 10_000)
    server.files["set.zip"] = bytes(100_000)
    with pytest.raises(DownloadFailed, match="at most 10,000 bytes"):
        download(server, "unannounced/set.zip", tmp_path / "inbox")


def test_no_network_is_said_plainly(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DownloadFailed, match=r"found no connection \(Connection refused\) \(2 attempts\)"):
        import_uci(None, tmp_path, FIRST, 2, url=f"http://127.0.0.1:{port}/set.zip", options=QUICK)


@pytest.mark.parametrize(
    "url",
    [
        "http://archive.ics.uci.edu/set.zip",
        "http://127.0.0.1.example.org/set.zip",
        "ftp://127.0.0.1/set.zip",
        "file:///etc/passwd",
        "set.zip",
    ],
)
def test_only_https_is_accepted_beyond_this_machine(tmp_path, url):
    with pytest.raises(DownloadFailed, match="expected an https address"):
        import_uci(None, tmp_path / "inbox", FIRST, 2, url=url, options=QUICK)


def test_a_redirect_from_https_to_http_is_refused_even_on_this_machine():
    with pytest.raises(DownloadFailed, match="expected an https address"):
        uci._check_url("http://127.0.0.1/set.zip", secure=True)


def test_a_certificate_that_cannot_be_verified_is_not_tried_again(tmp_path, monkeypatch):
    attempts = []

    class Opener:
        def open(self, *arguments, **more):
            attempts.append(1)
            error = ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "self-signed certificate"
            raise uci.urllib.error.URLError(error)

    monkeypatch.setattr(uci, "_opener", lambda url: Opener())
    with pytest.raises(DownloadFailed, match=r"a valid certificate, found .*self-signed certificate"):
        import_uci(None, tmp_path, FIRST, 2, options=QUICK)
    assert len(attempts) == 1


def test_certificates_are_verified():
    context = next(h for h in uci._opener(uci.UCI_URL).handlers if hasattr(h, "https_open"))._context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# ── The real set ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.uci
def test_the_real_set_in_six_months(uci_file, tmp_path):
    report = import_uci(uci_file, tmp_path, FIRST, 6)
    assert [m.rows for m in report.months] == [5_000] * 6
    source = pl.read_csv(uci_file, infer_schema=False)
    assert delivered(tmp_path, "clients").equals(source.drop(LABEL))
    assert delivered(tmp_path, "outcomes").equals(source.select("ID", LABEL))


@pytest.mark.uci
def test_the_real_set_from_a_server_as_its_home_serves_it(server, uci_file, tmp_path):
    whole = pl.read_csv(uci_file)
    server.files["set.zip"] = packed(**{"default of credit card clients__xls": workbook(whole)})
    report = download(server, "plain/set.zip", tmp_path / "downloaded")
    import_uci(uci_file, tmp_path / "by_hand", FIRST, 2)
    assert report.rows == 30_000
    for path in (tmp_path / "by_hand").iterdir():
        assert path.read_bytes() == (tmp_path / "downloaded" / path.name).read_bytes()
