"""The rendered pods as processes: their arguments, variables and files, run by the real programs.

In a namespace (lib/namespace.py), with a DNS server that answers as the cluster's
would. Nothing of a manifest is changed but what is listed at OTHERWISE.
"""

import base64
import shutil
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import rendered
import yaml
from demo import build
from namespace import bind
from programs import ROOT, NotHere, Program, find, wait_for
from prometheus import Client
from rendered import NAMESPACE

OVERLAY = "overlays/production"
# Pods of erlmcp: each has an address of its own, as in a cluster.
PODS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
# Workload: program and version.
PROGRAMS = {
    "prometheus": ("prometheus", "2.53.3"),
    "alertmanager": ("alertmanager", "0.28.1"),
    "blackbox-exporter": ("blackbox_exporter", "0.23.0"),
    "node-exporter": ("node_exporter", "1.11.1"),
    "loki": ("loki", "2.9.3"),
    "promtail": ("promtail", "2.9.3"),
    "jaeger": ("jaeger", "1.50.0"),
    "otel-collector": ("otelcol", "0.87.0"),
}
# What differs, since all of them share one network: Jaeger and the Collector both
# have 4317.
OTHERWISE: dict[str, dict[str, Any]] = {
    "jaeger": {"args": [f"--{name}.host-port=127.0.0.2:{port}" for name, port in {
        "collector.otlp.grpc": 4317, "collector.otlp.http": 4318, "collector.grpc-server": 14250,
        "collector.http-server": 14268, "query.http-server": 16686, "query.grpc-server": 16685, "admin.http": 14269,
    }.items()], "host": "127.0.0.2"},
    "otel-collector": {"env": {"ERLMCP_COLLECTOR_LISTEN": "127.0.0.1"}},
}  # fmt: skip
NOT_TO_BE_HAD = {"grafana": "its server without the image; tests/grafana runs it"}
LINE = '{"time":"%s","level":"warning","message":"hello","trace_id":"%s"}'
TRACE = "0af7651916cd43dd8448eb211c80319c"


def secrets(folder: Path) -> None:
    """What secrets.sh prints, as files: NAME/KEY."""
    for kind in ("tls", "erlmcp", "grafana"):
        printed = subprocess.run(
            [rendered.KUBERNETES / "secrets.sh", kind], capture_output=True, text=True, check=True, timeout=60
        )
        for each in yaml.safe_load_all(printed.stdout):
            for key, value in each["data"].items() if each else ():
                (folder / each["metadata"]["name"]).mkdir(exist_ok=True)
                (folder / each["metadata"]["name"] / key).write_bytes(base64.b64decode(value))


class Cluster:
    """The pods that run, and the names that lead to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Program] = {}
        self.hosts = folder / "names"
        # Not by run.sh: it compiles into one folder, at each start.
        self.demo = folder / "demo"
        self.demo.mkdir()
        subprocess.run(["erlc", "-o", self.demo, *(ROOT / "examples/demo/src").glob("*.erl")], check=True, timeout=120)
        (folder / "secrets").mkdir()
        secrets(folder / "secrets")

    def stop(self) -> None:
        for program in reversed(self.running.values()):
            program.stop()

    def names(self, pods: tuple[str, ...]) -> None:
        """What the cluster's DNS says of the headless Service."""
        lines = [f"{address} erlmcp-pods.{DOMAIN}\n" for address in pods]
        lines += [f"127.0.0.1 {name}.{DOMAIN}\n" for name in ("node-exporter", "promtail", "otel-collector-pods")]
        self.hosts.write_text("".join(lines))

    def dns(self) -> None:
        program = shutil.which("dnsmasq") or "/usr/sbin/dnsmasq"
        if not Path(program).exists():
            raise NotHere("there is no dnsmasq (scripts/setup.sh stack)")
        flags = [
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            f"--addn-hosts={self.hosts}",
            "--user=root",
            "--log-facility=-",
            "--local=/cluster.local/",
            "--pid-file=",
        ]
        self.running["dns"] = Program("dns", [program, *flags], self.folder / "dns.log")
        Path("/etc/resolv.conf").write_text(
            f"nameserver 127.0.0.1\nsearch {DOMAIN} svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n"
        )

    def files(self, name: str) -> None:
        """The mounts of a pod, at their places: ConfigMaps and Secrets."""
        thing = rendered.workload(OVERLAY, name)
        container = rendered.containers(thing)[0]
        root = self.folder / "pods" / name
        rendered.write_files(rendered.mounted(OVERLAY, thing, container), root)
        volumes = {volume["name"]: volume for volume in rendered.pod(thing).get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes.get(mount["name"], {})
            for source in (
                [{"secret": volume["secret"]}] if "secret" in volume else volume.get("projected", {}).get("sources", [])
            ):
                secret = source.get("secret")
                if secret is None:
                    continue
                stored = self.folder / "secrets" / secret.get("secretName", secret.get("name"))
                if not stored.exists() and secret.get("optional"):
                    continue
                items = secret.get("items") or [{"key": each.name, "path": each.name} for each in stored.iterdir()]
                for item in items:
                    target = root / mount["mountPath"].lstrip("/") / item["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(stored / item["key"], target)
            # The node's own, at another place.
            host = volume.get("hostPath", {}).get("path", mount["mountPath"])
            if host != mount["mountPath"] and Path(host).exists():
                Path(mount["mountPath"]).mkdir(parents=True, exist_ok=True)
                bind(host, mount["mountPath"])
        # The outermost folders of mounts; inner ones are below them.
        places = {
            mount["mountPath"]
            for mount in container.get("volumeMounts", [])
            if (root / mount["mountPath"].lstrip("/")).exists()
        }
        for place in sorted(places):
            if not any(place.startswith(f"{other}/") for other in places):
                Path(place).mkdir(parents=True, exist_ok=True)
                bind(root / place.lstrip("/"), place)

    def start(self, name: str) -> None:
        """As its manifest says."""
        program, version = PROGRAMS[name]
        thing = rendered.workload(OVERLAY, name)
        container = rendered.containers(thing)[0]
        self.files(name)
        other = OTHERWISE.get(name, {})
        arguments = [*container.get("args", []), *other.get("args", [])]
        variables = {**rendered.variables(OVERLAY, thing, container), **other.get("env", {})}
        self.running[name] = Program(name, [find(program, version), *arguments], self.folder / f"{name}.log", variables)

    def start_erlmcp(self, address: str) -> None:
        """A pod of the Deployment, at an address of its own."""
        thing = rendered.workload(OVERLAY, "erlmcp")
        variables = rendered.environment(rendered.containers(thing)[0])
        variables |= {"ERLMCP_HTTP_IP": address, "OTEL_RESOURCE_ATTRIBUTES": f"k8s.pod.name={address}"}
        log = self.folder / f"erlmcp-{address}.log"
        command: list[str | Path] = [
            "erl",
            "-noinput",
            "+Bi",
            "-pa",
            build() / "ebin",
            self.demo,
            "-s",
            "erlmcp_demo",
            "main",
        ]
        self.running[address] = Program(f"erlmcp at {address}", command, log, variables)


def get(url: str) -> int:
    """The status; as the kubelet asks, which verifies no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def is_up(url: str) -> bool:
    """Whether a probe would pass."""
    return get(url) == 200


class Live(unittest.TestCase):
    """One cluster for all of them."""

    cluster: Cluster
    missing: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        try:
            rendered.own_network()
            build()
        except NotHere as error:
            raise unittest.SkipTest(str(error)) from error
        folder = Path(tempfile.mkdtemp(prefix="erlmcp-kubernetes-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.cluster = cluster = Cluster(folder)
        cls.addClassCleanup(cluster.stop)
        cls.missing = dict(NOT_TO_BE_HAD)
        try:
            cluster.names(PODS[:2])
            cluster.dns()
        except NotHere as error:
            raise unittest.SkipTest(str(error)) from error
        cls._logs()
        for name in PROGRAMS:
            try:
                cluster.start(name)
            except NotHere as error:
                cls.missing[name] = str(error)
        cluster.files("erlmcp")
        for address in PODS:
            cluster.start_erlmcp(address)

    @classmethod
    def _logs(cls) -> None:
        now = time.time_ns() // 1_000_000_000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        lines = {
            f"{NAMESPACE}_erlmcp-5d9f-x2x_uid1/erlmcp/0.log": [
                f"{stamp}.000000001Z stdout F " + LINE % (f"{stamp}.5Z", TRACE),
                f"{stamp}.000000002Z stdout P half of ",
                f"{stamp}.000000003Z stdout F one line",
            ],
            f"{NAMESPACE}_loki-0_uid2/loki/0.log": [f"{stamp}.000000004Z stderr F level=warn ts=x msg=slow"],
            "kube-system_coredns-7f_uid3/coredns/0.log": [f"{stamp}.000000005Z stdout F not ours"],
        }
        for path, text in lines.items():
            target = Path("/var/log/pods") / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(f"{line}\n" for line in text))

    def program(self, name: str) -> Program:
        if name in self.missing:
            self.skipTest(self.missing[name])
        return self.cluster.running[name]

    def probe(self, name: str, host: str) -> None:
        container = rendered.containers(rendered.workload(OVERLAY, name))[0]
        for kind, probe in rendered.probes(container).items():
            asked = probe["httpGet"]
            scheme, port = asked.get("scheme", "HTTP").lower(), rendered.port_number(container, asked["port"])
            url = f"{scheme}://{host}:{port}{asked['path']}"
            wait_for(f"{kind} of {name} at {url}", partial(is_up, url), 60)

    def test_probes_of_every_program(self) -> None:
        self.assertEqual(
            set(PROGRAMS) | {"grafana", "erlmcp"},
            {each["metadata"]["name"] for each in rendered.of_kind(OVERLAY, *rendered.WORKLOADS)},
        )
        for name in PROGRAMS:
            with self.subTest(workload=name):
                program = self.program(name)
                try:
                    self.probe(name, OTHERWISE.get(name, {}).get("host", "127.0.0.1"))
                except Exception:
                    print(program.tail())
                    raise

    def test_probes_of_erlmcp(self) -> None:
        """The library's own pages, over TLS, without a credential."""
        for address in PODS:
            self.probe("erlmcp", address)

    def test_nobody_else_reads_the_metrics(self) -> None:
        for address in PODS:
            wait_for("erlmcp", partial(is_up, f"https://{address}:8080/live"), 60)
            self.assertEqual(get(f"https://{address}:8080/metrics"), 401)
            self.assertEqual(get(f"https://{address}:8086/metrics/custom"), 401)

    def test_each_pod_is_scraped(self) -> None:
        """Two pods, then a third one, by DNS alone: TLS, the token, the health page."""
        self.program("prometheus")
        wait_for("Prometheus", partial(is_up, "http://127.0.0.1:9090/-/ready"), 60)
        client = Client("127.0.0.1:9090")

        def up(job: str, metric: str = "up") -> set[str]:
            found = client.get("query", query=f'{metric}{{job="{job}",environment="production"}} == 1')["result"]
            return {sample["metric"]["instance"] for sample in found}

        def one(job: str) -> bool:
            return len(up(job)) == 1

        def shows(job: str, metric: str, wanted: set[str]) -> bool:
            return up(job, metric) == wanted

        for pods in (PODS[:2], PODS):
            self.cluster.names(pods)
            self.cluster.running["dns"].process.send_signal(1)
            for job, port in (("erlmcp", 8080), ("erlmcp_custom", 8086), ("erlmcp_health", 8080)):
                wanted = {f"{address}:{port}" for address in pods}
                metric = "probe_success" if job == "erlmcp_health" else "up"
                if job == "erlmcp_health":
                    self.program("blackbox-exporter")
                all_of_them = partial(shows, job, metric, wanted)
                wait_for(f"{job}: {wanted}", all_of_them, 120, 1)
        for job, name in (
            ("node", "node-exporter"),
            ("promtail", "promtail"),
            ("otel_collector", "otel-collector"),
            ("jaeger", "jaeger"),
        ):
            if name not in self.missing:
                wait_for(f"{job} is up", partial(one, job), 60, 1)

    def test_rules_are_loaded(self) -> None:
        self.program("prometheus")
        wait_for("Prometheus", partial(is_up, "http://127.0.0.1:9090/-/ready"), 60)
        groups = Client("127.0.0.1:9090").get("rules")["groups"]
        files = [
            *(ROOT / "monitoring/prometheus/rules").glob("*.yml"),
            *(ROOT / "monitoring/prometheus/recording_rules").glob("*.yml"),
        ]
        self.assertEqual(len(groups), sum(len(yaml.safe_load(path.read_text())["groups"]) for path in files))

    def test_lines_of_pods_arrive(self) -> None:
        """The kubelet's files, with labels from their paths; no file of other pods."""
        self.program("promtail")
        self.program("loki")
        wait_for("Loki", partial(is_up, "http://127.0.0.1:3100/ready"), 60)

        def streams(query: str) -> list[dict[str, Any]]:
            address = f"http://127.0.0.1:3100/loki/api/v1/query_range?since=1h&query={urllib.parse.quote(query)}"
            with urllib.request.urlopen(address, timeout=10) as response:
                found: list[dict[str, Any]] = yaml.safe_load(response.read())["data"]["result"]
            return found

        query = f'{{job="erlmcp",level="warning"}} |= `{TRACE}`'
        [found] = wait_for("the line of erlmcp", lambda: streams(query) or None, 60)
        self.assertEqual(
            found["stream"],
            {"job": "erlmcp", "app": "erlmcp", "level": "warning", "namespace": NAMESPACE, "pod": "erlmcp-5d9f-x2x"},
        )
        self.assertEqual(
            [line for each in streams('{job="erlmcp"} |= `half`') for _, line in each["values"]], ["half of one line"]
        )
        [other] = wait_for("the line of loki", lambda: streams('{job="containers"} |= `slow`') or None, 30)
        self.assertEqual(
            other["stream"],
            {
                "job": "containers",
                "container": "loki",
                "level": "warning",
                "namespace": NAMESPACE,
                "pod": "loki-0",
                "stream": "stderr",
            },
        )
        self.assertEqual(streams('{job=~".+"} |= `not ours`'), [])

    def test_erlmcp_logs_lines_of_json(self) -> None:
        """To standard output, which is what the kubelet keeps."""
        log = self.cluster.running[PODS[0]].log
        lines = wait_for(
            "a line",
            lambda: (
                [line for line in log.read_text(errors="replace").splitlines() if line.startswith('{"time"')] or None
            ),
            60,
        )
        self.assertIn("level", yaml.safe_load(lines[0]))

    def test_alertmanager_has_its_files(self) -> None:
        self.program("alertmanager")
        wait_for("Alertmanager", partial(is_up, "http://127.0.0.1:9093/-/ready"), 60)
        with urllib.request.urlopen("http://127.0.0.1:9093/metrics", timeout=10) as response:
            self.assertIn(b"alertmanager_config_last_reload_successful 1\n", response.read())
        self.assertTrue(list(Path("/etc/alertmanager/templates").glob("*.tmpl")))
