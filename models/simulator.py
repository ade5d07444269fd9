"""Simulates a monthly panel of credit-card clients that looks like the UCI data set and goes on.

The same clients appear month after month until they leave; their statements roll exactly, so this month's
`pay_1 … pay_5` are next month's `pay_2 … pay_6`, and likewise bills and payments. Behind each client stand
three hidden traits (risk, style of use, appetite for credit) and a mood that wanders from month to month.
A month's outcome is drawn first, from status, risk, mood, drift and shock; the next month's status follows
from it, so every default shows as a delay in the client's next file. Bills obey
`new bill = old bill - payment + spending`, with payment and spending by status.

Constants stand in `simulator.json`, which says where each comes from; `docs/simulation.md` holds the result
against the real figures.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtr

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA, OUTCOME, OUTCOME_SCHEMA, STATEMENTS
from creditflow.errors import UsageError
from creditflow.month import Month

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Vectors = tuple[npt.NDArray[Any], ...]
Constants = Mapping[str, Any]

LOWEST, HIGHEST = -2, 8
STATUSES = range(LOWEST, HIGHEST + 1)
BURN_IN_MONTHS = 24
SHOCK_HALF_LIFE_MONTHS = 1.0
MOST_CLIENTS = 50_000_000
_LAST_MONTH = Month(9999, 12)
_CONSTANTS_FILE = Path(__file__).with_name("simulator.json")


# ── Settings and results ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class SimulationSettings:
    """What to simulate. The same settings give the same panel, to the last digit.

    Args:
        first: month of the first client file.
        months: how many months.
        clients: clients in the first month.
        seed: seed of every draw; not negative.
        shock: month in which payments are missed in numbers. Its file shows the delays, the outcomes of the
            month before show the defaults; the shock then fades with a half-life of one month.
        shock_strength: what the shock adds to the log-odds of default.
        joiner_rate: new clients a month, as a share of the clients of the month before.
        leaver_rate: share of the clients who leave each month (write-offs come on top).
        risk_drift: what each month adds to the log-odds of default.
        spending_drift: monthly growth of spending, as a share.

    Raises:
        UsageError: a value out of its range; the first one is named.
    """

    first: Month
    months: int
    clients: int
    seed: int = 42
    shock: Month | None = None
    shock_strength: float = 1.0
    joiner_rate: float = 0.012
    leaver_rate: float = 0.010
    risk_drift: float = 0.005
    spending_drift: float = 0.003

    def __post_init__(self) -> None:
        room = _LAST_MONTH.minus(self.first) + 1
        _require("months", 1 <= self.months <= room, f"1 to {room}", self.months)
        _require("clients", 1 <= self.clients <= MOST_CLIENTS, f"1 to {MOST_CLIENTS}", self.clients)
        _require("seed", self.seed >= 0, "a number that is not negative", self.seed)
        for name in ("joiner_rate", "leaver_rate"):
            rate = getattr(self, name)
            _require(name, 0 <= rate < 1, "a share from 0 to below 1", rate)
        for name, bound in (("shock_strength", 10), ("risk_drift", 1), ("spending_drift", 0.5)):
            value = getattr(self, name)
            _require(name, abs(value) <= bound, f"a number from -{bound} to {bound}", value)


@dataclass(frozen=True)
class SimulatedMonth:
    """One month: `clients` of CLIENT_SCHEMA, and `outcomes` of OUTCOME_SCHEMA (same clients, same order)."""

    month: Month
    clients: pl.DataFrame
    outcomes: pl.DataFrame


def _require(name: str, holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise UsageError(
            f"simulation setting {name}", expected=expected, found=str(found), remedy="Change it."
        )


# ── The panel ───────────────────────────────────────────────────────────────────────────────────


def simulate(settings: SimulationSettings, constants: Constants | None = None) -> Iterator[SimulatedMonth]:
    """Yields the months in order; memory holds one month.

    A longer simulation begins with exactly the months of a shorter one with the same other settings.
    """
    world = _World.build(settings, constants or load_constants())
    portfolio = world.recruit(settings.clients, 0, 0)
    issued = settings.clients
    for step in range(settings.months):
        draw = _generator(settings.seed, 0, step)
        missed = world.draw_defaults(portfolio, step, draw)
        yield SimulatedMonth(
            settings.first.plus(step), _client_frame(portfolio, step), _outcomes(portfolio, missed)
        )
        if step + 1 < settings.months:
            newcomers = int(draw.binomial(portfolio.size, settings.joiner_rate))
            portfolio = world.advance(portfolio, missed, step + 1, draw)
            portfolio = world.without_leavers(portfolio, draw)
            portfolio = portfolio.joined(world.recruit(newcomers, issued, step + 1))
            issued += newcomers


def hidden_normals(clients: int, seed: int, constants: Constants) -> dict[str, Floats]:
    """The variables behind limit and appetite, (n,) each: what calibration takes their moments from."""
    settings = SimulationSettings(Month(2000, 1), 1, clients, seed)
    traits = _World.build(settings, constants)._traits(clients, _generator(seed, 1, 0))
    return {"wealth": traits["wealth"], "appetite": traits["leaning"]}


@cache
def load_constants() -> Constants:
    """The constants of `simulator.json`."""
    constants: Constants = json.loads(_CONSTANTS_FILE.read_text("utf-8"))
    return constants


@dataclass(frozen=True)
class _Portfolio:
    """All clients of one month, in the order of their numbers.

    `traits`: name → (n,) array that stays with a client. `pay`, `bill`, `paid`: six (n,) arrays each, newest
    first; bills and payments are whole numbers.
    """

    traits: dict[str, npt.NDArray[Any]]
    mood: Floats
    pay: tuple[Codes, ...]
    bill: tuple[Floats, ...]
    paid: tuple[Floats, ...]

    @property
    def size(self) -> int:
        return len(self.mood)

    @property
    def debt(self) -> Floats:
        """Newest bill as a share of the limit, held within 0 and 1."""
        return (self.bill[0] / self.traits["limit"]).clip(0, 1)

    def kept(self, stays: Flags) -> "_Portfolio":
        return self._mapped(lambda vector: vector[stays])

    def joined(self, other: "_Portfolio") -> "_Portfolio":
        return _Portfolio(
            {name: np.concatenate([self.traits[name], other.traits[name]]) for name in self.traits},
            np.concatenate([self.mood, other.mood]),
            _chained(self.pay, other.pay),
            _chained(self.bill, other.bill),
            _chained(self.paid, other.paid),
        )

    def _mapped(self, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> "_Portfolio":
        return _Portfolio(
            {name: change(vector) for name, vector in self.traits.items()},
            change(self.mood),
            tuple(change(v) for v in self.pay),
            tuple(change(v) for v in self.bill),
            tuple(change(v) for v in self.paid),
        )


def _chained(own: Vectors, new: Vectors) -> Vectors:
    return tuple(np.concatenate(pair) for pair in zip(own, new, strict=True))


def _generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    # Each month and each cohort draws from a stream of its own: a longer panel cannot disturb a shorter one.
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, purpose, *key])))


# ── Rules ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _World:
    """Settings and constants, laid out as tables that are indexed by status + 2."""

    settings: SimulationSettings
    tables: Mapping[str, Any]
    process: Mapping[str, Any]
    intercept: Floats
    use_after: Floats
    late_stays: Floats
    delay_after: Floats
    behaviour: dict[str, Floats]
    moments: Mapping[str, Sequence[float]]

    @classmethod
    def build(cls, settings: SimulationSettings, constants: Constants) -> "_World":
        process, fitted = constants["process"], constants["fitted"]
        return cls(
            settings,
            constants["tables"],
            process,
            _by_status(fitted["default_intercepts"]),
            _use_after(process, fitted),
            _by_status({str(s): process["late_stays"].get(str(min(s, 3)), 0.0) for s in STATUSES}),
            _delay_after(process),
            _behaviours(process),
            fitted["moments"],
        )

    # Newcomers

    def recruit(self, count: int, issued: int, step: int) -> _Portfolio:
        """`count` clients with six statements behind them, numbered from `issued` + 1."""
        draw = _generator(self.settings.seed, 1, step)
        portfolio = self._open_accounts(count, issued, step, draw)
        for _ in range(BURN_IN_MONTHS):
            missed = self.draw_defaults(portfolio, 0, draw)
            portfolio = self.advance(portfolio, missed, 0, draw)
        return portfolio

    def _open_accounts(self, count: int, issued: int, step: int, draw: np.random.Generator) -> _Portfolio:
        traits = self._traits(count, draw)
        del traits["wealth"], traits["leaning"]  # Only calibration looks at them again.
        traits["number"] = np.arange(issued + 1, issued + count + 1, dtype=np.int64)
        traits["joined"] = np.full(count, step, dtype=np.int16)
        pay = _pick(self.tables["status_shares"], draw.random(count, dtype=np.float32))
        used = np.maximum(pay >= 0, 0.04) * traits["appetite"]
        bill = np.rint(used * traits["limit"]).astype(np.float32)
        none = np.zeros(count, dtype=np.float32)
        mood = draw.standard_normal(count, dtype=np.float32)
        return _Portfolio(traits, mood, (pay,) * 6, (bill,) * 6, (none,) * 6)

    def _traits(self, count: int, draw: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        tables, weights = self.tables, self.process["limit_weights"]
        sex = _pick(tables["sex_shares"], draw.random(count, dtype=np.float32))
        education = _pick(tables["education_shares"], draw.random(count, dtype=np.float32))
        age = np.interp(draw.random(count), tables["age_levels"], tables["age_quantiles"])
        shift = self.process["risk"]
        risk = draw.standard_normal(count, dtype=np.float32)
        risk += _looked_up(shift["sex"], sex) + _looked_up(shift["education"], education)
        wealth = draw.standard_normal(count, dtype=np.float32)
        wealth += weights["risk"] * risk + _looked_up(weights["education"], education)
        wealth += weights["age"] * _prime_of_life(age)
        appetite = draw.standard_normal(count, dtype=np.float32) + self.process["appetite_risk"] * risk
        appetite += self.process["appetite_wealth"] * wealth
        limit = _quantile(tables, "limit", wealth, self.moments["wealth"])
        used = _quantile(tables, "utilisation", appetite, self.moments["appetite"])
        return {
            "sex": sex,
            "education": education,
            "marriage": self._marriage(age, draw),
            "age": (age + 0.5).astype(np.float32),
            "limit": np.rint(limit / 10_000).clip(1) * np.float32(10_000),
            "risk": risk,
            "style": draw.standard_normal(count, dtype=np.float32),
            "appetite": used * np.float32(self.process["appetite_scale"]),
            "wealth": wealth,
            "leaning": appetite,
            "volume": np.exp(self.process["volume_spread"] * draw.standard_normal(count, dtype=np.float32)),
        }

    def _marriage(self, age: npt.NDArray[np.float64], draw: np.random.Generator) -> Codes:
        ages, shares = self.tables["marriage_ages"], self.tables["marriage_shares"]
        cumulative = np.cumsum([shares[str(code)] for code in range(4)], axis=0)[:, _band(ages, age)]
        uniform = draw.random(len(age), dtype=np.float32) * cumulative[-1]
        return (uniform >= cumulative[:-1]).sum(axis=0, dtype=np.int8)

    # From one month to the next

    def draw_defaults(self, portfolio: _Portfolio, step: int, draw: np.random.Generator) -> Flags:
        """Who misses the payment of the month that follows `step`: (n,) booleans."""
        chance = self._log_odds(portfolio) + np.float32(self._climate(step))
        return draw.random(portfolio.size, dtype=np.float32) < 1 / (1 + np.exp(-chance))

    def _log_odds(self, portfolio: _Portfolio) -> Floats:
        effect = self.process["risk_effect"]
        weight = _by_status({str(s): effect["none" if s <= 0 else "late"] for s in STATUSES})
        index = portfolio.pay[0] - LOWEST
        return (self.intercept[index] + weight[index] * self._strain(portfolio)).astype(np.float32)

    def _strain(self, portfolio: _Portfolio) -> Floats:
        """Risk and mood in one: what moves default and, the other way, the share of a bill that is paid."""
        share = self.process["mood_share"]
        strain = np.sqrt(1 - share) * portfolio.traits["risk"] + np.sqrt(share) * portfolio.mood
        return strain.astype(np.float32)

    def _climate(self, step: int) -> float:
        return self.settings.risk_drift * step + self._shock(step + 1)

    def _shock(self, step: int) -> float:
        if self.settings.shock is None:
            return 0.0
        since = step - self.settings.shock.minus(self.settings.first)
        return self.settings.shock_strength * 0.5 ** (since / SHOCK_HALF_LIFE_MONTHS) if since >= 0 else 0.0

    def advance(
        self, portfolio: _Portfolio, missed: Flags, step: int, draw: np.random.Generator
    ) -> _Portfolio:
        """The same clients one month later: a new statement in front, the oldest dropped."""
        pay = self._next_status(portfolio, missed, draw)
        paid, spent = self._money(portfolio, pay, step, draw)
        bill = np.clip(portfolio.bill[0] - paid + spent, -9_999_999, 9_999_999)
        return replace(
            portfolio,
            mood=self._next_mood(portfolio.mood, draw),
            pay=(pay, *portfolio.pay[:-1]),
            bill=(bill, *portfolio.bill[:-1]),
            paid=(paid, *portfolio.paid[:-1]),
        )

    def _next_mood(self, mood: Floats, draw: np.random.Generator) -> Floats:
        keeps = np.float32(self.process["mood_persistence"])
        return keeps * mood + np.sqrt(1 - keeps**2) * draw.standard_normal(len(mood), dtype=np.float32)

    def _next_status(self, portfolio: _Portfolio, missed: Flags, draw: np.random.Generator) -> Codes:
        index = portfolio.pay[0] - LOWEST
        uniform = draw.random(portfolio.size, dtype=np.float32)
        stays = draw.random(portfolio.size, dtype=np.float32) < self.late_stays[index]
        late = np.minimum(portfolio.pay[0], 2)
        delay = (uniform[missed, None] >= self.delay_after[index[missed]]).sum(axis=1, dtype=np.int8) + 1
        status = np.where(stays & (late > 0), late, self._next_use(portfolio, index, uniform))
        status[missed] = delay
        return status.astype(np.int8)

    def _next_use(self, portfolio: _Portfolio, index: Codes, uniform: Floats) -> Codes:
        """Idle, in full or revolving: base weights by status, tilted by style and debt."""
        weights = self.use_after[index]
        debt = portfolio.debt
        tilt = self.process["style_effect"] * portfolio.traits["style"] + self.process["debt_effect"] * debt
        weights[:, 2] *= np.exp(tilt.astype(np.float32))
        cumulative = np.cumsum(weights, axis=1)
        threshold = uniform * cumulative[:, 2]
        return (threshold >= cumulative[:, 0]).astype(np.int8) + (threshold >= cumulative[:, 1]) + LOWEST

    # Payment and spending

    def _money(
        self, portfolio: _Portfolio, pay: Codes, step: int, draw: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Payment against the last bill, and spending since: two (n,) arrays of whole numbers."""
        kind = _behaviour_of(pay, portfolio.pay[0])
        owed = np.maximum(portfolio.bill[0], 0)
        paid = self._payment(portfolio, kind, owed, draw)
        spent = self._spending(portfolio, kind, owed - paid, paid, step, draw)
        return paid, spent

    def _payment(self, portfolio: _Portfolio, kind: Codes, owed: Floats, draw: np.random.Generator) -> Floats:
        rule, size = self.behaviour, portfolio.size
        uniform = draw.random(size, dtype=np.float32)
        nothing = uniform < rule["pay_nothing"][kind]
        everything = uniform >= 1 - rule["pay_all"][kind] * (
            1 - self.process["pay_all_debt"] * portfolio.debt
        )
        partly = self._partial(portfolio, kind, owed, draw)
        over = draw.random(size, dtype=np.float32) < self.process["overpay_share"]
        whole = np.where(over, np.ceil(owed * (1 + self.process["overpay"])), owed)
        return np.where(nothing, 0, np.where(everything, whole, partly)).astype(np.float32)

    def _partial(self, portfolio: _Portfolio, kind: Codes, owed: Floats, draw: np.random.Generator) -> Floats:
        rule, size = self.behaviour, portfolio.size
        extra = draw.standard_normal(size, dtype=np.float32) * rule["ratio_spread"][kind]
        extra += (
            self.process["ratio_risk"] * self._strain(portfolio) + self.process["ratio_debt"] * portfolio.debt
        )
        share = self.process["minimum_payment"] + rule["ratio"][kind] * np.exp(extra)
        amount = np.maximum(
            np.rint(owed * np.minimum(share, 1)), np.minimum(owed, self.process["least_payment"])
        )
        rounds = draw.random(size, dtype=np.float32) < self.process["round_share"]
        unit = np.where(amount >= 1000, 1000, 100)
        rounded = np.minimum(np.ceil(amount / unit) * unit, owed)
        return np.where(rounds, rounded, amount).astype(np.float32)

    def _spending(
        self,
        portfolio: _Portfolio,
        kind: Codes,
        rest: Floats,
        paid: Floats,
        step: int,
        draw: np.random.Generator,
    ) -> Floats:
        rule, traits, size = self.behaviour, portfolio.traits, portfolio.size
        limit, growth = traits["limit"], np.float32((1 + self.settings.spending_drift) ** step)
        noise = np.exp(rule["spend_spread"][kind] * draw.standard_normal(size, dtype=np.float32))
        bought = rule["spend"][kind] * noise * traits["volume"] * limit * growth
        missing = np.maximum(traits["appetite"] * limit * growth - rest, 0)
        bought += rule["gap"][kind] * missing * draw.random(size, dtype=np.float32) * 2
        bought = np.minimum(bought, np.maximum(1.5 * limit - rest, 1))
        active = draw.random(size, dtype=np.float32) >= rule["spend_nothing"][kind]
        interest = self.process["monthly_interest"] * np.where(paid < rest + paid, rest, 0)
        return np.rint(np.where(active, np.maximum(bought, 1), 0) + interest).astype(np.float32)

    def without_leavers(self, portfolio: _Portfolio, draw: np.random.Generator) -> _Portfolio:
        """Drops those who close their account, and a share of the longest delays as written off."""
        uniform = draw.random(portfolio.size, dtype=np.float32)
        written_off = self.process["write_off_share"] * (portfolio.pay[0] >= HIGHEST - 1)
        return portfolio.kept(uniform >= np.maximum(self.settings.leaver_rate, written_off))


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────

_BEHAVIOURS = (
    "idle",
    "in_full",
    "revolving",
    "late_unused",
    "late",
    "two_late",
    "three_late",
    "longer_late",
)


def _by_status(values: Mapping[str, float]) -> Floats:
    return np.array([values[str(status)] for status in STATUSES], dtype=np.float32)


def _use_after(process: Constants, fitted: Constants) -> Floats:
    """(11, 3) weights of the next use (idle, in full, revolving) by status, without a default."""
    rows = [process["use_after"][str(min(status, 3))] for status in STATUSES]
    return np.array(rows, dtype=np.float32) * np.array(fitted["use_weights"], dtype=np.float32)


def _delay_after(process: Constants) -> Floats:
    """(11, 7) cumulative chances that the next delay is at most 1 … 7 months, given a default."""
    rows = np.zeros((len(STATUSES), HIGHEST))
    for row, status in zip(rows, STATUSES, strict=True):
        chances = process["delay_after"][str(status)]
        row[: len(chances)] = chances
    shares = rows / rows.sum(axis=1, keepdims=True)
    return np.cumsum(shares, axis=1)[:, :-1].astype(np.float32)


def _behaviours(process: Constants) -> dict[str, Floats]:
    rules = [process["behaviours"][name] for name in _BEHAVIOURS]
    return {key: np.array([rule[key] for rule in rules], dtype=np.float32) for key in rules[0]}


def _behaviour_of(pay: Codes, before: Codes) -> Codes:
    """Index into _BEHAVIOURS: a first delay after no use pays and spends like no use at all."""
    kind = np.minimum(pay - LOWEST + (pay > 0), len(_BEHAVIOURS) - 1).astype(np.int8)
    kind[(pay == 1) & (before < 0)] = _BEHAVIOURS.index("late_unused")
    return kind


def _pick(shares: Mapping[str, float], uniform: Floats) -> Codes:
    """Codes drawn by their shares, which are scaled to sum to one."""
    codes = np.array([int(code) for code in shares], dtype=np.int8)
    cumulative = np.cumsum(list(shares.values()))
    return codes[np.searchsorted(cumulative / cumulative[-1], uniform, side="right").clip(0, len(codes) - 1)]


def _looked_up(values: Mapping[str, float], codes: Codes) -> Floats:
    table = np.zeros(max(int(code) for code in values) + 1, dtype=np.float32)
    for code, value in values.items():
        table[int(code)] = value
    return table[codes]


def _band(edges: Sequence[float], values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return (np.searchsorted(edges, values, side="right") - 1).clip(0, len(edges) - 1)


def _prime_of_life(age: npt.NDArray[np.float64]) -> Floats:
    """From -2 at 21 to +0.7 at 32 … 48 and down again: limits peak in mid-life."""
    return np.interp(age, [21, 24, 32, 48, 60, 79], [-4.0, -2.0, 0.7, 0.7, -1.0, -2.0]).astype(np.float32)


def _quantile(tables: Constants, name: str, normal: Floats, moments: Sequence[float]) -> Floats:
    """Maps a normal variable of the stated mean and spread to the tabulated distribution of `name`."""
    level = ndtr((normal - moments[0]) / moments[1])
    return np.interp(level, tables[f"{name}_levels"], tables[f"{name}_quantiles"]).astype(np.float32)


# ── Frames ──────────────────────────────────────────────────────────────────────────────────────


def _ids(portfolio: _Portfolio) -> pl.Series:
    numbers = pl.Series(CLIENT_ID, portfolio.traits["number"])
    return pl.select(pl.lit("C") + numbers.cast(pl.String).str.zfill(8)).to_series().alias(CLIENT_ID)


def _client_frame(portfolio: _Portfolio, step: int) -> pl.DataFrame:
    traits = portfolio.traits
    columns = {CLIENT_ID: _ids(portfolio), "limit_bal": traits["limit"]}
    columns |= {name: traits[name] for name in ("sex", "education", "marriage")}
    columns["age"] = np.floor(traits["age"] + (step - traits["joined"]) / 12)
    for prefix, series in (
        ("pay_", portfolio.pay),
        ("bill_amt", portfolio.bill),
        ("pay_amt", portfolio.paid),
    ):
        columns |= {f"{prefix}{n}": series[n - 1] for n in STATEMENTS}
    return pl.DataFrame(columns).cast(CLIENT_SCHEMA)  # type: ignore[arg-type]


def _outcomes(portfolio: _Portfolio, missed: Flags) -> pl.DataFrame:
    return pl.DataFrame({CLIENT_ID: _ids(portfolio), OUTCOME: missed}).cast(OUTCOME_SCHEMA)  # type: ignore[arg-type]
