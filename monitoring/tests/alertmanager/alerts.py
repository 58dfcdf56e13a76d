"""Alerts as Prometheus sends them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

Alert = dict[str, Any]

HOSTILE = {
    "script": "<script>alert('x')</script>",
    "quotes": "\"double\" 'single' `back` \\back\\slash",
    "mention": "<!channel> <https://evil.example|click> & *bold*",
    "template": '{{ .ExternalURL }} {a: "{{ .Receiver }}"}',
    "emoji": "🔥🚨 ошибка 障害",
    "lines": "first\nsecond\r\nSubject: forged\n\n.\n",
    "long": "lorem ipsum " * 420,
}


def stamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def alert(
    name: str = "ErlmcpErrorRateHigh",
    *,
    priority: str = "P1",
    team: str = "platform",
    environment: str = "production",
    instance: str | None = "erlmcp-1:8080",
    summary: str = "Requests to erlmcp fail",
    description: str = "2.31 % of the requests of the last 5 minutes failed; 1 % is the limit.",
    resolved: bool = False,
    annotations: dict[str, str] | None = None,
    **labels: str,
) -> Alert:
    """One alert. Labels that are None are left out."""
    all_labels = {
        "alertname": name,
        "priority": priority,
        "severity": {"P0": "critical", "P1": "critical", "P2": "warning"}.get(priority, "info"),
        "team": team,
        "environment": environment,
        "cluster": "erlmcp",
        "job": "erlmcp",
        "instance": instance,
    } | labels
    result: Alert = {
        "labels": {k: v for k, v in all_labels.items() if v},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"https://github.com/your-org/erlmcp/blob/main/monitoring/runbooks/{name}.md",
            "dashboard_url": "http://localhost:3000/d/erlmcp-overview",
        }
        | (annotations or {}),
        # Now, as Prometheus says it of what has just fired. A group does not wait
        # for what began longer ago than its group_wait.
        "startsAt": stamp(),
        "generatorURL": "http://localhost:9090/graph?g0.expr=erlmcp%3Aerrors%3Aratio+%3E+0.01&g0.tab=1",
    }
    if resolved:
        result["endsAt"] = stamp()
    return result


def twenty(**labels: Any) -> list[Alert]:
    """Twenty instances with the same fault."""
    return [
        alert(
            instance=f"erlmcp-{n}:8080",
            description=f"{n}.31 % of the requests of the last 5 minutes failed; 1 % is the limit.",
            **labels,
        )
        for n in range(1, 21)
    ]


def hostile(**labels: Any) -> Alert:
    """An alert whose labels and annotations want to be something else."""
    return alert(
        summary=f"{HOSTILE['script']} {HOSTILE['mention']} {HOSTILE['emoji']}",
        description=f"{HOSTILE['template']} {HOSTILE['quotes']} {HOSTILE['lines']} {HOSTILE['long']}",
        instance=f"{HOSTILE['quotes']} {HOSTILE['script']}",
        annotations={"runbook_url": "javascript:alert(1)//<>|", "dashboard_url": "https://x.example/?a=<b>|c&d=\"e\""},
        **labels,
        detail=HOSTILE["long"],
        user=HOSTILE["mention"],
    )


def ended(alerts: list[Alert]) -> list[Alert]:
    """The same alerts, over."""
    return [a | {"endsAt": stamp()} for a in alerts]
