"""The pages in monitoring/docs: each command works, each file is accepted, each figure that is worked out is right."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

import place
import yaml
from demo import Demo
from programs import ROOT, NotHere, Program, find, wait_for
from prometheus import Client
from services import Services, alertmanager, prometheus
from shared import flags

DOCS = ROOT / "monitoring/docs"
PAGES = ("sizing", "maintenance", "security", "cost")
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMETHEUS = "2.53.3"
# Half an hour; load_test.py runs what they are made of.
LONG = ("monitoring/tests/storage/run.sh scale", "monitoring/tests/storage/run.sh bytes")
# A report may find something.
REPORT = "monitoring/scripts/maintenance.sh"
# What is printed, by a part of the command that prints a status.
CODES = {"https://localhost:8443/alertmanager": "4", "localhost:8443/prometheus": "401", "https://localhost:9443": "401"}
PASSWORDS = {"VIEWER_PASSWORD": "seen-by-the-test-only", "OPERATOR_PASSWORD": "and-this-one"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each, in order."""
    return BLOCK.findall((DOCS / f"{page}.md").read_text())


def lines(text: str) -> list[str]:
    """Commands; a backslash goes on."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


class Pages(unittest.TestCase):
    """Against the running stack."""

    folder: ClassVar[Path]
    programs: ClassVar[list[Program]]
    environment: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        """A node, Prometheus, Alertmanager; a folder that looks like the checkout."""
        cls.folder = Path(tempfile.mkdtemp(prefix="erlmcp-docs-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        (cls.folder / "monitoring").symlink_to(ROOT / "monitoring")
        cls.programs = []
        services = Services(cls.folder)
        cls.addClassCleanup(lambda: services.stop(*list(services.running)))
        cls.addClassCleanup(cls.stop)
        try:
            node = Demo("documented", cls.folder, 50, ports=(8080, 8086))
            cls.addClassCleanup(node.stop)
            services.start(prometheus=prometheus(PROMETHEUS), alertmanager=alertmanager())
            folders = [find("prometheus", PROMETHEUS).parent, Path(alertmanager().command()[0]).parent]
            folders.append(find("victoria-metrics", "1.112.0").parent)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        # The checkout may be a worktree, and is another folder.
        git = subprocess.run(["git", "rev-parse", "--absolute-git-dir"], cwd=ROOT, capture_output=True, text=True, check=False)
        cls.environment = {
            **os.environ,
            **PASSWORDS,
            "PATH": ":".join([*map(str, folders), os.environ["PATH"]]),
            "GIT_DIR": git.stdout.strip(),
            "GIT_WORK_TREE": str(ROOT),
        }
        client = Client("prometheus:9090")
        for metric in ('up{job="erlmcp"}', "prometheus_rule_group_last_duration_seconds"):
            wait_for(metric, lambda metric=metric: client.value(f"count({metric})"), 60)  # type: ignore[misc]

    @classmethod
    def stop(cls) -> None:
        """What the pages have started."""
        for program in cls.programs:
            program.stop()

    def command(self, line: str) -> None:
        """One line of a page."""
        if line.startswith(LONG):
            return
        generator = "load_generator.py serve" in line
        if generator:
            # Where Prometheus looks here, and not for ever.
            line = "timeout 3 " + re.sub(r"--targets \S+", f"--targets {place.CONFIG / 'targets'}", line)
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{line}"], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        text = f"{line}\n{done.stdout}{done.stderr}"
        allowed = {0, 1} if REPORT in line else {0, 124} if generator else {0}
        self.assertIn(done.returncode, allowed, text)
        self.assertNotIn("Traceback", text)
        if "http_code" in line:
            [code] = [code for part, code in CODES.items() if part in line]
            self.assertTrue(done.stdout.startswith(code), text)
        # Alerts take their time to fire.
        elif line.startswith(("curl", "promtool query")) and "ALERTS" not in line:
            self.assertTrue(done.stdout.strip(), text)
            self.assertNotIn('"status":"error"', text)

    def block(self, kind: str, text: str) -> None:
        """A block is run, written, checked or started."""
        language, _, name = kind.partition(" ")
        if language == "sh":
            for line in lines(text):
                self.command(line)
        elif language == "yaml":
            named = re.match(r"# (\S+\.yml)\n", text)
            if named:
                (self.folder / named[1]).write_text(text)
            else:
                self.relabelling(text)
        elif language == "flags":
            self.start(name, text.split())
        else:
            for line in lines(text):
                script = re.findall(r"monitoring/scripts/\S+", line)
                self.assertTrue(script and (ROOT / script[0]).exists(), line)

    def relabelling(self, text: str) -> None:
        """As a part of a job."""
        job = {"job_name": "x", "static_configs": [{"targets": ["erlmcp:8080"]}], **yaml.safe_load(text)}
        file = self.folder / "relabelling.yml"
        file.write_text(yaml.safe_dump({"scrape_configs": [job]}))
        promtool = find("prometheus", PROMETHEUS, "promtool")
        done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def start(self, name: str, words: list[str]) -> None:
        """A program by the flags of the page, in the folder where its files are."""
        if name == "prometheus-tls":
            (self.folder / "empty.yml").write_text("")
            command: list[str | Path] = [find("prometheus", PROMETHEUS), "--config.file=empty.yml", "--storage.tsdb.path=tls-data"]
        else:
            command = [find("victoria-metrics", "1.112.0", name)]
        # Program has no folder of its own to start in.
        quoted = " ".join(f"'{word}'" for word in [*command, *words])
        entered = f"cd '{self.folder}' && exec {quoted}"
        self.programs.append(Program(name, ["bash", "-c", entered], self.folder / f"{name}.log", self.environment))
        port = 9443 if name == "prometheus-tls" else 8443
        certificate = self.folder / "ca.pem"
        words = ["curl", "-s", "-o", "/dev/null", "--cacert", str(certificate), f"https://localhost:{port}/"]
        wait_for(name, lambda: subprocess.run(words, check=False).returncode == 0, 20)

    def test_pages(self) -> None:
        """In the order of the pages."""
        for page in PAGES:
            found = blocks(page)
            self.assertTrue(found, page)
            for number, (kind, text) in enumerate(found):
                with self.subTest(f"{page}, block {number + 1} ({kind})"):
                    self.block(kind, text)

    def test_the_load_generators_page(self) -> None:
        """The same for its commands."""
        page = ROOT / "monitoring/tools/load-generator/README.md"
        for kind, text in BLOCK.findall(page.read_text()):
            with self.subTest(text):
                self.block(kind, text)

    def test_links(self) -> None:
        """Files and headings that the pages point at are there."""
        for file in (*DOCS.glob("*.md"), *(ROOT / "monitoring" / name / "README.md" for name in ("thanos", "victoria-metrics", "grafana/options", "tools/load-generator"))):
            for link in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", file.read_text()):
                target, heading = link
                if target.startswith("http"):
                    continue
                path = (file.parent / target).resolve() if target else file
                with self.subTest(f"{file.name}: {target}{heading}"):
                    self.assertTrue(path.exists())
                    if heading:
                        titles = re.findall(r"(?m)^#+ (.*)$", path.read_text())
                        self.assertIn(heading[1:], [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles])

    def test_the_arithmetic(self) -> None:
        """The tables of sizing.md by its own formulas."""
        units = {"kB/s": 1e3, "MB/s": 1e6, "MB": 1e6, "GB": 1e9, "TB": 1e12, "M": 1e6}

        def number(cell: str) -> float:
            found = re.match(r"([\d. ]*\d)(?: (kB/s|MB/s|MB|GB|TB|M)\b)?", cell.strip())
            assert found, cell
            return float(found[1].replace(" ", "")) * units.get(found[2] or "", 1)

        text = (DOCS / "sizing.md").read_text()
        table = text[text.index("| nodes | series | samples/s | memory to plan") :].split("\n\n")[0]
        rows = [row.strip("|").split("|") for row in table.splitlines()[2:]]
        self.assertEqual([number(row[0]) for row in rows], [1, 10, 100, 1000, 5000])
        per_sample = float(re.findall(r"VictoriaMetrics takes ([\d.]+) bytes a sample", text)[0])
        for row in rows:
            nodes = number(row[0])
            series, rate = 5000 + 2885 * nodes, 170 + 154 * nodes
            wanted = {
                1: series,
                2: rate,
                3: 120e6 + 8e3 * series,
                5: 8.5 * rate * 10800,
                6: 2.5 * rate * 30 * 86400,
                7: per_sample * rate * 365 * 86400,
                8: 2.1e3 * nodes,
                9: 21 * rate,
            }
            for column, value in wanted.items():
                with self.subTest(f"{nodes:.0f} nodes, column {column}"):
                    # Two digits are written; small amounts of memory to a tenth of a GB.
                    self.assertLess(abs(number(row[column]) - value), max(0.06 * value, 5e7 if column == 3 else 0))

    def test_words_of_the_tool(self) -> None:
        """unused-metrics.sh: what is used is not named."""
        script = ROOT / "monitoring/tools/unused-metrics.sh"
        for wrong in ([], ["x"], ["http://localhost:9090", "x"]):
            self.assertEqual(subprocess.run([script, *wrong], capture_output=True, check=False).returncode, 2)
        self.assertEqual(subprocess.run([script, "-h"], capture_output=True, check=False).returncode, 0)
        done = subprocess.run([script, "http://localhost:9090", "1000"], capture_output=True, text=True, check=True)
        names = {line.split()[1] for line in done.stdout.splitlines()}
        self.assertIn("go_info", names)
        self.assertFalse({"erlmcp_requests_total", "erlmcp_request_duration_seconds", "up"} & names)

    def test_the_compose_file_has_the_same_flags(self) -> None:
        """As the READMEs that these tests start the programs by."""
        compose = yaml.safe_load((ROOT / "monitoring/docker/docker-compose.monitoring.yml").read_text())
        names = {f"thanos-{part}": "thanos" for part in ("sidecar", "store", "query", "compactor")}
        for service, folder in {**names, "victoria-metrics": "victoria-metrics"}.items():
            words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in compose["services"][service]["command"]]
            with self.subTest(service):
                self.assertEqual(sorted(words), sorted(flags(ROOT / f"monitoring/{folder}/README.md", service)))
