# shellcheck shell=bash disable=SC2034,SC2154
# An archive of backup.sh: whether it is whole, and what is in it.

# Takes the archive apart into the staging folder and compares every part with the
# manifest. Ends the script if anything does not fit.
open_archive() { # FILE
  local file=$1 names wanted name size sum part
  [ -r "$file" ] || die "cannot read $file" "name an archive that backup.sh wrote"
  if [ -r "$file.sha256" ] && [ "$(awk '{ print $1; exit }' "$file.sha256")" != "$(sha256sum "$file" | awk '{ print $1 }')" ]; then
    die "$file is not what $file.sha256 says: it is damaged or was changed" "use another archive"
  fi
  names=$(tar -tf "$file" 2>/dev/null) || die "$file is no archive, or not all of one" "use another archive"
  tar -xf "$file" -C "$staging" MANIFEST.json 2>/dev/null ||
    die "$file has no manifest: it is not an archive of backup.sh, or not all of one" "use another archive"
  manifest=$staging/MANIFEST.json
  jq -e '.format == 1' "$manifest" >/dev/null 2>&1 || die "$file is of a format that this version does not know" "use the scripts that wrote it"
  # Names of our own, and nothing else: no path leads out of the folder.
  wanted=$(jq -r '.parts[].file' "$manifest")
  for name in $wanted; do
    [[ $name =~ ^[a-z-]+\.tar\.gz$ ]] || die "$file names a part that is none: $name" "use another archive"
  done
  if [ "$(printf '%s\nMANIFEST.json\n' "$wanted" | sort)" != "$(sort <<<"$names")" ]; then
    die "$file does not hold what its manifest says" "use another archive"
  fi
  tar -xf "$file" -C "$staging" || die "cannot take $file apart" "is there room in $staging?"
  for part in $wanted; do
    read -r size sum < <(jq -r --arg file "$part" '.parts[] | select(.file == $file) | "\(.bytes) \(.sha256)"' "$manifest")
    if [ "$(stat -c %s "$staging/$part")" != "$size" ] || [ "$(sha256sum "$staging/$part" | awk '{ print $1 }')" != "$sum" ]; then
      die "$part in $file is damaged or was changed" "use another archive"
    fi
    [ -s "$staging/$part" ] || continue
    names=$(tar -tzf "$staging/$part") || die "$part in $file cannot be read" "use another archive"
    if grep -qE '^/|(^|/)\.\.(/|$)' <<<"$names"; then
      die "$part in $file has paths that lead out of their folder" "use another archive"
    fi
  done
}

archive_parts() { jq -r '.parts[].name' "$manifest"; }
archive_field() { jq -r ".$1" "$manifest"; }
archive_version() { # PART
  jq -r --arg name "$1" '.parts[] | select(.name == $name) | .version' "$manifest"
}
archive_kib() { # PART
  jq -r --arg name "$1" '.parts[] | select(.name == $name) | .unpacked_kib' "$manifest"
}
