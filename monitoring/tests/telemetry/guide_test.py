"""The guide's versions."""

from typing import ClassVar

from cases import Cases


class GuideTest(Cases):
    """Collector 0.87.0, Loki and Promtail 2.9.3, Jaeger 1.50.0, Prometheus 2.53.3."""

    collector: ClassVar[str] = "0.87.0"
    loki: ClassVar[str] = "2.9.3"
    prometheus: ClassVar[str] = "2.53.3"
    # It does not yet say 503 (README.md).
    refusal: ClassVar[set[int]] = {500}


del Cases
