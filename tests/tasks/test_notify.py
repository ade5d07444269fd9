"""Telling, against a receiver on this machine."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from creditflow.month import Month
from sql.warehouse import open_warehouse
from tasks.alerts import SEVERITIES, Alert, _store, current_alerts, not_sent, raised_now
from tasks.home import Home
from tasks.notify import (
    EVENTS,
    WEBHOOK,
    _by_webhook,
    alerts_file,
    body,
    notify,
    notify_failed,
    subject,
    summary,
    tell,
    write_files,
)
from tasks.options import Alerting
from tasks.stage import Run

MONTH, NEXT = Month(2005, 4), Month(2005, 5)
SECRET = "T0pS3cret"
PAUSES = (0.0, 0.0)


class Receiver:
    """Keeps what is posted to it, and answers with the codes that it is given, 200 when they are used up."""

    def __init__(self):
        self.received, self.codes = [], []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, json.loads(content)))
                self.send_response(receiver.codes.pop(0) if receiver.codes else 200)
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hook?token={SECRET}"

    @property
    def rules(self):
        return [[alert["rule"] for alert in content["alerts"]] for _, content in self.received]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def alerting(receiver):
    return Alerting(webhook=SecretStr(receiver.url))


def raise_alerts(home, run_id, month=MONTH, **severities):
    """Stores every rule given: raised with its severity, or clear where that is None."""
    alerts = [
        Alert(
            rule,
            severity or "warning",
            "raised" if severity else "clear",
            month,
            0.31,
            0.25,
            f"Found {rule}.",
            "Look.",
            n,
        )
        for n, (rule, severity) in enumerate(severities.items(), start=1)
    ]
    _store(home, run_id, month, alerts)


def told(home):
    return {stored.alert.rule: stored.told for stored in current_alerts(home)}


def rows(home, query):
    with open_warehouse(home.warehouse) as con:
        return con.execute(query).fetchall()


# ── The webhook ─────────────────────────────────────────────────────────────────────────────────


def test_receiver_gets_one_message_with_all_alerts_worst_first(home, receiver, alerting):
    raise_alerts(home, "r1", auc_decay="warning", score_drift="critical", gate_refused="info", clear_one=None)
    result = notify(home, alerting, PAUSES)
    path, content = receiver.received[0]
    assert path == f"/hook?token={SECRET}"
    assert (content["source"], content["format"], content["month"]) == ("creditflow", 1, "2005-04")
    assert content["severity"] == "critical"
    assert receiver.rules == [["score_drift", "auc_decay"]]  # info lies below the minimum
    assert content["text"].startswith("creditflow 2005-04: 1 critical, 1 warning\n")
    assert "CRITICAL score drift: Found score_drift. Look." in content["text"]
    assert content["alerts"][0]["value"] == 0.31
    assert (result.sent, result.before, result.failures) == (2, 0, ())
    assert told(home) == {
        "auc_decay": "sent",
        "score_drift": "sent",
        "gate_refused": "below",
        "clear_one": None,
    }


@pytest.mark.parametrize(("codes", "attempts", "mark"), [([500, 503], 3, "sent"), ([500] * 9, 3, "failed")])
def test_error_of_the_receiver_is_met_with_further_attempts(home, receiver, alerting, codes, attempts, mark):
    receiver.codes = codes
    raise_alerts(home, "r1", score_drift="critical")
    result = notify(home, alerting, PAUSES)
    assert len(receiver.received) == attempts
    assert told(home) == {"score_drift": mark}
    assert bool(result.failures) == (mark == "failed")


def test_receiver_out_of_reach_is_said_and_stored_and_told_by_the_next_run(home, receiver, alerting):
    raise_alerts(home, "r1", score_drift="critical", auc_decay="warning")
    away = Alerting(webhook=SecretStr(f"http://127.0.0.1:9/{SECRET}"))
    result = notify(home, away, PAUSES)
    assert result.lines == [
        "alerts could not be sent to webhook: it could not be reached (ConnectError), after 3 attempts; "
        "the next run tries again"
    ]
    assert rows(home, "SELECT DISTINCT receiver, outcome FROM alert_messages") == [(WEBHOOK, "failed")]
    reason = "it could not be reached (ConnectError), after 3 attempts"
    assert not_sent(home, raised_now(home, [MONTH])) == [(WEBHOOK, reason)]
    # Another month's run makes it good.
    raise_alerts(home, "r2", NEXT, score_drift=None)
    assert notify(home, alerting, PAUSES).sent == 2
    assert receiver.rules == [["score_drift", "auc_decay"]]
    assert not_sent(home, raised_now(home, [MONTH])) == []


def test_receiver_that_is_down_is_tried_for_one_month_only(home, receiver, alerting):
    receiver.codes = [500] * 99
    for number in range(1, 7):
        raise_alerts(home, f"r{number}", Month(2005, number), score_drift="critical")
    tell(home, alerting, PAUSES)
    assert len(receiver.received) == 3
    assert rows(home, "SELECT told, count(*) FROM alerts GROUP BY ALL") == [("failed", 6)]


# ── Once, and at least once ─────────────────────────────────────────────────────────────────────


def test_repeated_run_with_the_same_alerts_says_so_and_sends_nothing(home, receiver, alerting):
    for run_id in ("r1", "r2", "r3"):
        raise_alerts(home, run_id, score_drift="critical", auc_decay="warning")
        result = notify(home, alerting, PAUSES)
    assert len(receiver.received) == 1
    assert (result.sent, result.before) == (0, 2)
    assert result.lines == ["2 alerts told by an earlier run, not sent again"]
    assert notify(home, alerting, PAUSES).lines == []


@pytest.mark.parametrize(
    ("second", "sent"),
    [
        ({"score_drift": "warning", "auc_decay": "critical"}, ["auc_decay"]),
        ({"score_drift": "critical"}, ["score_drift"]),
        ({"score_drift": "warning"}, None),
    ],
    ids=["a new rule", "a higher severity", "the same"],
)
def test_only_what_is_new_is_sent(home, receiver, alerting, second, sent):
    raise_alerts(home, "r1", score_drift="warning")
    notify(home, alerting, PAUSES)
    raise_alerts(home, "r2", **second)
    notify(home, alerting, PAUSES)
    assert receiver.rules[1:] == ([sent] if sent else [])


def test_alert_that_was_clear_in_between_is_news(home, receiver, alerting):
    for run_id, severity in (("r1", "critical"), ("r2", None), ("r3", "critical")):
        raise_alerts(home, run_id, score_drift=severity)
        notify(home, alerting, PAUSES)
    assert receiver.rules == [["score_drift"], ["score_drift"]]


def test_another_failure_of_the_same_month_is_news(home, receiver, alerting):
    for number, error in enumerate((OSError(), OSError(), ValueError())):
        notify_failed(Run(f"r{number}", MONTH, home, "code", alerting=alerting), error)
    assert receiver.rules == [["run_failed"], ["run_failed"]]


def test_run_killed_between_storing_and_sending_is_told_by_the_next(home, receiver, alerting):
    raise_alerts(home, "r1", score_drift="critical")
    # … and here it was killed.
    raise_alerts(home, "r2", NEXT, score_drift=None)
    notify(home, alerting, PAUSES)
    assert receiver.rules == [["score_drift"]]


def test_run_killed_between_sending_and_its_record_sends_twice_rather_than_never(
    home, receiver, alerting, monkeypatch
):
    raise_alerts(home, "r1", score_drift="critical")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.notify._record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            notify(home, alerting, PAUSES)
    notify(home, alerting, PAUSES)
    assert receiver.rules == [["score_drift"], ["score_drift"]]


def test_nobody_to_tell_is_written_down_and_a_receiver_named_later_hears_of_news_only(
    home, receiver, alerting
):
    raise_alerts(home, "r1", score_drift="critical")
    notify(home, Alerting())
    assert told(home) == {"score_drift": "nobody"}
    notify(home, alerting, PAUSES)
    assert receiver.received == []


@pytest.mark.parametrize("minimum", SEVERITIES)
def test_nothing_below_the_minimum_is_sent(home, receiver, minimum):
    raise_alerts(home, "r1", one="critical", two="warning", three="info")
    notify(home, Alerting(minimum=minimum, webhook=SecretStr(receiver.url)), PAUSES)
    assert receiver.rules == [["one", "two", "three"][: SEVERITIES.index(minimum) + 1]]


# ── What nobody may see ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("codes", [[], [500] * 9], ids=["sent", "refused"])
def test_secret_is_in_no_output(home, receiver, alerting, codes, caplog, capfd):
    receiver.codes = codes
    raise_alerts(home, "r1", score_drift="critical")
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "httpx"):
        result = notify(home, alerting, PAUSES)
    write = json.dumps(summary(home, None)) + repr(alerting) + repr(result) + "".join(result.lines)
    said = capfd.readouterr()
    assert SECRET not in write + caplog.text + said.out + said.err
    assert SECRET.encode() not in home.warehouse.read_bytes()
    assert receiver.received  # it was used all the same


def test_block_shows_no_address(monkeypatch):
    built = []
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    monkeypatch.setattr(CustomWebhookNotificationBlock, "notify", lambda self, *_: built.append(self))
    _by_webhook(f"http://host/{SECRET}")("s", "b", {"value": None})
    assert SECRET not in repr(built[0]) + str(built[0]) + built[0].model_dump_json()


def test_error_of_a_failed_run_is_not_quoted(home, receiver, alerting):
    run = Run("r1", MONTH, home, "code", alerting=alerting)
    notify_failed(run, ValueError("client 4711 has limit -5"))
    assert "4711" not in json.dumps(receiver.received)
    assert "ended with ValueError" in receiver.received[0][1]["text"]


def test_alert_of_a_failed_run_that_cannot_be_stored_leaves_the_run_s_own_error(home, caplog):
    home.warehouse.write_bytes(b"no database" * 999)
    caplog.set_level("INFO")
    notify_failed(Run("r1", MONTH, home, "code"), ValueError("why"))
    assert "was not stored: WarehouseCorrupt" in caplog.text


def test_what_goes_wrong_in_telling_is_said_and_raises_nothing(home, alerting):
    home.warehouse.write_bytes(b"no database" * 999)
    assert "could not be sent to anybody" in notify(home, alerting, PAUSES).lines[0]


# ── The files ───────────────────────────────────────────────────────────────────────────────────


def test_files_hold_what_is_raised_in_any_month_and_every_rule_of_the_run_s_month(home):
    raise_alerts(home, "r1", score_drift="critical", auc_decay=None)
    raise_alerts(home, "r2", NEXT, score_drift=None, auc_decay="info")
    home.month_page(NEXT).parent.mkdir(parents=True)
    home.month_page(NEXT).write_text("page")
    with open_warehouse(home.warehouse) as con:
        con.execute(
            "INSERT INTO runs (run_id, month, command, status, started_at, code_version, pid) "
            "VALUES ('r2', '2005-05', 'schedule', 'done', now()::TIMESTAMP, 'code', 1)"
        )
        write_files(con, home)
    whole = json.loads(alerts_file(home).read_text())
    assert whole["counts"] == {"critical": 1, "warning": 0, "info": 1}
    assert (whole["severity"], whole["run"]["run_id"], whole["not_run"]) == ("critical", "r2", [])
    assert [(a["month"], a["rule"]) for a in whole["alerts"]] == [
        ("2005-05", "auc_decay"),
        ("2005-04", "score_drift"),
    ]
    month = json.loads((home.reports / "2005-05" / "alerts.json").read_text())
    assert [(a["rule"], a["state"]) for a in month["alerts"]] == [
        ("auc_decay", "raised"),
        ("score_drift", "clear"),
    ]
    assert not list(home.published.parent.glob(".*"))
    assert summary(home, NEXT)["alerts"] == month["alerts"]


def test_subject_and_body_are_words_for_a_person(home):
    raise_alerts(home, "r1", score_drift="critical", auc_decay="warning")
    alerts = raised_now(home, [MONTH])
    assert subject(alerts) == "creditflow 2005-04: 1 critical, 1 warning"
    assert body(alerts).split("\n\n")[1] == "WARNING auc decay: Found auc_decay. Look."


def test_events_need_a_flow_run(home):
    raise_alerts(home, "r1", score_drift="critical")
    notify(home, Alerting())
    assert rows(home, f"SELECT count(*) FROM alert_messages WHERE receiver = '{EVENTS}'") == [(0,)]
