"""Evidently in a process of its own, so that its pages are drawn while ours are.

    with opened():
        ...                               # anything else; `warm_up()` has the imports begin
        page = draw(Job("drift", ...))    # returns at once
        ...
        page()                            # waits for it

`python -m tasks.reports.beside` takes jobs from standard input and answers each with a line. It ends when its
input is closed: a parent that is killed closes it. What it is told of clients goes through that pipe alone,
as Arrow, and lies in no file.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import polars as pl

from creditflow.imports import without_collector
from tasks.reports.evidently_pages import EvidentlyPage, Job, Whole, silence, title_of

Pending = Callable[[], EvidentlyPage]
_ROOT = Path(__file__).resolve().parent.parent.parent
_LOG = logging.getLogger(__name__)


# ── In our process ──────────────────────────────────────────────────────────────────────────────


class Beside:
    """The process, seen from the parent: it is started when it is first wanted, and draws in order."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        # Jobs are written while the other side still imports, and answers are waited for: not in our thread.
        self._line = ThreadPoolExecutor(1, thread_name_prefix="evidently")

    def start(self) -> None:
        """Has the process begin its imports, unless it lives."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C at the terminal is for the parent, which ends this one.
                start_new_session=True,
                cwd=_ROOT,
            )

    def draw(self, job: Job) -> Pending:
        """Hands the job over; call the result to wait for what came of it."""
        self.start()
        return self._line.submit(self._exchange, job).result

    def stop(self) -> None:
        """Ends the process; what it has not drawn by then is not wanted any more."""
        if self._process is not None:
            self._process.kill()
        self._line.shutdown(cancel_futures=True)
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _exchange(self, job: Job) -> EvidentlyPage:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("no process was started")
        try:
            send(process.stdin, job)
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        if answer:
            return opened_answer(json.loads(answer))
        reason = f"Evidently's process ended before its time (exit code {process.wait()})"
        _LOG.error("%s of %s: %s", job.path.name, job.month, reason)
        return EvidentlyPage(job.kind, title_of(job.kind, job.month), reason, [])


_open: list[Beside] = []


@contextmanager
def opened() -> Iterator[None]:
    """For the block, pages are drawn beside; within another such block that one's process goes on."""
    if _open:
        yield
        return
    _open.append(Beside())
    try:
        yield
    finally:
        _open.pop().stop()


def warm_up() -> None:
    """Has the imports begin, for pages that will be wanted; nothing where no process is open."""
    if _open:
        _open[0].start()


def draw(job: Job) -> Pending:
    """Draws a page, beside where a process is open, else here and now."""
    if _open:
        return _open[0].draw(job)
    page = job.draw()
    return lambda: page


# ── On the line: a JSON object, then the bytes of both frames as Arrow ──────────────────────────


def send(line: IO[bytes], job: Job) -> None:
    """Writes a job."""
    frames = [b"" if frame is None else _bytes(frame) for frame in (job.current, job.reference)]
    head = {
        "kind": job.kind,
        "path": str(job.path.resolve()),
        "month": job.month,
        "whole": asdict(job.whole),
        "earlier": job.earlier and str(job.earlier.resolve()),
        "sizes": [len(frame) for frame in frames],
    }
    line.write(json.dumps(head).encode() + b"\n")
    for frame in frames:
        line.write(frame)
    line.flush()


def receive(line: IO[bytes]) -> Job | None:
    """Reads a job; None where there will be no more."""
    head = line.readline()
    if not head:
        return None
    facts = json.loads(head)
    current, reference = (line.read(size) for size in facts["sizes"])
    return Job(
        facts["kind"],
        Path(facts["path"]),
        facts["month"],
        pl.read_ipc_stream(current),
        pl.read_ipc_stream(reference) if reference else None,
        Whole(**facts["whole"]),
        facts["earlier"] and Path(facts["earlier"]),
    )


def answer_of(job: Job) -> dict[str, Any]:
    """What came of a job, for the line."""
    try:
        return {"page": asdict(job.draw())}
    except OSError as error:
        return {"os_error": [error.errno, error.strerror, str(error.filename)]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def opened_answer(answer: dict[str, Any]) -> EvidentlyPage:
    """The page, or the error that the other side met, as it would have been raised here.

    Raises:
        OSError: the page could not be written.
        RuntimeError: any other error beyond those that a page tells of itself.
    """
    if "os_error" in answer:
        raise OSError(*answer["os_error"])
    if "error" in answer:
        raise RuntimeError(f"Evidently's process: {answer['error']}")
    return EvidentlyPage(**answer["page"])


def _bytes(frame: pl.DataFrame) -> bytes:
    return frame.write_ipc_stream(None).getvalue()


# ── In the process beside ───────────────────────────────────────────────────────────────────────


def main() -> None:
    """Draws until standard input ends."""
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _import()
    while job := receive(sys.stdin.buffer):
        answers.write(json.dumps(answer_of(job)).encode() + b"\n")
        answers.flush()


def _import() -> None:
    silence()
    with without_collector(), suppress(Exception):  # each page says it, should it not be importable
        import evidently.presets  # noqa: F401


if __name__ == "__main__":
    main()
