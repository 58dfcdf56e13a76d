"""Queries of panels: PromQL and LogQL with what Grafana wants to know beside."""

from grafana_foundation_sdk.builders import loki, prometheus
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from names import LOGS, METRICS

METRICS_REF = DataSourceRef(type_val="prometheus", uid=METRICS)
LOGS_REF = DataSourceRef(type_val="loki", uid=LOGS)


def _text(expr: str) -> str:
    """One line: a query is read in Grafana's editor, which breaks lines itself."""
    return " ".join(expr.split())


def series(expr: str, legend: str = "", exemplars: bool = False) -> prometheus.Dataquery:
    """A range of time."""
    query = prometheus.Dataquery().datasource(METRICS_REF).expr(_text(expr)).range()
    query = query.format(PromQueryFormat.TIME_SERIES).legend_format(legend or "__auto")
    return query.exemplar(True) if exemplars else query


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """One point for each series: the newest."""
    query = prometheus.Dataquery().datasource(METRICS_REF).expr(_text(expr)).instant()
    return query.format(PromQueryFormat.TIME_SERIES).legend_format(legend or "__auto")


def rows(expr: str) -> prometheus.Dataquery:
    """Rows of a table: labels are columns."""
    query = prometheus.Dataquery().datasource(METRICS_REF).expr(_text(expr)).instant()
    return query.format(PromQueryFormat.TABLE)


def buckets(expr: str) -> prometheus.Dataquery:
    """Rows of a heat map: `le` is the height."""
    query = prometheus.Dataquery().datasource(METRICS_REF).expr(_text(expr)).range()
    return query.format(PromQueryFormat.HEATMAP).legend_format("{{le}}")


def lines(expr: str) -> loki.Dataquery:
    """Lines of logs."""
    return loki.Dataquery().datasource(LOGS_REF).expr(_text(expr)).query_type("range").max_lines(200)
