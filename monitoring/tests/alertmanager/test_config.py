"""What reads the configuration without running it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import wanted
from routing import leaves
from shipped import CONFIG, README, SUPPORTED, TEMPLATES, UNSUPPORTED

# Functions of templates that came after 0.26, which the guide's date is.
LATER = {"since", "humanizeDuration", "date", "tz", "now", "safeUrl", "urlUnescape", "toJson", "list", "append", "dict"}


@pytest.mark.parametrize("amtool", [*UNSUPPORTED, *SUPPORTED])
def test_amtool(amtool: str) -> None:
    if amtool in UNSUPPORTED:
        pytest.skip(UNSUPPORTED[amtool])
    answer = subprocess.run(
        [str(wanted("amtool", amtool)), "check-config", str(CONFIG)], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "SUCCESS" in answer.stdout


def test_amlint(tmp_path: Path) -> None:
    """With the files where they will be: their templates are looked for there."""
    text = CONFIG.read_text().replace("/etc/alertmanager/templates/", f"{TEMPLATES}/")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "phones.tmpl").write_text(
        "".join(f'{{{{ define "{name}" }}}}+12025550100{{{{ end }}}}' for name in phone_templates())
    )
    config = tmp_path / "alertmanager.yml"
    config.write_text(text.replace("/etc/alertmanager/secrets/", f"{secrets}/"))
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "amlint"), "check", "--strict", str(config)],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.search(r"\[(ERROR|WARN|INFO)\]|error|warn", answer.stdout) is None, answer.stdout


def phone_templates() -> set[str]:
    return set(re.findall(r"erlmcp\.sms\.phone\.\w+", CONFIG.read_text()))


def test_no_secret_is_in_the_file() -> None:
    """Each secret that Alertmanager knows is given by its _file twin, or not at all."""

    def keys(value: object) -> list[str]:
        if isinstance(value, dict):
            return [k for k in value] + [k for v in value.values() for k in keys(v)]
        return [k for v in value for k in keys(v)] if isinstance(value, list) else []

    inline = {
        "slack_api_url", "smtp_auth_password", "smtp_auth_secret", "routing_key", "service_key", "auth_password",
        "url", "credentials", "password", "bearer_token", "access_key", "secret_key", "client_secret",
    }  # fmt: skip
    config = yaml.safe_load(CONFIG.read_text())
    assert inline & set(keys(config)) == set()
    assert "$" not in re.sub(r"#.*", "", CONFIG.read_text()), "Alertmanager expands no variables"


def test_templates_use_what_0_26_has() -> None:
    for path in [*TEMPLATES.glob("*.tmpl"), CONFIG]:
        text = re.sub(r"\{\{-? /\*.*?\*/ -?\}\}", "", path.read_text(), flags=re.DOTALL)
        for action in re.findall(r"\{\{(.*?)\}\}", text):
            words = set(re.findall(r"(?<![.$\w\"])[a-zA-Z]\w*", re.sub(r'"[^"]*"', '""', action)))
            assert words & LATER == set(), f"{path.name}: {action}"


def test_every_template_is_used() -> None:
    defined: set[str] = set()
    used: set[str] = set()
    for path in [*TEMPLATES.glob("*.tmpl"), CONFIG]:
        defined |= set(re.findall(r'define "([^"]+)"', path.read_text()))
        used |= set(re.findall(r'template "([^"]+)"', path.read_text()))
    assert used - defined == phone_templates()
    assert defined - used == set()


def test_matchers_are_written_the_new_way() -> None:
    assert not re.search(r"^\s*-?\s*(source_|target_)?match(_re)?:", CONFIG.read_text(), re.MULTILINE)


def test_muting_never_covers_what_wakes() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    for route in leaves(config["route"]):
        if any(re.search(r'"P[01]"', m) for m in route.get("matchers", [])):
            for leaf in leaves(route):
                assert "mute_time_intervals" not in leaf and "active_time_intervals" not in leaf


def test_readme_names_every_receiver() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    text = README.read_text()
    for name in (receiver["name"] for receiver in config["receivers"]):
        tier = name.rsplit("-", 1)[-1]
        assert name in text or f"*-{tier}" in text, name
