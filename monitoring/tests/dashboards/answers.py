"""Asks a live Prometheus what a dashboard would ask it."""

import re
from collections.abc import Mapping
from typing import Any

import boards
import grafana
from prometheus import Client

# Variables as they are when a dashboard is opened, and with one or two values chosen.
OPENED = "opened"
CHOSEN = "chosen"


def variable_values(board: Mapping[str, Any], client: Client, state: str) -> dict[str, str]:
    """Each variable's text in a query; variables may use those before them."""
    values: dict[str, str] = {"datasource": "prometheus", "loki": "loki"}
    for variable in grafana.variables(board):
        if variable["type"] != "query":
            continue
        query = variable["query"]["query"]
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert match, f"not a query for labels: {query}"
        series = grafana.replaced(match.group(1), values, grafana.Span(0, 1, 1))
        found = sorted(client.label_values(series, match.group(2)))
        assert found, f"the variable {variable['name']} has no value: {series}"
        if state == CHOSEN:
            values[variable["name"]] = grafana.interpolated(found[:2])
        elif variable["current"]["value"] == grafana.ALL:
            values[variable["name"]] = variable.get("allValue") or grafana.interpolated(found)
        else:
            values[variable["name"]] = grafana.interpolated(variable["current"]["value"])
    return values


def ask(target: boards.Target, client: Client, values: Mapping[str, str], span: grafana.Span) -> dict[str, Any]:
    """One query's answer, with what the page needs to draw it."""
    expr = grafana.replaced(target.expr, values, span)
    step = span.step()
    if target.query.get("instant"):
        data = client.instant(expr, span.end)
    else:
        # Grafana aligns the range to the step.
        start, end = span.start // step * step, span.end // step * step
        data = client.range(expr, start, end, step)
    return {
        "refId": target.ref,
        "kind": data["resultType"],
        "format": target.query.get("format", "time_series"),
        "legend": target.query.get("legendFormat", "__auto"),
        "expr": expr,
        "stepMs": step * 1000,
        "result": data["result"],
    }


def page(board: dict[str, Any], client: Client, span: grafana.Span) -> dict[str, Any]:
    """Everything that ./page draws."""
    values = variable_values(board, client, OPENED)
    answers: dict[str, list[dict[str, Any]]] = {}
    exemplars: dict[str, list[dict[str, float]]] = {}
    for panel in boards.panels(board):
        targets = [boards.Target(board["uid"], panel["title"], q["refId"], q) for q in panel["targets"]]
        queries = [target for target in targets if not target.is_log]
        answers[str(panel["id"])] = [ask(target, client, values, span) for target in queries]
        exemplars[str(panel["id"])] = [
            exemplar
            for target in queries
            if target.query.get("exemplar")
            for exemplar in _exemplars(grafana.replaced(target.expr, values, span), client, span)
        ]
    return {
        "dashboard": board,
        "from": span.start,
        "to": span.end,
        "answers": answers,
        "exemplars": exemplars,
        "marks": _marks(board, client, values, span),
    }


def _exemplars(expr: str, client: Client, span: grafana.Span) -> list[dict[str, float]]:
    """The slowest of each step: Grafana thins them out too."""
    slowest: dict[float, dict[str, float]] = {}
    for series in client.exemplars(expr, span.start, span.end):
        for exemplar in series["exemplars"]:
            time, value = float(exemplar["timestamp"]), float(exemplar["value"])
            slot = time // span.step()
            if slot not in slowest or slowest[slot]["value"] < value:
                slowest[slot] = {"time": time * 1000, "value": value}
    return list(slowest.values())


def _marks(
    board: Mapping[str, Any], client: Client, values: Mapping[str, str], span: grafana.Span
) -> list[dict[str, Any]]:
    """Where annotations begin."""
    found = []
    step = span.step()
    for annotation in board["annotations"]["list"]:
        expr = grafana.replaced(annotation["expr"], values, span)
        for series in client.range(expr, span.start, span.end, step)["result"]:
            before = None
            for time, _ in series["values"]:
                if before is None or time - before > step:
                    found.append({"time": time * 1000, "color": annotation["iconColor"]})
                before = time
    return found
