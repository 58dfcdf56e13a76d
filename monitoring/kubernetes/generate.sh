#!/usr/bin/env bash
# Writes what is made from other files of the stack: the rules for the operator, and
# Prometheus' configuration for several pods. tests/kubernetes fails where this would
# change anything.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/kubernetes/generate.sh [FOLDER]

Writes operator/rules/*.yaml and components/discovery/prometheus.kubernetes.yml
below FOLDER (default: the folder of this script).
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*)
    printf 'generate: unknown option: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac
into=${1:-$here}
mkdir -p "$into/operator/rules" "$into/components/discovery"

"$here/../scripts/prometheus-config.sh" --discovery kubernetes >"$into/components/discovery/prometheus.kubernetes.yml"

# The file as it is, two columns to the right: comments and block scalars stay.
rule() { # NAME FILE
  printf '# Made by ../../generate.sh from prometheus/%s.\n' "${2#"$here/../prometheus/"}"
  printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: %s\n' "$1"
  printf 'spec:\n'
  sed -E 's/^(.+)$/  \1/' "$2"
}

rm -f "$into"/operator/rules/*.yaml
names=()
for file in "$here"/../prometheus/rules/*.yml "$here"/../prometheus/recording_rules/*.yml; do
  name=$(basename "$file" .yml)
  case $file in
    */rules/*.yml) name=erlmcp-alerts-$name ;;
    *) name=erlmcp-recorded-${name#erlmcp-} ;;
  esac
  rule "$name" "$file" >"$into/operator/rules/$name.yaml"
  names+=("$name")
done

{
  printf '# Made by ../../generate.sh.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: erlmcp-monitoring\nresources:\n'
  printf '  - %s.yaml\n' "${names[@]}"
} >"$into/operator/rules/kustomization.yaml"
