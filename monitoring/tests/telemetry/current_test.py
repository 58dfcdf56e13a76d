"""Current versions."""

from typing import ClassVar

from cases import Cases
from programs import NotHere, find


class CurrentTest(Cases):
    """Collector 0.152.1, Loki 3.7.8, Prometheus 3.5.3; Promtail and Jaeger as before."""

    collector: ClassVar[str] = "0.152.1"
    loki: ClassVar[str] = "3.7.8"
    prometheus: ClassVar[str] = "3.5.3"
    # What the sender is to try again.
    refusal: ClassVar[set[int]] = {503}

    @classmethod
    def setUpClass(cls) -> None:
        try:
            find("loki", cls.loki)
        except NotHere as missing:
            cls.loki, cls.no_records = "2.9.3", str(missing)
        super().setUpClass()


del Cases
