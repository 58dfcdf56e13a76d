"""grafana/options: data sources that are not loaded, and fit the programs that are run here."""

import unittest
from typing import Any

import place
import yaml
from programs import ROOT

GRAFANA = ROOT / "monitoring/grafana"
PORTS = {"thanos": 10902, "victoria-metrics": 8428, "elasticsearch": 9200}


def sources(folder: str) -> dict[str, dict[str, Any]]:
    """By file."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in (GRAFANA / folder).glob("*.yml")}


class Options(unittest.TestCase):
    """The files; tests/grafana has a server."""

    def test_one_source_a_file(self) -> None:
        """Its uid is nobody else's, and its host one of the stack's."""
        loaded = {one["uid"] for file in sources("datasources").values() for one in file["datasources"]}
        found = sources("options")
        self.assertEqual(set(found), set(PORTS))
        for name, file in found.items():
            with self.subTest(name):
                self.assertEqual(file["apiVersion"], 1)
                [one] = file["datasources"]
                self.assertEqual(one["uid"], name)
                self.assertNotIn(name, loaded)
                host, port = one["url"].removeprefix("http://").split(":")
                self.assertIn(host, place.HOSTS)
                self.assertEqual(int(port), PORTS[name])
                self.assertFalse(one["editable"] or one.get("isDefault"))

    def test_what_grafana_is_to_think_they_are(self) -> None:
        """Names of Grafana 10.2's list; Elasticsearch's index is the Collector's."""
        kinds = {name: file["datasources"][0]["jsonData"].get("prometheusType") for name, file in sources("options").items()}
        self.assertEqual(kinds, {"thanos": "Thanos", "victoria-metrics": "Prometheus", "elasticsearch": None})
        collector = yaml.safe_load((ROOT / "monitoring/otel/options/elasticsearch.yaml").read_text())
        index = sources("options")["elasticsearch"]["datasources"][0]["jsonData"]["index"]
        self.assertEqual(index, collector["exporters"]["elasticsearch"]["logs_index"])
