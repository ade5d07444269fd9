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


@pytest.mark.parametrize("value", ["256MB", "0.5GB", "1.5 GiB", "4GB", "1TiB"])
def test_memory_limit_is_taken_as_it_is_written(value):
    assert load_settings(memory_limit=value).memory_limit == value


@pytest.mark.parametrize("value", ["5 apples", "0GB", "-1GB", "255MB", "1000", "GB", "1e3MB", "4 gb", ""])
def test_memory_limit_that_cannot_serve_is_refused_by_name(monkeypatch, value):
    monkeypatch.setenv("CREDITFLOW_MEMORY_LIMIT", value)
    with pytest.raises(UsageError, match=f"CREDITFLOW_MEMORY_LIMIT.*(256MB|4GB), found '{value}'"):
        load_settings()


def test_environment_is_read_and_home_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDITFLOW_HOME", "here")
    monkeypatch.setenv("CREDITFLOW_SEED", "7")
    settings = load_settings()
    assert settings.home == tmp_path / "here"
    assert run_options(settings).seed == 7
