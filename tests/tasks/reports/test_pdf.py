"""Printing to PDF: which browser, what it is told, what is refused, and what comes out of a real one."""

import os
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import polars as pl
import pytest

from creditflow.errors import CreditflowError, FileMissing, HomeUnusable, UsageError
from creditflow.month import Month
from tasks.reports import pdf
from tasks.reports.evidently_pages import EvidentlyPage
from tasks.reports.pack import build_month_pack
from tasks.reports.pages import unavailable_page
from tasks.reports.pdf import BROWSERS, combined, find_browser, pack_pdf, print_pdf

LANDSCAPE = (842, 595)
# A browser in four lines of shell: finds its --print-to-pdf and writes there what the case says.
_FAKE = """#!/bin/sh
for argument; do case $argument in --print-to-pdf=*) made=${{argument#*=}};; esac; done
printf '%s\\n' "$@" > '{told}'; env > '{told}.env'
{does}
"""
GOOD = "printf '%%PDF-1.4\\n%%%%EOF\\n' > \"$made\""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(tmp_path / "page.html", "<p>text</p>")


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], str]:
    """A program that stands in for a browser: `fake(shell)`; what it was told lies in `told`."""

    def made(does: str) -> str:
        program = tmp_path / "fake-browser"
        program.write_text(_FAKE.format(told=tmp_path / "told", does=does))
        program.chmod(0o755)
        return str(program)

    return made


def write_page(path: Path, main: str) -> Path:
    """A page of the base template whose main ends in the markup."""
    text = unavailable_page("2005-05", EvidentlyPage("drift", f"Page {path.stem}", "no reference", []))
    path.write_text(text.replace("</main>", f"{main}</main>"), "utf-8")
    return path


# --- Which browser --------------------------------------------------------------------------------


def install(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("first", range(len(BROWSERS)))
def test_the_first_of_the_usual_names_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    install(tmp_path, *BROWSERS[first:])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() == str(tmp_path / BROWSERS[first])


def test_a_named_browser_is_the_only_one_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "chromium", "mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser(str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert find_browser("mine") == str(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"a program at .*absent.*CREDITFLOW_CHROMIUM"):
        find_browser(str(tmp_path / "absent"))


def test_no_browser_is_said_with_all_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for printed in (
        lambda: print_pdf(page, tmp_path / "a.pdf"),
        lambda: pack_pdf([page], tmp_path / "a.pdf"),
    ):
        with pytest.raises(UsageError, match=", ".join(BROWSERS)):
            printed()
    assert not (tmp_path / "a.pdf").exists()


# --- What it is told, and when it fails -----------------------------------------------------------


@pytest.mark.parametrize(("user", "confined"), [(0, False), (1000, True)])
def test_the_sandbox_is_given_up_for_root_alone(
    tmp_path: Path,
    page: Path,
    fake: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    user: int,
    confined: bool,
) -> None:
    monkeypatch.setattr(pdf.os, "geteuid", lambda: user)
    assert print_pdf(page, tmp_path / "a.pdf", fake(GOOD)) == tmp_path / "a.pdf"
    told = (tmp_path / "told").read_text().splitlines()
    assert ("--no-sandbox" not in told) == confined
    assert {"--headless", "--no-pdf-header-footer", "--disable-background-networking"} < set(told)
    assert told[-1] == page.as_uri()
    profile = next(word for word in told if word.startswith("--user-data-dir="))
    assert profile.startswith(f"--user-data-dir={tmp_path}")
    assert not Path(profile.partition("=")[2]).parent.exists()


def test_proxies_are_not_passed_on(
    tmp_path: Path, page: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, "somewhere")
    print_pdf(page, tmp_path / "a.pdf", fake(GOOD))
    assert "somewhere" not in (tmp_path / "told.env").read_text()


@pytest.mark.parametrize(
    ("does", "found"),
    [
        ("echo 'no room to breathe' >&2; exit 7", r"exit code 7 and no PDF: no room to breathe"),
        ("exit 0", r"exit code 0 and no PDF\."),
        ("echo '<html>' > \"$made\"", r"exit code 0 and no PDF"),
        ("printf '%%PDF-1.4\\n' > \"$made\"", r"exit code 0 and no PDF"),
        (f"{GOOD}; exit 1", r"exit code 1"),
        ("kill -9 $$", r"exit code -9"),
    ],
)
def test_a_browser_that_fails_leaves_the_earlier_pdf(
    tmp_path: Path, page: Path, fake: Callable[[str], str], does: str, found: str
) -> None:
    target = tmp_path / "a.pdf"
    target.write_text("earlier")
    program = fake(does)
    for printed in (lambda: print_pdf(page, target, program), lambda: pack_pdf([page], target, program)):
        with pytest.raises(CreditflowError, match=found):
            printed()
    assert target.read_text() == "earlier"
    assert not list(tmp_path.glob(".printing-*"))


def test_a_browser_that_hangs_is_ended_with_its_children(
    tmp_path: Path, page: Path, fake: Callable[[str], str]
) -> None:
    program = fake(f"(sleep 1; echo alive > '{tmp_path}/child') & sleep 60")
    started = time.monotonic()
    with pytest.raises(CreditflowError, match=r"no end after 0\.2 s"):
        print_pdf(page, tmp_path / "a.pdf", program, seconds=0.2)
    assert time.monotonic() - started < 5
    time.sleep(1.2)
    assert not (tmp_path / "child").exists()


def test_what_is_not_there_is_said(tmp_path: Path, page: Path, fake: Callable[[str], str]) -> None:
    program = fake(GOOD)
    with pytest.raises(FileMissing, match="no such file"):
        print_pdf(tmp_path / "absent.html", tmp_path / "a.pdf", program)
    with pytest.raises(FileMissing, match="no such file"):
        pack_pdf([page, tmp_path / "absent.html"], tmp_path / "a.pdf", program)
    with pytest.raises(HomeUnusable, match="No such file or directory"):
        print_pdf(page, tmp_path / "absent" / "a.pdf", program)
    (tmp_path / "folder.pdf").mkdir()
    with pytest.raises(HomeUnusable, match="Is a directory"):
        print_pdf(page, tmp_path / "folder.pdf", program)


def test_the_target_is_replaced(tmp_path: Path, page: Path, fake: Callable[[str], str]) -> None:
    target = tmp_path / "a.pdf"
    target.write_text("earlier")
    assert print_pdf(page, target, fake(GOOD)).read_bytes().startswith(b"%PDF-1.4")


# --- Several pages as one -------------------------------------------------------------------------


class Outline(HTMLParser):
    """Identifiers, links and references of a text, and whether its tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.referred: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link", "br", "img", "input", "hr", "wbr"}:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if tag == "a" and name == "href" else []
            if name.startswith("aria-") and name.endswith("by"):
                self.referred |= set((value or "").split())
            if tag not in ("a", "link") and name in ("href", "xlink:href"):
                self.referred.add((value or "").removeprefix("#"))
            self.referred |= set(re.findall(r"url\([\"']?#([^)\"']+)", value or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def pack(stored: Path, tmp_path_factory: pytest.TempPathFactory, reference: pl.DataFrame) -> list[Path]:
    reports = tmp_path_factory.mktemp("printed") / "reports"
    with duckdb.connect(str(stored), read_only=True) as con:
        build_month_pack(con, Month(2005, 5), reports, reference=reference, evidently=False)
    return [reports / "2005-05" / f"{name}.html" for name in ("index", "data-quality", "stability")]


def test_pages_of_a_pack_become_one_text_without_clashes(pack: list[Path]) -> None:
    alone = [Outline(page.read_text("utf-8")) for page in pack]
    whole = Outline(combined(pack))
    assert whole.open == []
    assert len(set(whole.ids)) == len(whole.ids) == sum(len(o.ids) for o in alone) + len(pack)
    assert whole.referred <= set(whole.ids)
    assert len(whole.referred) == sum(len(o.referred) for o in alone) > 1
    assert {link[0] for link in whole.links} == {"#"}
    assert {"#p2-", "#p3-"} <= set(whole.links)
    assert {link[1:] for link in whole.links} <= set(whole.ids)


def test_no_word_of_the_pages_is_lost(pack: list[Path]) -> None:
    whole = combined(pack)
    for page in pack:
        text = page.read_text("utf-8")
        main = text[text.index("<main>") : text.index("</main>")]
        assert "".join(Outline(main + "</main>").words).strip() in "".join(Outline(whole).words)


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ('<p id="a">', '<p id="p1-a">'),
        ('<a href="#a">', '<a href="#p1-a">'),
        ('<a href="two.html">', '<a href="#p2-">'),
        ('<a href="two.html#x">', '<a href="#p2-x">'),
        ('<a href="./two.html#x">', '<a href="#p2-x">'),
        ('<a class="k" href="../other/index.html" title="t">', '<a class="k" title="t">'),
        ('<a href="three.html#x">', "<a>"),
        ('<a href="https://example.org/a#b">', '<a href="https://example.org/a#b">'),
        ('<use xlink:href="#m1" x="1"/>', '<use xlink:href="#p1-m1" x="1"/>'),
        ('<g clip-path="url(#c)">', '<g clip-path="url(#p1-c)">'),
        ("<g style='fill: url(\"#c\")'>", "<g style='fill: url(\"#p1-c\")'>"),
        ('<svg aria-labelledby="a b" viewBox="0">', '<svg aria-labelledby="p1-a p1-b" viewBox="0">'),
        ('<td data-id="a" headers="h">', '<td data-id="a" headers="p1-h">'),
        ("<p>&lt;p id=&#34;a&#34;&gt; url(#a)</p>", "<p>&lt;p id=&#34;a&#34;&gt; url(#a)</p>"),
        ('<p title="id=&#34;a&#34; href=&#34;b&#34;">', '<p title="id=&#34;a&#34; href=&#34;b&#34;">'),
        ("<p>{braces} {0} %s \\1</p>", "<p>{braces} {0} %s \\1</p>"),
    ],
)  # fmt: skip
def test_tags_are_made_the_pages_own(tmp_path: Path, main: str, expected: str) -> None:
    pages = [write_page(tmp_path / "one.html", f"<!-- -->{main}"), write_page(tmp_path / "two.html", "")]
    assert f"<!-- -->{expected}</main>" in combined(pages)


def test_only_pages_of_the_pack_are_combined(tmp_path: Path, page: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text("<html><head><title>t</title></head><body>x</body></html>")
    for pages, said in (([], "found"), ([page, page], "each of them once"), ([page, other], "no <header")):
        with pytest.raises(ValueError, match=said):
            combined(pages)


# --- A real browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(browser: Any) -> str:
    """The browser that the other tests open pages in; `browser` skips or fails where there is none."""
    return find_browser()


def sheets(made: Path) -> list[tuple[int, int]]:
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", made.read_bytes())
    return [(round(float(width)), round(float(height))) for width, height in boxes]


@pytest.mark.browser
def test_a_page_is_printed_unfolded_and_tells_no_path(chromium: str, tmp_path: Path) -> None:
    lines = "<br>".join("line" for _ in range(150))
    link = '<a href="beside.html">beside</a> <a href="https://example.org/">web</a>'
    flat = write_page(tmp_path / "flat 1 & größer.html", link)
    folded = write_page(tmp_path / "folded.html", f"{link}<details><summary>more</summary>{lines}</details>")
    assert sheets(print_pdf(flat, tmp_path / "flat.pdf", chromium)) == [LANDSCAPE]
    made = print_pdf(folded, tmp_path / "folded.pdf", chromium)
    assert len(sheets(made)) > 2
    assert b"https://example.org/" in made.read_bytes()
    assert b"file:" not in made.read_bytes()
    assert str(tmp_path).encode() not in made.read_bytes()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html", ".html", ".pdf", ".pdf"]


@pytest.mark.browser
def test_a_pack_is_printed_as_one(chromium: str, pack: list[Path], tmp_path: Path) -> None:
    made = pack_pdf(pack, tmp_path / "pack.pdf", chromium)
    found = sheets(made)
    assert set(found) == {LANDSCAPE}
    assert len(found) >= 2 * len(pack)
    assert b"/Outlines" in made.read_bytes()
    assert b"file:" not in made.read_bytes()
    assert os.listdir(tmp_path) == ["pack.pdf"]


@pytest.mark.browser
def test_nothing_outside_is_asked_for(chromium: str, tmp_path: Path) -> None:
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        image = f"<img src='http://127.0.0.1:{server.server_port}/a.png' alt='a'>"
        page = write_page(tmp_path / "page.html", image)
        open_to_all = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text("utf-8"))
        page.write_text(open_to_all, "utf-8")
        print_pdf(page, tmp_path / "page.pdf", chromium)
        server.shutdown()
    assert asked == []
