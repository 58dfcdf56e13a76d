"""What compose makes of the file, the guide's names, and what the file points at."""

import itertools
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import rendered
import yaml
from namespace import MOUNTED
from programs import ROOT, TOOLS, NotHere

# The host's own, mounted for the exporter and for Promtail.
OF_THE_HOST = ("/proc/", "/sys", "/var/lib/docker/containers")

# Names, published ports and data of the guide and of monitoring/README.md.
CONTAINERS = {
    "prometheus": ("erlmcp-prometheus", ["9090"], {"prometheus-data": "/prometheus"}),
    "grafana": ("erlmcp-grafana", ["3000"], {"grafana-data": "/var/lib/grafana"}),
    "alertmanager": ("erlmcp-alertmanager", ["9093"], {"alertmanager-data": "/alertmanager"}),
    "otel-collector": (
        "erlmcp-otel-collector",
        ["4317", "4318", "8888", "8889", "13133", "14250", "14268", "55679"],
        {"otel-data": "/var/lib/otelcol"},
    ),
    "loki": ("erlmcp-loki", ["3100"], {"loki-data": "/loki"}),
    "promtail": (
        "erlmcp-promtail", [], {"promtail-data": "/var/lib/promtail", "erlmcp-logs": "/var/log/erlmcp"}
    ),
    "node-exporter": ("erlmcp-node-exporter", [], {}),
    "blackbox-exporter": ("erlmcp-blackbox-exporter", [], {}),
    "jaeger": ("erlmcp-jaeger", ["16686"], {"jaeger-data": "/badger"}),
    "elasticsearch": ("erlmcp-elasticsearch", [], {"elasticsearch-data": "/usr/share/elasticsearch/data"}),
    "kibana": ("erlmcp-kibana", ["5601"], {"kibana-data": "/usr/share/kibana/data"}),
    "thanos-sidecar": (
        "erlmcp-thanos-sidecar", [], {"prometheus-data": "/prometheus", "thanos-data": "/thanos"}
    ),
    "thanos-store": ("erlmcp-thanos-store", [], {"thanos-data": "/thanos"}),
    "thanos-query": ("erlmcp-thanos-query", ["10902"], {}),
    "thanos-compactor": ("erlmcp-thanos-compactor", [], {"thanos-data": "/thanos"}),
    "victoria-metrics": (
        "erlmcp-victoria-metrics", ["8428"], {"victoria-metrics-data": "/victoria-metrics-data"}
    ),
    "erlmcp": ("erlmcp-demo", ["8080", "8086"], {"erlmcp-logs": "/var/log/erlmcp"}),
}  # fmt: skip
CORE = {
    "prometheus", "grafana", "alertmanager", "otel-collector", "loki", "promtail", "node-exporter", "blackbox-exporter",
}  # fmt: skip
OF_PROFILE = {
    "jaeger": {"jaeger"},
    "elasticsearch": {"elasticsearch", "kibana"},
    "thanos": {"thanos-sidecar", "thanos-store", "thanos-query", "thanos-compactor"},
    "victoria-metrics": {"victoria-metrics"},
    "demo": {"erlmcp"},
}
# The guide's versions; what it does not name is of its date.
GUIDE = {
    "prometheus": "2.45.0", "grafana": "10.2.0", "alertmanager": "0.26.0", "otel-collector": "0.87.0", "loki": "2.9.2",
    "promtail": "2.9.2", "node-exporter": "1.6.1", "blackbox-exporter": "0.24.0", "jaeger": "1.50.0",
    "elasticsearch": "8.10.4", "kibana": "8.10.4", "thanos": "0.32.5", "victoria-metrics": "1.94.0",
}  # fmt: skip


def long_running(profiles: tuple[str, ...]) -> set[str]:
    """The services of a choice of profiles, without those that run once."""
    found = rendered.services(profiles=profiles)
    return {name for name, service in found.items() if not rendered.once(name, service)}


def schema() -> dict[str, object]:
    """Compose's own schema, out of check-jsonschema."""
    found = list((TOOLS / "stack-venv").glob("lib/python*/site-packages/check_jsonschema/**/compose-spec.json"))
    if not found:
        raise unittest.SkipTest("no schema: check-jsonschema is not in .tools/stack-venv (scripts/setup.sh stack)")
    return json.loads(found[0].read_text(encoding="utf-8"))  # type: ignore[no-any-return]


class Config(unittest.TestCase):
    """`docker compose config`."""

    def test_every_profile_and_image_set_on_each_version(self) -> None:
        """One profile at a time, none, and all."""
        choices: list[tuple[str, ...]] = [(), *((name,) for name in rendered.PROFILES), rendered.PROFILES]
        for profiles, images in itertools.product(choices, rendered.SETS):
            with self.subTest(profiles=profiles, images=images):
                seen = [
                    rendered.config(version=version, profiles=profiles, images=images) for version in rendered.VERSIONS
                ]
                # Both versions understand the same.
                self.assertEqual(seen[0], seen[1])
                expected = CORE.union(*(OF_PROFILE[name] for name in profiles))
                found = {name for name, one in seen[0]["services"].items() if not rendered.once(name, one)}
                self.assertEqual(found, expected)

    def test_the_command_of_the_guide(self) -> None:
        """In monitoring/, with nothing set: .env makes the choice."""
        for version in rendered.VERSIONS:
            program = TOOLS / f"docker-compose-{version}/docker-compose"
            result = subprocess.run(
                [str(program), "-f", "docker/docker-compose.monitoring.yml", "config", "--format", "json"],
                cwd=ROOT / "monitoring", capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
            self.assertEqual(result.stderr, "")
            found = json.loads(result.stdout.replace("$$", "$"))
            self.assertEqual(found, rendered.config(version=version, profiles=("jaeger",), images="guide"))

    def test_digests_can_be_pinned(self) -> None:
        """By the command of the README, which needs a registry to be run."""
        readme = (rendered.FILE.parent / "README.md").read_text(encoding="utf-8")
        self.assertIn("config --resolve-image-digests --output docker/pinned.yml", readme)
        for version in rendered.VERSIONS:
            usage = rendered.compose(version, "config", "--help")
            for option in ("--resolve-image-digests", "--output"):
                self.assertIn(option, usage)

    def test_unknown_image_set(self) -> None:
        """It is refused, not taken for another one."""
        with self.assertRaisesRegex(AssertionError, "-newest"):
            rendered.config(images="newest")

    def test_schema(self) -> None:
        """The files as they are written, by compose's schema."""
        import jsonschema  # noqa: PLC0415 (comes with check-jsonschema)

        validator = jsonschema.Draft7Validator(schema())
        for path in (rendered.FILE, rendered.IMAGES):
            text = yaml.safe_load(path.read_text(encoding="utf-8"))
            self.assertEqual([error.message for error in validator.iter_errors(text)], [])
        self.assertNotIn("version", yaml.safe_load(rendered.FILE.read_text(encoding="utf-8")))

    def test_settings_reach_the_services(self) -> None:
        """The variables that the README names."""
        changed = rendered.services(
            ERLMCP_PROMETHEUS_CONFIG="prometheus.generated.yml", ERLMCP_PROMETHEUS_MAX_BLOCK="2h",
            ERLMCP_PROMETHEUS_ADMIN_API="no-",
            ERLMCP_COLLECTOR_OPTIONS="--config=/etc/otelcol/options/a.yaml --config=b",
            ERLMCP_HOST_NAME="erlmcp", ERLMCP_LOG_DIR="/var/log/erlmcp", ERLMCP_BIND_ADDRESS="10.0.0.7",
        )  # fmt: skip
        flags = changed["prometheus"]["command"]
        for flag in (
            "--config.file=/etc/prometheus/prometheus.generated.yml",
            "--storage.tsdb.max-block-duration=2h",
            "--no-web.enable-admin-api",
        ):
            self.assertIn(flag, flags)
        self.assertEqual(
            changed["otel-collector"]["command"],
            ["--config=/etc/otelcol/collector-config.yaml", "--config=/etc/otelcol/options/a.yaml", "--config=b"],
        )
        self.assertIn("erlmcp=host-gateway", changed["prometheus"]["extra_hosts"])
        logs = [one for one in changed["promtail"]["volumes"] if one["target"] == "/var/log/erlmcp"]
        self.assertEqual([(one["type"], one["source"]) for one in logs], [("bind", "/var/log/erlmcp")])
        addresses = {port["host_ip"] for service in changed.values() for port in service.get("ports", [])}
        self.assertEqual(addresses, {"10.0.0.7"})


class Names(unittest.TestCase):
    """The guide's names, ports and volumes."""

    def test_containers_ports_and_volumes(self) -> None:
        """Of each service."""
        found = rendered.services()
        self.assertEqual(long_running(rendered.PROFILES), set(CONTAINERS))
        for name, (container, ports, volumes) in CONTAINERS.items():
            with self.subTest(service=name):
                service = found[name]
                self.assertEqual(service["container_name"], container)
                published = [port["published"] for port in service.get("ports", [])]
                self.assertEqual(sorted(published), sorted(ports))
                for port in service.get("ports", []):
                    self.assertEqual(str(port["target"]), port["published"])
                mounted = {
                    one["source"]: one["target"] for one in service.get("volumes", []) if one["type"] == "volume"
                }
                self.assertEqual(mounted, volumes)

    def test_folders(self) -> None:
        """Each part's folder is where its program looks, read-only and as a folder."""
        found = rendered.services()
        for name, folders in MOUNTED.items():
            for target, folder in folders.items():
                with self.subTest(service=name, target=target):
                    [mount] = [one for one in found[name]["volumes"] if one["target"] == target]
                    self.assertEqual(mount["source"], str(ROOT / "monitoring" / folder))
                    self.assertTrue(mount["read_only"])

    def test_the_demo_is_erlmcp(self) -> None:
        """The name that prometheus.yml asks."""
        self.assertIn("erlmcp", rendered.services()["erlmcp"]["networks"]["apps"]["aliases"])

    def test_another_project_attaches(self) -> None:
        """The README's example, on both versions, to the network of this name."""
        text = (rendered.FILE.parent / "README.md").read_text(encoding="utf-8")
        examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        self.assertEqual(len(examples), 2)
        for version in rendered.VERSIONS:
            with tempfile.TemporaryDirectory() as folder:
                attached, limits = (Path(folder) / name for name in ("compose.yml", "limits.yml"))
                attached.write_text(examples[0], encoding="utf-8")
                limits.write_text(examples[1], encoding="utf-8")
                found = json.loads(rendered.compose(version, "config", "--format", "json", file=attached))
                network = found["networks"]["erlmcp-apps"]
                self.assertEqual((network["name"], network["external"]), ("erlmcp-apps", True))
                self.assertEqual(found["services"]["my-server"]["networks"]["erlmcp-apps"], {"aliases": ["erlmcp"]})
                # Limits of one's own go over those of the file.
                both = json.loads(rendered.compose(version, "-f", str(limits), "config", "--format", "json"))
                self.assertEqual(int(both["services"]["prometheus"]["mem_limit"]), 8 << 30)

    def test_project(self) -> None:
        """Its name, and that of the network that others attach to."""
        found = rendered.config()
        self.assertEqual(found["name"], "erlmcp-monitoring")
        self.assertEqual(found["networks"]["apps"]["name"], "erlmcp-apps")

    def test_flags_of_storage(self) -> None:
        """As the READMEs have them, where they are explained and run."""
        text = "".join(
            (ROOT / f"monitoring/{name}/README.md").read_text(encoding="utf-8")
            for name in ("thanos", "victoria-metrics")
        )
        written = dict(re.findall(r"```flags (\S+)\n(.*?)```", text, re.DOTALL))
        found = rendered.services(ERLMCP_PROMETHEUS_MAX_BLOCK="2h")
        self.assertEqual(set(written), {"prometheus", "victoria-metrics", *OF_PROFILE["thanos"]})
        for name, flags in written.items():
            with self.subTest(service=name):
                if name == "prometheus":
                    self.assertLessEqual(set(flags.split()), set(found[name]["command"]))
                else:
                    self.assertEqual(found[name]["command"], flags.split())


class Sources(unittest.TestCase):
    """What the file points at is there in a clean checkout."""

    def _tracked(self) -> set[str]:
        names = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {name for name in names.split("\0") if name}

    def test_bind_sources(self) -> None:
        """Folders with something that Git knows in them."""
        tracked = self._tracked()
        for name, service in rendered.services().items():
            for mount in service.get("volumes", []):
                if mount["type"] != "bind":
                    continue
                source = mount["source"]
                if source == "/" or source.startswith(OF_THE_HOST):
                    continue
                with self.subTest(service=name, source=source):
                    relative = Path(source).relative_to(ROOT)
                    self.assertTrue(
                        any(one.startswith(f"{relative}/") for one in tracked), f"nothing of {relative} is in Git"
                    )
                    # A folder that is missing is an error, and not a new folder of root's.
                    self.assertFalse(mount["bind"].get("create_host_path", False))

    def test_files(self) -> None:
        """What a command names is in the folder that is mounted, for both image sets."""
        tracked = self._tracked()
        for images in rendered.SETS:
            for name, service in rendered.services(images=images).items():
                binds = {
                    one["target"]: one["source"]
                    for one in service.get("volumes", [])
                    if one["type"] == "bind" and one["source"].startswith(str(ROOT))
                }
                for word in service.get("command") or []:
                    for target, source in binds.items():
                        for path in re.findall(rf"(?:^|=)({re.escape(target)}/\S+)", word):
                            with self.subTest(service=name, images=images, file=path):
                                relative = Path(source).relative_to(ROOT) / Path(path).relative_to(target)
                                self.assertTrue(str(relative) in tracked, f"Git does not know {relative}")

    def test_settings_file(self) -> None:
        """.env is committed, and has no secret."""
        self.assertIn("monitoring/docker/.env", self._tracked())
        text = (ROOT / "monitoring/docker/.env").read_text(encoding="utf-8")
        names = re.findall(r"(?m)^([A-Z_]+)=", text)
        self.assertEqual([name for name in names if re.search("PASSWORD|TOKEN|SECRET|KEY$", name)], [])

    def test_every_variable_is_explained(self) -> None:
        """In the README of operators."""
        text = rendered.FILE.read_text(encoding="utf-8") + rendered.IMAGES.read_text(encoding="utf-8")
        names = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))
        readme = (rendered.FILE.parent / "README.md").read_text(encoding="utf-8")
        self.assertEqual(sorted(name for name in names if f"`{name}`" not in readme), [])


class Images(unittest.TestCase):
    """images.yml."""

    def _pinned(self) -> dict[str, str]:
        written = yaml.safe_load(rendered.IMAGES.read_text(encoding="utf-8"))["services"]
        return {name: one["image"] for name, one in written.items()}

    def test_services_take_them_from_there(self) -> None:
        """Every one in each set, and the set's."""
        pinned = self._pinned()
        for images in rendered.SETS:
            of_set = {image for name, image in pinned.items() if name.endswith(f"-{images}")}
            seen = set()
            for name, service in rendered.services(images=images).items():
                if name == "erlmcp":
                    continue
                with self.subTest(service=name, images=images):
                    self.assertIn(service["image"], of_set)
                seen.add(service["image"])
            self.assertEqual(seen, of_set, "an image that nobody uses")
        self.assertNotIn("image:", re.sub(r"image: erlmcp-demo:.*", "", rendered.FILE.read_text(encoding="utf-8")))

    def test_versions_are_written_out(self) -> None:
        """Three numbers, never `latest`."""
        for name, image in self._pinned().items():
            with self.subTest(image=name):
                self.assertRegex(image, r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$")

    def test_guide(self) -> None:
        """The versions that the guide names."""
        versions = {
            name.removesuffix("-guide"): image.rpartition(":")[2].removeprefix("v")
            for name, image in self._pinned().items()
            if name.endswith("-guide")
        }
        self.assertEqual(versions, GUIDE)


def setUpModule() -> None:
    """Without compose there is nothing to look at."""
    try:
        for version in rendered.VERSIONS:
            rendered.config(version=version)
    except NotHere as missing:
        raise unittest.SkipTest(str(missing)) from missing
