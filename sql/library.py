"""Finds the `.sql` files of this room: named queries, views, examples and migrations.

A file begins with comment lines that say what it gives, its grain and its owner.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Literal

Shelf = Literal["migrations", "queries", "views", "examples"]
# Temporary tables that several queries of a report read, and the query that each holds the rows of.
BUILT_ON = {"month_cells": "report_cells"}
_ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Script:
    """One `.sql` file: its name without ending, its text, and the prose of its header comment."""

    name: str
    text: str

    @property
    def about(self) -> str:
        """The header comment, joined to one line."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("--"):
                break
            lines.append(line.removeprefix("--").strip())
        return " ".join(lines)


def scripts(shelf: Shelf) -> list[Script]:
    """All files of a shelf, in the order of their names."""
    return [Script(p.stem, p.read_text("utf-8")) for p in sorted((_ROOT / shelf).glob("*.sql"))]


@cache
def query(name: str) -> str:
    """The text of `queries/NAME.sql`.

    Raises:
        FileNotFoundError: there is no such query (a programming error).
    """
    return (_ROOT / "queries" / f"{name}.sql").read_text("utf-8")


def standalone(name: str) -> str:
    """The text of a query that can be run by itself: tables of `BUILT_ON` come as parts of the statement."""
    text = query(name)
    for table, source in BUILT_ON.items():
        if name != source and table in text:
            about, statement = _parted(text)
            inner = indent(_parted(query(source))[1].strip(), "    ")
            follows = (
                f",\n{statement.removeprefix('WITH ')}" if statement.startswith("WITH ") else f"\n{statement}"
            )
            text = f"{about}WITH {table} AS (\n{inner}\n){follows}"
    return text


def _parted(text: str) -> tuple[str, str]:
    """The header comment and the statement."""
    begins = next(found.start() for found in re.finditer(r"^[^-]", text, re.MULTILINE))
    return text[:begins], text[begins:]


def printed(name: str, **values: str | float) -> str:
    """The text of a query with its parameters put in, as a reader may run it on the published database.

    Raises:
        KeyError: a parameter of the query is not among the values (a programming error).
    """
    return re.sub(r"\$(\w+)", lambda found: _literal(values[found[1]]), standalone(name)).strip()


def _literal(value: str | float) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
