"""The Collector's option elasticsearch: a demo's log record and its span are found again by search."""

import importlib.util
import json
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from demo import Demo
from programs import ROOT, NotHere, Program, wait_for
from services import Services, collector

OPTION = ROOT / "monitoring/otel/options/elasticsearch.yaml"
ADDRESS = "elasticsearch:9200"
COLLECTOR = "0.87.0"
# The exporter's own: it sends at least this often.
FLUSH_SECONDS = 30


def ask(path: str, body: dict[str, Any] | None = None) -> Any:
    """Its answer; nothing where the index does not exist yet."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://{ADDRESS}/{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {"hits": {"hits": []}}
        raise


def search(index: str, **terms: str) -> list[dict[str, Any]]:
    """Documents that have all of these."""
    query = {"bool": {"must": [{"match": {name: value}} for name, value in terms.items()]}}
    hits = ask(f"{index}/_search", {"size": 50, "query": query})["hits"]["hits"]
    return [hit["_source"] for hit in hits]


class Elasticsearch(unittest.TestCase):
    """In memory, with the API and the product header that clients of Elasticsearch look for."""

    services: ClassVar[Services]

    @classmethod
    def setUpClass(cls) -> None:
        """Server, Collector, demo."""
        found = importlib.util.find_spec("osmem_server")
        if not OPTION.exists() or found is None or not found.origin:
            raise unittest.SkipTest(f"no {OPTION.name} or no osmem-server (monitoring/tests/requirements.txt)")
        folder = Path(tempfile.mkdtemp(prefix="erlmcp-elasticsearch-"))
        server = Path(found.origin).parent / "bin/osmem-server"
        program = Program("elasticsearch", [server, "-addr", "127.0.0.1:9200", "-no-stdin-watch"], folder / "server.log")
        cls.addClassCleanup(program.stop)
        program.wait_until_answers(f"http://{ADDRESS}/")
        cls.services = Services(folder)
        cls.addClassCleanup(lambda: cls.services.stop("otel-collector"))
        try:
            cls.services.start(otel_collector=collector(COLLECTOR, "elasticsearch"))
            node = Demo(
                "logging",
                folder,
                20,
                {
                    "DEMO_LOG": "true",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4318",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_SERVICE_NAME": "erlmcp",
                },
            )
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.addClassCleanup(node.stop)

    def test_1_a_record_is_found_again(self) -> None:
        """With its level, attributes and the id of its trace."""
        words = {"Body": "processed", "Attributes.method": "ping"}
        [record, *_] = wait_for("a record", lambda: search("erlmcp-logs", **words) or None, FLUSH_SECONDS + 20, 1)
        self.assertEqual(record["Body"], "Request processed")
        self.assertEqual(record["Attributes"]["status"], "success")
        self.assertIn("@timestamp", record)
        self.assertRegex(record["TraceId"], "^[0-9a-f]{32}$")

    def test_2_the_way_to_its_span(self) -> None:
        """The trace of a record is in the other index."""

        def both() -> list[str] | None:
            traces = {span["TraceId"] for span in ask("erlmcp-traces/_search?size=500")["hits"]["hits"] for span in [span["_source"]]}
            records = {record["_source"].get("TraceId") for record in ask("erlmcp-logs/_search?size=500")["hits"]["hits"]}
            return sorted(traces & records) or None

        [trace, *_] = wait_for("a trace with a record", both, FLUSH_SECONDS + 20, 1)
        names = {span["Name"] for span in search("erlmcp-traces", TraceId=trace)}
        self.assertTrue(names, trace)

