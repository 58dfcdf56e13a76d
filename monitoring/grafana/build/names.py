"""Names that others rely on: dashboards, data sources, variables, label filters."""

OVERVIEW = "erlmcp-overview"
PERFORMANCE = "erlmcp-performance"
SLA = "erlmcp-sla"
BEAM = "erlmcp-beam"

# Data sources: variables, so that one dashboard serves several servers.
METRICS = "${datasource}"
LOGS = "${loki}"

RUNBOOKS = "https://github.com/your-org/erlmcp/blob/main/monitoring/runbooks"

# One instance of erlmcp; a whole service (recorded without an instance); an
# environment (recorded without a job).
INSTANCE = 'environment=~"$environment", job=~"$job", instance=~"$instance"'
SERVICE = 'environment=~"$environment", job=~"$job"'
ENVIRONMENT = 'environment=~"$environment"'
# Exporters beside erlmcp: the variable instance does not apply to them. A server
# without the label environment is shown in each.
STACK = 'environment=~"$environment|"'

# What firing alerts there are; Watchdog always fires.
FIRING = f'ALERTS{{alertstate="firing", alertname!~"Watchdog|.*Watchdog", {STACK}}}'


URGENT = f'ALERTS{{alertstate="firing", priority=~"P0|P1", alertname!~"Watchdog|.*Watchdog", {STACK}}}'

# The library's JSON lines, as Promtail labels them.
LOG_STREAM = '{job="erlmcp"}'


def by_own_name(alerts: str) -> str:
    """An escalation under the name of the alert that it raises."""
    return f'label_replace({alerts}, "alertname", "$1", "original_alertname", "(.+)")'
