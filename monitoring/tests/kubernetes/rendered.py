"""What `kubectl apply -k` would send: the overlays, rendered by kustomize, and the parts of a workload."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate.utils
import yaml
from namespace import INSIDE
from programs import ROOT, TOOLS, NotHere

KUBERNETES = ROOT / "monitoring/kubernetes"
MONITORING = ROOT / "monitoring"
OVERLAYS = ("base", "overlays/dev", "overlays/production")
NAMESPACE, AGENTS = "erlmcp-monitoring", "erlmcp-monitoring-agents"
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")
CLUSTER_DOMAIN = "svc.cluster.local"

# The oldest that still gets fixes, the newest, and one between.
VERSIONS = ("1.32.0", "1.34.0", "1.36.0")

Object = dict[str, Any]

# It would read several megabytes for each object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def own_network() -> None:
    """What starts servers on fixed ports is skipped elsewhere."""
    if os.environ.get(INSIDE) != "inside":
        raise NotHere("no namespace of its own on this machine")


def kustomize() -> Path:
    """The program that scripts/fetch-checkers.sh has built."""
    found = sorted(TOOLS.glob("kustomize-*/kustomize"))
    if not found:
        raise NotHere(f"kustomize is not in {TOOLS} (scripts/setup.sh stack)")
    return found[-1]


def kubectl() -> Path:
    """The one of scripts/fetch-apiserver.sh, or on PATH. Debian's want a newer C library, or are from 2021."""
    found = sorted(TOOLS.glob("kubernetes-*/kubectl")) or [Path(p) for p in [shutil.which("kubectl")] if p]
    if not found:
        raise NotHere(f"kubectl is neither in {TOOLS} (scripts/fetch-apiserver.sh) nor on PATH")
    return found[-1]


def build(folder: Path) -> str:
    """The text that kustomize makes of a folder; no flag, as `kubectl apply -k` allows none."""
    done = subprocess.run([kustomize(), "build", folder], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    # A warning is a key that a later version will not know.
    assert not done.stderr, done.stderr
    return done.stdout


@functools.cache
def objects(overlay: str) -> tuple[Object, ...]:
    """Every object of an overlay."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(each for each in yaml.load_all(build(KUBERNETES / overlay), loader) if each)


def validate(thing: Object) -> None:
    """By the schemas of all versions; strict: an unknown key is an error."""
    for version in VERSIONS:
        kubernetes_validate.utils.validate(thing, version, strict=True)


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    """Those of some kinds."""
    return [each for each in objects(overlay) if each["kind"] in kinds]


def name(thing: Object) -> str:
    """kind/name."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def namespace(thing: Object) -> str:
    """Where it is."""
    return str(thing["metadata"].get("namespace", ""))


def find(overlay: str, kind: str, wanted: str, where: str = NAMESPACE) -> Object:
    """The one with this kind, name and namespace."""
    found = [each for each in of_kind(overlay, kind) if namespace(each) == where and each["metadata"]["name"] == wanted]
    assert len(found) == 1, f"{overlay}: {len(found)} times {kind}/{wanted} in {where}"
    return found[0]


def workload(overlay: str, wanted: str) -> Object:
    """The workload of a name, in whichever namespace."""
    found = [each for each in of_kind(overlay, *WORKLOADS) if each["metadata"]["name"] == wanted]
    assert len(found) == 1, f"{overlay}: {len(found)} workloads called {wanted}"
    return found[0]


def pod(thing: Object) -> Object:
    """The pod's spec of a workload."""
    spec: Object = thing["spec"]["template"]["spec"]
    return spec


def containers(thing: Object) -> list[Object]:
    """All of them, also those that only begin."""
    spec = pod(thing)
    return [*spec.get("initContainers", []), *spec["containers"]]


def pod_labels(thing: Object) -> dict[str, str]:
    """The labels that its pods have."""
    labels: dict[str, str] = thing["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector of labels means these."""
    assert not set(selector) - {"matchLabels"}, f"a selector that this test does not know: {selector}"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def environment(container: Object) -> dict[str, str]:
    """The variables with a value of their own."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def variables(overlay: str, thing: Object, container: Object) -> dict[str, str]:
    """Those with a value, and those of ConfigMaps."""
    found = {}
    for each in container.get("envFrom", []):
        found.update(find(overlay, "ConfigMap", each["configMapRef"]["name"], namespace(thing))["data"])
    return {**found, **environment(container)}


def probes(container: Object) -> dict[str, Object]:
    """startup, liveness, readiness."""
    return {
        kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness") if f"{kind}Probe" in container
    }


def port_number(container: Object, port: str | int) -> int:
    """A port by its name or number."""
    for each in container.get("ports", []):
        if port in (each["name"], each["containerPort"]):
            return int(each["containerPort"])
    raise AssertionError(f"container {container['name']} has no port {port}")


def volume_files(overlay: str, thing: Object, volume: Object) -> Iterator[tuple[str, str]]:
    """The files of a volume of ConfigMaps: path below the mount, text. Optional ones that are not there have none."""
    sources = volume.get("projected", {}).get("sources", [])
    for source in [volume, *sources]:
        reference = source.get("configMap")
        if reference is None:
            continue
        wanted = reference["name"]
        where = namespace(thing)
        maps = [e for e in of_kind(overlay, "ConfigMap") if e["metadata"]["name"] == wanted and namespace(e) == where]
        if not maps and reference.get("optional"):
            continue
        assert maps, f"{overlay}: {name(thing)} names ConfigMap/{wanted}, which is not there"
        yield from maps[0].get("data", {}).items()


def mounted(overlay: str, thing: Object, container: Object) -> dict[str, str]:
    """Every file of a ConfigMap that the container sees: absolute path, text."""
    volumes = {each["name"]: each for each in pod(thing).get("volumes", [])}
    seen = {}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"])
        for path, text in volume_files(overlay, thing, volume) if volume else ():
            seen[f"{mount['mountPath']}/{path}"] = text
    return seen


def write_files(files: dict[str, str], root: Path) -> None:
    """Files as a container sees them, below another root."""
    for path, text in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        os.chmod(target, 0o644)
