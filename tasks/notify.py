"""Tells of alerts: `alerts.json`, Prefect events, and messages to Prefect blocks and a webhook.

What is still to be told follows from what is stored, not from what this run did: what a killed run stored
and did not tell, or could not tell, the next run tells. So a receiver hears of an alert at least once, and
twice only where a kill fell between the sending and its record. A run that finds what a receiver already
knows sends it nothing.

Nothing here fails a run: what could not be sent is stored and said. An address may hold a secret, so no
address, and no text of an error that might quote one, is stored or said.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from creditflow.disk import put_in_place
from creditflow.errors import CreditflowError
from creditflow.month import Month
from expectations.alerting import RUN_FAILED
from sql.warehouse import execute, frame, open_warehouse, storage_errors, transaction
from tasks.alerts import SEVERITIES, Alert, Stored, alert_failed, alert_overdue, read_alerts
from tasks.home import Home
from tasks.ledger import now, readable
from tasks.options import Alerting
from tasks.schedule import Overdue
from tasks.stage import Run

FORMAT = 1
EVENTS, WEBHOOK = "events", "webhook"
EVENT = "creditflow.alert"
# Seconds before the second, third and fourth attempt to send.
PAUSES = (1.0, 2.0, 4.0)
TIMEOUT_SECONDS = 10.0
_log = logging.getLogger("creditflow.alerts")


@dataclass(frozen=True)
class Failure:
    """A receiver that could not be told, and why, without its address."""

    receiver: str
    reason: str

    def __str__(self) -> str:
        return f"alerts could not be sent to {self.receiver}: {self.reason}; the next run tries again"


@dataclass(frozen=True)
class Told:
    """What telling came to: how many alerts were sent or had been told before, and who could not be told."""

    sent: int = 0
    before: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def lines(self) -> list[str]:
        """What the command line says of it."""
        texts = [str(failure) for failure in self.failures]
        if self.sent:
            texts.append(f"{_count(self.sent)} sent")
        if self.before:
            texts.append(f"{_count(self.before)} told by an earlier run, not sent again")
        return texts


# ── In one call ─────────────────────────────────────────────────────────────────────────────────


def notify(home: Home, alerting: Alerting, pauses: Sequence[float] = PAUSES) -> Told:
    """Tells what is still to be told, of any month, and says in `alerts.json` who knows.

    Raises nothing: the run is done and published. The caller holds the lock.
    """
    try:
        told = tell(home, alerting, pauses)
        with open_warehouse(home.warehouse) as con:
            write_files(con, home)
    except Exception as error:
        # Of our own errors the text names files alone; of others it may quote an address.
        text = str(error) if isinstance(error, CreditflowError) else type(error).__name__
        return Told(failures=(Failure("anybody", text),))
    return told


def notify_failed(run: Run, error: BaseException) -> None:
    """Raises and tells that a run was refused or failed, unless that very thing fails too.

    What ended the run, a full disk perhaps, may keep its alert from being stored; the run's own error counts.
    """
    try:
        alert_failed(run, error)
        notify(run.home, run.alerting)
    except Exception as second:
        # The error of the run is what the terminal shows; a service says this too.
        _log.info("%s: the alert of the failed run was not stored: %s", run.month, type(second).__name__)


def notify_overdue(home: Home, alerting: Alerting, overdue: Sequence[Overdue]) -> Told:
    """Raises and tells that client files have not come. The caller holds the lock."""
    alert_overdue(home, alerting, overdue)
    return notify(home, alerting)


# ── Telling ─────────────────────────────────────────────────────────────────────────────────────

Send = Callable[[str, str, dict[str, Any]], None]


def tell(home: Home, alerting: Alerting, pauses: Sequence[float] = PAUSES) -> Told:
    """Sends to every receiver, a month at a time, the alerts that it does not know yet, and records that."""
    sent = before = 0
    down: dict[str, str] = {}
    with open_warehouse(home.warehouse) as con:
        waiting = read_alerts(con, "alerts_to_tell")
        for month in sorted({stored.month for stored in waiting}):
            alerts = [stored for stored in waiting if stored.month == month]
            _emit(con, alerts)
            marks = _tell_month(con, alerts, alerting, pauses, down)
            sent, before = sent + marks.count("sent"), before + marks.count("before")
    return Told(sent, before, tuple(Failure(*item) for item in down.items()))


def _tell_month(
    con: duckdb.DuckDBPyConnection,
    alerts: list[Stored],
    alerting: Alerting,
    pauses: Sequence[float],
    down: dict[str, str],
) -> list[str]:
    """What telling each alert came to. A receiver that is `down` is not tried for a second month."""
    grave = [stored for stored in alerts if _at_least(stored.alert, alerting.minimum)]
    outcomes: dict[str, set[str]] = {stored.alert.rule: set() for stored in grave}
    for receiver, send in receivers(alerting).items():
        news = [stored for stored in grave if not _knows(con, receiver, stored)]
        if news and receiver not in down:
            problem = _sent(send, news, pauses)
            _record(con, receiver, news, problem)
            if problem:
                down[receiver] = problem
                _log.warning("%s: %s", alerts[0].month, Failure(receiver, problem))
        for stored in grave:
            outcome = "before" if stored not in news else "failed" if receiver in down else "sent"
            outcomes[stored.alert.rule].add(outcome)
    marks = [_mark(outcomes.get(stored.alert.rule)) for stored in alerts]
    _keep_marks(con, alerts, marks)
    return marks


def _mark(outcomes: set[str] | None) -> str:
    """What telling one alert to all receivers came to; None of them where its severity asked for none."""
    if outcomes is None:
        return "below"
    return next((mark for mark in ("failed", "sent", "before") if mark in outcomes), "nobody")


def _at_least(alert: Alert, minimum: str) -> bool:
    return SEVERITIES.index(alert.severity) <= [*SEVERITIES].index(minimum)  # type: ignore[arg-type]


def topic(alert: Alert) -> str:
    """What makes a raised alert news where its rule was raised before: another month or failure."""
    return alert.message if alert.rule == RUN_FAILED else str(alert.about_month or "")


def _knows(con: duckdb.DuckDBPyConnection, receiver: str, stored: Stored) -> bool:
    alert = stored.alert
    return bool(
        execute(
            con,
            "alert_was_told",
            receiver=receiver,
            month=str(stored.month),
            rule=alert.rule,
            severity=alert.severity,
            topic=topic(alert),
        )[0][0]
    )


def _record(
    con: duckdb.DuckDBPyConnection, receiver: str, alerts: Sequence[Stored], problem: str | None
) -> None:
    with transaction(con):
        for stored in alerts:
            execute(
                con,
                "insert_alert_message",
                run_id=stored.run_id,
                month=str(stored.month),
                rule=stored.alert.rule,
                severity=stored.alert.severity,
                topic=topic(stored.alert),
                receiver=receiver,
                outcome="failed" if problem else "sent",
                message=problem,
                told_at=now(),
            )


def _keep_marks(con: duckdb.DuckDBPyConnection, alerts: Sequence[Stored], marks: Sequence[str]) -> None:
    with transaction(con):
        for stored, told in zip(alerts, marks, strict=True):
            key = {"run_id": stored.run_id, "month": str(stored.month), "rule": stored.alert.rule}
            execute(con, "mark_alert_told", told=told, **key)


# ── Messages ────────────────────────────────────────────────────────────────────────────────────


def subject(alerts: Sequence[Stored]) -> str:
    """`creditflow 2026-04: 1 critical, 2 warning`."""
    counts = [(s, sum(stored.alert.severity == s for stored in alerts)) for s in SEVERITIES]
    return f"creditflow {alerts[0].month}: {', '.join(f'{n} {s}' for s, n in counts if n)}"


def body(alerts: Sequence[Stored]) -> str:
    """One paragraph an alert, for a person."""
    return "\n\n".join(
        f"{s.alert.severity.upper()} {s.alert.rule.replace('_', ' ')}: {s.alert.message} {s.alert.remedy}"
        for s in alerts
    )


def payload(alerts: Sequence[Stored]) -> dict[str, Any]:
    """What the webhook receives as JSON; `text` is what chat services show."""
    return {
        "text": f"{subject(alerts)}\n{body(alerts)}",
        "source": "creditflow",
        "format": FORMAT,
        "month": str(alerts[0].month),
        "severity": alerts[0].alert.severity,
        "alerts": [as_json(stored) for stored in alerts],
    }


def _emit(con: duckdb.DuckDBPyConnection, alerts: Sequence[Stored]) -> None:
    """A Prefect event for each alert that none was emitted for, whatever its severity."""
    from prefect.context import FlowRunContext
    from prefect.events import emit_event

    # Without a flow run there is no server that was asked for anything.
    if FlowRunContext.get() is None:
        return
    for stored in alerts:
        if _knows(con, EVENTS, stored):
            continue
        emitted = emit_event(
            EVENT,
            resource={
                "prefect.resource.id": f"creditflow.alert.{stored.month}.{stored.alert.rule}",
                "prefect.resource.name": f"{stored.month} {stored.alert.rule}",
                "creditflow.month": str(stored.month),
                "creditflow.rule": stored.alert.rule,
                "creditflow.severity": stored.alert.severity,
            },
            payload=as_json(stored),
        )
        _record(con, EVENTS, [stored], None if emitted else "Prefect took no event")


# ── Receivers ───────────────────────────────────────────────────────────────────────────────────


def receivers(alerting: Alerting) -> dict[str, Send]:
    """How each receiver is sent a subject, a body and the same as JSON."""
    named: dict[str, Send] = {name: _by_block(name) for name in alerting.blocks}
    if alerting.webhook is not None:
        named[WEBHOOK] = _by_webhook(alerting.webhook.get_secret_value())
    return named


def _by_block(name: str) -> Send:
    def send(subject: str, body: str, _payload: dict[str, Any]) -> None:
        from prefect.blocks.abstract import NotificationBlock
        from prefect.blocks.core import Block

        try:
            loaded = Block.load(name)
        except ValueError as error:
            if "Unable to find block" in str(error):
                raise Unsuitable("there is no such block") from None
            raise
        if not isinstance(loaded, NotificationBlock):
            raise Unsuitable("it is no notification block of Prefect")
        block: Any = loaded
        # Blocks that go through Apprise keep a failure to themselves otherwise.
        with block.raise_on_failure():
            block.notify(body, subject)

    return send


def _by_webhook(url: str) -> Send:
    def send(subject: str, body: str, payload: dict[str, Any]) -> None:
        from prefect.blocks.notifications import CustomWebhookNotificationBlock
        from prefect.types import SecretDict

        block: Any = CustomWebhookNotificationBlock(
            name="creditflow",
            # From the secrets, so that no repr of the block shows it; the block is never saved.
            url="{{address}}",
            secrets=SecretDict({"address": url}),
            json_data=payload,
            headers=None,
            cookies=None,
            timeout=TIMEOUT_SECONDS,
        )
        block.notify(body, subject)

    return send


class Unsuitable(Exception):
    """A receiver that no further attempt makes fit; its text holds no secret."""


def _sent(send: Send, alerts: Sequence[Stored], pauses: Sequence[float]) -> str | None:
    """Tries until it succeeds or the pauses are used up; returns why it did not, None where it did."""
    problem = None
    for pause in (0.0, *pauses):
        time.sleep(pause)
        try:
            with _silent_clients():
                send(subject(alerts), body(alerts), payload(alerts))
        except Unsuitable as error:
            return str(error)
        except Exception as error:
            problem = _problem(error)
        else:
            return None
    return f"{problem}, after {len(pauses) + 1} attempts"


def _problem(error: Exception) -> str:
    """What went wrong, without the texts of libraries, which may quote the address."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"it answered {response.status_code}"
    return f"it could not be reached ({type(error).__name__})"


@contextmanager
def _silent_clients() -> Iterator[None]:
    """HTTP clients log addresses, secrets included, at the levels below WARNING."""
    loggers = [logging.getLogger(name) for name in ("httpx", "httpcore", "apprise", "urllib3", "requests")]
    before = [(logger, logger.level) for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


def alerts_file(home: Home) -> Path:
    """`published/alerts.json`."""
    return home.published.with_name("alerts.json")


def write_files(con: duckdb.DuckDBPyConnection, home: Home) -> Path:
    """Replaces `published/alerts.json`, and `reports/YYYY-MM/alerts.json` of the newest run's month.

    Both by rename. docs/operations.md describes what they hold.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    alerts, run = read_alerts(con, "current_alerts", month=None), _newest_run(con)
    target = alerts_file(home)
    _replace(target, overall(alerts, run))
    if run and home.month_page(Month.parse(run["month"])).is_file():
        write_month(home.reports / run["month"], [a for a in alerts if str(a.month) == run["month"]])
    return target


def _newest_run(con: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
    return next(iter(frame(con, "newest_run").to_dicts()), None)


def summary(home: Home, month: Month | None) -> dict[str, Any]:
    """What `alerts.json` would hold now, of all months or of one."""
    if not home.warehouse.is_file():
        return overall([], None) if month is None else of_month([])
    with readable(home) as con:
        found = read_alerts(con, "current_alerts", month=str(month) if month else None)
        return overall(found, _newest_run(con)) if month is None else of_month(found)


def write_month(folder: Path, alerts: Sequence[Stored]) -> Path:
    """Replaces `alerts.json` in the folder of a month's pack."""
    target = folder / "alerts.json"
    _replace(target, of_month(alerts))
    return target


def overall(alerts: Sequence[Stored], run: dict[str, Any] | None) -> dict[str, Any]:
    """The content of `published/alerts.json`; `run` is the newest one."""
    raised = [stored for stored in alerts if stored.alert.state == "raised"]
    newest = run["month"] if run else None
    silent = [s for s in alerts if s.alert.state == "not run" and str(s.month) == newest]
    return {
        **_summary(raised),
        "run": {name: _plain(value) for name, value in run.items()} if run else None,
        "alerts": [as_json(stored) for stored in raised],
        "not_run": [as_json(stored) for stored in silent],
    }


def of_month(alerts: Sequence[Stored]) -> dict[str, Any]:
    """The content of a month's `alerts.json`: raised ones first, then those not run, then clear ones."""
    raised = [stored for stored in alerts if stored.alert.state == "raised"]
    return {
        **_summary(raised),
        "month": str(alerts[0].month) if alerts else None,
        "alerts": [as_json(s) for s in alerts],
    }


def _summary(raised: Sequence[Stored]) -> dict[str, Any]:
    counts = {s: sum(stored.alert.severity == s for stored in raised) for s in SEVERITIES}
    worst = next((severity for severity, count in counts.items() if count), None)
    return {"format": FORMAT, "written_at": _plain(now()), "severity": worst, "counts": counts}


def as_json(stored: Stored) -> dict[str, Any]:
    """One alert with plain values: text, numbers and null."""
    alert = stored.alert
    return {
        "month": str(stored.month),
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state,
        "about_month": str(alert.about_month) if alert.about_month else None,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
        "remedy": alert.remedy,
        "run_id": stored.run_id,
        "evaluated_at": _plain(stored.evaluated_at),
        "told": stored.told,
    }


def _plain(value: Any) -> Any:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if hasattr(value, "strftime") else value


def _replace(target: Path, content: dict[str, Any]) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    with storage_errors(target):
        try:
            fresh.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
            put_in_place(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)


def _count(alerts: int) -> str:
    return f"{alerts} alert{'' if alerts == 1 else 's'}"
