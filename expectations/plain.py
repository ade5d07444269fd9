"""A look at the bytes of a text file: is it so plain that its numbers can be read as they lie?

Plain is: ASCII, no quote, no NUL, line ends all LF or all CRLF, and the same number of separators on
every line of data. Of such a file every CSV parser makes the same cells. Any other goes the exact way of
`textfile`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import numpy as np

from creditflow.errors import HeaderRefused
from expectations.headers import Header
from expectations.textfile import MIN_BLOCK

# Far below what the exact way takes, so that the one never reads what the other refuses.
LONGEST_LINE = 1 << 16
_LF = ord("\n")


@dataclass(frozen=True)
class PlainText:
    """Physical lines (header included), and how they end: 'LF' or 'CRLF'."""

    separator: str
    header: Header
    lines: int
    line_ends: str


def look_at(
    chunks: Iterable[bytes], choose: Callable[[str], tuple[str, Header]], out: BinaryIO | None = None
) -> PlainText | None:
    """Reads `chunks` to their end where the text is plain; None as soon as it is not.

    Args:
        choose: gets the first block of text, and gives the separator and the header.
        out: takes a copy of the bytes.
    """
    blocks = _whole_lines(_copied(chunks, out))
    first = next(blocks, b"")
    if not _is_plain(first):
        return None
    try:
        separator, header = choose(first.decode("ascii").replace("\r\n", "\n"))
    except HeaderRefused:
        return None  # The exact way says so, unless it finds something worse.
    width = len(header.columns) - 1
    data = first.split(b"\n", header.skip)[-1]
    lines, returns = header.skip, first.count(b"\r") - data.count(b"\r")
    for block in chain([data], blocks):
        found = _lines(block, ord(separator), width) if _is_plain(block) else None
        if found is None:
            return None
        lines += found
        returns += block.count(b"\r")
    if returns not in (0, lines):
        return None
    return PlainText(separator, header, lines, "CRLF" if returns else "LF")


def _copied(chunks: Iterable[bytes], out: BinaryIO | None) -> Iterator[bytes]:
    for chunk in chunks:
        if out is not None:
            out.write(chunk)
        yield chunk


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks that end in LF; the last line gets one if it has none."""
    tail = b""
    for chunk in chunks:
        tail += chunk
        cut = tail.rfind(b"\n") + 1
        if cut >= MIN_BLOCK:
            yield tail[:cut]
            tail = tail[cut:]
        elif len(tail) > MIN_BLOCK + LONGEST_LINE:
            yield b""  # No line is that long in a plain file.
            return
    # Without its line end the last line of a CRLF file would look like one of LF.
    if tail:
        yield tail if tail.endswith(b"\n") else tail + (b"\r\n" if b"\r\n" in tail else b"\n")


def _is_plain(block: bytes) -> bool:
    if not block or not block.isascii() or b'"' in block or b"\0" in block:
        return False
    return b"\r" not in block or block.count(b"\r") == block.count(b"\r\n")


def _lines(block: bytes, separator: int, width: int) -> int | None:
    """How many lines of `width` separators each; None where one has another number, or is overlong."""
    data = np.frombuffer(block, np.uint8)
    ends, cuts = np.flatnonzero(data == _LF), np.flatnonzero(data == separator)
    if not len(ends) or len(cuts) != width * len(ends) or np.diff(ends, prepend=-1).max() > LONGEST_LINE:
        return None
    fits = (cuts[width - 1 :: width] < ends).all() and (cuts[width::width] > ends[:-1]).all()
    return len(ends) if fits else None
