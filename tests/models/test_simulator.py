"""The panel rolls, repeats, and looks like the real set."""

import importlib.util
import io
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from creditflow.columns import AMOUNT_NAMES, CLIENT_ID, CLIENT_SCHEMA, OUTCOME, OUTCOME_SCHEMA
from creditflow.errors import UsageError
from creditflow.month import Month
from models.simulator import SimulatedMonth, SimulationSettings, load_constants, simulate

FIRST = Month(2026, 1)
SMALL = SimulationSettings(FIRST, 6, 3_000)
ROOT = Path(__file__).resolve().parents[2]


@cache
def panel(settings: SimulationSettings) -> list[SimulatedMonth]:
    return list(simulate(settings))


def same(a: SimulatedMonth, b: SimulatedMonth) -> bool:
    return a.month == b.month and a.clients.equals(b.clients) and a.outcomes.equals(b.outcomes)


def followed(before: SimulatedMonth, after: SimulatedMonth) -> pl.DataFrame:
    """Clients of both months side by side; the later month's columns end in _later."""
    labelled = before.clients.join(before.outcomes, on=CLIENT_ID)
    return labelled.join(after.clients, on=CLIENT_ID, suffix="_later")


# ── Contract ────────────────────────────────────────────────────────────────────────────────────


def test_months_follow_each_other_with_schemas_of_the_warehouse():
    months = panel(SMALL)
    assert [m.month for m in months] == [FIRST.plus(step) for step in range(6)]
    for m in months:
        assert dict(m.clients.schema) == CLIENT_SCHEMA
        assert dict(m.outcomes.schema) == OUTCOME_SCHEMA
        assert m.outcomes[CLIENT_ID].equals(m.clients[CLIENT_ID])
        assert m.clients.null_count().sum_horizontal().item() == 0
    assert months[0].clients.height == 3_000


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("limit_bal", 10_000, 1_000_000),
        ("sex", 1, 2),
        ("education", 0, 6),
        ("marriage", 0, 3),
        ("age", 21, 80),
        *((f"pay_{n}", -2, 8) for n in range(1, 7)),
        *((f"pay_amt{n}", 0, 9_999_999) for n in range(1, 7)),
        *((f"bill_amt{n}", -9_999_999, 9_999_999) for n in range(1, 7)),
    ],
)
def test_values_are_in_range(column, low, high):
    assert all(m.clients[column].is_between(low, high).all() for m in panel(SMALL))


def test_amounts_are_whole_and_limits_are_round():
    for m in panel(SMALL):
        amounts = m.clients.select(AMOUNT_NAMES).to_numpy()
        assert (amounts == np.rint(amounts)).all()
        assert (m.clients["limit_bal"] % 10_000 == 0).all()


# ── Determinism ─────────────────────────────────────────────────────────────────────────────────


def csv_bytes(month: SimulatedMonth) -> bytes:
    stream = io.BytesIO()
    month.clients.write_csv(stream)
    month.outcomes.write_csv(stream)
    return stream.getvalue()


def test_same_settings_give_the_same_bytes():
    assert [csv_bytes(m) for m in simulate(SMALL)] == [csv_bytes(m) for m in panel(SMALL)]


def test_another_seed_gives_another_panel():
    assert not panel(replace(SMALL, seed=43))[0].clients.equals(panel(SMALL)[0].clients)


@pytest.mark.parametrize("shock", [None, Month(2026, 3), Month(2026, 5)])
def test_a_longer_panel_begins_with_the_shorter_one(shock):
    longer, shorter = panel(replace(SMALL, shock=shock)), panel(replace(SMALL, months=3, shock=shock))
    assert len(shorter) == 3
    assert all(same(a, b) for a, b in zip(shorter, longer, strict=False))


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    clients=st.integers(1, 60),
    months=st.integers(1, 5),
    seed=st.integers(0, 2**63),
    leaver_rate=st.sampled_from([0.0, 0.3, 0.99]),
    joiner_rate=st.sampled_from([0.0, 0.3, 0.99]),
)
def test_any_small_portfolio_rolls(clients, months, seed, leaver_rate, joiner_rate):
    wanted = SimulationSettings(
        FIRST, months, clients, seed, leaver_rate=leaver_rate, joiner_rate=joiner_rate
    )
    found = list(simulate(wanted))
    assert len(found) == months
    for before, after in pairwise(found):
        assert_rolls(followed(before, after))


# ── The same clients, month after month ─────────────────────────────────────────────────────────


def assert_rolls(pairs: pl.DataFrame) -> None:
    for prefix in ("pay_", "bill_amt", "pay_amt"):
        for n in range(1, 6):
            assert pairs[f"{prefix}{n}"].equals(pairs[f"{prefix}{n + 1}_later"]), f"{prefix}{n}"


def test_statements_roll_exactly():
    months = panel(SMALL)
    for before, after in pairwise(months):
        pairs = followed(before, after)
        assert pairs.height > 2_800
        assert_rolls(pairs)
        for trait in ("limit_bal", "sex", "education", "marriage"):
            assert pairs[trait].equals(pairs[f"{trait}_later"])


def test_a_default_shows_as_a_delay_in_the_next_file():
    months = panel(SMALL)
    for before, after in pairwise(months):
        pairs = followed(before, after)
        defaulted = pairs.filter(pl.col(OUTCOME) == 1)
        assert defaulted.height > 400
        assert (defaulted["pay_1_later"] >= 1).all()
        # And the other way round: who was not late before and is late now has defaulted.
        newly_late = pairs.filter((pl.col("pay_1") < 1) & (pl.col("pay_1_later") >= 1))
        assert (newly_late[OUTCOME] == 1).all()


def test_a_delay_grows_by_at_most_one_month_at_a_time_once_it_is_two():
    for m in panel(SMALL):
        for n in range(1, 6):
            new, old = m.clients[f"pay_{n}"], m.clients[f"pay_{n + 1}"]
            assert (new - old.clip(1)).max() <= 1


def test_bills_are_old_bill_less_payment_plus_spending():
    for m in panel(SMALL):
        for n in range(1, 6):
            spent = m.clients[f"bill_amt{n}"] - m.clients[f"bill_amt{n + 1}"] + m.clients[f"pay_amt{n}"]
            assert (spent >= 0).all(), "spending is never negative"


def test_status_and_money_agree():
    clients = pl.concat([m.clients for m in panel(SMALL)])
    revolving = clients.filter((pl.col("pay_1") == 0) & (pl.col("bill_amt2") > 0))
    in_full = clients.filter((pl.col("pay_1") == -1) & (pl.col("bill_amt2") > 0))
    three_late = clients.filter((pl.col("pay_1") >= 3) & (pl.col("bill_amt2") > 0))
    paid_all = pl.col("pay_amt1") >= pl.col("bill_amt2")
    assert revolving.select(paid_all.mean()).item() < 0.15
    assert in_full.select(paid_all.mean()).item() > 0.6
    assert (three_late["pay_amt1"] == 0).mean() > 0.5
    assert revolving["bill_amt1"].min() > 0


def test_clients_join_and_leave_and_never_come_back():
    months = panel(SimulationSettings(FIRST, 12, 3_000, joiner_rate=0.03, leaver_rate=0.02))
    seen: set[str] = set()
    gone: set[str] = set()
    for m in months:
        ids = m.clients[CLIENT_ID].to_list()
        assert ids == sorted(set(ids))
        assert not gone & set(ids)
        assert not seen or min(set(ids) - seen) > max(seen), "a number is never issued twice"
        gone |= seen - set(ids)
        seen |= set(ids)
    assert 11 * 3_000 * 0.02 * 0.8 < len(gone) < 11 * 3_600 * 0.025 * 1.2
    assert 11 * 3_000 * 0.03 * 0.8 < len(seen) - 3_000 < 11 * 3_600 * 0.03 * 1.2


def test_without_joiners_nobody_new_appears():
    months = panel(replace(SMALL, joiner_rate=0.0))
    first = set(months[0].clients[CLIENT_ID])
    assert all(set(m.clients[CLIENT_ID]) <= first for m in months)


def test_everyone_ages_a_year_in_a_year():
    months = panel(SimulationSettings(FIRST, 13, 2_000))
    pairs = months[0].clients.join(months[12].clients, on=CLIENT_ID, suffix="_later")
    assert (pairs["age_later"] - pairs["age"] == 1).all()


# ── Drift and shock ─────────────────────────────────────────────────────────────────────────────


def default_rates(settings: SimulationSettings) -> list[float]:
    return [float(m.outcomes[OUTCOME].mean()) for m in panel(settings)]


def late_shares(settings: SimulationSettings) -> list[float]:
    return [float((m.clients["pay_1"] > 0).mean()) for m in panel(settings)]


def test_a_shock_hits_its_month_and_fades():
    calm = SimulationSettings(FIRST, 12, 10_000, risk_drift=0.0)
    shaken = replace(calm, shock=FIRST.plus(5), shock_strength=1.2)
    assert all(same(a, b) for a, b in zip(panel(calm)[:4], panel(shaken)[:4], strict=True))
    assert panel(calm)[4].clients.equals(panel(shaken)[4].clients)
    defaults = [b - a for a, b in zip(default_rates(calm), default_rates(shaken), strict=True)]
    delays = [b - a for a, b in zip(late_shares(calm), late_shares(shaken), strict=True)]
    assert defaults[3] == 0
    assert defaults[4] > 0.12, "payments missed in the shock month are outcomes of the month before"
    assert delays[5] > 0.12, "and delays in the shock month's file"
    assert defaults[4] > defaults[6] > defaults[8]
    assert defaults[11] < 0.03


def test_a_shock_before_the_first_month_has_already_begun():
    settings = SimulationSettings(FIRST, 1, 10_000, shock=FIRST, risk_drift=0.0)
    assert default_rates(settings)[0] > default_rates(replace(settings, shock=None))[0] + 0.04


def test_risk_drifts_as_stated():
    still = SimulationSettings(FIRST, 12, 10_000, risk_drift=0.0)
    drifting = replace(still, risk_drift=0.04)
    assert default_rates(drifting)[0] == default_rates(still)[0]
    assert default_rates(drifting)[-1] > default_rates(still)[-1] + 0.05


def test_spending_drifts_as_stated():
    still = SimulationSettings(FIRST, 12, 5_000, spending_drift=0.0)
    bills = {d: panel(replace(still, spending_drift=d))[-1].clients["bill_amt1"].mean() for d in (0.0, 0.03)}
    assert bills[0.03] > 1.08 * bills[0.0]


def test_without_drift_the_portfolio_stays_as_it_is():
    months = panel(SimulationSettings(FIRST, 24, 10_000, risk_drift=0.0, spending_drift=0.0))
    rates = [m.outcomes[OUTCOME].mean() for m in months]
    assert max(rates) - min(rates) < 0.03
    bills = [m.clients["bill_amt1"].mean() for m in months]
    assert max(bills) / min(bills) < 1.08


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"months": 0}, "months"),
        ({"first": Month(9999, 1), "months": 13}, "months"),
        ({"clients": 0}, "clients"),
        ({"clients": 50_000_001}, "clients"),
        ({"seed": -1}, "seed"),
        ({"joiner_rate": 1.0}, "joiner_rate"),
        ({"leaver_rate": -0.1}, "leaver_rate"),
        ({"leaver_rate": float("nan")}, "leaver_rate"),
        ({"risk_drift": 1.5}, "risk_drift"),
        ({"spending_drift": float("nan")}, "spending_drift"),
        ({"shock_strength": 11.0}, "shock_strength"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(change, named):
    with pytest.raises(UsageError, match=rf"simulation setting {named}: expected .*, found "):
        replace(SMALL, **change)


# ── Calibration ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def month() -> pl.DataFrame:
    first = panel(SimulationSettings(FIRST, 1, 30_000))[0]
    return first.clients.with_columns(first.outcomes[OUTCOME])


def test_default_rate_is_that_of_the_real_set(month):
    assert month[OUTCOME].mean() == pytest.approx(0.2212, abs=0.008)


@pytest.mark.parametrize("status", range(-2, 4))
def test_status_shares_and_their_default_rates_are_those_of_the_real_set(month, status):
    tables = load_constants()["tables"]
    at = month.filter(pl.col("pay_1") == status)
    assert at.height / month.height == pytest.approx(tables["status_shares"][str(status)], abs=0.008)
    # Three standard errors of a share of 0.2 among that many clients.
    tolerance = max(0.012, 3 * 0.5 / np.sqrt(at.height))
    assert at[OUTCOME].mean() == pytest.approx(tables["default_rates"][str(status)], abs=tolerance)


@pytest.mark.parametrize(
    ("column", "low", "median", "high"),
    # Real quantiles (10 %, 50 %, 90 %) of the UCI set, statement 1.
    [
        ("limit_bal", 30_000, 140_000, 360_000),
        ("age", 25, 34, 49),
        ("bill_amt1", 279, 22_382, 142_132),
        ("pay_amt1", 0, 2_100, 10_300),
    ],
)
def test_marginals_are_in_the_range_of_the_real_set(month, column, low, median, high):
    found = [month[column].quantile(q) for q in (0.1, 0.5, 0.9)]
    assert found[0] == pytest.approx(low, rel=0.4, abs=200)
    assert found[1] == pytest.approx(median, rel=0.25)
    assert found[2] == pytest.approx(high, rel=0.4)


def test_codes_that_the_set_does_not_document_occur(month):
    assert set(range(7)) == set(month["education"].unique())
    assert set(range(4)) == set(month["marriage"].unique())
    assert {-2, 0} < set(month["pay_6"].unique())
    assert 0.005 < (month["bill_amt1"] < 0).mean() < 0.04


@pytest.mark.slow
def test_models_reach_about_what_they_reach_on_the_real_set(month, benchmark_module):
    learnable = benchmark_module.figures_of_models(month)
    assert learnable["logistic regression"] == pytest.approx(0.723, abs=0.02)
    assert learnable["gradient boosting"] == pytest.approx(0.783, abs=0.02)


@pytest.mark.uci
def test_tabulated_constants_are_figures_of_the_real_set(uci_file, benchmark_module):
    real, tables = benchmark_module.real_frame(uci_file), load_constants()["tables"]
    for name, column in (("limit", "limit_bal"), ("age", "age")):
        for level, value in zip(tables[f"{name}_levels"], tables[f"{name}_quantiles"], strict=True):
            assert real[column].quantile(level) == value, (name, level)
    for column, key in (("sex", "sex_shares"), ("education", "education_shares"), ("pay_1", "status_shares")):
        for code, share in tables[key].items():
            assert (real[column] == int(code)).mean() == pytest.approx(share, abs=6e-5), (column, code)
    for status in range(-2, 5):
        rate = real.filter(pl.col("pay_1") == status)[OUTCOME].mean()
        assert tables["default_rates"][str(status)] == pytest.approx(rate, abs=6e-4)
    ages = [*tables["marriage_ages"], 200]
    for band, (low, high) in enumerate(pairwise(ages)):
        inside = real.filter(pl.col("age").is_between(low, high, closed="left"))["marriage"]
        for code in range(4):
            assert tables["marriage_shares"][str(code)][band] == pytest.approx(
                (inside == code).mean(), abs=6e-5
            )
    revolving = (
        real.filter(pl.col("pay_1") == 0).select(pl.col("bill_amt1") / pl.col("limit_bal")).to_series()
    )
    for level, value in list(zip(tables["utilisation_levels"], tables["utilisation_quantiles"], strict=True))[
        1:-2
    ]:
        assert revolving.quantile(level) == pytest.approx(value, abs=6e-4)


# ── Benchmark and page ──────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def benchmark_module():
    spec = importlib.util.spec_from_file_location("simulator_benchmark", ROOT / "benchmarks" / "simulator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fitted_constants_are_a_fixed_point(benchmark_module):
    again = benchmark_module.calibrate(rounds=1, clients=60_000)["fitted"]["default_intercepts"]
    for status in ("-2", "-1", "0", "1", "2"):
        assert again[status] == pytest.approx(
            load_constants()["fitted"]["default_intercepts"][status], abs=0.15
        )


def test_constants_survive_being_written(benchmark_module, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_module, "CONSTANTS", tmp_path / "simulator.json")
    benchmark_module.write_constants(load_constants())
    assert (tmp_path / "simulator.json").read_text() == (ROOT / "models" / "simulator.json").read_text()


def test_page_states_what_the_simulator_gives(benchmark_module, month):
    stated = _stated((ROOT / "docs" / "simulation.md").read_text("utf-8"))
    for section, found in benchmark_module.figures_of_frame(month).items():
        for name, value in found.items():
            assert stated[name][1] == pytest.approx(value, rel=0.01, abs=1e-3), (section, name)


@pytest.mark.uci
def test_page_states_the_real_figures(benchmark_module, uci_file):
    stated = _stated((ROOT / "docs" / "simulation.md").read_text("utf-8"))
    for section, found in benchmark_module.figures_of_frame(benchmark_module.real_frame(uci_file)).items():
        for name, value in found.items():
            assert stated[name][0] == pytest.approx(value, rel=0.01, abs=1e-3), (section, name)


def _stated(page: str) -> dict[str, list[float]]:
    """Name → real, simulated month 1 and 12, from the tables of the page."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {r[0]: [float(c.replace(",", "")) for c in r[1:]] for r in rows if len(r) == 4 and r[1] != "real"}
