"""The pages of the alerts: one each, its head as the rule has it, queries that parse."""

import re

import promql_parser

from metrics import Catalogue, Unknown
from model import RUNBOOKS, Rule

TIMES = {"P0": "at once", "P1": "within 1 hour", "P2": "within 4 hours", "P3": "within 24 hours"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
ALERT = re.compile(r"\bErlmcp[A-Z]\w+")
QUOTED = re.compile(r"`([^`]*(?:erlmcp[_:]|erlang_vm|node_|process_|prometheus_|promtail_|otelcol_)\w*:?[^`]*)`")


def head(rule: Rule) -> str:
    said = {"priority": "?", "severity": "?", "team": "?"} | rule.labels
    return f"{said['priority']} ({TIMES.get(said['priority'], '?')}), {said['severity']}, team {said['team']}. {rule.annotations.get('summary')}."


def index(rules: list[Rule]) -> str:
    """README.md: the alerts by file, most urgent first."""
    lines = [
        "# Runbooks",
        "",
        "A page for each alert: what it means, how to look, what to do, when to escalate. `runbook_url` in a notification leads here.",
        "`monitoring/tests/rules/run.sh --write` makes this list from the rules.",
        "",
        "PromQL goes into http://localhost:9090 or Grafana's *Explore*, LogQL into *Explore*. Commands are written for the machine on",
        "which the stack's containers run. Elsewhere:",
        "",
        "| in a page | with `--native` | on Kubernetes |",
        "|---|---|---|",
        "| `docker logs erlmcp-loki` | `scripts/deploy-monitoring.sh logs loki --native` | `kubectl -n erlmcp-monitoring logs -l app.kubernetes.io/name=loki` |",
        "| `http://localhost:9090` | the same | after `kubectl -n erlmcp-monitoring port-forward service/prometheus 9090` |",
        "| `http://erlmcp:8080` | where your node listens | after `kubectl -n erlmcp port-forward service/erlmcp 8080` |",
        "| `docker logs erlmcp` | your node's log | `kubectl -n erlmcp logs` and the pod |",
        "",
    ]
    for file in dict.fromkeys(rule.file for rule in rules):
        lines += [f"## {file.stem}", "", "| alert | | severity | team | says |", "|---|---|---|---|---|"]
        seen = {}
        for rule in rules:
            if rule.file == file:
                seen.setdefault(rule.name, []).append(rule)
        for name, same in sorted(seen.items(), key=lambda item: (item[1][0].labels.get("priority", "?"), item[0])):
            rule = same[0]
            priority = "/".join(sorted({r.labels.get("priority", "?") for r in same}))
            lines.append(
                f"| [{name}]({name}.md) | {priority} | {rule.labels.get('severity', 'as before')}"
                f" | {rule.labels.get('team', 'as before')} | {rule.annotations.get('summary')} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def queries(language: str) -> list[str]:
    """All blocks of a language, of all pages."""
    blocks = [block for path in sorted(RUNBOOKS.glob("*.md")) for block in FENCE.findall(path.read_text())]
    return sorted({body.strip() for found, body in blocks if found == language})


def check(rules: list[Rule], catalogue: Catalogue) -> dict[str, list[str]]:
    """What is wrong, by page."""
    wrong: dict[str, list[str]] = {}
    names = {rule.name for rule in rules}
    recorded = set(catalogue.recorded)
    for rule in rules:
        wrong.setdefault(rule.name, [])
    pages = {path.stem: path for path in RUNBOOKS.glob("*.md") if path.stem != "README"}
    for name in pages.keys() - names:
        wrong[name] = ["there is no such alert"]
    for name in names - pages.keys():
        wrong[name].append("there is no page")
    for name in names & pages.keys():
        text = pages[name].read_text()
        found = wrong[name]
        rule = next(rule for rule in rules if rule.name == name)
        if name != "ErlmcpEscalated" and head(rule) not in text:
            found.append(f"its head is not: {head(rule)}")
        for part in ("## Look", "## Do", "## Escalate"):
            if part not in text:
                found.append(f"no {part}")
        queries = 0
        for language, body in FENCE.findall(text):
            if language == "promql":
                queries += 1
                try:
                    catalogue.expression(body.strip())
                except Unknown as unknown:
                    found.append(str(unknown))
                except ValueError as error:
                    found.append(f"does not parse: {body.strip()}: {error}")
            elif language not in ("logql", "sh"):
                found.append(f"what is in {language or 'a block without language'}?")
        if not queries:
            found.append("no query")
        for other in set(ALERT.findall(text)) - names:
            found.append(f"{other} is no alert")
        prose = FENCE.sub("", text)
        for quoted in QUOTED.findall(prose):
            found += [f"{unknown} in `{quoted}`" for unknown in unresolved(quoted, catalogue, recorded)]
    return wrong


def unresolved(quoted: str, catalogue: Catalogue, recorded: set[str]) -> list[str]:
    """Queries inside a sentence: what of them is nowhere emitted."""
    try:
        promql_parser.parse(quoted)
    except ValueError:
        return []
    try:
        catalogue.expression(quoted)
    except Unknown as unknown:
        return [str(unknown)]
    return []
