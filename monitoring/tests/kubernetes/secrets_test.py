"""secrets.sh and generate.sh: words, what is printed, what is left behind."""

import base64
import hashlib
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from rendered import KUBERNETES, NAMESPACE, Object


def run(*words: str, script: str = "secrets.sh") -> subprocess.CompletedProcess[str]:
    """With a folder for temporary files that is empty afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [KUBERNETES / script, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "TMPDIR": folder},
        )
        assert not list(Path(folder).iterdir()), "something is left behind"
    return done


def printed(kind: str) -> dict[str, Object]:
    """The Secrets by their names."""
    done = run(kind)
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert all(each["metadata"]["namespace"] == NAMESPACE for each in found)
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value) for key, value in each["data"].items()}
        for each in found
    }


class Scripts(unittest.TestCase):
    """What an operator calls."""

    def test_usage(self) -> None:
        for script in ("secrets.sh", "generate.sh"):
            self.assertEqual(run("-h", script=script).returncode, 0)
            self.assertIn("usage:", run("-h", script=script).stdout)
            self.assertEqual(run("--no-such-option", script=script).returncode, 2)
        self.assertEqual(run().returncode, 2)

    def test_each_call_makes_new_values(self) -> None:
        first, second = printed("grafana")["grafana-admin"], printed("grafana")["grafana-admin"]
        self.assertEqual(set(first), {"admin-password", "secret-key"})
        for key, value in first.items():
            self.assertNotEqual(value, second[key])
            self.assertGreaterEqual(len(value), 32)
            self.assertEqual(value, value.strip())

    def test_erlmcp_knows_the_token_by_its_digest(self) -> None:
        secrets = printed("erlmcp")
        token = secrets["erlmcp-scrape-token"]["token"]
        self.assertEqual(
            secrets["erlmcp-scrapers"]["tokens"].decode(), f"prometheus sha256:{hashlib.sha256(token).hexdigest()}\n"
        )

    def test_certificate(self) -> None:
        secrets = printed("tls")["erlmcp-tls"]
        self.assertEqual(set(secrets), {"ca.crt", "tls.crt", "tls.key"})
        with tempfile.TemporaryDirectory() as folder:
            for name, value in secrets.items():
                (Path(folder) / name).write_bytes(value)
            check = [
                "openssl",
                "verify",
                "-CAfile",
                "ca.crt",
                "-purpose",
                "sslserver",
                "-verify_hostname",
                "erlmcp",
                "tls.crt",
            ]
            self.assertEqual(subprocess.run(check, cwd=folder, capture_output=True, check=False).returncode, 0)
            check[-2] = "grafana"
            self.assertNotEqual(subprocess.run(check, cwd=folder, capture_output=True, check=False).returncode, 0)

    def test_nothing_is_printed_where_there_is_nothing(self) -> None:
        if any(
            each.name not in ("README.md", ".gitignore")
            for each in (KUBERNETES.parent / "alertmanager/secrets").iterdir()
        ):
            self.skipTest("there are secrets of Alertmanager in this checkout")
        done = run("alertmanager")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
