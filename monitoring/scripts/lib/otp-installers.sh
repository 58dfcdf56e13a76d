# shellcheck shell=bash disable=SC2034,SC2154
# Three ways to another Erlang/OTP, each with the same functions: can it have this
# version, what is in use, fetch and build without using it yet, switch.
# `new_erl` is the program of the new version where that is known before the switch.

new_erl=''

# kerl: PREFIX/VERSION, and PREFIX/current leads to the one in use.
kerl_prefix=${ERLMCP_OTP_DIR:-$HOME/.erlmcp/otp}

kerl_can() {
  kerl update releases >/dev/null 2>&1 || warn "kerl cannot ask for newer releases; going on with those it knows"
  kerl list releases all 2>/dev/null | grep -xE "$1 *\*?" >/dev/null ||
    kerl list releases 2>/dev/null | tr ' ' '\n' | grep -xF "$1" >/dev/null ||
    die "kerl knows no release $1" "kerl list releases all"
}
kerl_used() { basename "$(readlink "$kerl_prefix/current" 2>/dev/null)" 2>/dev/null || true; }
kerl_folder() { echo "$kerl_prefix"; }
kerl_build() {
  new_erl=$kerl_prefix/$1/bin/erl
  [ ! -x "$new_erl" ] || return 0
  mkdir -p "$kerl_prefix"
  if ! kerl list builds 2>/dev/null | grep -xF "$1,$1" >/dev/null; then
    timeout 7200 kerl build "$1" "$1" || return
  fi
  timeout 600 kerl install "$1" "$kerl_prefix/$1"
}
kerl_switch() {
  ln -sfn "$1" "$kerl_prefix/current.new"
  mv -T "$kerl_prefix/current.new" "$kerl_prefix/current"
}
# Before the first switch there was no link.
kerl_unswitch() {
  if [ -n "$1" ] && [ "$1" != . ]; then kerl_switch "$1"; else rm -f "$kerl_prefix/current"; fi
}
kerl_note() {
  [[ :$PATH: == *":$kerl_prefix/current/bin:"* ]] ||
    say "PATH of the application must begin with $kerl_prefix/current/bin"
}

asdf_can() {
  asdf plugin list 2>/dev/null | grep -xF erlang >/dev/null || die "asdf has no plugin erlang" "asdf plugin add erlang"
  asdf list all erlang 2>/dev/null | grep -xF "$1" >/dev/null || die "asdf knows no Erlang $1" "asdf plugin update erlang; asdf list all erlang"
}
asdf_used() { asdf current erlang 2>/dev/null | awk '$1 == "erlang" { print $2 }'; }
asdf_folder() { echo "${ASDF_DATA_DIR:-$HOME}"; }
asdf_build() {
  timeout 7200 asdf install erlang "$1" || return
  new_erl=$(asdf where erlang "$1")/bin/erl
}
asdf_switch() {
  local version
  version=$(asdf --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
  if at_least "$version" 0.16; then asdf set -u erlang "$1"; else asdf global erlang "$1"; fi
}
asdf_unswitch() {
  [ -n "$1" ] || return 0
  asdf_switch "$1"
}
asdf_note() { :; }

# Debian's packages: all of Erlang's that are installed, at one version.
apt_packages() { dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' 'erlang*' 2>/dev/null | awk '$2 == "ii" { print $1 }'; }
# 1:28.3.1+dfsg-2 is 28.3.1.
apt_full() { # VERSION
  apt-cache madison erlang-base 2>/dev/null | awk -v wanted="$1" '
    { full = $3; short = full; sub(/^[0-9]+:/, "", short); sub(/[-+~].*/, "", short) }
    short == wanted && !found { print full; found = 1 }'
}
apt_can() {
  [ -n "$(apt_packages)" ] || die "no package of Erlang is installed" "use kerl or asdf: --with kerl"
  [ -n "$(apt_full "$1")" ] || die "the package sources have no Erlang $1, but: $(apt-cache madison erlang-base | awk '{ print $3 }' | tr '\n' ' ')" \
    "apt-get update; or build it: --with kerl"
}
apt_used() { dpkg-query -W -f='${Version}\n' erlang-base 2>/dev/null; }
apt_folder() { echo /; }
apt_install() { # FULL-VERSION [OPTION]
  local name wanted=()
  for name in $(apt_packages); do
    # Packages of other sources have versions of their own.
    if apt-cache madison "$name" | awk -v full="$1" '$3 == full { found = 1 } END { exit !found }'; then wanted+=("$name=$1"); fi
  done
  DEBIAN_FRONTEND=noninteractive timeout 1800 apt-get install -y --no-install-recommends --allow-downgrades "${@:2}" "${wanted[@]}"
}
apt_build() {
  new_erl=''
  apt_install "$(apt_full "$1")" --download-only
}
apt_switch() { apt_install "$(apt_full "$1")"; }
apt_unswitch() { apt_install "$1"; }
apt_note() { :; }
