"""One streaming pass over a text file: digest, encoding, line ends, quoting, width.

The pass writes a regular copy (UTF-8 without a mark, LF line ends, one record a line), so that what
is hashed is what is loaded, and so that the CSV parser meets no case it treats differently from
RFC 4180. Memory is bounded by the block size, whatever the size of the file.
"""

import codecs
import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isal import isal_zlib

from creditflow.errors import FileMissing, FileUnreadable, HomeUnusable

CHUNK_BYTES = 4 << 20
MIN_BLOCK = 64 << 10
MAX_LINE = 1 << 20
_PROBE_BYTES = 1 << 20
_MARKS_OF_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 (hexadecimal) and size in bytes of a file as it lies in the inbox."""

    sha256: str
    bytes: int


class Digest(Protocol):
    """What the pass needs of a `hashlib` object."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


# --- bytes -------------------------------------------------------------------------------------------


def raw_chunks(path: Path, digest: Digest) -> Iterator[bytes]:
    """The file's bytes, each chunk added to `digest`.

    Raises:
        FileMissing, FileUnreadable: the file is gone, or the system does not let it be read.
    """
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except OSError as error:
        raise unreadable(path, error) from error


def missing_file(path: Path) -> FileMissing:
    """The refusal for a file that has gone."""
    return FileMissing(
        str(path), expected="a file", found="nothing at this path", remedy="Put it there again."
    )


def unreadable(path: Path, error: OSError) -> FileUnreadable:
    """The refusal for a file or folder that the system does not let us read."""
    return FileUnreadable(
        str(path),
        expected="read permission",
        found=error.strerror or str(error),
        remedy="Give the user that runs creditflow the right to read it.",
    )


def require_space(path: Path, folder: Path, times: float) -> None:
    """Refuse early what cannot fit: n bytes of a file need n * `times` free on the disk of `folder`.

    Raises:
        HomeUnusable: there is less.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with writing(folder / "space"):
        needed, free = int(path.stat().st_size * times), shutil.disk_usage(there).free
    if free >= needed:
        return
    raise HomeUnusable(
        str(folder),
        expected=f"{needed:,} bytes free, to load the {path.stat().st_size:,} bytes of {path.name}",
        found=f"{free:,} bytes",
        remedy="Free some space, or set CREDITFLOW_HOME to another disk.",
    )


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turns a failed write into HomeUnusable: the work folder is full, read-only or gone."""
    try:
        yield
    except OSError as error:
        raise _unusable(target.parent, error) from error


def probe(folder: Path) -> None:
    """Raise HomeUnusable if `folder` takes no more data.

    For use after a failure in a library that does not say whether reading or writing failed.
    """
    with writing(folder / "probe"), tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(bytes(_PROBE_BYTES))
        stream.flush()


def _unusable(folder: Path, error: OSError) -> HomeUnusable:
    return HomeUnusable(
        str(folder),
        expected="a folder that can be written to, with free space",
        found=error.strerror or str(error),
        remedy="Free some space, or set CREDITFLOW_HOME to another disk.",
    )


def gunzip(chunks: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """The decompressed bytes, at most CHUNK_BYTES at a time; all members of the archive in turn.

    Raises:
        FileUnreadable: the stream is damaged, or ends early.
    """
    member = isal_zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if member.eof:
                data = data.lstrip(b"\0")  # archives may be padded
                if not data:
                    break
                member = isal_zlib.decompressobj(wbits=31)
            text = _inflate(member, data, path)
            while text:
                yield text
                full = len(text) == CHUNK_BYTES and not member.eof
                text = _inflate(member, member.unconsumed_tail, path) if full else b""
            data = member.unused_data if member.eof else b""
    if not member.eof:
        raise _bad_gzip(path, "a gzip stream that ends early: the file is truncated")


def _inflate(member: Any, data: bytes, path: Path) -> bytes:
    if member.eof:
        return b""
    try:
        return member.decompress(data, CHUNK_BYTES)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise _bad_gzip(path, f"damaged data ({error})") from error


def _bad_gzip(path: Path, found: str) -> FileUnreadable:
    return FileUnreadable(
        path.name,
        expected="a complete gzip archive",
        found=found,
        remedy="Copy the file again, or compress it again.",
    )


# --- text --------------------------------------------------------------------------------------------


class TextStream:
    """Decodes chunks of UTF-8 into blocks of whole lines with LF ends.

    Attributes:
        lines: physical lines given out so far.
        line_ends: the styles that occurred, such as 'CRLF' or 'CR and LF'.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._newline = io.IncrementalNewlineDecoder(None, translate=True)
        self._offset = 0
        self._started = False
        self._tail = ""

    @property
    def line_ends(self) -> str:
        seen = self._newline.newlines or ()
        names = {"\r": "CR", "\n": "LF", "\r\n": "CRLF"}
        styles = (seen,) if isinstance(seen, str) else seen
        return " and ".join(name for end, name in names.items() if end in styles) or "none"

    def blocks(self, chunks: Iterator[bytes]) -> Iterator[str]:
        """Blocks of whole lines; the last line ends in LF too.

        Raises:
            FileUnreadable: not UTF-8, a NUL byte, or a line beyond MAX_LINE characters.
        """
        for chunk in chunks:
            self._tail += self._newline.decode(self._decode(chunk))
            yield from self._whole_lines(MIN_BLOCK)
        self._tail += self._newline.decode(self._decode(b"", final=True), final=True)
        if self._tail and not self._tail.endswith("\n"):
            self._tail += "\n"
        yield from self._whole_lines(1)

    def _whole_lines(self, least: int) -> Iterator[str]:
        cut = self._tail.rfind("\n") + 1
        if len(self._tail) - cut > MAX_LINE:
            raise self._refuse(
                f"line {self.lines + self._tail.count(chr(10)) + 1}",
                "lines of at most 1 MiB",
                "a longer one, as in a binary file or one without line ends",
            )
        if cut >= least:
            block, self._tail = self._tail[:cut], self._tail[cut:]
            yield block
            self.lines += block.count("\n")

    def _decode(self, chunk: bytes, final: bool = False) -> str:
        if self._offset == 0 and chunk[:2] in _MARKS_OF_OTHER_ENCODINGS:
            raise self._refuse("line 1, byte 0", "UTF-8 text", "a UTF-16 byte order mark")
        pending = len(self._utf8.getstate()[0])
        try:
            text = self._utf8.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise self._bad_utf8(error, self._offset - pending) from error
        if "\0" in text:
            raise self._nul_byte(text, chunk)
        if text and not self._started:
            text, self._started = text.removeprefix("\ufeff"), True
        self._offset += len(chunk)
        return text

    def _line_after(self, good: str) -> int:
        return self.lines + (self._tail + good.replace("\r\n", "\n").replace("\r", "\n")).count("\n") + 1

    def _bad_utf8(self, error: UnicodeDecodeError, start: int) -> FileUnreadable:
        line = self._line_after(error.object[: error.start].decode("utf-8"))
        value = error.object[error.start]
        return self._refuse(
            f"line {line}, byte {start + error.start} of the file (counted from 0)",
            "UTF-8 text",
            f"byte 0x{value:02x}, which is not UTF-8 (Latin-1 or Windows-1252, perhaps)",
        )

    def _nul_byte(self, text: str, chunk: bytes) -> FileUnreadable:
        place = text.index("\0")
        looks_wide = chunk.count(0) > len(chunk) // 4
        found = "NUL bytes, as in UTF-16 or a binary file" if looks_wide else "a NUL byte"
        return self._refuse(f"line {self._line_after(text[:place])}", "UTF-8 text", found)

    def _refuse(self, place: str, expected: str, found: str) -> FileUnreadable:
        return FileUnreadable(
            f"{self.path.name}, {place}",
            expected=expected,
            found=found,
            remedy="Save the file as CSV in UTF-8 and send it again.",
        )


# --- records -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StagedText:
    """The regular copy of a text file.

    Attributes:
        path: the copy; `separator` stands between its cells.
        lines: physical lines, header and blank ones included.
        width: the most cells that any line holds.
    """

    path: Path
    separator: str
    lines: int
    width: int
    line_ends: str


def stage_text(
    chunks: Iterator[bytes], source: Path, target: Path, choose_separator: Callable[[str], str]
) -> StagedText:
    """Write the regular copy of `chunks` to `target`.

    Args:
        choose_separator: gets the first block of text, which holds the header, and names the separator.

    Raises:
        FileUnreadable: empty, not UTF-8, a NUL byte, an overlong line, or a quote that is not closed.
        HomeUnusable: the copy cannot be written.
    """
    stream = TextStream(source)
    separator, width = "", 0
    with writing(target), target.open("w", encoding="utf-8", newline="\n") as out:
        for block in stream.blocks(chunks):
            separator = separator or choose_separator(block)
            regular, widest = _regular(block, separator, stream.lines, source)
            out.write(regular)
            width = max(width, widest)
    if not separator:
        raise empty_file(source)
    return StagedText(target, separator, stream.lines, width, stream.line_ends)


def empty_file(path: Path) -> FileUnreadable:
    """The refusal for a file without a single character of content."""
    return FileUnreadable(
        path.name,
        expected="a header and at least one row",
        found="an empty file",
        remedy="Send the month's file again.",
    )


def _regular(block: str, separator: str, lines_before: int, source: Path) -> tuple[str, int]:
    """The block with quotes only where they are needed, and its widest line's number of cells."""
    if '"' not in block:
        return block, 1 + max(line.count(separator) for line in block.split("\n"))
    rows = _records(block, separator, lines_before, source)
    out = io.StringIO(newline="\n")
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    return out.getvalue(), max(map(len, rows))


def _records(block: str, separator: str, lines_before: int, source: Path) -> list[list[str]]:
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(block, newline="\n"), delimiter=separator, strict=True)
    try:
        for row in reader:
            if reader.line_num != len(rows) + 1:
                raise csv.Error("the field goes on over the end of the line")
            rows.append(row)
    except csv.Error as error:
        raise FileUnreadable(
            f"{source.name}, line {lines_before + len(rows) + 1}",
            expected="one row a line, with every quoted field closed on its line",
            found=f"a quote that does not fit ({error})",
            remedy='Close the quote; write a quote within a field as "".',
        ) from error
    return rows
