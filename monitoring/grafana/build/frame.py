"""What all dashboards have in common: variables, links, annotations, the grid."""

import json
from typing import Any
from urllib.parse import quote

import names
import queries
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from panels import Panel

COLUMNS = 24


def _variables() -> list[Any]:
    source = dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus")
    source = source.description("The Prometheus that scrapes erlmcp.")
    source = source.current(VariableOption(selected=True, text="Prometheus", value="prometheus"))
    logs = dashboard.DatasourceVariable("loki").label("Logs").type("loki")
    logs = logs.description("The Loki that has erlmcp's log lines.")
    logs = logs.current(VariableOption(selected=True, text="Loki", value="loki"))

    def labels(name: str, label: str, description: str, series: str) -> dashboard.QueryVariable:
        query: dict[str, object] = {"query": f"label_values({series}, {name})", "refId": f"erlmcp-{name}"}
        variable = dashboard.QueryVariable(name).label(label).description(description)
        variable = variable.datasource(queries.METRICS_REF).query(query).multi(True).include_all(True)
        return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)

    everything = VariableOption(selected=True, text="All", value="$__all")
    # `.*` and no list of names: an instance that joins, or one that has gone, is shown too.
    environment = labels("environment", "Environment", "The scrape's label environment.", "erlmcp_build_info")
    environment = environment.all_value(".*").current(everything)
    # All jobs, spelled out: `.*` would take in the jobs of the exporters.
    job = labels("job", "Job", "Scrape jobs that expose erlmcp.", 'erlmcp_build_info{environment=~"$environment"}')
    job = job.current(VariableOption(selected=True, text=["erlmcp"], value=["erlmcp"]))
    instance = labels(
        "instance",
        "Instance",
        "Nodes of erlmcp. Figures that are recorded for the whole service ignore it; their description says so.",
        'erlmcp_build_info{environment=~"$environment", job=~"$job"}',
    )
    instance = instance.all_value(".*").current(everything)
    return [source, logs, environment, job, instance]


def _annotations() -> list[Any]:
    firing = dashboard.AnnotationQuery().name("Alerts").datasource(queries.METRICS_REF).enable(True).icon_color("red")
    firing = firing.expr(
        f'max by (alertname, priority) (ALERTS{{alertstate="firing", priority=~"P0|P1", {names.STACK}}})'
    )
    restarts = dashboard.AnnotationQuery().name("Restarts").datasource(queries.METRICS_REF).enable(True)
    restarts = restarts.icon_color("blue").expr(
        f"max by (instance) (changes(process_start_time_seconds{{{names.INSTANCE}}}[$__rate_interval])) > 0"
    )
    return [firing, restarts]


# The builder has no setters for what Prometheus' annotations show.
ANNOTATION_TEXTS = {
    "Alerts": {
        "titleFormat": "{{alertname}}",
        "tagKeys": "priority",
        "textFormat": "{{priority}} fires",
        "step": "30s",
    },
    "Restarts": {
        "titleFormat": "Restart",
        "tagKeys": "instance",
        "textFormat": "{{instance}} was started",
        "step": "30s",
    },
}


def explore(source: str, expr: str, extra: dict[str, str] | None = None) -> str:
    """Explore with a query and the dashboard's time range."""
    query = {"refId": "A", "expr": expr, **(extra or {})}
    left = {"datasource": source, "queries": [query], "range": {"from": "FROM", "to": "TO"}}
    text = quote(json.dumps(left, separators=(",", ":")), safe="")
    # What Grafana replaces must not be encoded.
    text = text.replace("FROM", "${__from}").replace("TO", "${__to}")
    for variable in ("loki", "datasource"):
        text = text.replace(quote(f"${{{variable}}}", safe=""), f"${{{variable}}}")
    return f"/explore?orgId=1&left={text}"


def _links() -> list[Any]:
    def link(title: str, icon: str, url: str, tooltip: str) -> dashboard.DashboardLink:
        builder = dashboard.DashboardLink(title).type(DashboardLinkType.LINK).icon(icon).url(url)
        return builder.tooltip(tooltip).target_blank(True)

    others = dashboard.DashboardLink("erlmcp").type(DashboardLinkType.DASHBOARDS).tags(["erlmcp"])
    others = others.keep_time(True).include_vars(True).as_dropdown(False).icon("external link").url("")
    traces = {"datasource": "jaeger", "queries": [{"refId": "A", "queryType": "search", "service": "erlmcp"}]}
    traces_url = "/explore?orgId=1&left=" + quote(
        json.dumps({**traces, "range": {"from": "FROM", "to": "TO"}}, separators=(",", ":")), safe=""
    ).replace("FROM", "${__from}").replace("TO", "${__to}")
    return [
        others,
        link("Logs", "doc", explore(names.LOGS, names.LOG_STREAM), "Log lines of this time range"),
        link("Traces", "bolt", traces_url, "Traces of this time range"),
        link("Alerts", "info", "/alerting/groups?alertmanager=Alertmanager", "Alertmanager: groups, silences"),
        link("Runbooks", "question", names.RUNBOOKS, "A page for each alert: what it means, what to do"),
    ]


class Board:
    """A dashboard whose panels are put in rows from the top."""

    def __init__(self, uid: str, title: str, description: str, since: str, refresh: str) -> None:
        self._builder = dashboard.Dashboard(title).uid(uid).description(description)
        self._builder.tags(["erlmcp", "generated"]).time(since, "now").refresh(refresh).timezone("browser")
        self._builder.tooltip(DashboardCursorSync.CROSSHAIR).editable().version(1)
        self._builder.variables(_variables()).annotations(_annotations()).links(_links())
        self._y = 0

    def row(self, title: str) -> None:
        """A heading."""
        position = GridPos(h=1, w=COLUMNS, x=0, y=self._y)
        self._builder.with_row(dashboard.Row(title).grid_pos(position))
        self._y += 1

    def line(self, height: int, *panels: Panel | tuple[Panel, int]) -> None:
        """Panels beside each other; without a width they share what is left."""
        taken = sum(item[1] for item in panels if isinstance(item, tuple))
        free = [item for item in panels if not isinstance(item, tuple)]
        share = (COLUMNS - taken) // len(free) if free else 0
        x = 0
        for item in panels:
            panel, width = item if isinstance(item, tuple) else (item, share)
            self._builder.with_panel(panel.grid_pos(GridPos(h=height, w=width, x=x, y=self._y)))
            x += width
        assert x == COLUMNS, f"a line of {x} columns"
        self._y += height

    def build(self) -> Dashboard:
        """The dashboard."""
        return self._builder.build()
