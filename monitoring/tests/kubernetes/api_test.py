"""A real API server takes it: kube-apiserver and etcd, with no cluster behind them."""

import copy
import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import rendered
from operator_test import definitions
from programs import TOOLS, NotHere, Program, find, wait_for
from rendered import AGENTS, KUBERNETES, NAMESPACE, OVERLAYS, WORKLOADS, Object

TOKEN = "an-administrator-of-this-test"
ETCD, SERVER = "http://127.0.0.1:2379", "https://127.0.0.1:6443"


def server() -> Path:
    """What scripts/fetch-apiserver.sh has built."""
    found = sorted(TOOLS.glob("kubernetes-*/kube-apiserver"))
    if not found:
        raise NotHere(f"kube-apiserver is not in {TOOLS} (scripts/fetch-apiserver.sh, a quarter of an hour)")
    return found[-1]


class Api(unittest.TestCase):
    """Defaults, validation and pod security as in a cluster; nothing runs."""

    folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        try:
            rendered.own_network()
            program, etcd = server(), find("etcd", "3.4.23")
        except NotHere as error:
            raise unittest.SkipTest(str(error)) from error
        cls.folder = folder = Path(tempfile.mkdtemp(prefix="erlmcp-apiserver-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        store = Program(
            "etcd",
            [etcd, f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"],
            folder / "etcd.log",
        )
        cls.addClassCleanup(store.stop)
        store.wait_until_answers(f"{ETCD}/health")
        subprocess.run(["openssl", "genrsa", "-out", folder / "key", "2048"], check=True, capture_output=True)
        (folder / "tokens").write_text(f"{TOKEN},admin,admin,system:masters\n")
        flags = [
            f"--etcd-servers={ETCD}",
            f"--cert-dir={folder}",
            "--secure-port=6443",
            "--bind-address=127.0.0.1",
            # There is no route to find an address by.
            "--advertise-address=127.0.0.1",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://test",
            f"--service-account-key-file={folder / 'key'}",
            f"--service-account-signing-key-file={folder / 'key'}",
            f"--token-auth-file={folder / 'tokens'}",
            # Default accounts are made by a controller that does not run here.
            "--disable-admission-plugins=ServiceAccount",
        ]
        api = Program("kube-apiserver", [program, *flags], folder / "api.log")
        cls.addClassCleanup(api.stop)

        def ready() -> bool:
            if api.process.poll() is not None:
                raise RuntimeError(api.tail())
            return cls._kubectl("get", "--raw=/readyz").returncode == 0

        wait_for("kube-apiserver", ready, 60, 0.5)
        namespaces = "---\n".join(json.dumps(each) for each in rendered.of_kind("base", "Namespace"))
        done = cls._kubectl("apply", "--server-side", "-f", "-", text=namespaces)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    @staticmethod
    def _kubectl(*words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            server().parent / "kubectl",
            f"--server={SERVER}",
            "--insecure-skip-tls-verify",
            f"--token={TOKEN}",
            *words,
        ]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)

    def kubectl(self, *words: str | Path, text: str = "") -> str:
        """What it printed; a warning is a failure."""
        done = self._kubectl(*words, text=text)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def test_overlays(self) -> None:
        """Strictly, without a warning; and again, which changes nothing."""
        for overlay in OVERLAYS:
            with self.subTest(overlay=overlay):
                self.kubectl(
                    "apply", "--server-side", "--validate=strict", "--dry-run=server", "-k", KUBERNETES / overlay
                )
        production = KUBERNETES / "overlays/production"
        self.kubectl("apply", "--server-side", "--validate=strict", "-k", production)
        kinds = "statefulsets,deployments,daemonsets,services,networkpolicies"
        versions = ["get", kinds, "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]
        before = self.kubectl(*versions)
        self.kubectl("apply", "--server-side", "--validate=strict", "-k", production)
        after = self.kubectl(*versions)
        self.assertEqual(before, after)
        for each in rendered.of_kind("overlays/production", *WORKLOADS):
            self._pod(each)

    def _pod(self, thing: Object) -> None:
        """Pod security admits the pod to its namespace, and the agents to theirs alone."""
        spec = copy.deepcopy(rendered.pod(thing))
        claims = [claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])]
        spec.setdefault("volumes", []).extend(
            {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims
        )
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "test", "labels": rendered.pod_labels(thing)},
            "spec": spec,
        }
        admitted = []
        for namespace in (NAMESPACE, AGENTS):
            done = self._kubectl(
                "create",
                "--validate=strict",
                "--dry-run=server",
                f"--namespace={namespace}",
                "-f",
                "-",
                text=json.dumps(pod),
            )
            if done.returncode == 0:
                admitted.append(namespace)
            else:
                self.assertIn("violates PodSecurity", done.stderr, rendered.name(thing))
        self.assertEqual(
            admitted, [AGENTS] if rendered.namespace(thing) == AGENTS else [NAMESPACE, AGENTS], rendered.name(thing)
        )

    def test_operator(self) -> None:
        """By the operator's own definitions: what they do not know is an error."""
        if not definitions():
            self.skipTest(f"the operator's definitions are not in {TOOLS} (scripts/setup.sh stack)")
        for path in definitions():
            self.kubectl("apply", "--server-side", "-f", path)
        self.kubectl("wait", "--for=condition=established", "--timeout=20s", "crd", "--all")
        out = self.kubectl("apply", "--server-side", "--validate=strict", "-k", KUBERNETES / "operator")
        self.assertEqual(len(out.splitlines()), len(rendered.objects("operator")))

    def test_secrets(self) -> None:
        """What secrets.sh prints is taken as it is."""
        for kind in ("grafana", "erlmcp", "tls"):
            printed = subprocess.run(
                [KUBERNETES / "secrets.sh", kind], capture_output=True, text=True, check=True, timeout=60
            ).stdout
            self.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", text=printed)
