"""The command `sql`: which query is asked, and in which form its answer is given."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from creditflow.errors import UsageError
from flows import show
from sql.library import Script, query, scripts
from tasks.home import Home

if TYPE_CHECKING:
    from flows.settings import Settings
    from sql.analyst import Form


@dataclass(frozen=True)
class Asked:
    """Where the query comes from: one of these at most; none asks for the tables."""

    text: str | None
    file: Path | None
    example: str | None
    examples: bool

    def __post_init__(self) -> None:
        given = {"a query": self.text, "--file": self.file, "--example": self.example}
        _at_most_one(
            [name for name, value in given.items() if value is not None] + _flags(self.examples, "--examples")
        )

    def query(self) -> str:
        """The text to run.

        Raises:
            UsageError: the file cannot be read, or no worked query has that name.
        """
        if self.file is not None:
            return _read(self.file)
        if self.example is not None:
            return _example(self.example).text
        return query("published_tables") if self.text is None else self.text


@dataclass(frozen=True)
class Shown:
    """The form of the answer: one of these at most; none is a table."""

    as_csv: bool
    as_json: bool
    parquet: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        forms = {"--csv": self.as_csv, "--json": self.as_json, "--parquet": self.parquet is not None}
        _at_most_one([name for name, given in forms.items() if given])
        if self.overwrite and self.parquet is None:
            raise _usage("--parquet FILE beside --overwrite", "--overwrite alone")

    @property
    def text_form(self) -> Literal["csv", "json"] | None:
        return "csv" if self.as_csv else "json" if self.as_json else None

    @property
    def form(self) -> "Form":
        return "parquet" if self.parquet is not None else self.text_form or "table"


def answer(settings: "Settings", asked: Asked, shown: Shown) -> None:
    """Runs the query and prints its answer, or writes it to a file.

    Raises:
        HomeUnusable: nothing has been published yet.
        QueryFailed: the text is not one SELECT, or DuckDB refuses it.
        UsageError: the query or the file to write cannot be had.
    """
    if asked.examples:
        _list_examples(shown)
        return
    from sql import analyst

    text = asked.query()
    with analyst.open_for_analysts(Home(settings.home).published, settings.memory_limit) as con:
        relation = analyst.answer(con, text, shown.form)
        if shown.parquet is not None:
            rows = analyst.write_parquet(relation, text, shown.parquet, overwrite=shown.overwrite)
            show.print_lines([f"{shown.parquet}: {rows:,} row{'' if rows == 1 else 's'}"])
        elif shown.text_form is None:
            show.print_first_rows(analyst.first_rows(relation, text, show.MOST_ROWS))
        else:
            show.print_stream(analyst.batches(relation, text), shown.text_form)


def _list_examples(shown: Shown) -> None:
    import polars as pl

    if shown.parquet is not None:
        raise _usage("a query for --parquet", "--examples")
    rows = [{"example": script.name, "answers": script.about} for script in scripts("examples")]
    if shown.text_form is None:
        show.print_table(pl.DataFrame(rows))
        show.hints.print("Run one with: creditflow sql --example NAME")
    else:
        show.print_stream([pl.DataFrame(rows)], shown.text_form)


def _example(name: str) -> Script:
    known = scripts("examples")
    found = [script for script in known if name in (script.name, script.name.partition("_")[2])]
    if not found:
        raise UsageError(
            "--example",
            expected=f"one of {', '.join(script.name for script in known)}",
            found=name,
            remedy="creditflow sql --examples says what each answers.",
        )
    return found[0]


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            str(file), expected="a readable UTF-8 text file", found=str(error), remedy="Check the path."
        ) from error


def _flags(given: bool, name: str) -> list[str]:
    return [name] if given else []


def _at_most_one(given: list[str]) -> None:
    if len(given) > 1:
        raise _usage("one of these at a time", " and ".join(given))


def _usage(expected: str, found: str) -> UsageError:
    return UsageError(
        "creditflow sql",
        expected=expected,
        found=found,
        remedy="For example: creditflow sql 'SELECT * FROM portfolio_by_month' --csv.",
    )
