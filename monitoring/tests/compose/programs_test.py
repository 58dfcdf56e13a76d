"""The real programs with exactly what the compose file gives them, and their health checks."""

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import demo
import rendered
from container import Container, Mount
from programs import ROOT, TOOLS, NotHere, Program, wait_for

BUSYBOX = {
    f"/usr/bin/{name}": TOOLS / "busybox-1.37.0/busybox" for name in ("sh", "wget", "true", "head", "tr", "wc", "mv")
}
BASH = {"/usr/bin/bash": Path("/bin/bash")}

# Volumes that take their owner from the image, which has the folder.
FOLDERS_OF_IMAGES = {
    "prometheus-data": "65534:65534",
    "alertmanager-data": "65534:65534",
    "grafana-data": "472:0",
    "loki-data": "10001:10001",
    "elasticsearch-data": "1000:0",
    "kibana-data": "1000:0",
}
ROOTS = "0:0"


@dataclass(frozen=True)
class Image:
    """What is known of one: where its program is, and what else it has."""

    entrypoint: str
    tools: Mapping[str, Path]


IMAGES = {
    "prometheus": Image("/bin/prometheus", BUSYBOX),
    "alertmanager": Image("/bin/alertmanager", BUSYBOX),
    "node-exporter": Image("/bin/node_exporter", BUSYBOX),
    "blackbox-exporter": Image("/bin/blackbox_exporter", BUSYBOX),
    "otel-collector": Image("/otelcol-contrib", {}),
    "loki": Image("/usr/bin/loki", BUSYBOX),
    "promtail": Image("/usr/bin/promtail", BASH),
    "jaeger": Image("/go/bin/all-in-one-linux", BUSYBOX),
    "thanos-sidecar": Image("/bin/thanos", BUSYBOX),
    "thanos-store": Image("/bin/thanos", BUSYBOX),
    "thanos-query": Image("/bin/thanos", BUSYBOX),
    "thanos-compactor": Image("/bin/thanos", BUSYBOX),
    "victoria-metrics": Image("/victoria-metrics-prod", BUSYBOX),
}
DISTROLESS = {("loki", "tested")}
# The program that is run for a service of a set. For the guide's set: what comes
# closest to its version; for the tested one: that very version.
RUNS = {
    ("prometheus", "guide"): ["prometheus-2.42.0", "prometheus-2.53.3"],
    ("prometheus", "tested"): ["prometheus-3.5.3"],
    ("alertmanager", "guide"): ["alertmanager-0.28.1"],
    ("alertmanager", "tested"): ["alertmanager-0.33.1"],
    ("node-exporter", "guide"): ["node_exporter-1.5.0"],
    ("node-exporter", "tested"): ["node_exporter-1.11.1"],
    ("blackbox-exporter", "guide"): ["blackbox_exporter-0.23.0"],
    ("blackbox-exporter", "tested"): ["blackbox_exporter-0.28.0"],
    ("otel-collector", "guide"): ["otelcol-0.87.0"],
    ("otel-collector", "tested"): ["otelcol-0.152.1"],
    ("loki", "guide"): ["loki-2.9.3"],
    ("loki", "tested"): ["loki-3.7.8"],
    ("promtail", "tested"): ["promtail-2.9.3"],
    ("jaeger", "guide"): ["jaeger-1.50.0"],
    ("thanos-sidecar", "guide"): ["thanos-0.32.5"],
    ("thanos-store", "guide"): ["thanos-0.32.5"],
    ("thanos-query", "guide"): ["thanos-0.32.5"],
    ("thanos-compactor", "guide"): ["thanos-0.32.5"],
    ("victoria-metrics", "guide"): ["victoria-metrics-1.112.0"],
    ("victoria-metrics", "tested"): ["victoria-metrics-1.145.0"],
}
# The Collector's core has a patch that contrib, and so the image, does not have.
PATCHED = {"otelcol-0.152.1": "0.152.0"}
# Cannot be had: no package, no source that builds here. Of Grafana there is the server
# without the rest of its image; tests/grafana runs it on the settings of the file.
NOT_TO_BE_HAD = {"grafana", "elasticsearch", "kibana"}

# While Loki is away it sends again and again, and does not hear that it is to end:
# Docker kills it after the grace period. Its positions are written every 5 s.
ENDS_NOT_ALONE = {"promtail"}

CONTAINER_LOG = "0123456789ab-json.log"
APPLICATION_LOG = "erlmcp.log"

COLLECTOR_HEALTH = ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:13133/"]

_folder: Path
_containers: dict[tuple[str, str, str], Container | str] = {}


def _program(build: str) -> Path | None:
    """The program of a folder in .tools; the Collector's is in `dist` or beside its manifest."""
    name = build.rpartition("-")[0]
    for path in (TOOLS / build / name, TOOLS / build / "dist" / name):
        if os.access(path, os.X_OK):
            return path
    return None


def owner(volume: str, services: Mapping[str, rendered.Service]) -> str:
    """Of a new volume: who has the folder that it is first mounted over."""
    for name, service in services.items():
        if name.endswith("-volume") and any(one["source"] == volume for one in service["volumes"]):
            return str(service["user"])
    return FOLDERS_OF_IMAGES.get(volume, ROOTS)


def mounts(service: rendered.Service, services: Mapping[str, rendered.Service], folder: Path) -> list[Mount]:
    """What the service mounts, on this machine."""
    found = []
    for one in service.get("volumes", []):
        target, read_only = one["target"], bool(one.get("read_only"))
        if target == "/var/lib/docker/containers":
            found.append(Mount(target, _container_logs(folder), read_only=True))
        elif target == "/var/log/erlmcp" and read_only:
            found.append(Mount(target, _application_logs(folder), read_only=True))
        elif one["type"] == "bind":
            found.append(Mount(target, Path(one["source"]), read_only=read_only))
        else:
            found.append(Mount(target, owner=owner(one["source"], services), read_only=read_only))
    for one in service.get("tmpfs", []):
        target, _, options = one.partition(":")
        found.append(Mount(target, options=options))
    # /usr/x before /usr/x/y.
    return sorted(found, key=lambda mount: mount.target)


def _container_logs(folder: Path) -> Path:
    """As Docker writes them: root's, and nobody else's to read."""
    logs = folder / "containers/0123456789ab"
    if not logs.exists():
        logs.mkdir(parents=True)
        line = {
            "log": "level=info msg=here\n",
            "stream": "stderr",
            "attrs": {"tag": "erlmcp-prometheus"},
            "time": "2026-01-01T00:00:00Z",
        }
        path = logs / CONTAINER_LOG
        path.write_text(json.dumps(line) + "\n", encoding="utf-8")
        path.chmod(0o640)
        logs.chmod(0o710)
        logs.parent.chmod(0o710)
    return logs.parent


def _application_logs(folder: Path) -> Path:
    """Somebody else's than Promtail's user: it takes a capability to read them."""
    logs = folder / "erlmcp-logs"
    if not logs.exists():
        logs.mkdir()
        path = logs / APPLICATION_LOG
        path.write_text('{"time":"2026-01-01T00:00:00Z","level":"info","message":"here"}\n', encoding="utf-8")
        path.chmod(0o600)
        os.chown(path, 65534, 65534)
        logs.chmod(0o700)
        os.chown(logs, 65534, 65534)
    return logs


def _start(
    service: str, images: str, build: str, changed: rendered.Service | None = None, name: str | None = None
) -> Container | str:
    """The container, or why there is none; `changed` stands in for what the file says."""
    program = _program(build)
    if program is None:
        return f"{build} is not in {TOOLS} (scripts/setup.sh stack)"
    services = rendered.services(images=images, ERLMCP_PROMETHEUS_MAX_BLOCK="2h", ERLMCP_HOST_NAME="erlmcp")
    image = IMAGES[service]
    tools = {} if (service, images) in DISTROLESS else dict(image.tools)
    # /bin is a link.
    tools[re.sub("^/bin/", "/usr/bin/", image.entrypoint)] = program
    return Container(
        name or f"{service}-{build}", changed or services[service], _folder, image.entrypoint, tools,
        mounts(services[service], services, _folder),
    )  # fmt: skip


def setUpModule() -> None:
    """Starts all of them side by side."""
    global _folder
    if os.getuid() != 0:
        raise unittest.SkipTest("root rights are needed for namespaces and users")
    for program in ("unshare", "nsenter", "setpriv", "ip", "curl"):
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"there is no {program} here")
    if not os.access(BUSYBOX["/usr/bin/sh"], os.X_OK):
        raise unittest.SkipTest("busybox is not in .tools (scripts/setup.sh stack)")
    possible = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    if possible.returncode != 0:
        raise unittest.SkipTest(f"no namespaces here: {possible.stderr.strip()}")
    _folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(prefix="erlmcp-compose-")))
    _folder.chmod(0o755)
    unittest.addModuleCleanup(_stop_all)
    for (service, images), builds in RUNS.items():
        for build in builds:
            _containers[service, images, build] = _start(service, images, build)


def _stop_all() -> None:
    for container in _containers.values():
        if isinstance(container, Container):
            container.kill()


def running(service: str, images: str, build: str) -> Container:
    """The container, or a skipped test."""
    container = _containers[service, images, build]
    if isinstance(container, str):
        raise unittest.SkipTest(container)
    return container


def each(service: str) -> Iterator[tuple[str, Container]]:
    """Of a service in every version that is here, when it is healthy."""
    found = False
    for (name, _, build), container in _containers.items():
        if name == service and isinstance(container, Container):
            found = True
            container.wait(container.service["healthcheck"]["test"][1:])
            yield build, container
    if not found:
        raise unittest.SkipTest(f"there is no {service} here")


class Starts(unittest.TestCase):
    """Each starts with its flags, gets healthy, stays below its limits, and ends when told.

    A method for each program is added below.
    """

    def check(self, service: str, images: str, build: str) -> None:
        """The whole life of one."""
        container = running(service, images, build)
        check = container.service.get("healthcheck")
        if check:
            container.wait(check["test"][1:])
        else:
            self.assertEqual(service, "otel-collector")
            container.wait(COLLECTOR_HEALTH, outside=True)
        self._confined(container)
        memory, threads = container.needs()
        self.assertLess(memory, int(container.service["mem_limit"]) * 0.8)
        self.assertLess(threads, int(container.service["pids_limit"]) * 0.8)

    def _confined(self, container: Container) -> None:
        """What was asked for is so: the test would prove nothing otherwise."""
        user, _ = container.service["user"].split(":")
        self.assertEqual(container.status("Uid").split(), [user] * 4)
        self.assertEqual(container.status("NoNewPrivs"), "1")
        capabilities = 1 << 2 if container.service.get("cap_add") else 0  # CAP_DAC_READ_SEARCH
        self.assertEqual(int(container.status("CapBnd"), 16), capabilities)
        self.assertEqual(int(container.status("CapEff"), 16), capabilities)


def _method(service: str, images: str, build: str) -> Callable[[Starts], None]:
    def test(self: Starts) -> None:
        self.check(service, images, build)

    test.__doc__ = f"{build} as {service} of the set {images}."
    return test


for (_service, _images), _builds in RUNS.items():
    for _build in _builds:
        _name = re.sub(r"[^a-z0-9]+", "_", f"test_{_service}_{_images}_{_build}")
        setattr(Starts, _name, _method(_service, _images, _build))


class Stops(unittest.TestCase):
    """After all else: SIGTERM is enough, and soon."""

    def test_stop(self) -> None:
        """Within the grace period, without an error."""
        ended = False
        for (service, _, build), container in _containers.items():
            if isinstance(container, str) or service in ENDS_NOT_ALONE:
                continue
            with self.subTest(service=service, build=build):
                status = container.stop()
                # Who does not look at the signal is ended by Go's runtime: 143, or 2 as
                # the first process. Docker takes either for an end.
                self.assertIn(status, (0, 143, 2))
                ended = True
        if not ended:
            raise unittest.SkipTest("nothing runs")


class Behaviour(unittest.TestCase):
    """What the flags are for."""

    def test_prometheus(self) -> None:
        """Retention, snapshots, reload, the alerts and rules of the checkout."""
        for build, prometheus in each("prometheus"):
            with self.subTest(build=build):
                flags = json.loads(prometheus.get("http://127.0.0.1:9090/api/v1/status/flags"))["data"]
                self.assertEqual(flags["storage.tsdb.retention.time"], "30d")
                self.assertEqual(flags["web.external-url"], "http://localhost:9090")
                prometheus.get("http://127.0.0.1:9090/-/reload", "-X", "POST")
                snapshot = json.loads(prometheus.get("http://127.0.0.1:9090/api/v1/admin/tsdb/snapshot", "-X", "POST"))
                self.assertTrue(snapshot["data"]["name"])
                groups = json.loads(prometheus.get("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]
                self.assertGreater(len(groups), 5)

    def test_prometheus_scrapes_an_application_of_the_machine(self) -> None:
        """ERLMCP_HOST_NAME=erlmcp, and the real library outside of the container."""
        *_, (_, prometheus) = each("prometheus")
        try:
            environment = {
                "ERLMCP_BUILD": str(demo.build()),
                "DEMO_SECONDS": "0",
                "DEMO_RATE": "10",
                "ERLMCP_HTTP_IP": "0.0.0.0",
            }
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        command = [*prometheus.enter(), str(ROOT / "examples/demo/run.sh")]
        with Program("application", command, _folder / "application.log", environment):

            def up() -> bool:
                answer = json.loads(prometheus.get("http://127.0.0.1:9090/api/v1/targets?state=active"))
                targets = answer["data"]["activeTargets"]
                return {"erlmcp", "erlmcp_custom"} <= {one["labels"]["job"] for one in targets if one["health"] == "up"}

            wait_for("Prometheus' targets", up, 90, pause=1)

    def test_alertmanager_starts_without_secrets(self) -> None:
        """And links to where people reach it."""
        for build, alertmanager in each("alertmanager"):
            with self.subTest(build=build):
                self.assertIn('"cluster"', alertmanager.get("http://127.0.0.1:9093/api/v2/status"))

    def test_node_exporter_shows_the_machine(self) -> None:
        """Its network, file systems and name, out of a container of its own; every collector works."""
        here = {line.split(":")[0].strip() for line in Path("/proc/1/net/dev").read_text().splitlines()[2:]}
        for build, exporter in each("node-exporter"):
            with self.subTest(build=build):
                metrics = exporter.get("http://127.0.0.1:9100/metrics")
                devices = set(re.findall(r'node_network_receive_bytes_total\{device="([^"]+)"', metrics))
                expected = {one for one in here if not re.match(r"lo$|veth|br-|docker", one)}
                self.assertEqual(devices, expected)
                self.assertEqual(re.findall(r'node_scrape_collector_success\{collector="(\w+)"\} 0', metrics), [])
                self.assertRegex(metrics, r'node_filesystem_size_bytes\{[^}]*mountpoint="/"[^}]*\} \d')
                for metric in (
                    "node_vmstat_oom_kill",
                    "node_timex_offset_seconds",
                    "node_memory_MemTotal_bytes",
                    "node_disk_io_time",
                ):
                    self.assertIn(metric, metrics)

    def test_node_exporter_gives_what_rules_and_dashboards_ask(self) -> None:
        """Fewer collectors than by default are on."""
        asked = set()
        for folder in ("prometheus/rules", "prometheus/recording_rules", "grafana/dashboards"):
            for path in (ROOT / "monitoring" / folder).rglob("*.*"):
                asked |= set(
                    re.findall(
                        r"\bnode_(?:cpu|disk|filesystem|memory|network|vmstat|timex|load)\w+",
                        path.read_text(encoding="utf-8"),
                    )
                )
        for build, exporter in each("node-exporter"):
            with self.subTest(build=build):
                given = set(re.findall(r"(?m)^(node_\w+)", exporter.get("http://127.0.0.1:9100/metrics")))
                missing = {one for one in asked if one not in given and _of_exporter(one)}
                self.assertEqual(missing, set())

    def test_blackbox_asks(self) -> None:
        """The module that the job erlmcp_health names, of a page that is well and of nobody."""
        for build, blackbox in each("blackbox-exporter"):
            with self.subTest(build=build):
                url = "http://127.0.0.1:9115/probe?module=http_2xx&target=http://127.0.0.1"
                self.assertIn("\nprobe_success 1", blackbox.get(f"{url}:9115/-/healthy"))
                self.assertIn("\nprobe_success 0", blackbox.get(f"{url}:1/"))

    def test_promtail_reads(self) -> None:
        """Root's logs and those of another user, with one capability."""
        for build, promtail in each("promtail"):
            with self.subTest(build=build):
                both = functools.partial(_has_read, promtail, {CONTAINER_LOG, APPLICATION_LOG})
                wait_for("both files", both, 30)

    def test_promtail_without_its_capability(self) -> None:
        """It is needed: without it the application's file is not read."""
        services = rendered.services(images="tested")
        weaker = {**services["promtail"], "cap_add": []}
        [build] = RUNS["promtail", "tested"]
        promtail = _start("promtail", "tested", build, weaker, name="promtail-weaker")
        if isinstance(promtail, str):
            raise unittest.SkipTest(promtail)
        self.addCleanup(promtail.kill)
        promtail.wait(weaker["healthcheck"]["test"][1:])
        only_one = functools.partial(_has_read, promtail, {CONTAINER_LOG})
        wait_for("the container's file", only_one, 30)
        # Both are opened at the start: the other one does not come later.
        time.sleep(3)
        self.assertTrue(only_one())


def _has_read(promtail: Container, names: set[str]) -> bool:
    """Whether it has read lines of these files and of no other."""
    metrics = promtail.get("http://127.0.0.1:9080/metrics")
    paths = re.findall(r'promtail_read_lines_total\{path="([^"]+)"\} [1-9]', metrics)
    return {os.path.basename(path) for path in paths} == names


def _of_exporter(metric: str) -> bool:
    """Whether the exporter has it in any version: the list of the rules' tests."""
    listed = (ROOT / "monitoring/tests/rules/metrics/node.txt").read_text(encoding="utf-8")
    return any(line.split()[:1] == [metric] for line in listed.splitlines())


class Init(unittest.TestCase):
    """What runs once."""

    def _run(self, name: str, folder: Path, data: Path) -> int:
        service = rendered.services()[name]
        entrypoint, *words = service["entrypoint"]
        container = Container(
            f"{name}-{len(list(folder.iterdir()))}", service, folder, entrypoint, BUSYBOX,
            [Mount("/var/lib/grafana", data)], [*words, *(service.get("command") or [])],
        )  # fmt: skip
        with contextlib.closing(container.program._output):  # noqa: SLF001 (it has ended)
            return container.program.process.wait(30)

    def test_grafana_password(self) -> None:
        """Two secrets, for Grafana's eyes only, and the same ones the next time."""
        with tempfile.TemporaryDirectory(prefix="erlmcp-compose-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            data = folder / "data"
            data.mkdir()
            os.chown(data, 472, 0)
            self.assertEqual(self._run("grafana-init", folder, data), 0)
            first = {path.name: path.read_text() for path in data.iterdir()}
            self.assertEqual(set(first), {"admin-password", "secret-key"})
            for path in data.iterdir():
                self.assertRegex(path.read_text(), r"^[A-Za-z0-9]{32}$")
                self.assertEqual((path.stat().st_mode & 0o777, path.stat().st_uid), (0o600, 472))
            self.assertNotEqual(first["admin-password"], first["secret-key"])
            self.assertEqual(self._run("grafana-init", folder, data), 0)
            self.assertEqual({path.name: path.read_text() for path in data.iterdir()}, first)

    def test_volumes_have_their_owner(self) -> None:
        """Every volume that somebody writes belongs to who does."""
        services = rendered.services()
        for name, service in services.items():
            if rendered.once(name, service):
                continue
            for one in service.get("volumes", []):
                if one["type"] == "volume" and not one.get("read_only"):
                    with self.subTest(service=name, volume=one["source"]):
                        self.assertEqual(owner(one["source"], services), service["user"])


class Versions(unittest.TestCase):
    """The image sets against what is run here."""

    def test_tested_is_what_is_tested(self) -> None:
        """The tag is the program's version, or the guide's where nothing newer can be run."""
        guide, tested = rendered.services(images="guide"), rendered.services(images="tested")
        for name, service in tested.items():
            if rendered.once(name, service) or name == "erlmcp":
                continue
            with self.subTest(service=name):
                builds = RUNS.get((name, "tested"))
                if builds:
                    version = PATCHED.get(builds[-1], builds[-1].rpartition("-")[2])
                    self.assertEqual(service["image"].rpartition(":")[2].removeprefix("v"), version)
                else:
                    self.assertEqual(service["image"], guide[name]["image"])
                    self.assertTrue(name in NOT_TO_BE_HAD or (name, "guide") in RUNS)
