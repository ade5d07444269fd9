"""Prints pages of the report pack to PDF through a Chromium that is installed already.

The browser runs headless, with a profile of its own that is thrown away and without a network. The
PDF is put in place by rename, so a reader sees the earlier one or the new one.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from creditflow.errors import FileMissing, HomeUnusable, PrintFailed, UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 60.0
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers give 64 MB
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--metrics-recording-only",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name resolves, whatever a page asks for
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)

# --- Public ---------------------------------------------------------------------------------------


def print_pdf(page: Path, target: Path, browser: str | None = None, seconds: float = SECONDS) -> Path:
    """Prints one HTML page; folded parts are printed unfolded.

    Args:
        page: the HTML file; it is only read.
        target: the PDF to be written or replaced. Its folder has to be there.
        browser: path or name of a Chromium; without it the first of `BROWSERS` on the PATH.
        seconds: when the browser is given up on.

    Returns:
        `target`.

    Raises:
        UsageError: no browser is installed, or `browser` is none.
        FileMissing: there is no such page.
        HomeUnusable: the target's folder is absent, full or read-only.
        PrintFailed: the browser failed, hung or wrote no PDF.
    """
    executable = find_browser(browser)
    _present(page)
    with _workplace(target) as work:
        return _print(executable, page, work, target, seconds)


def pack_pdf(
    pages: Sequence[Path], target: Path, browser: str | None = None, seconds: float = SECONDS
) -> Path:
    """Prints pages into one PDF, in their order, with links from page to page and one count of sheets.

    Args:
        pages: pages made of the pack's base template. All share the sheet of the first page's style, so
            a model card, which is upright, goes to `print_pdf`.
        target, browser, seconds: as for `print_pdf`.

    Returns:
        `target`.

    Raises:
        ValueError: there is no page, one page twice, or a page without a `main`.
        PrintFailed, UsageError, FileMissing, HomeUnusable: as `print_pdf`.
    """
    executable = find_browser(browser)
    for page in pages:
        _present(page)
    text = combined(pages)
    with _workplace(target) as work:
        together = work / "pack.html"
        together.write_text(text, "utf-8")
        return _print(executable, together, work, target, seconds)


def find_browser(browser: str | None = None) -> str:
    """The path of `browser`, or of the first of `BROWSERS` that is installed.

    Raises:
        UsageError: there is none.
    """
    names = (browser,) if browser else BROWSERS
    found = next((path for path in map(shutil.which, names) if path), None)
    if found:
        return found
    raise UsageError(
        "printing to PDF",
        expected=f"a program at {browser}" if browser else f"one of {', '.join(BROWSERS)} on the PATH",
        found="none that can be run",
        remedy="Install Chromium, name one with CREDITFLOW_CHROMIUM, or print the page from any browser.",
    )


# --- The browser ----------------------------------------------------------------------------------


def _present(page: Path) -> None:
    if not page.is_file():
        # Chromium would print its own page about the missing one, and call that a success.
        raise FileMissing(
            str(page),
            expected="a page to print",
            found="no such file",
            remedy="Build the month's pages first: creditflow report MONTH.",
        )


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A folder beside the target: a rename needs one file system, and a confined browser may see no other."""
    try:
        # The browser's last helpers may still write to the profile while it is removed.
        with tempfile.TemporaryDirectory(
            prefix=".printing-", dir=target.parent, ignore_cleanup_errors=True
        ) as work:
            yield Path(work)
    except OSError as error:
        raise HomeUnusable(
            str(target),
            expected="a folder that can be written to",
            found=error.strerror or str(error),
            remedy="Name a target whose folder is there and has room.",
        ) from error


def _print(executable: str, page: Path, work: Path, target: Path, seconds: float) -> Path:
    made = work / "made.pdf"
    log = work / "browser.log"
    code = _run(_command(executable, page, made, work), log, seconds)
    if code != 0 or not _is_pdf(made):
        raise _failed(executable, page, code, log, seconds)
    os.replace(made, target)
    return target


def _command(executable: str, page: Path, made: Path, work: Path) -> list[str]:
    # Chromium's sandbox refuses to start for root, and is kept for everybody else.
    unconfined = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    own = [f"--user-data-dir={work / 'profile'}", f"--print-to-pdf={made.resolve()}"]
    return [executable, *_FLAGS, *unconfined, *own, page.resolve().as_uri()]


def _run(command: Sequence[str], log: Path, seconds: float) -> int | None:
    """The exit code; None where the browser was still running after so many seconds."""
    with log.open("wb") as said:
        # A session of its own, so that a hung browser is ended with all of its processes.
        process = subprocess.Popen(  # noqa: S603 - a list, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=_environment(log.parent),
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(work: Path) -> dict[str, str]:
    """Ours without proxies and buses, and with the browser's settings and caches in its workplace."""
    left_out = re.compile(r"(?i).*_proxy|DBUS_.*")
    kept = {name: value for name, value in os.environ.items() if not left_out.fullmatch(name)}
    return kept | {"XDG_CONFIG_HOME": str(work / "config"), "XDG_CACHE_HOME": str(work / "cache")}


def _is_pdf(made: Path) -> bool:
    if not made.is_file():
        return False
    with made.open("rb") as file:
        head = file.read(5)
        file.seek(max(0, made.stat().st_size - 32))
        return head == b"%PDF-" and file.read().rstrip().endswith(b"%%EOF")


def _failed(executable: str, page: Path, code: int | None, log: Path, seconds: float) -> PrintFailed:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1][:300]}" if lines else ""
    found = f"no end after {seconds:g} s" if code is None else f"exit code {code} and no PDF{last}"
    return PrintFailed(
        f"printing {page.name} with {executable}",
        expected="a PDF",
        found=found,
        remedy="Try the browser by hand, or name another one with CREDITFLOW_CHROMIUM.",
    )


# --- Several pages as one -------------------------------------------------------------------------

# Texts and attributes are escaped where pages are made, so what looks like a tag is one.
_TAG = re.compile(r"<[A-Za-z][^<>]*>")
_ATTRIBUTE = re.compile(r"""\s([\w:-]+)=(["'])(.*?)\2""", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_PAINT = re.compile(r"url\((&quot;|&#34;|&#39;|['\"]?)#")
_REFERRING = frozenset({"aria-labelledby", "aria-describedby", "aria-controls", "for", "headers"})
_ELSEWHERE = re.compile(r"(?i)(https?|mailto|data):")
_WHOLE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
{styles}
<style>.sheet + .sheet {{ break-before: page; }} .crumbs {{ display: none; }}</style>
</head>
<body>
{sheets}
<footer>{footer}</footer>
<script>{script}</script>
</body>
</html>
"""
_SHEET = """<div class="sheet" id="{place}">
<header class="page">{header}</header>
<main>{main}</main>
</div>"""


def combined(pages: Sequence[Path]) -> str:
    """One HTML text of all pages: heads and mains in order, identifiers prefixed so that none is there twice.

    A link to another of the pages leads to its place in the text; a link to any other file is undone.

    Raises:
        ValueError: there is no page, one page twice, or a page that is not of the base template.
    """
    places = {page.resolve(): f"p{number}-" for number, page in enumerate(pages, start=1)}
    if not pages or len(places) < len(pages):
        raise ValueError(f"expected pages, each of them once, found {[page.name for page in pages]}")
    texts = {page: page.read_text("utf-8") for page in places}
    first = next(iter(texts.values()))
    styles = dict.fromkeys(style for text in texts.values() for style in _STYLE.findall(_head(text)))
    return _WHOLE.format(
        title=_between(first, "<title>", "</title>"),
        styles="\n".join(f"<style>{style}</style>" for style in styles),
        sheets="\n".join(_sheet(page, text, places) for page, text in texts.items()),
        footer=_between(first, "<footer>", "</footer>"),
        script=_between(first, "<script>", "</script>"),
    )


def _head(text: str) -> str:
    return _between(text, "<head>", "</head>")


def _between(text: str, start: str, end: str) -> str:
    """What stands between the first `start` and the next `end`."""
    _, found, rest = text.partition(start)
    inside, ended, _ = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"expected a page of the report pack, found no {start}")
    return inside


def _sheet(page: Path, text: str, places: Mapping[Path, str]) -> str:
    header, main = (
        _TAG.sub(lambda tag: _own(tag[0], page, places), _between(text, start, end))
        for start, end in (('<header class="page">', "</header>"), ("<main>", "</main>"))
    )
    return _SHEET.format(place=places[page], header=header, main=main)


def _own(tag: str, page: Path, places: Mapping[Path, str]) -> str:
    """The start tag with its identifiers, and what refers to them, made the page's own."""
    prefix = places[page]

    def attribute(found: re.Match[str]) -> str:
        name, quote, value = found.groups()
        if name in ("href", "xlink:href"):
            target = _target(value, page, places)
            return "" if target is None else f" {name}={quote}{target}{quote}"
        if name == "id" or name in _REFERRING:
            value = " ".join(prefix + word for word in value.split())
        return f" {name}={quote}{_PAINT.sub(lambda paint: paint[0] + prefix, value)}{quote}"

    return _ATTRIBUTE.sub(attribute, tag)


def _target(link: str, page: Path, places: Mapping[Path, str]) -> str | None:
    """Where the link leads within the whole, or outside of all files; None where to another file."""
    if _ELSEWHERE.match(link):
        return link
    path, _, fragment = link.partition("#")
    place = places.get((page.parent / unquote(path)).resolve()) if path else places[page]
    return None if place is None else f"#{place}{fragment}"
