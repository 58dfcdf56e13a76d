"""The files that the programs see are those of the repository, and so those of compose."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import rendered
import yaml
from namespace import MOUNTED
from programs import NotHere
from rendered import KUBERNETES, MONITORING, OVERLAYS

# What a program reads, by pattern: a new file has to be in the ConfigMap too.
READ = {
    "prometheus": ["prometheus.yml", "rules/*.yml", "recording_rules/*.yml"],
    "alertmanager": ["alertmanager.yml", "templates/*.tmpl"],
    "grafana": ["datasources/*.yml", "dashboards/*.yml", "dashboards/*.json"],
    "loki": ["loki-config.yml"],
    "promtail": ["promtail-kubernetes.yml"],
    "otel": ["collector-config*.yaml", "options/*.yaml"],
    "blackbox": ["blackbox.yml"],
}
# Names under which a file is seen, where that is another one.
RENAMED = {"/etc/prometheus/targets/jaeger-1.yml": "prometheus/targets/available/jaeger.yml"}
GENERATED = {"/etc/prometheus/prometheus.kubernetes.yml": KUBERNETES / "components/discovery/prometheus.kubernetes.yml"}


def source(workload: str, path: str) -> Path:
    """The file of the repository that is seen at a path."""
    if path in RENAMED:
        return MONITORING / RENAMED[path]
    if path in GENERATED:
        return GENERATED[path]
    for folder, own in MOUNTED[workload].items():
        if path.startswith(f"{folder}/"):
            return MONITORING / own / path.removeprefix(f"{folder}/")
    raise AssertionError(f"{workload} sees {path}, which no folder of the stack is for")


class Files(unittest.TestCase):
    """Bytes, paths, completeness."""

    def test_bytes_are_those_of_the_repository(self) -> None:
        for overlay in OVERLAYS:
            for workload, folders in MOUNTED.items():
                with self.subTest(overlay=overlay, workload=workload):
                    thing = rendered.workload(overlay, workload)
                    files = rendered.mounted(overlay, thing, rendered.containers(thing)[0])
                    self.assertTrue(files)
                    for path, text in files.items():
                        self.assertEqual(text.encode(), source(workload, path).read_bytes(), path)
                    seen = {source(workload, path) for path in files}
                    for own in {folder.split("/")[0] for folder in folders.values()}:
                        for pattern in READ[own]:
                            wanted = set((MONITORING / own).glob(pattern))
                            self.assertTrue(wanted, pattern)
                            self.assertLessEqual(wanted, seen, f"{own}/kustomization.yaml lacks {wanted - seen}")

    def test_compose_mounts_the_same_folders(self) -> None:
        compose = MONITORING / "docker/docker-compose.monitoring.yml"
        if not compose.exists():
            self.skipTest("there is no compose file")
        services = yaml.safe_load(compose.read_text())["services"]
        for workload, folders in MOUNTED.items():
            with self.subTest(workload=workload):
                binds = {
                    each["target"]: each["source"].removeprefix("../")
                    for each in services[workload]["volumes"]
                    if isinstance(each, dict) and each["type"] == "bind" and each["source"].startswith("../")
                }
                self.assertEqual(binds, folders)

    def test_the_arguments_name_files_that_are_there(self) -> None:
        for overlay in OVERLAYS:
            for workload in MOUNTED:
                thing = rendered.workload(overlay, workload)
                container = rendered.containers(thing)[0]
                files = rendered.mounted(overlay, thing, container)
                for argument in container.get("args", []):
                    if argument.lstrip("-").startswith(("config.file=", "config=")):
                        self.assertIn(argument.split("=", 1)[1], files, f"{overlay}: {workload}")

    def test_generated_files_are_up_to_date(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([KUBERNETES / "generate.sh", folder], check=True, timeout=60)
            made = {path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()}
            self.assertTrue(made)
            for path in made:
                self.assertEqual(
                    (Path(folder) / path).read_bytes(), (KUBERNETES / path).read_bytes(), f"generate.sh changes {path}"
                )
            kept = {path.relative_to(KUBERNETES) for path in (KUBERNETES / "operator/rules").iterdir()}
            self.assertEqual({path for path in made if path.parts[0] == "operator"}, kept)

    def test_kubectl_makes_the_same(self) -> None:
        """It has an older kustomize inside."""
        try:
            program = rendered.kubectl()
        except NotHere as error:
            self.skipTest(str(error))
        for overlay in (*OVERLAYS, "operator"):
            command = [program, "kustomize", KUBERNETES / overlay]
            made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
            self.assertEqual(made, rendered.build(KUBERNETES / overlay), overlay)

    def test_no_map_is_too_large(self) -> None:
        """kubectl apply without --server-side keeps a copy in an annotation: 256 KiB for all of them."""
        for overlay in OVERLAYS:
            for each in rendered.of_kind(overlay, "ConfigMap"):
                size = sum(len(text.encode()) for text in each["data"].values())
                self.assertLess(size, 200 * 1024, rendered.name(each))

    def test_promtail_handles_lines_as_elsewhere(self) -> None:
        """After the runtime's prefix, the stages of erlmcp-pipeline.yml; the app's name is a folder here."""
        promtail = yaml.safe_load((MONITORING / "promtail/promtail-kubernetes.yml").read_text())
        stages = next(job for job in promtail["scrape_configs"] if job["job_name"] == "erlmcp")["pipeline_stages"]
        shared = yaml.safe_load((MONITORING / "promtail/erlmcp-pipeline.yml").read_text())["pipeline_stages"]
        self.assertIn("cri", stages[0])
        for stage in shared:
            if "json" in stage or "timestamp" in stage:
                self.assertIn(stage, stages)
        labels = next(stage["labels"] for stage in stages if "labels" in stage)
        self.assertLessEqual(next(stage["labels"] for stage in shared if "labels" in stage).items(), labels.items())

    def test_secrets_are_not_in_the_repository(self) -> None:
        for overlay in (*OVERLAYS, "operator"):
            self.assertEqual([rendered.name(each) for each in rendered.of_kind(overlay, "Secret")], [])
