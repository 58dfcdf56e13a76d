# shellcheck shell=bash disable=SC2034,SC2154
# restore.sh: a service's data, or the configuration, from an archive. What was
# there is put aside in the same folder until all of it has succeeded.

# Lines of sh for in_data.
# shellcheck disable=SC2016
{
  put_aside='
    cd "$1"
    mkdir "$2"
    for entry in * .[!.]*; do
      case $entry in "*" | ".[!.]*" | "$2" | lost+found) continue ;; esac
      mv "$entry" "$2/"
    done
  '
  put_back='
    cd "$1"
    [ -d "$2" ] || exit 0
    for entry in * .[!.]*; do
      case $entry in "*" | ".[!.]*" | "$2" | lost+found) continue ;; esac
      rm -rf "$entry"
    done
    for entry in "$2"/* "$2"/.[!.]*; do
      if [ -e "$entry" ]; then mv "$entry" .; fi
    done
    rmdir "$2"
  '
  # Secrets that the archive does not have stay as they are.
  put_in='
    cd "$1"
    aside=$2
    tar -xzf -
    shift 2
    for name in "$@"; do
      if [ ! -e "$name" ] && [ -e "$aside/$name" ]; then cp -p "$aside/$name" "$name"; fi
    done
  '
  put_done='rm -rf "$1/$2"'
}

put_service() { # SERVICE
  local kept=()
  IFS='|' read -ra kept <<<"$(secret_data "$1")"
  in_data "$1" "$put_aside" "$aside"
  if [ -s "$staging/$1.tar.gz" ]; then
    in_data "$1" "$put_in" "$aside" "${kept[@]}" <"$staging/$1.tar.gz"
  fi
}

put_configuration() {
  local folder folders
  mapfile -t folders < <(tar -tzf "$staging/configuration.tar.gz" | cut -d/ -f1 | sort -u)
  mkdir "$monitoring/$aside"
  for folder in "${folders[@]}"; do
    if [ -e "$monitoring/$folder" ]; then mv "$monitoring/$folder" "$monitoring/$aside/"; fi
  done
  tar -C "$monitoring" -xzf "$staging/configuration.tar.gz"
  # Secrets that the archive does not have stay as they are.
  for folder in "${folders[@]}"; do
    if [ -d "$monitoring/$aside/$folder/secrets" ] && [ ! -e "$monitoring/$folder/secrets" ]; then
      cp -a "$monitoring/$aside/$folder/secrets" "$monitoring/$folder/"
    fi
  done
}

configuration_back() {
  local folder
  [ -d "$monitoring/$aside" ] || return 0
  for folder in "$monitoring/$aside"/*; do
    [ -e "$folder" ] || continue
    rm -rf "${monitoring:?}/${folder##*/}"
    mv "$folder" "$monitoring/"
  done
  rmdir "$monitoring/$aside"
}

# What is done, and undone in case.
put_parts=()

undo_put() {
  local part bad=0
  for part in "${put_parts[@]}"; do
    if [ "$part" = configuration ]; then
      configuration_back || bad=1
    else
      in_data "$part" "$put_back" "$aside" || bad=1
    fi
  done
  put_parts=()
  if [ "$bad" -ne 0 ]; then
    warn "not everything could be put back: what was there is in the folders $aside of the data"
    return 1
  fi
}

keep_put() {
  local part
  for part in "${put_parts[@]}"; do
    if [ "$part" = configuration ]; then
      rm -rf "${monitoring:?}/$aside"
    else
      in_data "$part" "$put_done" "$aside"
    fi
  done
  put_parts=()
}
