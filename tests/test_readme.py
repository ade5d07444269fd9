"""The README is the product's face: its commands parse, its links lead somewhere, no command is missing."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from flows.cli import app

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
LINES = [line for block in BLOCKS for line in block.splitlines()]
COMMANDS = [
    line.removeprefix(".venv/bin/creditflow ") for line in LINES if line.startswith(".venv/bin/creditflow ")
]
LINKS = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_parses(line):
    name, *arguments = shlex.split(line, comments=True)
    get_command(app).commands[name].make_context(name, arguments)


def test_every_command_is_shown():
    assert {line.split()[0] for line in COMMANDS} | {"demo"} == set(get_command(app).commands)


@pytest.mark.parametrize("target", [line.split()[1] for line in LINES if line.startswith("make ")])
def test_make_target_exists(target):
    assert re.search(rf"^{target}:", (TOP / "Makefile").read_text(), flags=re.M)


@pytest.mark.parametrize("link", LINKS)
def test_link_leads_somewhere(link):
    assert (TOP / link).exists()
