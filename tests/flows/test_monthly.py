import shutil

import polars as pl
import pytest

from creditflow.errors import (
    InputRefused,
)
from creditflow.month import Month
from creditflow.version import code_version
from flows.monthly import monthly
from flows.options import run_options
from flows.settings import load_settings
from models.registry import MODELS
from sql.warehouse import open_published
from tasks.plan import finished

pytestmark = pytest.mark.flow

LAST = "2026-04"


def up_to_date(home, month=LAST):
    return Month.parse(month) in finished(home, [Month.parse(month)], run_options(load_settings()))


# ── What a finished home holds ──────────────────────────────────────────────────────────────────


def test_rows_received_are_accepted_or_quarantined_for_every_file(home, ask):
    rows = ask(home, "SELECT month, kind, received, accepted, quarantined FROM files ORDER BY kind, month")
    assert [(m, k) for m, k, *_ in rows] == [
        *(("2026-0" + n, "clients") for n in "1234"),
        *(("2026-0" + n, "outcomes") for n in "123"),
    ]
    assert all(
        received == accepted + quarantined and received > 0 for _, _, received, accepted, quarantined in rows
    )


def test_every_accepted_client_is_scored_by_every_model_with_provenance(home, ask):
    clients = ask(home, "SELECT count(*) FROM clients")[0][0]
    rows, models, champions, versions, codes = ask(
        home,
        "SELECT count(*), count(DISTINCT model), count(*) FILTER (is_champion), count(DISTINCT version), "
        "list(DISTINCT code_version) FROM scores",
    )[0]
    assert (rows, models, champions, versions) == (clients * len(MODELS), len(MODELS), clients, 1)
    assert codes == [code_version()]
    strangers = "SELECT count(*) FROM scores ANTI JOIN clients USING (month, client_id, file_sha256)"
    assert ask(home, strangers) == [(0,)]
    assert ask(home, "SELECT count(*) FROM scores WHERE pd NOT BETWEEN 0 AND 1 OR pd IS NULL") == [(0,)]
    rated = "SELECT count(*) FROM scores WHERE is_champion != (grade IS NOT NULL AND points IS NOT NULL)"
    assert ask(home, rated) == [(0,)]


def test_first_month_waits_for_a_model_and_is_scored_as_soon_as_there_is_one(home, ask):
    verdicts = ask(home, "SELECT month, verdict, rule FROM decisions ORDER BY month")
    assert verdicts == [
        ("2026-01", "wait", "nothing to learn from"),
        ("2026-02", "retrain", "no champion"),
        ("2026-03", "reuse", "age"),
        ("2026-04", "reuse", "age"),
    ]
    bases = ask(home, "SELECT DISTINCT month, basis FROM scores ORDER BY month")
    assert [basis for _, basis in bases] == ["in_sample", "live", "live", "live"]
    assert ask(home, "SELECT training_months FROM models LIMIT 1") == [(["2026-01"],)]


def test_outcomes_are_known_a_month_later_and_realised_figures_follow(home, ask):
    assert ask(home, "SELECT DISTINCT month FROM outcomes ORDER BY 1") == [
        ("2026-01",),
        ("2026-02",),
        ("2026-03",),
    ]
    realised = ask(
        home,
        "SELECT month, count(*) FROM performance WHERE sample = 'realised' AND metric = 'roc_auc' "
        "AND value BETWEEN 0 AND 1 GROUP BY month ORDER BY month",
    )
    assert realised == [(f"2026-0{n}", len(MODELS)) for n in (1, 2, 3)]


def test_drift_is_stored_for_the_score_and_every_attribute(home, ask):
    rows = ask(home, "SELECT month, count(*), count(value) FROM drift GROUP BY month ORDER BY month")
    assert rows == [(f"2026-0{n}", 24, 24) for n in (1, 2, 3, 4)]
    sums = ask(
        home,
        "SELECT max(abs(s - value)) FROM drift JOIN (SELECT month, name, sum(contribution) AS s "
        "FROM drift_bins GROUP BY ALL) USING (month, name)",
    )
    assert sums[0][0] < 1e-9


def test_readers_see_the_run_and_the_pages(home, ask):
    with open_published(home.published) as con:
        assert con.execute("SELECT count(*) FROM runs WHERE status = 'done'").fetchall() == [(4,)]
        months = con.execute("SELECT month, outcomes_known > 0 FROM portfolio_by_month").fetchall()
    assert months == [("2026-01", True), ("2026-02", True), ("2026-03", True), ("2026-04", False)]
    for month in ("2026-01", "2026-04"):
        assert home.month_page(Month.parse(month)).is_file()
    assert (home.reports / "index.html").is_file()
    assert ask(home, "SELECT count(DISTINCT stage) FROM stage_timings")[0][0] >= 7
    assert list(home.work.iterdir()) == []


# ── The same again ──────────────────────────────────────────────────────────────────────────────


def test_unchanged_month_is_up_to_date_and_running_it_again_changes_nothing(home, contents):
    assert up_to_date(home)
    before = contents(home)
    monthly(LAST)
    after = contents(home)
    for name, frame in before.items():
        assert frame.equals(after[name]), name
    assert up_to_date(home)


@pytest.mark.slow
def test_same_inputs_give_the_same_rows_in_another_home(home, fresh, contents):
    for month in ("2026-01", "2026-02"):
        monthly(month)
    there = contents(fresh)
    here = {name: frame.filter(pl.col("month") <= "2026-02") for name, frame in contents(home).items()}
    for name in ("clients", "models", "decisions", "scores", "drift", "drift_bins"):
        assert here[name].equals(there[name]), name


@pytest.mark.parametrize("lost", ["published", "page"])
def test_month_whose_publication_is_gone_is_not_up_to_date(home, lost):
    (home.published if lost == "published" else home.month_page(Month.parse(LAST))).unlink()
    assert not up_to_date(home)


def test_damaged_publication_is_built_again(home):
    home.published.write_bytes(b"x" * 9000)
    assert not up_to_date(home)
    monthly(LAST)
    assert up_to_date(home)


# ── Changed files ───────────────────────────────────────────────────────────────────────────────


def test_corrected_file_is_a_new_revision_and_history_stays(home, ask):
    path = home.inbox / f"clients_{LAST}.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    monthly(LAST)
    files = ask(
        home, f"SELECT revision, is_current, accepted FROM files WHERE month = '{LAST}' ORDER BY revision"
    )
    assert [(r, c) for r, c, _ in files] == [(1, False), (2, True)]
    assert files[1][2] == files[0][2] - 1
    assert ask(home, f"SELECT count(*) FROM scores WHERE month = '{LAST}'") == [(files[1][2] * len(MODELS),)]
    assert ask(home, "SELECT count(*), count(DISTINCT superseded_by_run) FROM scores_history") == [
        (files[0][2] * len(MODELS), 1)
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clients", b""),
        ("clients", b"ID,LIMIT_BAL\n1,2\n"),
        ("clients", b"\xff\xfe\x00nonsense"),
        ("outcomes", b"ID\n1\n"),
    ],
)
def test_refused_file_leaves_what_was_stored(home, contents, ask, name, content):
    before = contents(home)
    pages = {p: p.read_bytes() for p in home.reports.rglob("*.html")}
    month = LAST if name == "clients" else "2026-03"
    (home.inbox / f"{name}_{month}.csv").write_bytes(content)
    with pytest.raises(InputRefused):
        monthly(LAST)
    after = contents(home)
    for table, frame in before.items():
        assert frame.equals(after[table]), table
    assert {p: p.read_bytes() for p in home.reports.rglob("*.html")} == pages
    assert '"run_failed"' in (home.reports / LAST / "alerts.json").read_text()
    assert ask(home, "SELECT status FROM runs ORDER BY started_at DESC LIMIT 1") == [("refused",)]


def test_rows_that_break_a_rule_are_set_aside_and_the_rest_is_scored(home, ask):
    path = home.inbox / f"clients_{LAST}.csv"
    header, first, second, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[1] = "<script>alert(1)</script>"
    path.write_text("\n".join([header, ",".join(cells), second, second, *rest]) + "\n")
    monthly(LAST)
    found = ask(home, "SELECT row_number, column_name, value, raw_row FROM quarantine ORDER BY row_number")
    assert [n for n, *_ in found] == [1, 2, 3]
    assert found[0][1:3] == ("limit_bal", "<script>alert(1)</script>")
    assert "<script>" in found[0][3]
    page = (home.reports / LAST / "data-quality.html").read_text()
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.slow
def test_hostile_client_ids_are_only_text(fresh, ask):
    path = fresh.inbox / "clients_2026-01.csv"
    header, first, second, *rest = path.read_text().splitlines()
    hostile = ["<script>alert(1)</script>", "'; DROP TABLE clients; --"]
    lines = [
        ",".join([identity, *line.split(",")[1:]])
        for identity, line in zip(hostile, (first, second), strict=True)
    ]
    path.write_text("\n".join([header, *lines, *rest]) + "\n")
    outcomes = fresh.inbox / "outcomes_2026-01.csv"
    head, *known = outcomes.read_text().splitlines()
    old = {line.split(",")[0]: new for line, new in zip((first, second), hostile, strict=True)}
    outcomes.write_text(
        "\n".join(
            [head, *(",".join([old.get(k.split(",")[0], k.split(",")[0]), k.split(",")[1]]) for k in known)]
        )
        + "\n"
    )
    (fresh.inbox / "clients_2026-02.csv").rename(fresh.root / "aside.csv")
    monthly("2026-01")
    shutil.move(fresh.root / "aside.csv", fresh.inbox / "clients_2026-02.csv")
    monthly("2026-02")
    scored = ask(fresh, "SELECT DISTINCT client_id FROM scores WHERE month = '2026-01' ORDER BY 1")
    assert set(hostile) <= {identity for (identity,) in scored}


@pytest.mark.slow
def test_outcomes_are_held_against_a_corrected_client_file_again(home, ask):
    """The outcome of a client that the first file lacked was set aside; it is taken once known."""
    path = home.inbox / "clients_2026-03.csv"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    monthly("2026-03")
    monthly(LAST)
    unknown = "SELECT count(*) FROM quarantine WHERE kind = 'outcomes' AND month = '2026-03'"
    assert ask(home, unknown) == [(1,)]
    path.write_text(whole)
    monthly("2026-03")
    monthly(LAST)
    assert ask(home, unknown) == [(0,)]
    assert ask(
        home,
        "SELECT count(*) FROM clients ANTI JOIN outcomes USING (month, client_id) WHERE month = '2026-03'",
    ) == [(0,)]


# ── Labels, wishes, ages ────────────────────────────────────────────────────────────────────────


def labelled(home, month):
    """Moves the month's outcomes into its client file, as the UCI data has them."""
    clients = pl.read_csv(home.inbox / f"clients_{month}.csv", infer_schema=False)
    outcomes = pl.read_csv(home.inbox / f"outcomes_{month}.csv", infer_schema=False)
    clients.join(outcomes, on=clients.columns[0], how="left", maintain_order="left").fill_null("0").write_csv(
        home.inbox / f"clients_{month}.csv"
    )
    (home.inbox / f"outcomes_{month}.csv").unlink()


@pytest.mark.slow
def test_file_with_its_own_label_develops_the_first_model_in_sample(fresh, ask):
    labelled(fresh, "2026-01")
    monthly("2026-01")
    assert ask(fresh, "SELECT verdict, rule FROM decisions") == [("retrain", "no champion")]
    assert ask(fresh, "SELECT DISTINCT basis FROM scores") == [("in_sample",)]
    assert ask(fresh, "SELECT DISTINCT source FROM outcomes") == [("label",)]
    held_out = ask(fresh, "SELECT count(*) FROM performance WHERE sample = 'held_out' AND metric = 'roc_auc'")
    assert held_out == [(len(MODELS),)]


@pytest.mark.slow
def test_label_that_a_corrected_file_no_longer_has_is_forgotten(fresh, ask):
    outcomes = (fresh.inbox / "outcomes_2026-01.csv").read_text()
    clients = (fresh.inbox / "clients_2026-01.csv").read_text()
    labelled(fresh, "2026-01")
    monthly("2026-01")
    (fresh.inbox / "clients_2026-01.csv").write_text(clients)
    monthly("2026-01")
    assert ask(fresh, "SELECT count(*) FROM outcomes") == [(0,)]
    (fresh.inbox / "outcomes_2026-01.csv").write_text(outcomes)
    monthly("2026-02")
    assert ask(fresh, "SELECT DISTINCT source FROM outcomes") == [("outcomes",)]


@pytest.mark.slow
def test_wish_retrains_and_stays_in_force_when_the_month_is_run_again(home, ask):
    monthly(LAST, retrain=True)
    monthly(LAST)
    verdicts = ask(home, f"SELECT verdict, rule FROM decisions WHERE month = '{LAST}'")
    assert verdicts == [("retrain", "asked for")]
    gate = ask(home, f"SELECT count(*), count(passed) < count(*) FROM gate_checks WHERE month = '{LAST}'")
    # 700 clients leave too few unseen defaulters to compare on, so the champion stays.
    assert gate == [(5, True)]
    versions = (
        "SELECT DISTINCT s.version = d.version FROM scores AS s JOIN decisions AS d USING (month) "
        f"WHERE month = '{LAST}'"
    )
    assert ask(home, versions) == [(True,)]
    months = ask(home, f"SELECT DISTINCT training_months FROM models WHERE month = '{LAST}'")
    assert months == [(["2026-01", "2026-02", "2026-03"],)]


@pytest.mark.slow
def test_old_champion_is_retrained(home, ask, monkeypatch):
    monkeypatch.setenv("CREDITFLOW_MAX_MODEL_AGE_MONTHS", "2")
    monthly(LAST)
    assert ask(home, f"SELECT verdict, rule, value FROM decisions WHERE month = '{LAST}'") == [
        ("retrain", "age", "2 months")
    ]


@pytest.mark.slow
def test_training_that_is_refused_leaves_the_champion(home, ask):
    for month in ("2026-01", "2026-02", "2026-03"):
        path = home.inbox / f"outcomes_{month}.csv"
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, *(row.split(",")[0] + ",0" for row in rows)]) + "\n")
    monthly(LAST, retrain=True)
    verdict, reason = ask(home, f"SELECT verdict, reason FROM decisions WHERE month = '{LAST}'")[0]
    assert verdict == "reuse"
    assert "0 who defaulted" in reason
    assert ask(home, f"SELECT count(*) > 0 FROM scores WHERE month = '{LAST}'") == [(True,)]
