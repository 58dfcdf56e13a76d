"""Steps that need nothing of GitHub, run as they stand."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import workflows
from demo import build
from programs import ROOT, TOOLS, NotHere


def bash(text: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a runner runs it: bash -e, and pipefail."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


class Steps(unittest.TestCase):
    """The text of the step, unchanged."""

    def test_the_tag_is_the_version(self) -> None:
        text = workflows.step("release.yml", "version", "Compare")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder)
            for path in (
                "Cargo.toml",
                "CHANGELOG.md",
                "erlang_src/erlmcp_instrumentation.app.src",
                "scripts/check-version.sh",
            ):
                (copy / path).parent.mkdir(exist_ok=True)
                (copy / path).write_bytes((ROOT / path).read_bytes())
            (copy / "scripts/check-version.sh").chmod(0o755)
            [version] = re.findall(r'(?m)^version = "(.*)"$', (copy / "Cargo.toml").read_text())
            (copy / "CHANGELOG.md").write_text(f"# Changelog\n\n## {version}\n")
            self.assertEqual(bash(text, copy, TAG=f"v{version}").returncode, 0)
            wrong = bash(text, copy, TAG="v99.0.0")
            self.assertEqual(wrong.returncode, 1)
            for path in ("Cargo.toml", "app.src", "CHANGELOG.md"):
                self.assertIn(path, wrong.stderr)
            self.assertEqual(bash(text, copy, TAG="main").returncode, 2)

    def test_checksums_are_what_the_library_asks_for(self) -> None:
        """SHA256SUMS of a release, given to fetch-precompiled.sh; one file less fails."""
        text = workflows.step("release.yml", "publish", "Checksums")
        own = subprocess.run(
            [ROOT / "scripts/fetch-precompiled.sh", "--name"], capture_output=True, text=True, check=True
        ).stdout.strip()
        with tempfile.TemporaryDirectory() as folder:
            dist, library = Path(folder) / "dist", Path(folder) / "library"
            dist.mkdir()
            jobs = workflows.load(workflows.FOLDER / "release.yml")["jobs"]
            targets = [
                each["target"] for job in ("linux", "macos") for each in jobs[job]["strategy"]["matrix"]["include"]
            ]
            for target in targets:
                (dist / f"erlmcp_nif-{target}.so").write_text(target)
            self.assertEqual(bash(text, dist).returncode, 0)
            self.assertEqual(len((dist / "SHA256SUMS").read_text().splitlines()), len(targets))
            (library / "scripts").mkdir(parents=True)
            script = library / "scripts/fetch-precompiled.sh"
            script.write_bytes((ROOT / "scripts/fetch-precompiled.sh").read_bytes())
            variables = {"ERLMCP_NIF_PRECOMPILED": f"{dist}/", "ERLMCP_NIF_SHA256": str(dist / "SHA256SUMS")}
            subprocess.run(["bash", script], check=True, env={**os.environ, **variables}, timeout=60)
            placed = (library / "priv/erlmcp_nif.so").read_bytes()
            self.assertEqual(hashlib.sha256(placed).hexdigest(), hashlib.sha256((dist / own).read_bytes()).hexdigest())
            (dist / own).unlink()
            self.assertNotEqual(bash(text, dist).returncode, 0)

    def test_a_released_library_is_loaded_where_there_is_no_rust(self) -> None:
        """The step's script, with this machine in the container's place."""
        try:
            built = build() / "priv/erlmcp_nif.so"
        except NotHere as error:
            self.skipTest(str(error))
        text = workflows.step("release.yml", "linux", "Load it, where it was not built")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            checkout = place / "checkout"
            for path in ("erlang_src", "native", "scripts"):
                shutil.copytree(ROOT / path, checkout / path)
            for path in ("rebar.config", "rebar.lock"):
                shutil.copy(ROOT / path, checkout)
            own = subprocess.run([ROOT / "scripts/fetch-precompiled.sh", "--name"], capture_output=True, text=True)
            (checkout / "dist").mkdir()
            shutil.copy(built, checkout / "dist" / own.stdout.strip())
            (place / "bin").mkdir()
            docker = place / "bin/docker"
            docker.write_text(
                "#!/bin/bash\n"
                'while [ "$1" != sh ]; do shift; done; script=${3//\\/src/$CHECKOUT}\n'
                'exec sh -ec "${script//\\/tmp\\/library/$CHECKOUT.library}"\n'
            )
            docker.chmod(0o755)
            path = f"{place / 'bin'}:{os.environ['PATH']}"
            done = bash(text, checkout, PATH=path, CHECKOUT=str(checkout), CARGO="/nonexistent", ERLANG="erlang")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            # Not loaded where it is another one.
            (checkout / "dist" / own.stdout.strip()).write_bytes(b"another")
            shutil.rmtree(f"{checkout}.library")
            done = bash(text, checkout, PATH=path, CHECKOUT=str(checkout), CARGO="/nonexistent", ERLANG="erlang")
            self.assertNotEqual(done.returncode, 0)

    def test_the_images_name_is_in_lower_case(self) -> None:
        text = workflows.step("release.yml", "image", "Name")
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output"
            self.assertEqual(bash(text, Path(folder), OWNER="Your-Org", GITHUB_OUTPUT=str(output)).returncode, 0)
            self.assertEqual(output.read_text(), "image=ghcr.io/your-org/erlmcp-demo\n")

    def test_compose_takes_it(self) -> None:
        """By a real docker compose, called as the step calls it."""
        found = sorted(TOOLS.glob("docker-compose-*/docker-compose"))
        if not found:
            self.skipTest(f"docker-compose is not in {TOOLS} (scripts/setup.sh stack)")
        text = workflows.step("deploy.yml", "validate", "Compose takes it, in every profile")
        for program in found:
            with tempfile.TemporaryDirectory() as folder:
                docker = Path(folder) / "docker"
                docker.write_text(f'#!/bin/sh\n[ "$1" = compose ] && shift && exec {program} "$@"\nexit 1\n')
                docker.chmod(0o755)
                done = bash(text, ROOT, PATH=f"{folder}:{os.environ['PATH']}")
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_prometheus_and_alertmanager_take_it(self) -> None:
        """What the containers would run, by the programs of the nearest versions."""
        for name, folder, program in (
            ("Prometheus takes it", "prometheus", TOOLS / "prometheus-2.42.0/promtool"),
            ("Alertmanager takes it", "alertmanager", TOOLS / "alertmanager-0.28.1/amtool"),
        ):
            if not program.exists():
                self.skipTest(f"{program.name} is not in {TOOLS} (scripts/setup.sh stack)")
            text = workflows.step("deploy.yml", "validate", name)
            with tempfile.TemporaryDirectory() as place:
                docker = Path(place) / "docker"
                # What comes behind the image, with the folder where it is here.
                docker.write_text(
                    "#!/bin/bash\n"
                    f'while [ "$1" != "--entrypoint" ]; do shift; done; [ "$2" = {program.name} ] || exit 1; shift 3\n'
                    f'exec {program} "${{@//\\/etc\\/{folder}/{ROOT}/monitoring/{folder}}}"\n'
                )
                docker.chmod(0o755)
                done = bash(text, ROOT, PATH=f"{place}:{os.environ['PATH']}")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_manifests_can_be_made(self) -> None:
        found = sorted(TOOLS.glob("kubernetes-*/kubectl")) or sorted(TOOLS.glob("kustomize-*/kustomize"))
        if not found:
            self.skipTest(f"neither kubectl nor kustomize is in {TOOLS}")
        text = workflows.step("deploy.yml", "validate", "Kubernetes' manifests can be made")
        with tempfile.TemporaryDirectory() as folder:
            kubectl = Path(folder) / "kubectl"
            verb = "kustomize" if found[-1].name == "kubectl" else "build"
            kubectl.write_text(f'#!/bin/sh\nshift\nexec {found[-1]} {verb} "$@"\n')
            kubectl.chmod(0o755)
            done = bash(text, ROOT, PATH=f"{folder}:{os.environ['PATH']}")
            self.assertEqual(done.returncode, 0, done.stderr)
