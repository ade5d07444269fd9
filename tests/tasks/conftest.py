"""A home whose months are written straight into the warehouse, and stand-ins for models.

A client's true risk stands in `bill_amt1`; a stand-in reads it, blurred by the noise in `bill_amt2`. So how
good a model is, is one number, and nothing is trained.
"""

import shutil
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from creditflow.columns import ATTRIBUTE_NAMES, CLIENT_SCHEMA
from creditflow.errors import ArtifactMissing, TrainingRefused
from creditflow.month import Month
from models.calibration import CalibratorChoice, Candidate, NoCalibrator
from models.cost import Costs, CutOff
from models.metrics import classification_metrics
from models.stability import reference_bins
from sql.warehouse import execute, open_warehouse
from tasks.decide import decide
from tasks.develop import Developed, develop
from tasks.home import Home
from tasks.ledger import new_run_id
from tasks.options import Options
from tasks.stage import Run

CLIENTS = 2500
CALIBRATION = CalibratorChoice(
    NoCalibrator(), {"none": Candidate(0.13, 0.01, 0.2, 0.0, 0.001)}, "It is right.", 500, 100, 5, 0.01
)
CUT_OFF = CutOff(0.25, "empirical", 0.4, 0.9, 0.8, 120, 500, 100, Costs())


@dataclass
class StandIn:
    """What `models.develop` gives, without training: `blur` 0 knows the risk, 1 knows nothing."""

    name: str
    blur: float
    offset: float = 0.0
    attributes: str = "unprotected"
    facts: SimpleNamespace = field(default_factory=SimpleNamespace)
    held_out: dict = field(default_factory=dict)
    bins: dict = field(default_factory=dict)
    fit_seconds: float = 0.5
    calibration: CalibratorChoice = CALIBRATION
    cut_off: CutOff = CUT_OFF

    def score(self, frame):
        risk = (1 - self.blur) * frame["bill_amt1"] + self.blur * frame["bill_amt2"] + self.offset
        pd = risk.clip(0, 1)
        return pl.DataFrame({"score": pd.alias("score"), "pd": pd.alias("pd")})

    def developed_on(self, data, seed):
        from models.develop import split

        parts = split(data, seed)
        held_out = parts.held_out
        self.facts = SimpleNamespace(
            rows=data.height,
            defaulters=int(data["defaulted"].sum()),
            attributes=self.attributes,
            held_out_rows=held_out.height,
            held_out_defaulters=int(held_out["defaulted"].sum()),
        )
        self.held_out = classification_metrics(held_out["defaulted"], self.score(held_out)["pd"])
        self.bins = {"score": reference_bins(self.score(data)["score"], "amount")}
        return self


@dataclass
class Office:
    """A home with months, and the stages of a run on it.

    `sets` says what a month's retraining develops: stand-ins, or an error to raise.
    """

    home: Home
    options: Options = field(default_factory=lambda: Options(max_model_age_months=2))
    sets: dict[str, list[StandIn] | Exception] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], StandIn] = field(default_factory=dict)
    developing: str = ""
    given: dict = field(default_factory=dict)
    facts: dict[tuple[str, str], dict] = field(default_factory=dict)

    def run(self, month: str) -> Run:
        return Run(new_run_id(), Month.parse(month), self.home, "c0de", self.options)

    def month(self, month: str, *, asked: bool = False, scored: bool = True) -> Developed:
        """Decides and develops, and scores the month by the champion as the score stage would."""
        run, self.developing = self.run(month), month
        developed = develop.fn(run, decide.fn(run, asked))
        if scored and developed.champion:
            self.score(month, developed.champion)
        return developed

    def load(self, month: str, *, seed: int, clients: int = CLIENTS, shift: float = 0.0) -> None:
        """Clients of a month; `shift` moves every client's risk."""
        stored = clients_frame(clients, seed, shift)  # noqa: F841  (read by name)
        with self.warehouse() as con:
            con.execute("DELETE FROM clients WHERE month = ?", [month])
            con.execute(
                "INSERT INTO clients BY NAME SELECT ? AS month, ? AS file_sha256, * FROM stored", [month] * 2
            )
            con.execute(
                "INSERT INTO files VALUES "
                "(?, 'clients', ?, ?, 9, 1, true, false, ?, ?, 0, 'c0de', 'r', now()::TIMESTAMP)",
                [month, f"sha-{month}", f"clients_{month}.csv", clients, clients],
            )

    def realise(self, month: str, *, seed: int = 0, rate: float | None = None) -> None:
        """Outcomes of a month, drawn from the clients' risk, or at one rate whatever the risk."""
        with self.warehouse() as con:
            frame = con.sql(
                f"SELECT client_id, bill_amt1 FROM clients WHERE month = '{month}' ORDER BY 1"
            ).pl()
            risk = frame["bill_amt1"].to_numpy() if rate is None else np.full(frame.height, rate)
            drawn = np.random.default_rng(seed + int(month[-2:])).random(frame.height) < risk
            known = frame.select("client_id", defaulted=pl.Series(drawn.astype(np.int8)))  # noqa: F841
            con.execute("DELETE FROM outcomes WHERE month = ?", [month])
            con.execute(
                "INSERT INTO outcomes SELECT ?, client_id, defaulted, 'outcomes', ? FROM known",
                [month, month],
            )

    def score(self, month: str, champion) -> None:
        model = self.artifacts[champion.version, champion.model]
        with self.warehouse() as con:
            frame = con.sql(f"FROM clients WHERE month = '{month}'").pl()
            rows = frame.select("month", "client_id").hstack(model.score(frame))  # noqa: F841
            execute(con, "archive_scores", month=month, run_id="next")
            for table in ("score_rows", "scorings"):
                con.execute(f"DELETE FROM {table} WHERE month = ?", [month])
            con.execute(
                "INSERT INTO score_rows BY NAME SELECT *, ? AS model, true AS is_champion FROM rows",
                [champion.model],
            )
            con.execute(
                "INSERT INTO scorings VALUES (?, ?, ?, 'live', 'r', 's', 'c', now()::TIMESTAMP)",
                [month, champion.model, champion.version],
            )

    def warehouse(self):
        return open_warehouse(self.home.warehouse)

    def ask(self, text: str) -> list[tuple]:
        with self.warehouse() as con:
            return con.execute(text).fetchall()

    def lose(self, champion) -> None:
        """The artifact is gone."""
        del self.artifacts[champion.version, champion.model]

    # ── In the place of models.develop and models.artifacts ──

    def fit(self, data, *, seed, **given):
        self.given = given
        planned = self.sets[self.developing]
        if isinstance(planned, Exception):
            raise planned
        return [replace(model).developed_on(data, seed) for model in planned]

    def save(self, model, folder, facts=None):
        self.artifacts[folder.parts[-2:]], self.facts[folder.parts[-2:]] = model, facts
        return f"sha of {folder.name}"

    def read(self, folder, expected_manifest_sha256=None, shared=None):
        if folder.parts[-2:] not in self.artifacts:
            raise ArtifactMissing(str(folder), expected="an artifact", found="none", remedy="Retrain.")
        return self.artifacts[folder.parts[-2:]]

    def in_place_of_models(self, patch) -> "Office":
        patch.setattr("models.develop.develop", self.fit)
        patch.setattr("models.artifacts.save", self.save)
        patch.setattr("models.artifacts.load", self.read)
        patch.setattr("models.artifacts.verify", self.read)
        return self

    def copy(self, root) -> "Office":
        """The same in another home, so that what took seconds to set up is set up once."""
        home = Home(root).prepare()
        shutil.copy(self.home.warehouse, home.warehouse)
        return Office(home, self.options, dict(self.sets), dict(self.artifacts))


def clients_frame(count: int, seed: int, shift: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    risk = np.clip(rng.beta(1.3, 4, count) + shift, 0, 1)
    codes = dict.fromkeys(ATTRIBUTE_NAMES, 1)
    frame = pl.DataFrame(
        {"client_id": [f"{seed}-{n:05d}" for n in range(count)]}
        | {name: np.full(count, value) for name, value in codes.items()}
        | {"bill_amt1": risk, "bill_amt2": rng.permutation(risk)}
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in CLIENT_SCHEMA.items()).with_columns(
        row_number=pl.int_range(1, count + 1)
    )


@pytest.fixture(scope="session")
def stocked(tmp_path_factory):
    opened = Office(Home(tmp_path_factory.mktemp("stocked") / "home").prepare())
    for number in (1, 2, 3, 4):
        opened.load(f"2005-0{number}", seed=number)
    for number in (1, 2, 3):
        opened.realise(f"2005-0{number}")
    opened.sets = {
        f"2005-0{number}": [StandIn("logistic", 0.6), StandIn("blend", 0.3)] for number in range(1, 7)
    }
    return opened


@pytest.fixture
def office(stocked, tmp_path, monkeypatch):
    """Four months of clients, outcomes of the first three, nothing decided."""
    return stocked.copy(tmp_path / "home").in_place_of_models(monkeypatch)


@pytest.fixture(scope="session")
def settled(stocked, tmp_path_factory):
    opened = stocked.copy(tmp_path_factory.mktemp("settled") / "home")
    opened.sets["2005-04"] = [StandIn("logistic", 0.5), StandIn("blend", 0.1)]
    with pytest.MonkeyPatch.context() as patch:
        opened.in_place_of_models(patch)
        for month in ("2005-02", "2005-03", "2005-04"):
            opened.month(month)
    return opened


@pytest.fixture
def two_sets(settled, tmp_path, monkeypatch):
    """The set of 2005-02 was champion for two months; that of 2005-04 took over through the gate."""
    return settled.copy(tmp_path / "home").in_place_of_models(monkeypatch)


@pytest.fixture
def stand_in():
    return StandIn


@pytest.fixture
def refused():
    return TrainingRefused("training data", expected="50 defaulters", found="3", remedy="Train later.")
