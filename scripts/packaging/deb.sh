#!/usr/bin/env bash
# Builds the Debian package of a program that is built already, and tries it in a
# root directory of its own: installed, run, removed. Needs cargo-deb, dpkg and python3.
#
#   scripts/packaging/deb.sh [PROFILE]     (default: release; debug is what `dev` builds)
set -euo pipefail
cd "$(dirname "$0")/../.."
profile=${1:-release}
built=target/$profile
made=target/packaging
rm -rf "$made"
mkdir -p "$made"

"$built/ccpeer" man >"$made/ccpeer.1"
"$built/ccpeer" completions bash >"$made/ccpeer.bash"
"$built/ccpeer" completions zsh >"$made/_ccpeer"
"$built/ccpeer" completions fish >"$made/ccpeer.fish"
cargo deb --locked -p ccpeer --no-build --profile "${profile/#debug/dev}" --output "$made/ccpeer.deb"

dpkg-deb --info "$made/ccpeer.deb"
dpkg-deb --contents "$made/ccpeer.deb"

# A package database and a tree of its own; nothing of this system is touched.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/log"
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
into=(--root="$root" --force-not-root --force-depends --log="$root/var/log/dpkg.log")
dpkg "${into[@]}" --install "$made/ccpeer.deb"
home=$root/home
mkdir -p "$home"
run() { env -i HOME="$home" PATH="$root/usr/bin:/usr/bin:/bin" LANG=C.UTF-8 "$@"; }
run ccpeer --version
[ "$(run ccpeer --version | cut -d' ' -f2)" = "$(run ccpeer-hook --version | cut -d' ' -f2)" ]
run ccpeer up --yes --no-mdns
run ccpeer status
run ccpeer down
gzip -dc "$root/usr/share/man/man1/ccpeer.1.gz" | sed -n 1,3p
if command -v systemd-analyze >/dev/null; then
  unit=$root/usr/lib/systemd/user/ccpeer.service
  sed "s#/usr/bin/ccpeer#$root/usr/bin/ccpeer#" "$unit" >"$made/ccpeer.service"
  # It wants a place for sockets, which there is only after a login.
  mkdir -p -m 0700 "$root/run"
  XDG_RUNTIME_DIR=$root/run systemd-analyze verify --user --man=no "$made/ccpeer.service"
  echo "systemd-analyze: ok"
fi
dpkg "${into[@]}" --purge ccpeer
left=$(find "$root" -path "$root/usr/*" ! -type d | wc -l)
[ "$left" -eq 0 ] || { echo "left behind: $left files" >&2; exit 1; }
[ -d "$home/.local/share/ccpeer" ] || { echo "the store of a user went with the package" >&2; exit 1; }
echo "installed, run and removed: $made/ccpeer.deb"
