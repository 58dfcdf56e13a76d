"""What clusters with the Prometheus operator get: the same rules, the same jobs."""

import unittest
from pathlib import Path

import jsonschema
import rendered
import yaml
from programs import TOOLS
from rendered import MONITORING, Object

MONITORS = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}
# Long-term storage is no component here: who runs it has its manifests, and its
# monitors. Job: how its workloads' names would begin.
NOT_HERE = {"thanos": "thanos", "victoria_metrics": "victoria"}


def definitions() -> list[Path]:
    """The operator's own definitions of its kinds, for each version that there is."""
    return sorted(TOOLS.glob("prometheus-operator-*/*.yaml"))


def endpoints() -> dict[str, tuple[Object, Object]]:
    """Monitor and endpoint of each job."""
    found = {}
    for kind, key in MONITORS.items():
        for monitor in rendered.of_kind("operator", kind):
            for endpoint in monitor["spec"][key]:
                [job] = [rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"]
                assert job not in found, job
                found[job] = (monitor, endpoint)
    return found


class Operator(unittest.TestCase):
    """PrometheusRule, PodMonitor, ServiceMonitor."""

    def test_rules_are_those_of_the_files(self) -> None:
        files = [
            *(MONITORING / "prometheus/rules").glob("*.yml"),
            *(MONITORING / "prometheus/recording_rules").glob("*.yml"),
        ]
        wanted = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
        got = [group for each in rendered.of_kind("operator", "PrometheusRule") for group in each["spec"]["groups"]]

        def key(group: Object) -> str:
            return str(group["name"])

        self.assertTrue(wanted)
        self.assertEqual(sorted(got, key=key), sorted(wanted, key=key))

    def test_schema_of_the_operator(self) -> None:
        if not definitions():
            self.skipTest(f"the operator's definitions are not in {TOOLS} (scripts/setup.sh stack)")
        seen = set()
        for path in definitions():
            definition = yaml.safe_load(path.read_text())
            kind = definition["spec"]["names"]["kind"]
            [version] = [each for each in definition["spec"]["versions"] if each["name"] == "v1"]
            schema = _strict(version["schema"]["openAPIV3Schema"])
            for each in rendered.of_kind("operator", kind):
                with self.subTest(definition=path.parent.name, object=rendered.name(each)):
                    jsonschema.validate(each, schema)
                    seen.add(rendered.name(each))
        wanted = {rendered.name(each) for each in rendered.of_kind("operator", "PrometheusRule", *MONITORS)}
        self.assertEqual(seen, wanted)

    def test_jobs_are_those_of_prometheus(self) -> None:
        config = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
        wanted = {
            job["job_name"]: (
                job.get("metrics_path", "/metrics"),
                job.get("scrape_interval", config["global"]["scrape_interval"]),
            )
            for job in config["scrape_configs"]
            if job["job_name"] not in NOT_HERE
        }
        workloads = {rendered.name(each) for each in rendered.of_kind("overlays/production", *rendered.WORKLOADS)}
        self.assertFalse([name for name in workloads if name.startswith(tuple(NOT_HERE.values()))])
        got = {job: (endpoint["path"], endpoint["interval"]) for job, (_, endpoint) in endpoints().items()}
        self.assertEqual(got, wanted)
        for job, (_, endpoint) in endpoints().items():
            self.assertIn({"targetLabel": "environment", "replacement": "production"}, endpoint["relabelings"], job)

    def test_monitors_select_what_is_there(self) -> None:
        overlay = "overlays/production"
        for job, (monitor, endpoint) in endpoints().items():
            [namespace] = monitor["spec"].get("namespaceSelector", {}).get("matchNames", [rendered.namespace(monitor)])
            if monitor["kind"] == "PodMonitor":
                chosen = [
                    each
                    for each in rendered.of_kind(overlay, *rendered.WORKLOADS)
                    if rendered.namespace(each) == namespace
                    and rendered.selects(monitor["spec"]["selector"], rendered.pod_labels(each))
                ]
                self.assertEqual(len(chosen), 1, job)
                rendered.port_number(rendered.containers(chosen[0])[0], endpoint["port"])
            else:
                services = [
                    each
                    for each in rendered.of_kind(overlay, "Service")
                    if rendered.namespace(each) == namespace
                    and rendered.selects(monitor["spec"]["selector"], each["metadata"]["labels"])
                ]
                self.assertEqual(len(services), 1, job)
                self.assertIn(endpoint["port"], [port["name"] for port in services[0]["spec"]["ports"]], job)

    def test_erlmcp_is_asked_as_by_the_overlay(self) -> None:
        """TLS by the authority, and the token, of the Secrets that the overlay production names."""
        for job in ("erlmcp", "erlmcp_custom"):
            _, endpoint = endpoints()[job]
            self.assertEqual(endpoint["scheme"], "https")
            self.assertEqual(
                endpoint["tlsConfig"],
                {"ca": {"secret": {"name": "erlmcp-tls", "key": "ca.crt"}}, "serverName": "erlmcp"},
            )
            self.assertEqual(
                endpoint["authorization"], {"credentials": {"name": "erlmcp-scrape-token", "key": "token"}}
            )


def _strict(schema: Object) -> Object:
    """The server would drop what a definition does not know; here it is an error."""
    strict = {
        key: value
        for key, value in schema.items()
        if key not in ("properties", "items", "additionalProperties", "format")
    }
    if "properties" in schema:
        strict["properties"] = {key: _strict(value) for key, value in schema["properties"].items()}
        if "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        strict["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    # Go's spelling; Python wants it in front.
    if str(strict.get("pattern", "")).startswith("^(?i)"):
        strict["pattern"] = "(?i)^" + strict["pattern"].removeprefix("^(?i)")
    if strict.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    # metadata is the server's own, not the definition's.
    if schema.get("type") == "object" and "properties" not in schema and "additionalProperties" not in schema:
        strict.pop("additionalProperties", None)
    return strict
