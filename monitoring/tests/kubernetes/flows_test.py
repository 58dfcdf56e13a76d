"""Network policies allow exactly what the configurations need."""

import unittest

import flows
import rendered
from rendered import AGENTS, NAMESPACE, OVERLAYS, WORKLOADS


class Flows(unittest.TestCase):
    """Computed from the rendered configurations and policies."""

    def test_allowed_is_what_is_wanted(self) -> None:
        for overlay in OVERLAYS:
            with self.subTest(overlay=overlay):
                wanted = flows.wanted(overlay)
                if not flows.has_erlmcp(overlay):
                    wanted = {flow for flow in wanted if "erlmcp" not in flow}
                self.assertEqual(flows.allowed(overlay) - wanted, set(), "allowed, and nobody needs it")
                self.assertEqual(wanted - flows.allowed(overlay), set(), "needed, and not allowed")

    def test_what_goes_out_is_let_in(self) -> None:
        for overlay in OVERLAYS:
            self.assertEqual(flows.half_open(overlay), set())

    def test_every_pod_is_closed_at_first(self) -> None:
        for overlay in OVERLAYS:
            for each in rendered.of_kind(overlay, *WORKLOADS):
                self.assertTrue(flows.is_closed(overlay, each), rendered.name(each))
            for namespace in (NAMESPACE, AGENTS):
                deny = rendered.find(overlay, "NetworkPolicy", "default-deny", namespace)["spec"]
                self.assertEqual((deny["podSelector"], sorted(deny["policyTypes"])), ({}, ["Egress", "Ingress"]))
                self.assertFalse({"ingress", "egress"} & set(deny))

    def test_names_can_be_resolved(self) -> None:
        """Every pod may ask the cluster's DNS."""
        for overlay in OVERLAYS:
            for namespace in (NAMESPACE, AGENTS):
                dns = rendered.find(overlay, "NetworkPolicy", "dns", namespace)["spec"]
                self.assertEqual(dns["podSelector"], {})
                [rule] = dns["egress"]
                self.assertEqual(
                    sorted((port["protocol"], port["port"]) for port in rule["ports"]), [("TCP", 53), ("UDP", 53)]
                )
                self.assertIn(
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}, rule["to"]
                )

    def test_only_alertmanager_reaches_the_world(self) -> None:
        for overlay in OVERLAYS:
            for policy in rendered.of_kind(overlay, "NetworkPolicy"):
                for rule in policy["spec"].get("egress", []):
                    for peer in rule["to"]:
                        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                            self.assertEqual(policy["metadata"]["name"], "alertmanager")
                            self.assertEqual([port["port"] for port in rule["ports"]], [443, 587])
                            # Where clouds hand out credentials.
                            self.assertEqual(peer["ipBlock"]["except"], ["169.254.0.0/16"])
