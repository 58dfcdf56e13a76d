"""Cases of rules, written short, and the tests for promtool that they become.

cases/FILE.yml has those of prometheus/rules/FILE.yml:

    - alert: NAME
      rule: {escalated_from: P3}      where a name is used by several rules
      fires:                          after `at` the alert fires ...
        - at: 10m
          with: [erlmcp-requests]     more rule files that are loaded
          every: 5m                   distance of samples and evaluations (1m)
          series: {'up{@erlmcp}': '0x20'}
          labels: '@erlmcp'           ... with these labels beside the rule's own
          description: ...            ... and this text
      silent:                         after `at` it does not
        - ...
      always: true                    instead of silent: it fires on purpose

recorded/NAME.yml has cases of recorded metrics; the series that are expected are
rounded to six digits, `{}` says that there is none:

    - name: ...
      at: 10m
      with: [erlmcp-requests]
      series: {...}
      expect: {NAME: {'@j': 0.5}}

`@e` stands for the environment, `@j` for the job erlmcp in it, `@JOB` for the
target of any job.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from model import ALERTS, EXAMPLE, RECORDING, Rule

MACRO = re.compile(r"(^|[{,])@(\w+)")


def expand(text: str) -> str:
    def one(found: re.Match) -> str:
        name = found[2]
        environment = 'environment="production"'
        if name == "e":
            return found[1] + environment
        job = f'{environment},job="{"erlmcp" if name == "j" else name}"'
        return found[1] + (job if name == "j" else f'{job},instance="{name}:1"')

    return MACRO.sub(one, text)


def pairs(text: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', expand(text)))


def rule_file(name: str) -> Path:
    for folder in (ALERTS, RECORDING, EXAMPLE):
        path = folder / f"{name}.yml"
        if path.exists():
            return path
    raise FileNotFoundError(f"no rules {name}.yml")


@dataclass
class Test:
    """One test group of promtool, and the files that it needs."""

    name: str
    files: tuple[str, ...]
    every: str
    body: dict


def base(case: dict, name: str) -> dict:
    every = case.get("every", "1m")
    series = [{"series": expand(key), "values": str(value)} for key, value in case["series"].items()]
    return {"name": name, "interval": every, "input_series": series}


def of_alerts(path: Path, rules: list[Rule]) -> list[Test]:
    tests = []
    for entry in yaml.safe_load(path.read_text()):
        wanted = entry.get("rule", {})
        rule = next(r for r in rules if r.name == entry["alert"] and wanted.items() <= r.labels.items())
        label = f"{rule.name}{''.join(' ' + v for v in wanted.values())}"
        for kind in ("fires", "silent"):
            for number, case in enumerate(entry.get(kind, []), 1):
                name = f"{label} {kind} {number}"
                body = base(case, name)
                expected = []
                if kind == "fires":
                    annotations = dict(rule.annotations) | {"description": case.get("description", "")}
                    expected = [{"exp_labels": pairs(case["labels"]) | rule.labels, "exp_annotations": annotations}]
                body["alert_rule_test"] = [{"eval_time": case["at"], "alertname": rule.name, "exp_alerts": expected}]
                files = tuple(sorted({path.stem, *case.get("with", [])}))
                tests.append(Test(name, files, case.get("every", "1m"), body))
    return tests


def of_recorded(path: Path) -> list[Test]:
    tests = []
    for case in yaml.safe_load(path.read_text()):
        body = base(case, f"recorded: {case['name']}")
        body["promql_expr_test"] = [
            {
                "expr": f"round({metric}, 0.000001)",
                "eval_time": case["at"],
                "exp_samples": [{"labels": "{" + expand(key) + "}", "value": value} for key, value in samples.items()],
            }
            for metric, samples in case["expect"].items()
        ]
        tests.append(Test(body["name"], tuple(sorted(case["with"])), case.get("every", "1m"), body))
    return tests


def order(names: tuple[str, ...]) -> list[str]:
    """Groups as they are evaluated: what is recorded, then alerts, then what raises them."""
    paths = sorted((rule_file(name) for name in names), key=lambda path: (path.parent != RECORDING, path.stem == "escalation", path.stem))
    return [group["name"] for path in paths for group in yaml.safe_load(path.read_text())["groups"]]


def written(tests: list[Test], into: Path) -> dict[Path, list[Test]]:
    """Writes files for promtool: those that need the same rules share one."""
    groups: dict[tuple, list[Test]] = {}
    for test in tests:
        groups.setdefault((test.files, test.every), []).append(test)
    files = {}
    for number, ((names, every), members) in enumerate(sorted(groups.items(), key=lambda item: item[0])):
        path = into / f"{number:02}-{'+'.join(names)}.yml"
        content = {
            "rule_files": [str(rule_file(name)) for name in names],
            "evaluation_interval": every,
            # Otherwise promtool takes them in any order, another one each time.
            "group_eval_order": order(names),
            "tests": [test.body for test in members],
        }
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))
        files[path] = members
    return files
