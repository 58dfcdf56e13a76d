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

# Panels of one row of the logs: the library's JSON lines (../../promtail).
LOG_STREAM = '{job="erlmcp"}'
