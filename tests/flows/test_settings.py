import pytest

from creditflow.errors import UsageError
from flows.docs import PAGES
from flows.options import run_options
from flows.settings import Settings, load_settings


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name):
    assert (Settings.model_fields[name].description or "").endswith(".")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_generated_page_is_current(path):
    assert path.read_text("utf-8") == PAGES[path](), "run: make docs"


@pytest.mark.parametrize(
    ("name", "value"),
    [("SEED", "-1"), ("MEMORY_LIMIT", "lots"), ("MAX_MODEL_AGE_MONTHS", "0"), ("EVIDENTLY", "maybe")],
)
def test_bad_value_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"CREDITFLOW_{name}", value)
    with pytest.raises(UsageError, match=f"CREDITFLOW_{name}.*{value}"):
        load_settings()


def test_environment_is_read_and_home_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDITFLOW_HOME", "here")
    monkeypatch.setenv("CREDITFLOW_SEED", "7")
    settings = load_settings()
    assert settings.home == tmp_path / "here"
    assert run_options(settings).seed == 7
