#!/usr/bin/env bash
# Builds the programs of the monitoring stack that neither Debian nor a wheel has,
# from the Go module proxy. What is built is pinned: a module by its hash, a
# Collector by the hashes of all its modules. Idempotent.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-go.sh PROGRAM=VERSION ...

Builds each program into .tools/PROGRAM-VERSION/PROGRAM. Wants Go 1.25 or later and
takes one to three minutes for each the first time. A program that cannot be built is
told of, and the others are built all the same; the exit status is then 1.

programs:
  loki=2.9.3  promtail=2.9.3  loki=3.7.8  jaeger=1.50.0  thanos=0.32.5
  grafana=10.0.0                    its server, without the pages, which a browser's tools
                                    make: the source nearest to 10.2 that the proxy has.
                                    Wants a C compiler
  otelcol=0.87.0  otelcol=0.152.1   the OpenTelemetry Collector, by its own builder
                                    from monitoring/tests/collector/

environment:
  ERLMCP_TOOLS   where built tools go (default: .tools in the checkout)
  GOMAXPROCS     how many cores the build may use (default: 2)
  ERLMCP_BUILD_MINUTES   no build is begun after so many minutes (default: 600)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
manifests=$here/monitoring/tests/collector
# Debian's golang is older than what these want.
PATH=$PATH:/usr/local/go/bin
least=1.25
minutes=${ERLMCP_BUILD_MINUTES:-600}

say() { printf 'fetch-go: %s\n' "$*"; }
complain() { printf 'fetch-go: %s\n' "$*" >&2; }

loki2='github.com/grafana/loki v1.6.2-0.20231211180320-2535f9bedeae h1:KLk1jneF9/yVmxizviqWMV8uxwf5DbpYAJeru0NY1AU='
push2='github.com/grafana/loki/pkg/push v0.0.0-20231211180320-2535f9bedeae h1:8v1H5D9zFpqv5HPaAesZEkJftZZhjJ7/+snbOkXVsac='
push3='github.com/grafana/loki/pkg/push v0.0.0-20250630054201-94c0ba7b0952 h1:rLzoJGDnoXsZV2j/2atL6OVk9AHluTbDOD8Ls9trtIA='

# What a program is built from: module, version, hash of its zip, package, the
# variable that takes the version. A Collector: the builder's module, and the SHA-256
# of the go.sum that its manifest comes to, which has the hashes of all modules.
pinned() { # PROGRAM=VERSION
  case $1 in
    loki=2.9.3) echo "$loki2 ./cmd/loki github.com/grafana/loki/pkg/util/build.Version" ;;
    promtail=2.9.3) echo "$loki2 ./clients/cmd/promtail github.com/grafana/loki/pkg/util/build.Version" ;;
    loki=3.7.8)
      echo 'github.com/grafana/loki/v3 v3.7.8 h1:bJ0WFWVOjgvG/jYmT9fIX15SYXXDwuEu/IMgTwMA97U=' \
        './cmd/loki github.com/grafana/loki/v3/pkg/util/build.Version'
      ;;
    jaeger=1.50.0)
      echo 'github.com/jaegertracing/jaeger v1.50.0 h1:qsOcPeB3nAc3h8tx+gnZ3JODAZfqbYmQr45jPEwBd2w=' \
        './cmd/all-in-one github.com/jaegertracing/jaeger/pkg/version.latestVersion'
      ;;
    thanos=0.32.5)
      echo 'github.com/thanos-io/thanos v0.32.5 h1:khHvuEAbUKox9DQI9cSmLes4F9G3MqWPxcdrf2tYY0w=' \
        './cmd/thanos github.com/prometheus/common/version.Version'
      ;;
    grafana=10.0.0)
      echo 'github.com/grafana/grafana v1.9.2-0.20230609164553-81d85ce8028d h1:nEQOIzFVY/zsD915THCfkl+HIvGW+AounbAQ61ejFcs=' \
        './pkg/cmd/grafana main.version'
      ;;
    otelcol=0.87.0)
      echo 'go.opentelemetry.io/collector/cmd/builder v0.87.0 h1:aufcsLe27Ag77WWZIKU1ZR7NpM60HOJWoRIAL7VroQE=' \
        1ae1085a6ad29ca7f8773dd0c0cbdab429d0a6f70c21a04fb6058ee5f22eb940
      ;;
    otelcol=0.152.1)
      echo 'go.opentelemetry.io/collector/cmd/builder v0.152.1 h1:OhNwcoA6phf7YqmwtxpAEGHu+N71QoJKugv26+f/Aq4=' \
        032c487b44e00608ae2440f115b8e210fddf92ff073c8b7a28a2b8fbeb2c03ca
      ;;
    *) return 1 ;;
  esac
}

# The pin, with the manifest where there is one, lies beside the program.
origin() { # PROGRAM=VERSION
  pinned "$1"
  case $1 in otelcol=*) cat "$manifests/builder-${1#*=}.yaml" ;; esac
}

folder() { echo "$tools/${1%%=*}-${1#*=}"; }

present() { # PROGRAM=VERSION
  local into
  into=$(folder "$1")
  [ -x "$into/${1%%=*}" ] && origin "$1" | cmp -s - "$into/.built-from"
}

# Brings a module, and prints its folder if its hash is the pinned one. The hash is
# compared here, so the checksum database, which not every mirror has, is not asked.
module() { # MODULE VERSION HASH
  local answer
  answer=$(cd "$work" && GONOSUMDB='*' GOFLAGS=-mod=mod go mod download -json "$1@$2") || {
    complain "the module proxy does not have $1 $2: $(sed -n 's/^\t"Error": //p' <<<"$answer")"
    return 1
  }
  grep -qF "\"Sum\": \"$3\"" <<<"$answer" || {
    complain "$1 $2 is not what it was: its hash is not $3"
    return 1
  }
  sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$answer"
}

# Into $work/source. Built in there it is the main module: only so its own replace
# lines count.
copy_of() { # MODULE VERSION HASH
  local source
  source=$(module "$@") || return
  cp -r "$source" "$work/source"
  chmod -R u+w "$work/source"
}

from_module() { # PROGRAM=VERSION OUTPUT
  local path version hash package variable
  read -r path version hash package variable < <(pinned "$1")
  copy_of "$path" "$version" "$hash" || return
  case $path in
    github.com/grafana/loki*)
      # Its go.mod takes this from the folder beside, which the zip does not have.
      local beside=$push2
      [ "$path" = github.com/grafana/loki ] || beside=$push3
      read -r path version hash <<<"$beside"
      module "$path" "$version" "$hash" >/dev/null || return
      (cd "$work/source" && go mod edit -replace "$path=$path@$version")
      ;;
  esac
  # Old code links to names that the runtime keeps to itself since Go 1.23.
  (cd "$work/source" && GONOSUMDB=github.com/grafana/loki/pkg/push GOFLAGS="$flags -mod=mod" nice go build \
    -ldflags "-s -w -checklinkname=0 -X $variable=${1#*=}" -o "$2" "$package")
}

from_grafana() { # PROGRAM=VERSION OUTPUT
  local path version hash package variable root
  read -r path version hash package variable < <(pinned "$1")
  copy_of "$path" "$version" "$hash" || return
  # Wire, which writes the code that puts Grafana together, reads no later Go.
  root=$(cd "$work" && GOTOOLCHAIN=go1.20.14 go env GOROOT) || return
  local -a go=(env "PATH=$root/bin:$PATH" GOTOOLCHAIN=local "GOFLAGS=$flags -mod=mod" CGO_ENABLED=1 nice go)
  (cd "$work/source" &&
    "${go[@]}" run github.com/google/wire/cmd/wire gen -tags oss ./pkg/server ./pkg/cmd/grafana-cli/runner &&
    "${go[@]}" build -ldflags "-s -w -X $variable=${1#*=}" -o "$2" "$package") || return
  mkdir "$work/new/home"
  cp -r "$work/source"/{conf,public} "$work/new/home/"
}

from_builder() { # PROGRAM=VERSION OUTPUT
  local path version hash modules source
  read -r path version hash modules < <(pinned "$1")
  source=$(module "$path" "$version" "$hash") || return
  cp -r "$source" "$work/builder"
  chmod -R u+w "$work/builder"
  cp "$manifests/builder-${1#*=}.yaml" "$work/manifest.yaml"
  (cd "$work/builder" && GOFLAGS="$flags -mod=mod" GONOSUMDB='*' nice go build -o "$work/ocb" .) || return
  (cd "$work" && GOFLAGS="$flags -mod=mod" GONOSUMDB='*' nice ./ocb --config=manifest.yaml --skip-compilation) ||
    return
  (cd "$work/dist" && sha256sum --quiet -c - <<<"$modules  go.sum") || {
    complain "the Collector's modules are not the pinned ones"
    return 1
  }
  # Without the clients of every cloud, which Prometheus' service discovery brings
  # along: half of the time. Targets in files and static ones stay.
  (cd "$work/dist" && GOFLAGS="$flags" nice go build -tags remove_all_sd -ldflags '-s -w -checklinkname=0' -o "$2" .)
}

build() { # PROGRAM=VERSION
  local program=${1%%=*} into began=$SECONDS
  into=$(folder "$1")
  say "building $program ${1#*=}"
  rm -rf "$work"
  mkdir -p "$work/new"
  printf 'module fetch\n' >"$work/go.mod"
  local status=0
  local from=module
  case $program in
    otelcol) from=builder ;;
    grafana) from=grafana ;;
  esac
  "from_$from" "$1" "$work/new/$program" >"$work/log" 2>&1 || status=1
  [ "$status" -eq 0 ] || {
    tail -n 20 "$work/log" >&2
    complain "cannot build $program ${1#*=}"
    return 1
  }
  "$work/new/$program" --version >/dev/null 2>&1 || "$work/new/$program" version >/dev/null 2>&1 || {
    complain "$program ${1#*=} does not run on this system"
    return 1
  }
  origin "$1" >"$work/new/.built-from"
  rm -rf "$into"
  mv "$work/new" "$into"
  say "built $program ${1#*=} in $((SECONDS - began)) s"
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      usage
      exit 0
      ;;
  esac
  pinned "$argument" >/dev/null || {
    complain "unknown program or version: $argument"
    usage >&2
    exit 2
  }
done
[ $# -gt 0 ] || {
  usage >&2
  exit 2
}

[[ $minutes =~ ^[0-9]{1,4}$ ]] || {
  complain "ERLMCP_BUILD_MINUTES is not a number of minutes: $minutes"
  exit 2
}

missing=()
for argument in "$@"; do
  present "$argument" || missing+=("$argument")
done
[ ${#missing[@]} -gt 0 ] || exit 0

version=$(go env GOVERSION 2>/dev/null) || {
  complain "no Go on this machine: cannot build ${missing[*]} (https://go.dev/dl, $least or later)"
  exit 1
}
[ "$(printf '%s\n' "$least" "${version#go}" | sort -V | head -1)" = "$least" ] || {
  complain "Go ${version#go} is too old: $least or later is needed for ${missing[*]}"
  exit 1
}

# Of two that build at once, the second finds the work done.
mkdir -p "$tools"
exec 9>"$tools/fetch-go.lock"
flock -w 3600 9 || {
  complain "another build has held $tools/fetch-go.lock for an hour"
  exit 1
}
# Beside the result, so that it can be moved there.
work=$(mktemp -d "$tools/fetch-go.XXXXXX")
cleanup() { chmod -R u+w "$work" && rm -rf "$work"; }
trap cleanup EXIT

export GOMAXPROCS=${GOMAXPROCS:-2} CGO_ENABLED=0 GO111MODULE=on GOWORK=off
flags="${GOFLAGS:-} -p=$GOMAXPROCS -trimpath -buildvcs=false"
status=0
for argument in "${missing[@]}"; do
  if present "$argument"; then continue; fi
  if [ $((SECONDS / 60)) -ge "$minutes" ]; then
    complain "no time left for ${argument/=/ }: ERLMCP_BUILD_MINUTES is $minutes"
    status=1
  else
    build "$argument" || status=1
  fi
done
[ "$status" -eq 0 ]
