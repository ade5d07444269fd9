"""prefect.yaml, Dockerfile and compose.yaml: what they name exists, and nobody is let in for nothing."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from typer.main import get_command

from flows import deploy
from flows.cli import app
from flows.settings import Settings, load_settings

TOP = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DOCKERFILE = (TOP / "Dockerfile").read_text()
STAGES = re.split(r"(?m)^(?=FROM )", DOCKERFILE)[1:]
COMPOSE = yaml.safe_load((TOP / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PREFECT = yaml.safe_load((TOP / "prefect.yaml").read_text())
OWN = {name: service for name, service in SERVICES.items() if service["image"] == "creditflow"}
SETTINGS = {f"CREDITFLOW_{name.upper()}" for name in Settings.model_fields}


# ── prefect.yaml ────────────────────────────────────────────────────────────────────────────────


def test_deployments_are_those_that_the_command_names():
    assert tuple(deployment["name"] for deployment in PREFECT["deployments"]) == deploy.NAMES


@pytest.mark.parametrize("deployment", PREFECT["deployments"], ids=lambda d: d["name"])
def test_deployment_runs_a_flow_in_the_pool_one_at_a_time(deployment):
    path, name = deployment["entrypoint"].split(":")
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    assert deployment["work_pool"]["name"] == deploy.POOL
    assert deployment["concurrency_limit"] == 1


def test_what_the_file_leaves_open_is_what_the_command_fills_in():
    text = (TOP / "prefect.yaml").read_text()
    assert set(re.findall(r"\{\{ \$(\w+) \}\}", text)) == set(deploy.templated(load_settings()))


def test_prefect_is_the_locked_one():
    locked = re.search(r"(?m)^prefect==(.+)$", (TOP / "requirements.lock").read_text())[1]
    assert PREFECT["prefect-version"] == locked


@pytest.mark.parametrize("deployment", PREFECT["deployments"], ids=lambda d: d["name"])
def test_runs_send_nothing_outside(deployment):
    environment = deployment["work_pool"]["job_variables"]["env"]
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


# ── Dockerfile ──────────────────────────────────────────────────────────────────────────────────


def test_dockerfile_is_linted():
    done = subprocess.run([BIN / "hadolint", TOP / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("stage", STAGES, ids=["build", "final"])
def test_base_is_pinned_to_a_patch_version(stage):
    assert re.match(r"FROM python:3\.\d+\.\d+-slim-\w+( AS build)?\n", stage)


def test_image_runs_as_nobody_in_particular():
    users = re.findall(r"(?m)^USER (\d+):(\d+)$", STAGES[-1])
    assert len(users) == 1
    assert "0" not in users[0]
    after = STAGES[-1].split("USER ")[1]
    assert not re.search(r"(?m)^(RUN|COPY|ADD) ", after)


def test_nothing_is_installed_in_the_final_image():
    assert "pip install" in STAGES[0]
    assert not re.search(r"\b(pip|apt-get|curl|wget)\b", STAGES[-1])


def test_every_room_is_copied_and_nothing_else_is_sent():
    import tomllib

    packages = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {package.split(".")[0] for package in packages}
    assert set(re.findall(r"(?m)^COPY (\w+) \1$", STAGES[0])) == rooms
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert sent - rooms == {"pyproject.toml", "requirements.lock", "prefect.yaml", "README.md", "LICENSE"}
    assert all((TOP / name).exists() for name in sent)


def test_settings_of_the_image_are_known():
    assert set(re.findall(r"\b(CREDITFLOW_\w+)=", DOCKERFILE)) <= SETTINGS


@pytest.mark.parametrize("word", ["HEALTHCHECK .*CMD", "CMD"])
def test_commands_of_the_image_exist(word):
    found = re.search(rf'(?m)^{word} \[(?:"creditflow", )?"(\w+)"', STAGES[-1])
    assert found[1] in get_command(app).commands
    assert 'ENTRYPOINT ["creditflow"]' in STAGES[-1]


# ── compose.yaml ────────────────────────────────────────────────────────────────────────────────


def test_compose_file_is_linted():
    asked = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", TOP / "compose.yaml"]
    done = subprocess.run([BIN / asked[0], *asked[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_only_the_pages_are_published_and_on_loopback_only():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:4200:4200"]}


def test_inner_network_leads_nowhere():
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, s in SERVICES.items() if "pages" in s["networks"]} == {"server"}


def test_secrets_have_no_default():
    assert set(re.findall(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", (TOP / "compose.yaml").read_text())) == {
        ("POSTGRES_PASSWORD", ":?set POSTGRES_PASSWORD")
    }


@pytest.mark.parametrize("name", OWN)
def test_own_containers_have_no_rights_to_spare(name):
    service = OWN[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "user" not in service
    assert not service.get("privileged")


@pytest.mark.parametrize("name", OWN)
def test_settings_are_known_and_those_of_the_schedule_are_passed_on(name):
    given = {key for key in OWN[name]["environment"] if key.startswith("CREDITFLOW_")}
    assert given <= SETTINGS
    if name != "server":
        assert {key for key in SETTINGS if key.startswith("CREDITFLOW_SCHEDULE_")} - given <= {
            "CREDITFLOW_SCHEDULE_LOOK_AGAIN_HOURS"
        }


def test_defaults_of_the_schedule_are_those_of_the_settings():
    environment = OWN["worker"]["environment"]
    for key, value in environment.items():
        if found := re.fullmatch(r"\$\{\w+:-(.+)\}", value):
            field = Settings.model_fields[key.removeprefix("CREDITFLOW_").lower()]
            assert found[1] == str(field.default)


def test_commands_exist():
    assert SERVICES["creditflow"]["command"][0] in get_command(app).commands
    asked = SERVICES["worker"]["command"]
    assert asked[asked.index("--pool") + 1] == deploy.POOL


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_kept_alive_and_its_dependencies_exist(name):
    service = SERVICES[name]
    assert service["restart"] in {"unless-stopped", "on-failure"}
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert "test" in service["healthcheck"] or service["healthcheck"]["disable"]
    volumes = {text.split(":")[0] for text in service.get("volumes", [])}
    assert volumes <= set(COMPOSE["volumes"])
