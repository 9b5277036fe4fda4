# Debian packages that a set-up needs; to be sourced. Installed if they are missing and we may, named otherwise.
missing=()
need() { # PACKAGE COMMAND…: the package is missing if the command fails
  "${@:2}" > /dev/null 2>&1 || missing+=("$1")
}
install_missing() { # WHO: who needs them, for the message
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "$1 need these Debian packages, or what your system calls them: ${missing[*]}" >&2
    exit 1
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}
