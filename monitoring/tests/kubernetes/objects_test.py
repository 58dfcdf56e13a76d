"""Schemas, references and hardening of what is rendered."""

import re
import unittest
from typing import Any

import rendered
import yaml
from rendered import AGENTS, MONITORING, NAMESPACE, OVERLAYS, WORKLOADS, Object

# What compose's service is in Kubernetes, where its arguments or variables differ, and why.
DIFFERENT_ARGUMENTS = {
    # Placeholders of compose, whose defaults are the same, are not looked at.
    "prometheus": {
        "--storage.tsdb.retention.size",
        "--storage.tsdb.min-block-duration",
        "--storage.tsdb.max-block-duration",
        "--config.file",
    },
    # The kubelet's files instead of Docker's.
    "promtail": {"-config.file"},
    # The node's network, processes and /proc instead of single files of them.
    "node-exporter": {"*"},
}
DIFFERENT_ENVIRONMENT = {
    "grafana": {"GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_SECRET_KEY"},  # a Secret
    "prometheus": {"GOMEMLIMIT"},  # another limit
    "alertmanager": {"HTTPS_PROXY", "NO_PROXY"},  # a cluster's own matter
    "otel-collector": {"ERLMCP_BACKEND_ENDPOINT"},  # for an option
    "blackbox-exporter": {"SSL_CERT_FILE"},  # the overlay production
}

# Exceptions from the rules below, each with its reason.
ROOT = {"promtail": "log files of the kubelet are root's"}
CAPABILITIES = {"promtail": (["DAC_READ_SEARCH"], "it may read them, and nothing else")}
HOST = {"node-exporter": "the node's own interfaces and processes"}
HOST_PATHS = {
    "node-exporter": {"/", "/sys"},
    "promtail": {"/var/log/pods", "/var/lib/erlmcp-promtail"},
}
WRITABLE_HOST_PATHS = {"promtail": {"/var/lib/erlmcp-promtail"}}


def every(overlay: str) -> list[tuple[str, Object, Object]]:
    """Name, workload and container of each."""
    return [
        (each["metadata"]["name"], each, container)
        for each in rendered.of_kind(overlay, *WORKLOADS)
        for container in rendered.containers(each)
    ]


class Schemas(unittest.TestCase):
    """Strict: an unknown key is an error."""

    def test_of_three_versions(self) -> None:
        for overlay in OVERLAYS:
            for each in rendered.objects(overlay):
                with self.subTest(overlay=overlay, object=rendered.name(each)):
                    rendered.validate(each)

    def test_of_what_the_operator_gets(self) -> None:
        for each in rendered.of_kind("operator", "NetworkPolicy"):
            rendered.validate(each)


class References(unittest.TestCase):
    """Whatever is named is there."""

    def test_names_are_unique(self) -> None:
        for overlay in OVERLAYS:
            seen = [
                (each["kind"], rendered.namespace(each), each["metadata"]["name"]) for each in rendered.objects(overlay)
            ]
            self.assertEqual(len(seen), len(set(seen)), overlay)
            self.assertLessEqual(
                {rendered.namespace(each) for each in rendered.objects(overlay)} - {""}, {NAMESPACE, AGENTS}
            )

    def test_config_maps_and_secrets(self) -> None:
        secrets = {"alertmanager-secrets", "grafana-admin", "erlmcp-tls", "erlmcp-scrapers", "erlmcp-scrape-token"}
        printed = (rendered.KUBERNETES / "secrets.sh").read_text()
        for wanted in secrets:
            self.assertRegex(printed, rf"secret {wanted} ")
        for overlay in OVERLAYS:
            maps = {
                (rendered.namespace(each), each["metadata"]["name"]) for each in rendered.of_kind(overlay, "ConfigMap")
            }
            used = set()
            for each in rendered.of_kind(overlay, *WORKLOADS):
                for reference in [*_find(rendered.pod(each), "configMap"), *_find(rendered.pod(each), "configMapRef")]:
                    key = (rendered.namespace(each), reference["name"])
                    if not reference.get("optional"):
                        self.assertIn(key, maps, f"{overlay}: {rendered.name(each)}")
                    used.add(key)
                for reference in _find(rendered.pod(each), "secret"):
                    self.assertIn(reference.get("secretName", reference.get("name")), secrets, rendered.name(each))
            self.assertLessEqual(maps, used, f"{overlay}: nobody mounts {maps - used}")

    def test_mounts_have_volumes_and_volumes_mounts(self) -> None:
        for overlay in OVERLAYS:
            for each in rendered.of_kind(overlay, *WORKLOADS):
                volumes = {volume["name"] for volume in rendered.pod(each).get("volumes", [])}
                claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
                mounts = {
                    mount["name"]
                    for container in rendered.containers(each)
                    for mount in container.get("volumeMounts", [])
                }
                self.assertEqual(mounts, volumes | claims, f"{overlay}: {rendered.name(each)}")

    def test_services_select_pods_and_their_ports(self) -> None:
        for overlay in OVERLAYS:
            services = rendered.of_kind(overlay, "Service")
            for service in services:
                if service["spec"].get("type") == "ExternalName":
                    target, where, domain = service["spec"]["externalName"].split(".", 2)
                    self.assertEqual(domain, rendered.CLUSTER_DOMAIN)
                    self.assertNotEqual(where, rendered.namespace(service))
                    rendered.find(overlay, "Service", target, where)
                    continue
                chosen = [
                    each
                    for each in rendered.of_kind(overlay, *WORKLOADS)
                    if rendered.namespace(each) == rendered.namespace(service)
                    and service["spec"]["selector"].items() <= rendered.pod_labels(each).items()
                ]
                self.assertEqual(
                    len(chosen), 1, f"{overlay}: {rendered.name(service)} selects {[rendered.name(c) for c in chosen]}"
                )
                for port in service["spec"]["ports"]:
                    self.assertEqual(
                        rendered.port_number(rendered.containers(chosen[0])[0], port["targetPort"]), port["port"]
                    )
            for each in rendered.of_kind(overlay, "StatefulSet"):
                governing = rendered.find(overlay, "Service", each["spec"]["serviceName"], rendered.namespace(each))
                self.assertEqual(governing["spec"].get("clusterIP"), "None", rendered.name(governing))

    def test_workloads_select_their_own_pods(self) -> None:
        for overlay in OVERLAYS:
            things = rendered.of_kind(overlay, *WORKLOADS)
            for each in things:
                chosen = [
                    other for other in things if rendered.selects(each["spec"]["selector"], rendered.pod_labels(other))
                ]
                self.assertEqual(chosen, [each])
                # The guide's label, by which all pods are found.
                self.assertEqual(rendered.pod_labels(each)["app"], "erlmcp-monitoring")

    def test_each_has_a_disruption_budget(self) -> None:
        for overlay in OVERLAYS:
            budgets = rendered.of_kind(overlay, "PodDisruptionBudget")
            for each in rendered.of_kind(overlay, "StatefulSet", "Deployment"):
                own = [b for b in budgets if rendered.selects(b["spec"]["selector"], rendered.pod_labels(each))]
                self.assertEqual(len(own), 1, f"{overlay}: {rendered.name(each)}")
                # Whoever drains a node must come to an end.
                self.assertEqual(own[0]["spec"]["maxUnavailable"], 1)
            self.assertEqual(len(budgets), len(rendered.of_kind(overlay, "StatefulSet", "Deployment")))


def _find(value: Any, key: str) -> list[Object]:
    if isinstance(value, dict):
        own = [value[key]] if isinstance(value.get(key), dict) else []
        return own + [found for each in value.values() for found in _find(each, key)]
    if isinstance(value, list):
        return [found for each in value for found in _find(each, key)]
    return []


class Hardening(unittest.TestCase):
    """Of every workload, with the exceptions that are listed above."""

    def each(self) -> list[tuple[str, Object, Object]]:
        return [found for overlay in OVERLAYS for found in every(overlay)]

    def test_nobody_is_root(self) -> None:
        for name, thing, _ in self.each():
            context = rendered.pod(thing)["securityContext"]
            if name in ROOT:
                self.assertEqual(rendered.namespace(thing), AGENTS)
                continue
            self.assertIs(context["runAsNonRoot"], True, name)
            self.assertGreater(context["runAsUser"], 0, name)
            self.assertGreater(context["runAsGroup"], 0, name)

    def test_capabilities_and_escalation(self) -> None:
        for name, _, container in self.each():
            context = container["securityContext"]
            self.assertIs(context["allowPrivilegeEscalation"], False, name)
            self.assertNotIn("privileged", context, name)
            self.assertEqual(context["capabilities"]["drop"], ["ALL"], name)
            self.assertEqual(context["capabilities"].get("add", []), CAPABILITIES.get(name, ([], ""))[0], name)

    def test_root_file_system_is_read_only(self) -> None:
        for name, _, container in self.each():
            self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True, name)

    def test_seccomp(self) -> None:
        for name, thing, _ in self.each():
            self.assertEqual(rendered.pod(thing)["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, name)

    def test_no_token_and_no_links(self) -> None:
        for name, thing, _ in self.each():
            self.assertIs(rendered.pod(thing)["automountServiceAccountToken"], False, name)
            self.assertNotIn("serviceAccountName", rendered.pod(thing), name)
            self.assertIs(rendered.pod(thing)["enableServiceLinks"], False, name)

    def test_host(self) -> None:
        for name, thing, _ in self.each():
            spec = rendered.pod(thing)
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                self.assertEqual(spec.get(key, False), name in HOST and key != "hostIPC", f"{name} {key}")
            paths = {volume["hostPath"]["path"] for volume in spec.get("volumes", []) if "hostPath" in volume}
            self.assertEqual(paths, HOST_PATHS.get(name, set()), name)
            writable = {
                volume["hostPath"]["path"]
                for volume in spec.get("volumes", [])
                if "hostPath" in volume
                for mount in rendered.containers(thing)[0]["volumeMounts"]
                if mount["name"] == volume["name"] and not mount.get("readOnly")
            }
            self.assertEqual(writable, WRITABLE_HOST_PATHS.get(name, set()), name)

    def test_configuration_and_secrets_are_mounted_read_only(self) -> None:
        for name, thing, container in self.each():
            volumes = {volume["name"]: volume for volume in rendered.pod(thing).get("volumes", [])}
            for mount in container.get("volumeMounts", []):
                volume = volumes.get(mount["name"], {})
                if {"configMap", "secret", "projected"} & set(volume):
                    self.assertIs(mount.get("readOnly"), True, f"{name} {mount['mountPath']}")
                    # Files would never be renewed.
                    self.assertNotIn("subPath", mount)
                for secret in [volume.get("secret"), volume.get("projected") if _find(volume, "secret") else None]:
                    if secret:
                        self.assertEqual(secret["defaultMode"], 0o440, name)
                        self.assertEqual(
                            rendered.pod(thing)["securityContext"]["fsGroup"],
                            rendered.pod(thing)["securityContext"]["runAsGroup"],
                            name,
                        )
                if "emptyDir" in volume:
                    self.assertIn("sizeLimit", volume["emptyDir"], name)

    def test_resources(self) -> None:
        for name, _, container in self.each():
            self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]), name)
            self.assertIn("memory", container["resources"]["limits"], name)

    def test_probes(self) -> None:
        for name, _, container in self.each():
            probes = rendered.probes(container)
            self.assertEqual(set(probes), {"startup", "liveness", "readiness"}, name)
            for probe in probes.values():
                rendered.port_number(container, probe["httpGet"]["port"])
            # Who must not be restarted because of others.
            if name == "erlmcp":
                self.assertEqual(
                    [probes[kind]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")],
                    ["/startup", "/live", "/ready"],
                )

    def test_namespaces_enforce_it(self) -> None:
        for overlay in OVERLAYS:
            labels = {
                each["metadata"]["name"]: each["metadata"]["labels"] for each in rendered.of_kind(overlay, "Namespace")
            }
            self.assertEqual(labels[NAMESPACE]["pod-security.kubernetes.io/enforce"], "restricted")
            self.assertEqual(set(labels), {NAMESPACE, AGENTS})

    def test_images_have_a_version(self) -> None:
        for name, _, container in self.each():
            self.assertRegex(container["image"], r"^[a-z0-9./-]+:[A-Za-z0-9._-]+$", name)
            self.assertNotRegex(container["image"], r":latest$", name)


class AsCompose(unittest.TestCase):
    """The same images, arguments and variables as in compose, save for what is listed above."""

    def setUp(self) -> None:
        folder = MONITORING / "docker"
        if not (folder / "images.yml").exists():
            self.skipTest("there is no compose file")
        sets = yaml.safe_load((folder / "images.yml").read_text())["services"]
        self.images = {name: each["image"] for name, each in sets.items()}
        # Where the arguments change with the version.
        self.commands = {name: each["command"] for name, each in sets.items() if "command" in each}
        self.variables = {name: each.get("environment", {}) for name, each in sets.items()}
        self.services = yaml.safe_load((folder / "docker-compose.monitoring.yml").read_text())["services"]

    def test_images_of_the_guide(self) -> None:
        for overlay in OVERLAYS:
            for name, _, container in every(overlay):
                wanted = self.images.get(f"{name}-guide") or re.sub(
                    r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", self.services[name]["image"]
                )
                self.assertEqual(container["image"], wanted, f"{overlay}: {name}")

    def test_images_that_are_tested(self) -> None:
        component = yaml.safe_load((rendered.KUBERNETES / "components/tested-images/kustomization.yaml").read_text())
        got = {f"{each['name']}:{each['newTag']}" for each in component["images"]}
        used = {name for name, _, _ in every("overlays/production")} - {"erlmcp"}
        self.assertEqual(got, {self.images[f"{name}-tested"] for name in used})

    def test_arguments(self) -> None:
        for name, _, container in every("base"):
            different = DIFFERENT_ARGUMENTS.get(name, set())
            if "*" in different:
                continue
            command = self.services[name].get("command", self.commands.get(f"{name}-guide", []))
            words = command.split() if isinstance(command, str) else command
            flags = [_default(word).replace("$$", "$") for word in words]

            def plain(arguments: list[str], leave_out: set[str] = different) -> set[str]:
                return {each for each in arguments if each and each.split("=")[0] not in leave_out}

            self.assertEqual(plain(container.get("args", [])), plain(flags), name)

    def test_environment(self) -> None:
        for overlay in ("base", "overlays/dev"):
            for name, thing, container in every(overlay):
                if name == "erlmcp":
                    continue
                leave_out = DIFFERENT_ENVIRONMENT.get(name, set())
                service = self.services[name]
                composed = {**self.variables[f"{name}-guide"], **service.get("environment", {})}
                for path in service.get("env_file", []):
                    lines = (MONITORING / "docker" / path).read_text().splitlines()
                    composed |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
                wanted = {key: _default(str(value)) for key, value in composed.items() if key not in leave_out}
                got = {
                    key: value
                    for key, value in rendered.variables(overlay, thing, container).items()
                    if key not in leave_out
                }
                self.assertEqual(got, wanted, name)


def _default(word: str) -> str:
    """Compose's value where nobody sets its variable."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", word)
