"""The workflows as files: schema, pins, permissions, what they name."""

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import workflows
from programs import ROOT, TOOLS
from workflows import FILES, FOLDER

# Whatever may be written, by workflow and job. Everything else reads the repository.
WRITES = {
    ("release.yml", "publish"): {"contents", "id-token", "attestations"},
    ("release.yml", "image"): {"packages", "id-token", "attestations"},
}
# What may be done with a secret, and who has to agree.
ENVIRONMENTS = {
    ("release.yml", "publish"): "release",
    ("release.yml", "image"): "release",
    ("deploy.yml", "deploy"): "monitoring",
}
PIN = re.compile(r"^\s*(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def tool(name: str) -> str:
    """A program of the virtual environment, or of .tools."""
    beside = Path(sys.executable).parent / name
    found = [beside] if beside.exists() else sorted(TOOLS.glob(f"{name}-*/{name}"))
    if not found:
        raise unittest.SkipTest(f"{name} is not in {TOOLS} (scripts/setup.sh stack)")
    return str(found[-1])


def clean(*command: str | Path) -> None:
    """A linter that has nothing to say."""
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Files(unittest.TestCase):
    """All of .github/workflows."""

    def test_there_are_those_that_the_guide_wants(self) -> None:
        self.assertEqual({path.name for path in FILES}, {"deploy.yml", "release.yml", "stack.yml", "test.yml"})
        self.assertEqual(workflows.load(FOLDER / "deploy.yml")["name"], "Deploy Monitoring Stack")
        self.assertIn("monitoring/**", workflows.triggers(FOLDER / "deploy.yml")["push"]["paths"])

    def test_actionlint(self) -> None:
        """With shellcheck for what is run."""
        if not shutil.which("shellcheck"):
            self.skipTest("there is no shellcheck (scripts/setup.sh lint)")
        clean(tool("actionlint"))

    def test_zizmor(self) -> None:
        """In its strictest persona."""
        clean(tool("zizmor"), "--offline", "--no-progress", "--persona=pedantic", FOLDER)

    def test_schema(self) -> None:
        clean(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *FILES)

    def test_actions_are_pinned_by_commit(self) -> None:
        for path in FILES:
            for line in path.read_text().splitlines():
                if "uses:" in line:
                    self.assertRegex(line, PIN, path.name)

    def test_one_commit_for_each_action(self) -> None:
        pins: dict[str, set[str]] = {}
        for each in workflows.steps():
            if "uses" in each.step:
                action, commit = each.step["uses"].split("@")
                pins.setdefault(action, set()).add(commit)
        self.assertEqual({action: found for action, found in pins.items() if len(found) != 1}, {})

    def test_permissions(self) -> None:
        for path in FILES:
            found = workflows.load(path)
            self.assertEqual(found["permissions"], {}, path.name)
            for name, job in found["jobs"].items():
                writes = {key for key, value in job["permissions"].items() if value != "read"}
                self.assertEqual(writes, WRITES.get((path.name, name), set()), f"{path.name}: {name}")
                self.assertEqual(job.get("environment"), ENVIRONMENTS.get((path.name, name)), f"{path.name}: {name}")
                self.assertIn("timeout-minutes", job)

    def test_no_credential_is_left_in_a_checkout(self) -> None:
        for each in workflows.steps():
            if each.step.get("uses", "").startswith("actions/checkout@"):
                self.assertIs(each.step["with"]["persist-credentials"], False, str(each))

    def test_nothing_from_outside_is_put_into_a_script(self) -> None:
        """${{ }} in a script is text of the event made into code."""
        for each in workflows.steps():
            self.assertNotIn("${{", each.step.get("run", ""), str(each))

    def test_what_is_called_is_there(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        called = set()
        for each in workflows.steps():
            text = each.step.get("run", "")
            for target in re.findall(r"\bmake (?!-)([a-z-]+)", text):
                # A package of that name is not a target.
                if "apt-get install" not in text and "apk add" not in text:
                    self.assertIn(target, targets, str(each))
            for path in re.findall(r"(?<![\w/.])((?:scripts|monitoring|\.github)/[\w./-]+)", text):
                found = ROOT / path.rstrip("/")
                self.assertTrue(found.exists(), f"{each}: {path}")
                if path.endswith(".sh"):
                    called.add(path)
                    self.assertTrue(found.stat().st_mode & 0o111, path)
        self.assertLessEqual(
            {"scripts/check-version.sh", "scripts/fetch-precompiled.sh", "scripts/run-tests.sh", ".github/deploy.sh"},
            called,
        )

    def test_the_matrix_is_the_guides(self) -> None:
        jobs = workflows.load(FOLDER / "test.yml")["jobs"]
        self.assertEqual([otp.split(".")[0] for otp in jobs["linux"]["strategy"]["matrix"]["otp"]], ["26", "27", "28"])
        self.assertIn("28.3.1", jobs["linux"]["strategy"]["matrix"]["otp"])
        self.assertEqual(
            {each["machine"] for each in jobs["macos"]["strategy"]["matrix"]["include"]}, {"arm64", "x86_64"}
        )

    def test_the_release_has_every_system(self) -> None:
        jobs = workflows.load(FOLDER / "release.yml")["jobs"]
        built = [each["target"] for name in ("linux", "macos") for each in jobs[name]["strategy"]["matrix"]["include"]]
        systems = ("unknown-linux-gnu", "unknown-linux-musl", "apple-darwin")
        self.assertEqual(
            sorted(built), sorted(f"{machine}-{system}" for machine in ("x86_64", "aarch64") for system in systems)
        )
        self.assertIn(f"-eq {len(built)}", workflows.step("release.yml", "publish", "Checksums"))
        images = {each["dockerfile"] for each in jobs["image"]["strategy"]["matrix"]["include"]}
        self.assertEqual(
            images,
            {
                path.name
                for path in (ROOT / "monitoring/docker").glob("Dockerfile*")
                if not path.name.endswith(".dockerignore")
            },
        )
