#!/usr/bin/env bash
# Prints the Secrets that the overlays name, for kubectl. Nothing is written to disk,
# nothing is an argument of another program, and no value is in the repository.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/kubernetes/secrets.sh KIND | kubectl apply --server-side -f -

kinds:
  grafana        grafana-admin: a new password of admin, a new key
  alertmanager   alertmanager-secrets: the files of monitoring/alertmanager/secrets
  erlmcp         erlmcp-scrape-token (for Prometheus) and erlmcp-scrapers (its digest,
                 for erlmcp): a new token
  tls            erlmcp-tls: a certificate for the Service erlmcp, by an authority that
                 is made for it and thrown away. For two years; cert-manager is better:
                 a Certificate with secretName erlmcp-tls and the same names

Each call makes new values: of grafana-admin the first one counts, as Grafana keeps
the password in its database. Prometheus and erlmcp read theirs anew within minutes.
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
namespace=erlmcp-monitoring

die() {
  printf 'secrets: %s\n' "$*" >&2
  exit 1
}

wrong() {
  printf 'secrets: %s\n' "$1" >&2
  usage >&2
  exit 2
}

# NAME TYPE; the keys follow, each by `key`.
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$1" "$namespace"
  printf '  labels: {app: erlmcp-monitoring, app.kubernetes.io/part-of: erlmcp-monitoring}\n'
  printf 'type: %s\ndata:\n' "$2"
}

# The value comes by standard input.
key() { # NAME
  printf '  %s: %s\n' "$1" "$(base64 | tr -d '\n')"
}

random() { # BYTES
  openssl rand -hex "$1" | tr -d '\n'
}

kind_grafana() {
  secret grafana-admin Opaque
  random 16 | key admin-password
  random 32 | key secret-key
}

kind_alertmanager() {
  local folder=$here/../alertmanager/secrets file files=()
  for file in "$folder"/*; do
    [ "${file##*/}" = README.md ] || files+=("$file")
  done
  [ ${#files[@]} -gt 0 ] || die "there is no secret in monitoring/alertmanager/secrets (its README.md says what to write)"
  # Says what is missing; what is there is better than nothing.
  "$here/../scripts/alertmanager-secrets.sh" check >&2 || true
  secret alertmanager-secrets Opaque
  for file in "${files[@]}"; do
    key "${file##*/}" <"$file"
  done
}

kind_erlmcp() {
  local token
  token=$(random 32)
  secret erlmcp-scrape-token Opaque
  printf '%s' "$token" | key token
  secret erlmcp-scrapers Opaque
  printf 'prometheus sha256:%s\n' "$(printf '%s' "$token" | sha256sum | cut -d ' ' -f 1)" | key tokens
}

# In a folder that goes away, for openssl writes keys to files only.
certificates() {
  local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 730)
  "${new[@]}" -subj /CN=erlmcp-monitoring -keyout ca.key -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign
  "${new[@]}" -CA ca.crt -CAkey ca.key -subj /CN=erlmcp -keyout tls.key -out tls.crt \
    -addext "subjectAltName=DNS:erlmcp,DNS:erlmcp.$namespace.svc,DNS:erlmcp.$namespace.svc.cluster.local" \
    -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth
}

kind_tls() {
  local name
  umask 077
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  if ! certificates 2>log; then
    cat log >&2
    die "openssl 3 or later is needed"
  fi
  secret erlmcp-tls kubernetes.io/tls
  for name in ca.crt tls.crt tls.key; do
    base64 "$name" | tr -d '\n' >encoded
    printf '  %s: %s\n' "$name" "$(cat encoded)"
  done
}

[ $# -eq 1 ] || wrong "one kind is wanted"
case $1 in
  -h | --help) usage ;;
  grafana | alertmanager | erlmcp | tls) "kind_$1" ;;
  *) wrong "unknown kind: $1" ;;
esac
