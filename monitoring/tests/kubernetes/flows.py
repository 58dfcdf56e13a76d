"""Who talks to whom: as the configurations say, and as the network policies allow."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import rendered
import yaml
from rendered import CLUSTER_DOMAIN, WORKLOADS, Object


class Flow(NamedTuple):
    """From a workload to a port of another."""

    source: str
    destination: str
    port: int


def has_erlmcp(overlay: str) -> bool:
    """The application is a component; it may be in a namespace of its own."""
    return any(each["metadata"]["name"] == "erlmcp" for each in rendered.of_kind(overlay, "Deployment"))


def resolve(overlay: str, host: str, where: str) -> str:
    """The workload that answers to a name that is asked for in a namespace."""
    parts = host.split(".")
    if parts[0] == "erlmcp" and not has_erlmcp(overlay):
        return "erlmcp"
    service = rendered.find(overlay, "Service", parts[0], parts[1] if len(parts) > 1 else where)
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        target, namespace, domain = spec["externalName"].split(".", 2)
        assert domain == CLUSTER_DOMAIN
        return resolve(overlay, f"{target}.{namespace}", namespace)
    chosen = [
        each
        for each in rendered.of_kind(overlay, *WORKLOADS)
        if rendered.namespace(each) == rendered.namespace(service)
        and spec["selector"].items() <= rendered.pod_labels(each).items()
    ]
    return str(chosen[0]["metadata"]["name"])


def _files(overlay: str, workload: str) -> tuple[Object, dict[str, str]]:
    thing = rendered.workload(overlay, workload)
    return thing, rendered.mounted(overlay, thing, rendered.containers(thing)[0])


def _config(overlay: str, workload: str) -> tuple[str, Any, dict[str, str]]:
    """The namespace of a workload, the file that its argument names, and all files that it sees."""
    thing, files = _files(overlay, workload)
    [path] = re.findall(r"-config(?:\.file)?=(\S+)", " ".join(rendered.containers(thing)[0]["args"]))
    return rendered.namespace(thing), yaml.safe_load(files[path]), files


def _addresses(job: Object, files: dict[str, str]) -> list[str]:
    """Of a job's targets, whichever way they are found."""
    found = [target for group in job.get("static_configs", []) for target in group["targets"]]
    for discovery in job.get("dns_sd_configs", []):
        assert discovery["type"] == "A", "SRV carries its own ports"
        found += [f"{name}:{discovery['port']}" for name in discovery["names"]]
    for pattern in [p for each in job.get("file_sd_configs", []) for p in each["files"]]:
        expression = re.compile("/etc/prometheus/" + re.escape(pattern).replace(r"\*", "[^/]*"))
        for path, text in files.items():
            if expression.fullmatch(path):
                found += [target for group in yaml.safe_load(text) for target in group["targets"]]
    return found


def _of_prometheus(overlay: str) -> set[Flow]:
    where, config, files = _config(overlay, "prometheus")
    flows = set()

    def add(source: str, address: str) -> None:
        host, port = re.sub(r"^https?://([^/]+).*", r"\1", address).rsplit(":", 1)
        flows.add(Flow(source, resolve(overlay, host, where), int(port)))

    for job in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]:
        through = [
            rule["replacement"]
            for rule in job.get("relabel_configs", [])
            if rule.get("target_label") == "__address__" and "source_labels" not in rule
        ]
        for address in _addresses(job, files):
            if through:
                add("prometheus", through[0])
                add(resolve(overlay, through[0].split(":")[0], where), address)
            else:
                add("prometheus", address)
    return flows


def _to_urls(overlay: str, source: str, where: str, urls: list[str]) -> set[Flow]:
    flows = set()
    for url in urls:
        parts = urlsplit(url if "://" in url else f"//{url}")
        assert parts.hostname and parts.port, f"{source} names {url}, which has no port"
        flows.add(Flow(source, resolve(overlay, parts.hostname, where), parts.port))
    return flows


def wanted(overlay: str) -> set[Flow]:
    """What the configurations name."""
    flows = _of_prometheus(overlay)

    thing, files = _files(overlay, "grafana")
    sources = yaml.safe_load(files["/etc/grafana/provisioning/datasources/prometheus.yml"])["datasources"]
    there = {each["metadata"]["name"] for each in rendered.of_kind(overlay, "Service")}
    # Jaeger is not in the base.
    urls = [each["url"] for each in sources if urlsplit(each["url"]).hostname in there]
    flows |= _to_urls(overlay, "grafana", rendered.namespace(thing), urls)

    where, config, _ = _config(overlay, "promtail")
    flows |= _to_urls(overlay, "promtail", where, [each["url"] for each in config["clients"]])

    where, config, _ = _config(overlay, "otel-collector")
    used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline["exporters"]}
    endpoints = [config["exporters"][name]["endpoint"] for name in used if not name.startswith("prometheus")]
    flows |= _to_urls(
        overlay,
        "otel-collector",
        where,
        [each for each in endpoints if re.sub(r"^\w+://", "", each).split(":")[0] in there],
    )

    for each in rendered.of_kind(overlay, "Deployment"):
        for container in rendered.containers(each):
            url = rendered.environment(container).get("OTEL_EXPORTER_OTLP_ENDPOINT")
            flows |= _to_urls(overlay, each["metadata"]["name"], rendered.namespace(each), [url] if url else [])
    return flows


def _is_meant(peer: Object, own_namespace: str, thing: Object) -> bool:
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": rendered.namespace(thing)}
        if not rendered.selects(peer["namespaceSelector"], labels):
            return False
    elif rendered.namespace(thing) != own_namespace:
        return False
    return rendered.selects(peer.get("podSelector", {}), rendered.pod_labels(thing))


def _policies(overlay: str, thing: Object, direction: str) -> list[Object]:
    return [
        each
        for each in rendered.of_kind(overlay, "NetworkPolicy")
        if rendered.namespace(each) == rendered.namespace(thing)
        and direction in each["spec"]["policyTypes"]
        and rendered.selects(each["spec"]["podSelector"], rendered.pod_labels(thing))
    ]


def is_closed(overlay: str, thing: Object) -> bool:
    """Whether a pod has policies in both directions: without one everything is allowed."""
    return all(_policies(overlay, thing, direction) for direction in ("Ingress", "Egress"))


def _opened(overlay: str, thing: Object, other: Object, key: str) -> set[int]:
    """The ports that the policies of a pod open to or from another."""
    direction, side = ("Egress", "to") if key == "egress" else ("Ingress", "from")
    server = other if key == "egress" else thing
    container = rendered.containers(server)[0]
    ports = set()
    for policy in _policies(overlay, thing, direction):
        for rule in policy["spec"].get(key, []):
            assert rule.get(side) and rule.get("ports"), f"{rendered.name(policy)}: a rule for everybody or every port"
            on_node = bool(rendered.pod(other).get("hostNetwork")) and any("ipBlock" in peer for peer in rule[side])
            if on_node or any(_is_meant(peer, rendered.namespace(thing), other) for peer in rule[side]):
                for port in rule["ports"]:
                    if port.get("protocol", "TCP") == "TCP":
                        ports.add(
                            rendered.port_number(container, port["port"])
                            if isinstance(port["port"], str)
                            else port["port"]
                        )
    return ports


def allowed(overlay: str) -> set[Flow]:
    """What the policies of both ends let through, to a port that the destination has."""
    flows = set()
    things = rendered.of_kind(overlay, *WORKLOADS)
    for source in things:
        for destination in things:
            if rendered.pod(source).get("hostNetwork"):
                continue
            ports = _opened(overlay, source, destination, "egress")
            # Policies do not reach the node's network.
            if not rendered.pod(destination).get("hostNetwork"):
                ports &= _opened(overlay, destination, source, "ingress")
            known = {each["containerPort"] for each in rendered.containers(destination)[0]["ports"]}
            flows |= {Flow(source["metadata"]["name"], destination["metadata"]["name"], port) for port in ports & known}
    return flows


def half_open(overlay: str) -> set[tuple[str, str, int]]:
    """Ports that a source may go to, and whose owner does not let it in."""
    found = set()
    things = rendered.of_kind(overlay, *WORKLOADS)
    for source in things:
        for destination in things:
            if rendered.pod(source).get("hostNetwork") or rendered.pod(destination).get("hostNetwork"):
                continue
            out = _opened(overlay, source, destination, "egress")
            into = _opened(overlay, destination, source, "ingress")
            names = (source["metadata"]["name"], destination["metadata"]["name"])
            found |= {(*names, port) for port in out - into}
    return found
