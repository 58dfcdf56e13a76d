"""One test for each property, over all services. Who is excepted is named here, with why."""

import re
import unittest
from pathlib import Path

import files_test
import rendered
from programs import ROOT

# service: why
NOT_ANOTHER_USER = {"promtail": "the logs of containers are root's"}
NOT_READ_ONLY = {"elasticsearch": "writes a keystore into its configuration folder"}
CAPABILITIES = {"promtail": ["DAC_READ_SEARCH"]}
HOST_MOUNTS = {
    "node-exporter": "the machine's figures",
    "promtail": "the logs of the containers",
}
HOST_NAMESPACES = {"node-exporter": {"uts": "the machine's name as nodename"}}
NO_HEALTH_CHECK = {
    "otel-collector": "the image is one program; asked from outside",
    "erlmcp": "the image brings its own",
}
WAY_OUT = {
    "prometheus": "scrapes applications elsewhere",
    "blackbox-exporter": "asks applications elsewhere",
    "alertmanager": "Slack, PagerDuty, mail, SMS",
    "otel-collector": "an OTLP backend elsewhere",
}
MEMORY_OF_THE_GUIDE = 8 << 30
MIB = 1 << 20


class Hardening(unittest.TestCase):
    """Every service, those that run once as well."""

    def setUp(self) -> None:
        self.services = rendered.services()

    def _all(self, *, but: object = ()) -> list[tuple[str, rendered.Service]]:
        excepted = set(but)  # type: ignore[call-overload]
        self.assertLessEqual(excepted, set(self.services), "an exception for nobody")
        return [(name, one) for name, one in sorted(self.services.items()) if name not in excepted]

    def test_user(self) -> None:
        """A number that is not root's; what is excepted is root, so the exception is needed."""
        for name, service in self._all(but=NOT_ANOTHER_USER):
            with self.subTest(service=name):
                self.assertRegex(service["user"], r"^[1-9]\d*:\d+$")
        for name in NOT_ANOTHER_USER:
            self.assertEqual(self.services[name]["user"], "0:0")

    def test_read_only_root(self) -> None:
        """What is written is in a volume or a tmpfs."""
        for name, service in self._all(but=NOT_READ_ONLY):
            with self.subTest(service=name):
                self.assertIs(service.get("read_only"), True)
        for name in NOT_READ_ONLY:
            self.assertFalse(self.services[name].get("read_only", False))

    def test_tmpfs_is_bounded(self) -> None:
        """Memory is what a tmpfs takes."""
        for name, service in self._all():
            for one in service.get("tmpfs", []):
                with self.subTest(service=name, tmpfs=one):
                    self.assertRegex(one, r"[,:]size=\d+m\b")

    def test_capabilities(self) -> None:
        """None but those named above."""
        for name, service in self._all():
            with self.subTest(service=name):
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service.get("cap_add", []), CAPABILITIES.get(name, []))

    def test_no_new_privileges(self) -> None:
        """A setuid program in an image gives nothing."""
        for name, service in self._all():
            with self.subTest(service=name):
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertFalse(service.get("privileged", False))

    def test_limits(self) -> None:
        """Memory, processor, processes."""
        for name, service in self._all():
            with self.subTest(service=name):
                self.assertGreaterEqual(int(service["mem_limit"]), 16 * MIB)
                self.assertGreater(float(service["cpus"]), 0)
                self.assertLessEqual(float(service["cpus"]), 2)
                self.assertGreater(service["pids_limit"], 0)

    def test_memory_of_the_default(self) -> None:
        """All limits together fit into what the guide recommends."""
        default = rendered.services(profiles=("jaeger",))
        together = sum(int(one["mem_limit"]) for name, one in default.items() if not rendered.once(name, one))
        self.assertLessEqual(together, MEMORY_OF_THE_GUIDE)
        readme = (rendered.FILE.parent / "README.md").read_text(encoding="utf-8")
        self.assertIn(f"{together / (1 << 30):g} GiB of limits", readme)

    def test_go_knows_its_limit(self) -> None:
        """GOMEMLIMIT is below the container's, and not far below."""
        for name, service in self._all():
            limit = (service.get("environment") or {}).get("GOMEMLIMIT")
            if limit:
                with self.subTest(service=name):
                    share = int(limit.removesuffix("MiB")) * MIB / int(service["mem_limit"])
                    self.assertTrue(0.8 <= share <= 0.95, share)

    def test_logs_are_bounded(self) -> None:
        """And say whose they are: Promtail has no other way to know."""
        for name, service in self._all():
            with self.subTest(service=name):
                self.assertEqual(service["logging"]["driver"], "json-file")
                options = service["logging"]["options"]
                self.assertEqual((options["max-size"], options["max-file"]), ("10m", "3"))
                self.assertEqual(options["tag"], "{{.Name}}")

    def test_ports_are_the_machines_own(self) -> None:
        """Published on loopback unless told otherwise."""
        for name, service in self._all():
            for port in service.get("ports", []):
                with self.subTest(service=name, port=port["target"]):
                    self.assertEqual(port["host_ip"], "127.0.0.1")

    def test_mounts(self) -> None:
        """The checkout and the host are read only; a socket of Docker is nobody's."""
        for name, service in self._all():
            for mount in service.get("volumes", []):
                if mount["type"] != "bind":
                    continue
                with self.subTest(service=name, source=mount["source"]):
                    self.assertTrue(mount.get("read_only"))
                    self.assertNotIn("docker.sock", mount["source"])
                    if not mount["source"].startswith(str(ROOT)):
                        self.assertIn(name, HOST_MOUNTS)

    def test_namespaces(self) -> None:
        """Nobody is in the host's network or sees its processes."""
        for name, service in self._all():
            with self.subTest(service=name):
                allowed = HOST_NAMESPACES.get(name, {})
                shared = {key for key in ("pid", "ipc", "uts", "userns_mode") if service.get(key)}
                self.assertEqual(shared, set(allowed))
                self.assertIn(service.get("network_mode"), (None, "none"))
                self.assertEqual(service.get("devices", []), [])

    def test_restart(self) -> None:
        """What serves comes back; what runs once does not."""
        for name, service in self._all():
            with self.subTest(service=name):
                once = name.endswith(("-volume", "-init"))
                self.assertEqual(service["restart"], "no" if once else "unless-stopped")

    def test_end(self) -> None:
        """Each has its time to stop, none for ever."""
        for name, service in self._all():
            with self.subTest(service=name):
                self.assertRegex(service["stop_grace_period"], r"^(1m0s|[1-6]?\ds)$")

    def test_health(self) -> None:
        """Bounded, on its own loopback."""
        for images in rendered.SETS:
            for name, service in rendered.services(images=images).items():
                if rendered.once(name, service):
                    continue
                with self.subTest(service=name, images=images):
                    if name in NO_HEALTH_CHECK:
                        self.assertNotIn("healthcheck", service)
                        continue
                    check = service["healthcheck"]
                    self.assertEqual(check["test"][0], "CMD", "no shell is asked")
                    self.assertRegex(" ".join(check["test"]), r"127\.0\.0\.1")
                    self.assertEqual((check["timeout"], check["interval"], check["retries"]), ("5s", "15s", 3))

    def test_dependencies(self) -> None:
        """A volume has its owner, and a password is there, before somebody wants it."""
        for name, service in self._all():
            for other, how in service.get("depends_on", {}).items():
                with self.subTest(service=name, after=other):
                    if rendered.once(other, self.services[other]):
                        self.assertEqual(how["condition"], "service_completed_successfully")
                    elif how["condition"] == "service_healthy":
                        self.assertNotIn(other, NO_HEALTH_CHECK)

    def test_a_profile_has_what_it_depends_on(self) -> None:
        """Nothing waits for a service that its profile leaves out."""
        for profile in rendered.PROFILES:
            found = rendered.services(profiles=(profile,))
            for name, service in found.items():
                with self.subTest(profile=profile, service=name):
                    self.assertLessEqual(set(service.get("depends_on", {})), set(found))


class Networks(unittest.TestCase):
    """Who reaches whom."""

    def setUp(self) -> None:
        self.services = rendered.services()
        self.networks = rendered.config()["networks"]

    def _on(self, network: str) -> set[str]:
        return {name for name, one in self.services.items() if network in (one.get("networks") or {})}

    def test_backend_is_closed(self) -> None:
        """And everything but the demo and what runs once is on it."""
        self.assertTrue(self.networks["backend"]["internal"])
        once = {name for name, one in self.services.items() if rendered.once(name, one)}
        self.assertEqual(self._on("backend"), set(self.services) - once - {"erlmcp"})
        for name in once:
            self.assertEqual(self.services[name]["network_mode"], "none")

    def test_databases_stay_inside(self) -> None:
        """On no other network, and without a port."""
        for name in (
            "elasticsearch",
            "thanos-sidecar",
            "thanos-store",
            "thanos-compactor",
            "node-exporter",
            "promtail",
        ):
            with self.subTest(service=name):
                self.assertEqual(set(self.services[name]["networks"]), {"backend"})
                self.assertEqual(self.services[name].get("ports", []), [])

    def test_way_out(self) -> None:
        """Only for those who have somebody to reach."""
        self.assertEqual(self._on("egress"), set(WAY_OUT))
        self.assertFalse(self.networks["egress"].get("internal", False))
        self.assertEqual(
            self.networks["ports"]["driver_opts"], {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        )

    def test_one_default_route(self) -> None:
        """Two open networks: Docker would choose by name."""
        for name, service in self.services.items():
            with self.subTest(service=name):
                self.assertLessEqual(len({"ports", "egress"} & set(service.get("networks") or {})), 1)

    def test_published_ports_have_a_network_for_it(self) -> None:
        """A port of a container on closed networks only is not published at all."""
        for name, service in self.services.items():
            if service.get("ports"):
                with self.subTest(service=name):
                    self.assertTrue({"ports", "egress"} & set(service["networks"]))

    def test_who_names_another_reaches_it(self) -> None:
        """`loki:3100` in a configuration, a flag or a variable wants a network that both are on."""
        names = "|".join(sorted(self.services, key=len, reverse=True))
        asks = set()
        for images in rendered.SETS:
            for name, service in rendered.services(images=images).items():
                said = [*(service.get("command") or []), *map(str, (service.get("environment") or {}).values())]
                for mount in service.get("volumes", []):
                    source = Path(mount["source"])
                    if mount["type"] == "bind" and source.is_relative_to(ROOT):
                        files = [one for kind in ("*.yml", "*.yaml") for one in source.rglob(kind)]
                        said += [path.read_text(encoding="utf-8") for path in files]
                for other in re.findall(rf"(?<![\w./-])(?:https?://)?({names}):\d+", "\n".join(said)):
                    asks.add((name, other))
        for pair in (("prometheus", "erlmcp"), ("promtail", "loki"), ("otel-collector", "jaeger"), ("grafana", "loki")):
            self.assertIn(pair, asks)
        for name, other in sorted(asks):
            if name != other:
                with self.subTest(service=name, asks=other):
                    shared = set(self.services[name]["networks"]) & set(self.services[other]["networks"])
                    self.assertTrue(shared, "no network has both")

    def test_applications(self) -> None:
        """See those who ask them, and the Collector; no database."""
        self.assertTrue(self.networks["apps"]["internal"])
        self.assertEqual(self._on("apps"), {"prometheus", "blackbox-exporter", "otel-collector", "erlmcp"})


class Secrets(unittest.TestCase):
    """Files, and none in the checkout."""

    def test_no_value_in_the_environment(self) -> None:
        """A path, or Grafana's words for the content of a file, are what is allowed."""
        for name, service in rendered.services().items():
            for key, value in (service.get("environment") or {}).items():
                if re.search("PASSWORD|TOKEN|SECRET|CREDENTIAL", key):
                    with self.subTest(service=name, key=key):
                        self.assertRegex(value, r"^(/|\$__file\{/)", "a value instead of a file")

    def test_grafana(self) -> None:
        """No default password: both are made at the first start."""
        grafana = rendered.services()["grafana"]
        environment = grafana["environment"]
        self.assertEqual(environment["GF_SECURITY_ADMIN_PASSWORD"], "$__file{/var/lib/grafana/admin-password}")
        self.assertEqual(environment["GF_SECURITY_SECRET_KEY"], "$__file{/var/lib/grafana/secret-key}")
        self.assertIn("grafana-init", grafana["depends_on"])
        for key in ("GF_USERS_ALLOW_SIGN_UP", "GF_AUTH_ANONYMOUS_ENABLED", "GF_ANALYTICS_REPORTING_ENABLED"):
            self.assertEqual(environment[key], "false")

    def test_open_databases_have_no_port(self) -> None:
        """Elasticsearch asks nobody for a password."""
        elasticsearch = rendered.services()["elasticsearch"]
        self.assertEqual(elasticsearch["environment"]["xpack.security.enabled"], "false")
        self.assertEqual(elasticsearch.get("ports", []), [])


setUpModule = files_test.setUpModule
