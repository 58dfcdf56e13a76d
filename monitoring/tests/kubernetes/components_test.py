"""Components that no overlay of the repository has: an overlay of one's own takes them."""

import os
import tempfile
import unittest
from pathlib import Path

import rendered
import yaml
from rendered import KUBERNETES, NAMESPACE, Object


def overlay(*components: str) -> list[Object]:
    """The base and some components, as in an overlay outside of this folder."""
    with tempfile.TemporaryDirectory() as folder:
        # kustomize follows no link out of a folder, and wants relative paths.
        here = os.path.relpath(KUBERNETES, Path(folder).resolve())
        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{here}/base"],
            "components": [f"{here}/components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(text))
        made = [each for each in yaml.safe_load_all(rendered.build(Path(folder))) if each]
    for each in made:
        rendered.validate(each)
    return made


class Components(unittest.TestCase):
    """Rendered, valid, and with the effect that they are for."""

    def test_every_component_is_tried(self) -> None:
        self.assertEqual(
            {path.name for path in (KUBERNETES / "components").iterdir()},
            {"discovery", "erlmcp", "erlmcp-elsewhere", "erlmcp-tls", "jaeger", "tested-images"},
        )

    def test_tested_images(self) -> None:
        """Newer images, and the arguments that they want, as in compose."""
        found = {
            each["metadata"]["name"]: each
            for each in overlay("jaeger", "tested-images")
            if each["kind"] in rendered.WORKLOADS
        }
        component = yaml.safe_load((KUBERNETES / "components/tested-images/kustomization.yaml").read_text())
        wanted = {f"{each['name']}:{each['newTag']}" for each in component["images"]}
        self.assertEqual(
            {container["image"] for each in found.values() for container in rendered.containers(each)}, wanted
        )
        sets = yaml.safe_load((rendered.MONITORING / "docker/images.yml").read_text())["services"]
        changed = {name for name in found if "command" in sets[f"{name}-tested"]}
        self.assertIn("otel-collector", changed)
        for name in changed:
            command = sets[f"{name}-tested"]["command"]
            words = command.split() if isinstance(command, str) else command
            wanted_words = [word for word in words if not word.startswith("$")]
            self.assertEqual(rendered.containers(found[name])[0]["args"], wanted_words, name)

    def test_an_application_elsewhere(self) -> None:
        """Its names lead to another namespace, and the policies there."""
        made = overlay("jaeger", "discovery", "erlmcp-elsewhere")
        for name in ("erlmcp", "erlmcp-pods"):
            [service] = [each for each in made if each["kind"] == "Service" and each["metadata"]["name"] == name]
            self.assertEqual(service["metadata"]["namespace"], NAMESPACE)
            self.assertEqual(service["spec"]["externalName"], f"{name}.erlmcp.{rendered.CLUSTER_DOMAIN}")
        opened = {
            (policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], port["port"])
            for policy in made
            if policy["kind"] == "NetworkPolicy" and policy["metadata"]["name"].endswith("-to-erlmcp")
            for rule in policy["spec"]["egress"]
            for port in rule["ports"]
        }
        self.assertEqual(opened, {("prometheus", 8080), ("prometheus", 8086), ("blackbox-exporter", 8080)})
        self.assertEqual(
            [each for each in made if each["kind"] == "Deployment" and each["metadata"]["name"] == "erlmcp"], []
        )
