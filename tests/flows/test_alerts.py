"""Alerts of real runs: stored, shown, published, sent, and told by the exit code."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from creditflow.errors import FileMissing, SuiteInvalid, UsageError
from creditflow.month import Month
from expectations.alerting import DEFAULT
from flows.cli import app
from flows.monthly import monthly
from flows.options import alerting
from flows.settings import load_settings
from sql.warehouse import open_published

pytestmark = pytest.mark.flow

MONTH = "2026-01"


@pytest.fixture
def posted():
    """A receiver on this machine: its address, and what came."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", came
    server.shutdown()
    server.server_close()


@pytest.fixture
def spoilt(fresh, tmp_path, monkeypatch):
    """A home whose first month has one row in fifty that cannot be; setting rows aside is critical here."""
    path = fresh.inbox / f"clients_{MONTH}.csv"
    lines = path.read_text().splitlines()
    age = lines[0].lower().split(",").index("age")
    for number in range(1, len(lines), 50):
        cells = lines[number].split(",")
        lines[number] = ",".join([*cells[:age], "-5", *cells[age + 1 :]])
    path.write_text("\n".join(lines) + "\n")
    rules = tmp_path / "rules.toml"
    head, tail = DEFAULT.read_text().split("[quarantine_share]\n")
    rules.write_text(f"{head}[quarantine_share]\n{tail.replace('warning', 'critical', 1)}")
    monkeypatch.setenv("CREDITFLOW_ALERT_RULES", str(rules))
    return fresh


def event(month, rule):
    """The resource of a rule's alert event in a month, once the server holds it: each comes in its time."""
    import time

    from prefect.client.orchestration import get_client

    deadline, found = time.monotonic() + 60, {}
    while rule not in found and time.monotonic() < deadline:
        with get_client(sync_client=True) as client:
            body = {"filter": {"event": {"name": ["creditflow.alert"]}}, "limit": 50}
            answer = client.request("POST", "/events/filter", json=body).json()
        resources = [event["resource"] for event in answer["events"]]
        found = {r["creditflow.rule"]: r for r in resources if r["creditflow.month"] == month}
        time.sleep(0.2)
    return found[rule]


def test_alerts_of_a_run_are_stored_shown_published_and_sent(spoilt, ask, posted, monkeypatch):
    url, came = posted
    monkeypatch.setenv("CREDITFLOW_ALERT_WEBHOOK", url)
    result = monthly(MONTH)
    assert {alert.rule for alert in result.alerts} == {"quarantine_share", "failed_expectations"}
    assert result.told.sent == 2
    assert [alert["rule"] for alert in came[0]["alerts"]] == ["quarantine_share", "failed_expectations"]
    assert came[0]["severity"] == "critical"
    stored = dict(ask(spoilt, "SELECT rule, state FROM alerts"))
    assert stored["quarantine_share"] == "raised"
    assert (stored["run_failed"], stored["overdue_file"]) == ("clear", "not run")
    with open_published(spoilt.published) as con:
        assert dict(con.execute("SELECT rule, state FROM current_alerts").fetchall()) == stored
    page = spoilt.month_page(Month.parse(MONTH)).read_text()
    assert page.index("▲ critical") < page.index("△ warning") < page.index("Verdict</h2>")
    assert "▲ 1 critical" in (spoilt.reports / "index.html").read_text()
    whole = json.loads(spoilt.published.with_name("alerts.json").read_text())
    assert (whole["severity"], whole["run"]["run_id"]) == ("critical", result.run_id)
    assert {alert["told"] for alert in whole["alerts"]} == {"sent"}
    assert (spoilt.reports / MONTH / "alerts.json").is_file()
    assert event(MONTH, "quarantine_share")["creditflow.severity"] == "critical"


def test_run_with_critical_alerts_ends_with_exit_code_three_and_says_them(spoilt):
    runner = CliRunner()
    first = runner.invoke(app, ["run", MONTH])
    assert first.exit_code == 3
    assert f"{MONTH}: critical quarantine share: Of " in first.stdout
    # Nothing is left to do, and yet not all is well.
    again = runner.invoke(app, ["run", MONTH])
    assert (again.exit_code, "nothing to do" in again.stdout) == (3, True)
    shown = runner.invoke(app, ["alerts"])
    assert (shown.exit_code, shown.stdout.count("quarantine share")) == (0, 1)
    every = json.loads(runner.invoke(app, ["alerts", MONTH, "--json"]).stdout)
    assert {alert["state"] for alert in every["alerts"]} == {"raised", "clear", "not run"}


def test_run_killed_before_it_told_is_told_of_although_nothing_is_left_to_do(spoilt, posted, monkeypatch):
    url, came = posted
    monkeypatch.setenv("CREDITFLOW_ALERT_WEBHOOK", url)
    with monkeypatch.context() as patch:
        patch.setattr("flows.monthly.notify", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            monthly(MONTH)
    assert came == []
    said = CliRunner().invoke(app, ["run", MONTH])
    assert (said.exit_code, "nothing to do" in said.stdout, len(came)) == (3, True, 1)
    assert CliRunner().invoke(app, ["run", MONTH]).exit_code == 3
    assert len(came) == 1


def test_blocks_are_sent_to_and_an_absent_one_is_said(spoilt, posted, monkeypatch):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    url, came = posted
    block = CustomWebhookNotificationBlock(
        name="bank", url=url, json_data={"title": "{{subject}}", "text": "{{body}}"}
    )
    block.save("bank", overwrite=True)
    monkeypatch.setenv("CREDITFLOW_ALERT_BLOCKS", "custom-webhook/bank, custom-webhook/nobody")
    result = monthly(MONTH)
    assert came[0]["title"] == f"creditflow {MONTH}: 1 critical, 1 warning"
    assert came[0]["text"].startswith("CRITICAL quarantine share: Of ")
    assert [str(failure) for failure in result.told.failures] == [
        "alerts could not be sent to custom-webhook/nobody: there is no such block; the next run tries again"
    ]


def test_refused_run_is_told(fresh, ask, posted, monkeypatch):
    url, came = posted
    monkeypatch.setenv("CREDITFLOW_ALERT_WEBHOOK", url)
    with pytest.raises(FileMissing):
        monthly("2026-09")
    assert came[0]["alerts"][0]["message"].startswith("The run of 2026-09 ended with FileMissing.")
    assert ask(fresh, "SELECT month, rule, state, told FROM alerts") == [
        ("2026-09", "run_failed", "raised", "sent")
    ]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("WEBHOOK", "ftp://T0pS3cret", UsageError), ("RULES", "/no/such/rules.toml", SuiteInvalid)],
)
def test_setting_that_cannot_be_used_is_refused_before_anything_is_run(monkeypatch, name, value, error):
    monkeypatch.setenv(f"CREDITFLOW_ALERT_{name}", value)
    with pytest.raises(error) as raised:
        alerting(load_settings())
    assert "T0pS3cret" not in str(raised.value)


@pytest.mark.parametrize("text", ["slack-webhook", "a/b,,c/d", "slack-webhook/Risk Team"])
def test_names_of_blocks_are_checked(monkeypatch, text):
    monkeypatch.setenv("CREDITFLOW_ALERT_BLOCKS", text)
    with pytest.raises(UsageError, match="CREDITFLOW_ALERT_BLOCKS"):
        load_settings()
