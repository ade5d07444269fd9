"""What each month's newest run spent its time and memory on, for `creditflow status --timings`."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from creditflow.month import Month
from sql.warehouse import frame
from tasks.home import Home
from tasks.status import iso, looked_into

# As tasks.stage writes them; that module comes with Prefect, which a look does not pay for.
PART = ": "
START_UP = "start-up"
# They lie outside of what the ledger calls the run: before its start and after its end.
OUTSIDE_LEDGER = (START_UP, "publish")


@dataclass(frozen=True)
class StageTiming:
    """One stage, or a part of the one before it: its time lies within that of its stage."""

    stage: str
    part: bool
    seconds: float
    rows: int | None
    peak_rss_bytes: int

    @property
    def rows_per_second(self) -> float | None:
        return self.rows / self.seconds if self.rows is not None and self.seconds > 0 else None


@dataclass(frozen=True)
class RunTimings:
    """A run's stages in order. `other_seconds` is None while it goes on, or where a kill ended it."""

    month: str
    run_id: str
    command: str
    status: str
    stages: tuple[StageTiming, ...]
    stages_seconds: float
    other_seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        stages = [asdict(stage) | {"rows_per_second": stage.rows_per_second} for stage in self.stages]
        return {name: iso(value) for name, value in asdict(self).items()} | {"stages": stages}


def timings(home: Home, month: Month | None = None) -> list[RunTimings]:
    """The newest run of every month, or of one, newest month first; nothing in a home without a database.

    Raises:
        HomeUnusable: neither the warehouse nor the published copy can be read now.
    """
    with looked_into(home) as con:
        if con is None:
            return []
        rows = frame(con, "timings_of_runs", month=str(month) if month else None).to_dicts()
    return [_run(list(group)) for _, group in groupby(rows, key=lambda row: row["month"])]


def _run(rows: list[dict[str, Any]]) -> RunTimings:
    stages = tuple(_in_order(_stage(row) for row in rows if row["stage"] is not None))
    whole = [stage for stage in stages if not stage.part]
    inside = sum(stage.seconds for stage in whole if stage.stage not in OUTSIDE_LEDGER)
    return RunTimings(
        **{name: rows[0][name] for name in ("month", "run_id", "command", "status")},
        stages=stages,
        stages_seconds=sum(stage.seconds for stage in whole),
        other_seconds=_other(rows[0]["started_at"], rows[0]["ended_at"], rows[0]["status"], inside),
    )


def _other(started: datetime, ended: datetime | None, status: str, inside: float) -> float | None:
    # The sweep that finds a killed run writes down its own time and not that of the kill.
    if ended is None or status == "killed":
        return None
    return max((ended - started).total_seconds() - inside, 0.0)


def _stage(row: dict[str, Any]) -> StageTiming:
    name: str = row["stage"]
    return StageTiming(name, PART in name, row["seconds"], row["rows"], row["peak_rss_bytes"])


def _in_order(stages: Iterable[StageTiming]) -> list[StageTiming]:
    """Each stage before its parts, which ended before it; parts of a stage that never ended come last."""
    ordered: list[StageTiming] = []
    parts: list[StageTiming] = []
    for stage in stages:
        if stage.part:
            parts.append(stage)
            continue
        own = [part for part in parts if part.stage.startswith(stage.stage + PART)]
        parts = [part for part in parts if part not in own]
        ordered += [stage, *own]
    return ordered + parts
