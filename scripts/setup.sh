#!/usr/bin/env bash
# Sets up what the tests need on a fresh Debian machine with Go: as root by apt,
# otherwise it says exactly what is missing. Usage: setup.sh [postgres] [chromium] [cgo] [samba]
set -euo pipefail

need=()
for what in "$@"; do
  case "$what" in
    postgres) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need+=(postgresql) ;;
    chromium) command -v chromium >/dev/null || need+=(chromium fonts-dejavu-core) ;;
    cgo)      command -v gcc >/dev/null || need+=(gcc libc6-dev) ;;
    samba)    { command -v samba && command -v samba-tool && command -v ldbadd && command -v kinit && command -v ldapsearch && command -v smbclient && [ -d /usr/share/samba/setup ]; } >/dev/null ||
                need+=(samba samba-ad-dc samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind krb5-user ldb-tools ldap-utils smbclient python3-samba) ;;
    *) echo "setup.sh: unknown part $what" >&2; exit 2 ;;
  esac
done
[ ${#need[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${need[*]} (Debian packages). Install them, or leave their suites out with SKIP=…" >&2
  exit 2
fi
echo "installing ${need[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# Servers that the packages bring are started by the tests alone.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
