"""deploy.sh, with an ssh that runs on this machine what it is told to run on the other."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from programs import ROOT

SSH = """\
#!/bin/bash
# Options first, then the machine, then what is to be run there.
while [[ $1 == -* ]]; do printf '%s %s\\n' "$1" "$2" >>"$CALLS"; shift 2; done
printf 'machine %s\\n' "$1" >>"$CALLS"
cd "$OTHER" && HOME=$OTHER exec sh -c "$2"
"""
SCRIPT = """\
#!/bin/sh
echo "deploy-monitoring $*" >>"$CALLS"
[ "$1" != "$FAILS" ]
"""


class Deploy(unittest.TestCase):
    """A small repository, and a home folder on the other machine."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        base = Path(folder.name)
        self.repository, self.other, self.calls = base / "repository", base / "other", base / "calls"
        self.other.mkdir()
        (base / "key").write_text("key")
        (base / "bin").mkdir()
        self._write(base / "bin/ssh", SSH)
        self._write(self.repository / ".github/deploy.sh", (ROOT / ".github/deploy.sh").read_text())
        self._write(self.repository / "monitoring/scripts/deploy-monitoring.sh", SCRIPT)
        for name in ("a rule.yml", "old.yml"):
            self._write(self.repository / "monitoring/rules" / name, name)
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.variables = {
            **os.environ,
            "PATH": f"{base / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "OTHER": str(self.other),
            "FAILS": "",
        }
        self.key = str(base / "key")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", self.repository, *words], check=True, capture_output=True)

    def deploy(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            self.repository / ".github/deploy.sh",
            *(words or ("deploy@stack.example", self.key)),
        ]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env={**self.variables, **more}
        )

    def test_files_arrive_and_the_stack_is_started_and_verified(self) -> None:
        done = self.deploy()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.other / "erlmcp/monitoring/rules/a rule.yml").read_text(), "a rule.yml")
        said = self.calls.read_text()
        self.assertLess(said.index("deploy-monitoring start"), said.index("deploy-monitoring verify"))
        self.assertIn("machine deploy@stack.example", said)
        # Who answers in the machine's place is refused.
        self.assertIn("-o StrictHostKeyChecking=yes", said)
        self.assertIn("-o BatchMode=yes", said)

    def test_what_is_gone_goes_and_what_is_the_machines_stays(self) -> None:
        self.deploy()
        there = self.other / "erlmcp/monitoring"
        self._write(there / "alertmanager/secrets/smtp_password", "secret")
        self._write(there / "rules/custom/own.yml", "own")
        # Of the checkout, not of the repository.
        self._write(self.repository / "monitoring/secret-of-the-runner", "no")
        (self.repository / "monitoring/rules/old.yml").unlink()
        self.git("add", "--update")
        self.assertEqual(self.deploy().returncode, 0)
        self.assertFalse((there / "rules/old.yml").exists())
        self.assertFalse((there / "secret-of-the-runner").exists())
        self.assertTrue((there / "rules/a rule.yml").exists())
        self.assertEqual((there / "alertmanager/secrets/smtp_password").read_text(), "secret")
        self.assertEqual((there / "rules/custom/own.yml").read_text(), "own")

    def test_a_stack_that_does_not_work_fails_the_job(self) -> None:
        for verb in ("start", "verify"):
            self.assertNotEqual(self.deploy(FAILS=verb).returncode, 0, verb)

    def test_wrong_words(self) -> None:
        self.assertEqual(self.deploy("-h").returncode, 0)
        for words in (("deploy@host",), ("-oProxyCommand=true", self.key), ("host", self.key)):
            self.assertEqual(self.deploy(*words).returncode, 2, words)
        self.assertEqual(self.deploy("deploy@host", "/nonexistent").returncode, 1)
