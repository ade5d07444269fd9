"""From the header as a bank spells it to the regular column names.

The spellings stand in `headers.json`. A banner row (`,X1,…,X23,Y`) above the real header is passed
over; a blank name of the first column means the client ID, as in exports of a data frame.
"""

import difflib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA, OUTCOME, OUTCOME_SCHEMA
from creditflow.errors import HeaderRefused

Kind = Literal["clients", "outcomes"]
STATEMENT_MONTH = "statement_month"
REQUIRED: dict[str, tuple[str, ...]] = {"clients": tuple(CLIENT_SCHEMA), "outcomes": tuple(OUTCOME_SCHEMA)}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "clients": (OUTCOME, STATEMENT_MONTH),
    "outcomes": (STATEMENT_MONTH,),
}
_UNNAMED = re.compile(r"(unnamed|column)\d*")
_SHOWN = 8


@dataclass(frozen=True)
class Header:
    """Which columns a file has.

    Attributes:
        skip: lines (or sheet rows) before the first row of data.
        columns: (spelling in the file, regular name), in the order of the file.
    """

    skip: int
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.columns)

    def spelling(self, name: str) -> str:
        """How the file spells a regular name."""
        return next(spelt for spelt, regular in self.columns if regular == name)


def read_header(rows: Sequence[tuple[int, Sequence[str]]], kind: Kind, file: str) -> Header:
    """Find the header among the first rows of a file.

    Args:
        rows: (index from 0, cells) of the first rows that are not blank; two are enough.
        file: the name that messages use.

    Raises:
        HeaderRefused: no header, or a missing, duplicate or unknown column; all of them are named.
    """
    index, cells = _header_row(rows)
    names = _regular_names(cells)
    if not any(names):
        raise _no_header(cells, kind, file)
    faults = _faults(cells, names, kind)
    if faults:
        raise HeaderRefused(
            f"{file}, line {index + 1}",
            expected=_expected(kind),
            found="; ".join(faults),
            remedy="Correct the header and send the file again.",
        )
    return Header(index + 1, tuple((cell, name) for cell, name in zip(cells, names, strict=True) if name))


def known_names(cells: Sequence[str]) -> int:
    """How many of the cells spell a known column."""
    return sum(name is not None for name in _regular_names(_trimmed(cells)))


def shown(name: str) -> str:
    """The spelling of a regular name that messages use."""
    return load_headers()["columns"][name][0]


def missing_values() -> list[str]:
    """The texts that stand for a missing value."""
    return load_headers()["missing_values"]


@cache
def load_headers() -> dict:
    """The content of `headers.json`."""
    return json.loads((Path(__file__).parent / "headers.json").read_text("utf-8"))


@cache
def _aliases() -> dict[str, str]:
    return {
        _bare(spelt): name for name, spellings in load_headers()["columns"].items() for spelt in spellings
    }


def _bare(cell: str) -> str:
    """Letters and digits only, in lower case: what counts of a spelling."""
    text = unicodedata.normalize("NFKC", cell).casefold()
    return "".join(c for c in text if c.isalnum())


def _trimmed(cells: Sequence[str]) -> list[str]:
    """The cells without the blank ones at the end: separators too many, not columns."""
    last = max((i for i, cell in enumerate(cells) if cell.strip()), default=-1)
    return list(cells[: last + 1])


def _regular_names(cells: Sequence[str]) -> list[str | None]:
    names: list[str | None] = [_aliases().get(_bare(cell)) for cell in cells]
    first_is_blank = bool(cells) and (not cells[0].strip() or _UNNAMED.fullmatch(_bare(cells[0])) is not None)
    if first_is_blank and CLIENT_ID not in names and any(names):
        names[0] = CLIENT_ID
    return names


def _header_row(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[int, list[str]]:
    candidates = [(index, _trimmed(cells)) for index, cells in rows[:2]]
    if len(candidates) == 2 and known_names(candidates[1][1]) > len(candidates[1][1]) / 2:
        return candidates[1]
    return candidates[0]


# --- messages ----------------------------------------------------------------------------------------


def _expected(kind: Kind) -> str:
    required = REQUIRED[kind]
    if kind == "outcomes":
        return f"the {len(required)} columns {', '.join(map(shown, required))}"
    return f"the {len(required)} columns of a client file (ID, LIMIT_BAL … PAY_AMT6)"


def _faults(cells: Sequence[str], names: Sequence[str | None], kind: Kind) -> list[str]:
    allowed = {*REQUIRED[kind], *OPTIONAL[kind]}
    unknown = [cell for cell, name in zip(cells, names, strict=True) if name not in allowed]
    missing = [name for name in REQUIRED[kind] if name not in names]
    faults = []
    if missing:
        hints = [shown(name) + _hint(name, unknown) for name in missing]
        faults.append(f"{len(missing)} missing: {', '.join(hints)}")
    if unknown:
        faults.append(f"{len(unknown)} unknown: {_listed(unknown)}")
    return faults + _duplicates(cells, names)


def _duplicates(cells: Sequence[str], names: Sequence[str | None]) -> list[str]:
    pairs = [(cell, name) for cell, name in zip(cells, names, strict=True) if name]
    spellings = {name: [repr(c) for c, n in pairs if n == name] for _, name in pairs}
    found = [
        f"{shown(name)} {len(cells)} times, as {' and '.join(cells)}"
        for name, cells in spellings.items()
        if len(cells) > 1
    ]
    more = [f"{len(found) - _SHOWN} more twice"] if len(found) > _SHOWN else []
    return found[:_SHOWN] + more


def _listed(cells: Sequence[str]) -> str:
    text = ", ".join(repr(cell[:60]) for cell in cells[:_SHOWN])
    return text if len(cells) <= _SHOWN else f"{text} and {len(cells) - _SHOWN} more"


def _hint(name: str, unknown: Sequence[str]) -> str:
    spelt = {_bare(cell): cell for cell in unknown}
    spellings = map(_bare, load_headers()["columns"][name])
    close = [m for s in spellings for m in difflib.get_close_matches(s, list(spelt), n=1, cutoff=0.75)]
    return f" (closest in the file: {spelt[close[0]]!r})" if close else ""


def _no_header(cells: Sequence[str], kind: Kind, file: str) -> HeaderRefused:
    return HeaderRefused(
        f"{file}, line 1",
        expected=f"a header with {_expected(kind)}, separated by comma, semicolon or tab",
        found=f"no known column name: {_listed(cells)}",
        remedy="Add the header line, or check the separator, and send the file again.",
    )
