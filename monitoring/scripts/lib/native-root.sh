#!/usr/bin/env bash
# Runs inside of a mount namespace of its own (lib/native.sh): makes a root that
# is the host's with the stack's folders at the paths where containers have them,
# and starts programs in it that outlive this script. Nothing of the host's own
# file system is changed: what is added lies on a tmpfs that goes with the last
# program.
set -euo pipefail

case ${1-} in
  -h | --help | '')
    echo 'usage: lib/native-root.sh STATE SERVICE ... (called by deploy-monitoring.sh --native)'
    exit
    ;;
esac

state=$1
shift
root=$state/root

mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/.host"
mount --rbind / "$root/.host"

# A folder of the host that gets something added: a real one, whose entries lead
# to the host's.
open_folder() { # PATH
  local entry
  if [ -d "$root$1" ] && [ ! -L "$root$1" ]; then return; fi
  rm -f "$root$1"
  mkdir "$root$1"
  for entry in "$1"/* "$1"/.[!.]*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then ln -s "/.host$entry" "$root$entry"; fi
  done
}

open_parents() { # PATH
  local parent='' part parts
  IFS=/ read -ra parts <<<"${1#/}"
  for part in "${parts[@]:0:${#parts[@]}-1}"; do
    parent=$parent/$part
    open_folder "$parent"
  done
}

place() { # SOURCE PATH
  open_parents "$2"
  rm -f "$root$2"
  mkdir -p "$root$2"
  # With what is mounted beneath: a user's namespace may not leave that out.
  mount --rbind "$1" "$root$2"
}

place_file() { # SOURCE PATH
  open_parents "$2"
  rm -f "$root$2"
  cp "$1" "$root$2"
}

while read -r kind source path; do
  case $kind in
    folder) place "$source" "$path" ;;
    file) place_file "$source" "$path" ;;
  esac
done <"$state/run/places"

# The rest of the host, as it is.
for entry in /* /.[!.]*; do
  if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
  if [ -e "$root$entry" ] || [ -L "$root$entry" ]; then continue; fi
  if [ -L "$entry" ]; then
    cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    mount --rbind "$entry" "$root$entry"
  else
    ln -s "/.host$entry" "$root$entry"
  fi
done

# The number of a process can be another's later; with its time of start it is
# one process. Written by the process itself, which then becomes the program.
# shellcheck disable=SC2016
become='
  stat=$(cat /proc/$$/stat)
  read -ra fields <<<"${stat##*) }"
  printf "%s %s\n" "$$" "${fields[19]}" >"$1.new"
  mv "$1.new" "$1"
  shift
  exec "$@"
'
for service in "$@"; do
  mapfile -d '' -t command <"$state/run/$service.command"
  setsid chroot "$root" "$BASH" -c "cd / && $become" start "$state/run/$service.pid" "${command[@]}" \
    </dev/null >>"$state/log/$service.log" 2>&1 &
done

# They have their numbers before anybody asks for them.
for service in "$@"; do
  for _ in {1..100}; do
    [ -e "$state/run/$service.pid" ] && break
    sleep 0.05
  done
done
