import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.month import Month
from sql.warehouse import open_warehouse
from tasks.home import Home
from tasks.schedule import EARLY, cron, due_at, expected_month, overdue_months

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Asia/Taipei",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
]


def clock(day=5, hour=6, zone="UTC", lag=1):
    return SimpleNamespace(
        schedule_day=day, schedule_hour=hour, schedule_timezone=zone, schedule_lag_months=lag
    )


clocks = st.builds(clock, st.integers(1, 28), st.integers(0, 23), st.sampled_from(ZONES), st.integers(0, 24))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


# ── The expected month ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("moment", "given_clock", "expected"),
    [
        ("2026-03-05T06:00+00:00", clock(), "2026-02"),
        ("2026-03-05T05:59:59+00:00", clock(), "2026-01"),
        ("2026-03-31T23:59+00:00", clock(), "2026-02"),
        # New year, and the year that is another one in the schedule's zone.
        ("2026-01-05T06:00+00:00", clock(), "2025-12"),
        ("2026-01-01T00:00+00:00", clock(), "2025-11"),
        ("2026-12-31T16:00+00:00", clock(1, 0, "Asia/Taipei"), "2026-12"),
        ("2026-12-31T15:59+00:00", clock(1, 0, "Asia/Taipei"), "2026-11"),
        # Summer time: six in the morning of Berlin is four in UTC.
        ("2026-07-05T03:59+00:00", clock(zone="Europe/Berlin"), "2026-05"),
        ("2026-07-05T04:00+00:00", clock(zone="Europe/Berlin"), "2026-06"),
        # An hour that is skipped (8 March 2026, New York) counts as the moment of the change.
        ("2026-03-08T06:59+00:00", clock(8, 2, "America/New_York"), "2026-01"),
        ("2026-03-08T07:00+00:00", clock(8, 2, "America/New_York"), "2026-02"),
        # One that comes twice (25 October 2026, Berlin) counts as the first.
        ("2026-10-24T23:59+00:00", clock(25, 2, "Europe/Berlin"), "2026-08"),
        ("2026-10-25T00:00+00:00", clock(25, 2, "Europe/Berlin"), "2026-09"),
        ("2026-03-05T06:00+00:00", clock(lag=0), "2026-03"),
        ("2026-03-05T06:00+00:00", clock(lag=14), "2025-01"),
    ],
)
def test_expected_month(moment, given_clock, expected):
    assert str(expected_month(datetime.fromisoformat(moment), given_clock)) == expected


@given(moments, clocks)
def test_expected_month_is_the_newest_that_is_due(moment, given_clock):
    month = expected_month(moment, given_clock)
    assert due_at(month, given_clock) <= moment < due_at(month.plus(1), given_clock)


@given(moments, st.timedeltas(timedelta(0), timedelta(days=4000)), clocks)
def test_expected_month_never_goes_back(moment, later, given_clock):
    assert expected_month(moment, given_clock) <= expected_month(moment + later, given_clock)


@given(moments, clocks, st.sampled_from(ZONES))
def test_expected_month_depends_on_no_machine_zone(moment, given_clock, zone):
    assert expected_month(moment.astimezone(ZoneInfo(zone)), given_clock) == expected_month(
        moment, given_clock
    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("day", "hour"), [(8, 2), (25, 2), (1, 0), (28, 23), (5, 6)])
def test_prefects_clock_starts_when_the_month_is_due(zone, day, hour):
    """A run that Prefect started a moment too early would be for the month before."""
    from prefect.server.schemas.schedules import CronSchedule

    asked = clock(day, hour, zone)
    schedule = CronSchedule(cron=cron(asked), timezone=zone)
    dates = asyncio.run(schedule.get_dates(n=30, start=datetime(2025, 12, 15, tzinfo=UTC)))
    dates = [datetime.fromtimestamp(date.timestamp(), UTC) for date in dates]
    months = [expected_month(date + EARLY, asked) for date in dates]
    assert months == [months[0].plus(step) for step in range(30)]
    late = [date - due_at(month, asked) for date, month in zip(dates, months, strict=True)]
    assert -EARLY <= min(late) <= max(late) <= timedelta(hours=1)


# ── Overdue months ──────────────────────────────────────────────────────────────────────────────

NOW = datetime(2026, 6, 10, tzinfo=UTC)


@pytest.fixture
def loaded(tmp_path):
    """A home into which months were loaded and whose inbox holds others."""

    def make(months, inbox=()):
        home = Home(tmp_path / "home").prepare()
        with open_warehouse(home.warehouse) as con:
            for month in months:
                con.execute(
                    "INSERT INTO files VALUES (?, 'clients', ?, ?, 9, 1, true, false, 1, 1, 0, 'c', 'r', "
                    "now()::TIMESTAMP)",
                    [month, f"sha-{month}", f"clients_{month}.csv"],
                )
        for month in inbox:
            (home.inbox / f"clients_{month}.csv").touch()
        return home

    return make


@pytest.mark.parametrize(
    ("months", "inbox", "overdue"),
    [
        ([], [], []),
        (["2026-05"], [], []),
        (["2026-03"], [], ["2026-04", "2026-05"]),
        (["2026-03"], ["2026-04"], ["2026-05"]),
        (["2026-03"], ["2026-05"], ["2026-04"]),
        (["2026-01", "2026-05"], [], []),
        (["2026-09"], [], []),
    ],
)
def test_overdue_months(loaded, months, inbox, overdue):
    found = overdue_months(loaded(months, inbox), clock(), NOW)
    assert [str(late.month) for late in found] == overdue
    assert all(late.expected_by == due_at(late.month, clock()) <= NOW for late in found)


def test_month_is_overdue_from_the_moment_it_is_due(loaded):
    home = loaded(["2026-04"])
    moment = due_at(Month(2026, 5), clock())
    assert overdue_months(home, clock(), moment - timedelta(seconds=1)) == []
    assert [late.month for late in overdue_months(home, clock(), moment)] == [Month(2026, 5)]


def test_home_without_a_warehouse_expects_nothing(tmp_path):
    assert overdue_months(Home(tmp_path), clock(), NOW) == []
    assert list(tmp_path.iterdir()) == []
