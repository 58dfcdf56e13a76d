# upgrade-otp.sh with stand-ins for kerl, asdf and apt that write down their calls.
# "OTP 28.3.1" is a stand-in's; the erl of this machine is real where there is one.
load helper

setup() {
  common_setup
  export CALLS=$BATS_TEST_TMPDIR/calls ERLMCP_OTP_DIR=$BATS_TEST_TMPDIR/otp
  : >"$CALLS"
  echo 28.2 >"$BATS_TEST_TMPDIR/now"
  fake_erl "$BATS_TEST_TMPDIR/now" | stand_in erl
  health 200
}

# An erl that says the version in a file, and passes or fails checks.
fake_erl() { # VERSION-FILE
  cat <<SH
#!/bin/bash
echo "erl \$*" >>"$CALLS"
case \$* in
  *OTP_VERSION*) tr -d '\n' <"$1" ;;
  *crypto*) [ ! -e "$BATS_TEST_TMPDIR/no-crypto" ] ;;
  *erlmcp_instrumentation_nif*) [ ! -e "$BATS_TEST_TMPDIR/no-nif" ] ;;
esac
SH
}

# What the health page answers, by a curl that answers for it.
health() { # STATUS
  echo "$1" >"$BATS_TEST_TMPDIR/health"
  printf '#!/bin/bash\nprintf %%s "$(cat %q)"\n' "$BATS_TEST_TMPDIR/health" | stand_in curl
}

with_kerl() {
  # `kerl install VERSION FOLDER` makes an erl of that version.
  {
    cat <<SH
#!/bin/bash
echo "kerl \$*" >>"$CALLS"
case "\$1 \$2" in
  "list releases") printf '28.2\n28.3.1 *\n' ;;
  "list builds") ;;
  build*) [ ! -e "$BATS_TEST_TMPDIR/no-build" ] ;;
  install*)
    mkdir -p "\$3/bin" && echo "\$2" >"\$3/version"
    cp "$bin/erl.made" "\$3/bin/erl" && sed -i "s|VERSIONFILE|\$3/version|" "\$3/bin/erl" && chmod +x "\$3/bin/erl"
    ;;
esac
SH
  } | stand_in kerl
  fake_erl VERSIONFILE | stand_in erl.made
}

upgrade() { run "$scripts/upgrade-otp.sh" "$@"; }
called() { grep -qF -- "$1" "$CALLS"; }
no_change() { ! grep -E '^(kerl (build|install)|asdf (install|set|global)|apt-get install)' "$CALLS"; }

@test "kerl: backup, build, checks, switch, restart, health, in this order" {
  with_kerl
  mkdir -p "$ERLMCP_OTP_DIR/28.2" && ln -s 28.2 "$ERLMCP_OTP_DIR/current"
  printf '#!/bin/bash\necho backup "$ERLMCP_VERSION" "$@" >>"$CALLS"\n' >"$scripts/backup.sh"
  ERLMCP_VERSION=3.0.0 upgrade --restart "echo restarted >>$CALLS" --target /backups --native 28.3.1
  ends_with 0
  says "complete  OTP 28.3.1 is in use"
  [ "$(readlink "$ERLMCP_OTP_DIR/current")" = 28.3.1 ]
  [ "$(grep -oE '^(backup.*|kerl build.*|kerl install|restarted)' "$CALLS" | tr '\n' ';')" = "backup 3.0.0 --native /backups;kerl build 28.3.1 28.3.1;kerl install;restarted;" ]
  says "PATH of the application must begin with $ERLMCP_OTP_DIR/current/bin"
}

@test "--dry-run looks and changes nothing" {
  with_kerl
  upgrade --dry-run --restart true 28.3.1
  ends_with 0
  says "would build OTP 28.3.1 by kerl"
  says "backup.sh"
  no_change
  [ ! -e "$ERLMCP_OTP_DIR/current" ]
}

@test "the version that is in use is checked, and nothing else done" {
  with_kerl
  upgrade 28.2
  ends_with 0
  says "in use already"
  no_change
}

@test "without a backup no upgrade" {
  with_kerl
  upgrade 28.3.1
  ends_with 1
  says "no backup, so no upgrade"
  no_change
}

@test "a version that kerl does not know" {
  with_kerl
  upgrade --no-backup 28.9.9
  ends_with 1
  says "kerl knows no release 28.9.9"
  no_change
}

@test "a build that fails changes nothing" {
  with_kerl
  touch "$BATS_TEST_TMPDIR/no-build"
  upgrade --no-backup 28.3.1
  ends_with 1
  says "cannot build OTP 28.3.1"
  [ ! -e "$ERLMCP_OTP_DIR/current" ]
}

@test "without crypto, or with native code that does not load, it is not switched" {
  with_kerl
  mkdir -p "$BATS_TEST_TMPDIR/build/ebin" && touch "$BATS_TEST_TMPDIR/build/ebin/erlmcp_metrics.beam"
  export ERLMCP_BUILD=$BATS_TEST_TMPDIR/build
  for fault in no-crypto no-nif; do
    touch "$BATS_TEST_TMPDIR/$fault"
    upgrade --no-backup 28.3.1
    ends_with 1
    says "OTP 28.3.1 does not work here"
    [ ! -e "$ERLMCP_OTP_DIR/current" ]
    rm "$BATS_TEST_TMPDIR/$fault"
  done
  upgrade --no-backup 28.3.1
  ends_with 0
  says "checked   the library's native code"
}

@test "an application that does not get well goes back, and is restarted on the old one" {
  with_kerl
  mkdir -p "$ERLMCP_OTP_DIR/28.2" && ln -s 28.2 "$ERLMCP_OTP_DIR/current"
  upgrade --no-backup --timeout 2 28.3.1 \
    --restart "case \$(readlink $ERLMCP_OTP_DIR/current) in 28.2) echo 200 ;; *) echo 503 ;; esac >$BATS_TEST_TMPDIR/health; echo restarted >>$CALLS"
  ends_with 1
  says "did not answer 200 within 2 s (last: 503)"
  says "the old version is in use and the application as it was"
  [ "$(readlink "$ERLMCP_OTP_DIR/current")" = 28.2 ]
  [ "$(grep -c restarted "$CALLS")" -eq 2 ]
}

@test "a restart that fails goes back" {
  with_kerl
  upgrade --no-backup --timeout 2 --restart "[ ! -e $ERLMCP_OTP_DIR/current ]" 28.3.1
  ends_with 1
  says "the restart command failed"
  [ ! -e "$ERLMCP_OTP_DIR/current" ]
}

@test "an application that is not well before is not upgraded" {
  with_kerl
  health 503
  upgrade --no-backup --restart true 28.3.1
  ends_with 1
  says "not well before the upgrade"
  no_change
}

@test "too little room" {
  with_kerl
  printf '#!/bin/sh\necho x\necho fs 100 100 1000000 1 /\n' | stand_in df
  upgrade --no-backup 28.3.1
  ends_with 1
  says "wants 3072 MiB"
  no_change
}

asdf_of() { # ASDF-VERSION
  stand_in asdf <<SH
#!/bin/bash
echo "asdf \$*" >>"$CALLS"
case \$* in
  --version) echo "v$1" ;;
  "plugin list") echo erlang ;;
  "list all erlang") printf '28.2\n28.3.1\n' ;;
  "current erlang") echo "erlang          28.2            $HOME/.tool-versions" ;;
  "where erlang 28.3.1") echo "$BATS_TEST_TMPDIR/asdf" ;;
  "install erlang 28.3.1")
    mkdir -p "$BATS_TEST_TMPDIR/asdf/bin" && echo 28.3.1 >"$BATS_TEST_TMPDIR/asdf/version"
    sed "s|VERSIONFILE|$BATS_TEST_TMPDIR/asdf/version|" "$bin/erl.made" >"$BATS_TEST_TMPDIR/asdf/bin/erl"
    chmod +x "$BATS_TEST_TMPDIR/asdf/bin/erl" ;;
esac
SH
  fake_erl VERSIONFILE | stand_in erl.made
}

@test "asdf, old and new: the word for the switch differs" {
  asdf_of 0.14.0
  upgrade --no-backup 28.3.1
  ends_with 0
  called "asdf global erlang 28.3.1"
  asdf_of 0.16.7
  upgrade --no-backup 28.3.1
  ends_with 0
  called "asdf set -u erlang 28.3.1"
}

@test "asdf goes back to what was in use" {
  asdf_of 0.16.7
  upgrade --no-backup --timeout 1 --restart 'false' 28.3.1
  ends_with 1
  called "asdf set -u erlang 28.2"
}

with_apt() {
  stand_in dpkg-query <<'SH'
#!/bin/bash
case $* in
  *db:Status*) printf 'erlang-base ii\nerlang-crypto ii\nerlang-doc rc\n' ;;
  *) echo '1:28.2+dfsg-1' ;;
esac
SH
  stand_in apt-cache <<'SH'
#!/bin/bash
printf ' %s | 1:28.3.1+dfsg-2 | http://deb.example sid/main\n %s | 1:28.2+dfsg-1 | http://deb.example sid/main\n' "$2" "$2"
SH
  stand_in apt-get <<SH
#!/bin/bash
echo "apt-get \$*" >>"$CALLS"
case \$* in
  *--download-only*) ;;
  *erlang-base=1:28.3.1*) echo 28.3.1 >"$BATS_TEST_TMPDIR/now" ;;
  *erlang-base=1:28.2*) echo 28.2 >"$BATS_TEST_TMPDIR/now" ;;
esac
SH
  printf '#!/bin/sh\necho 0\n' | stand_in id
}

@test "packages: fetched, then installed together at one version" {
  with_apt
  upgrade --no-backup 28.3.1
  ends_with 0
  called "--download-only erlang-base=1:28.3.1+dfsg-2 erlang-crypto=1:28.3.1+dfsg-2"
  grep -q "^apt-get install -y --no-install-recommends --allow-downgrades erlang-base=1:28.3.1" "$CALLS"
}

@test "packages that turn out not to work are taken back" {
  with_apt
  touch "$BATS_TEST_TMPDIR/no-crypto"
  upgrade --no-backup 28.3.1
  ends_with 1
  grep -q "allow-downgrades erlang-base=1:28.2+dfsg-1" "$CALLS"
  [ "$(cat "$BATS_TEST_TMPDIR/now")" = 28.2 ]
}

@test "a version that the package sources do not have" {
  with_apt
  upgrade --no-backup 27.0
  ends_with 1
  says "have no Erlang 27.0, but: 1:28.3.1+dfsg-2 1:28.2+dfsg-1"
}

@test "neither kerl nor asdf nor apt" {
  upgrade 28.3.1
  ends_with 1
  says "none of kerl, asdf and apt-get"
}

@test "the real erl of this machine: version, crypto, and the library where it is built" {
  real=$(PATH=/usr/local/bin:/usr/bin:/bin command -v erl) || skip "no Erlang on this machine"
  rm "$bin/erl"
  export PATH=$PATH:/usr/local/bin:/usr/bin:/bin
  version=$("$real" -noshell -eval '{ok, V} = file:read_file(filename:join([code:root_dir(), "releases", erlang:system_info(otp_release), "OTP_VERSION"])), io:put_chars(string:trim(V)), halt().')
  upgrade --with apt "$version"
  ends_with 0
  says "checked   $real is OTP $version"
  says "checked   crypto and ssl"
  if [ -n "${ERLMCP_BUILD-}" ]; then says "checked   the library's native code loads and counts"; fi
}
