import pytest

from creditflow.errors import HomeUnusable
from creditflow.month import Month
from flows import workflows
from flows.settings import load_settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDITFLOW_HOME", str(tmp_path / "home"))
    return load_settings()


def test_demonstration_keeps_out_of_a_home_with_other_months(settings):
    inbox = settings.home / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "clients_2005-04.csv").write_text("ID\n")
    with pytest.raises(HomeUnusable, match="2005-04"):
        workflows.simulate_demo(settings, Month(2026, 1), 2, 300)
    assert [p.name for p in inbox.iterdir()] == ["clients_2005-04.csv"]


def test_demonstration_writes_the_same_inbox_again(settings):
    workflows.simulate_demo(settings, Month(2026, 1), 2, 300)
    first = {p.name: p.read_bytes() for p in (settings.home / "inbox").iterdir()}
    workflows.simulate_demo(settings, Month(2026, 1), 2, 300)
    assert {p.name: p.read_bytes() for p in (settings.home / "inbox").iterdir()} == first
    assert sorted(first) == ["clients_2026-01.csv", "clients_2026-02.csv", "outcomes_2026-01.csv"]


@pytest.mark.flow
def test_study_flow_passes_its_arguments_on(prefect_server, monkeypatch, tmp_path):
    from flows import study

    seen = []
    monkeypatch.setattr(study, "study_file", lambda *given: seen.append(given) or (tmp_path / "study.html",))
    assert study.study("file.csv", str(tmp_path)) == [str(tmp_path / "study.html")]
    assert [str(part) for part in seen[0]] == ["file.csv", str(tmp_path), "42"]
