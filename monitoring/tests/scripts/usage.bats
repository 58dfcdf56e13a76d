# What all scripts promise: usage on -h, exit 2 on wrong words.
load helper

setup() { common_setup; }

@test "each script shows its usage on -h and --help" {
  for name in deploy-monitoring wait-for-services backup restore upgrade-otp; do
    for word in -h --help; do
      run "$scripts/$name.sh" "$word"
      ends_with 0
      says "usage: $name.sh"
    done
  done
}

@test "each script refuses a wrong option with its usage and exit 2" {
  for name in deploy-monitoring wait-for-services backup restore upgrade-otp; do
    run "$scripts/$name.sh" --no-such-option
    ends_with 2
    says "unknown option: --no-such-option"
    says "usage: $name.sh"
  done
}

@test "deploy-monitoring refuses wrong words with exit 2 before it does anything" {
  with_docker
  for words in "launch" "start stop" "start prometheus" "logs no-such-service" "logs prometheus loki" \
    "--profile" "--profile nonesuch" "--images newest" "--timeout soon" "--timeout 0" "--native --images guide" "--tail many"; do
    # shellcheck disable=SC2086
    run "$scripts/deploy-monitoring.sh" $words
    ends_with 2
    says "usage: deploy-monitoring.sh"
  done
  [ ! -e "$STAND_IN/calls" ]
}

@test "a profile of the environment that does not exist is refused" {
  with_docker
  COMPOSE_PROFILES=jaeger,nonesuch run "$scripts/deploy-monitoring.sh"
  ends_with 2
  says "no such profile: nonesuch"
}

@test "wait-for-services refuses a service that does not exist" {
  with_docker
  run "$scripts/wait-for-services.sh" prometheus grafanna
  ends_with 2
  says "no such service: grafanna"
}

@test "backup refuses two targets, a wrong number and a version that is none" {
  run "$scripts/backup.sh" one two
  ends_with 2
  run "$scripts/backup.sh" --keep some
  ends_with 2
  ERLMCP_VERSION='3/../../x' run "$scripts/backup.sh" "$BATS_TEST_TMPDIR/b"
  ends_with 2
  [ ! -e "$BATS_TEST_TMPDIR/b" ]
}

@test "restore wants one archive, and something to restore" {
  run "$scripts/restore.sh"
  ends_with 2
  run "$scripts/restore.sh" one two
  ends_with 2
  run "$scripts/restore.sh" --data-only --configuration-only one
  ends_with 2
}

@test "upgrade-otp wants one version of Erlang/OTP" {
  for words in "" "28.3.1 27.0" "28" "v28.3.1" "latest" "28.3.1;reboot" "--with brew 28.3.1" "--health nothing 28.3.1"; do
    [ "$words" != 28 ] || continue
    # shellcheck disable=SC2086
    run "$scripts/upgrade-otp.sh" $words
    ends_with 2
  done
  run "$scripts/upgrade-otp.sh" 24.3
  ends_with 1
  says "OTP 25 or later"
}
