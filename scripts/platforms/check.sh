#!/usr/bin/env bash
# Compile-checks what ships for the systems that this one is not: Windows and macOS.
# Only checked, never linked and never run. What C there is among the dependencies
# (zstd, ring's assembly, blake3) is compiled by zig, which brings the headers of all
# of them; it comes from the Python package index into target/platforms.
#
# usage: scripts/platforms/check.sh [windows|macos]...   (all)
# needs: rustup, python3 with pip; about ten minutes each on two cores
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/platforms
mkdir -p "$work/bin"

# Name, Rust's target, zig's target.
platforms=(
  "windows x86_64-pc-windows-gnu x86_64-windows-gnu"
  "macos aarch64-apple-darwin aarch64-macos"
)

if ! PYTHONPATH=$work/zig python3 -m ziglang version >/dev/null 2>&1; then
  python3 -m pip install --quiet --target "$work/zig" ziglang
fi
export PYTHONPATH=$work/zig

# Build scripts call the compiler with the target's name as clang knows it, which is
# not always zig's; so it is left out and zig's is given.
for line in "${platforms[@]}"; do
  read -r _ _ zig <<<"$line"
  cat >"$work/bin/cc-$zig" <<EOF
#!/bin/sh
skip=
for arg in "\$@"; do
  shift
  if [ -n "\$skip" ]; then skip=; continue; fi
  case \$arg in
    --target=*|-mmacosx-version-min=*) continue ;;
    -target|-arch|-isysroot) skip=1; continue ;;
  esac
  set -- "\$@" "\$arg"
done
exec python3 -m ziglang cc -target $zig "\$@"
EOF
  printf '#!/bin/sh\nexec python3 -m ziglang ar "$@"\n' >"$work/bin/ar-$zig"
  chmod +x "$work/bin/cc-$zig" "$work/bin/ar-$zig"
done

failed=0
for line in "${platforms[@]}"; do
  read -r name target zig <<<"$line"
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  rustup target add "$target" >/dev/null 2>&1
  under=${target//-/_}
  # Without a Mac there is no SDK to ask for; zig has what is needed of it.
  if env "CC_$under=$work/bin/cc-$zig" "AR_$under=$work/bin/ar-$zig" \
    SDKROOT="$work" CARGO_TARGET_DIR="$work/target" \
    cargo check --locked --target "$target" -p ccpeer -p ccpeer-agent; then
    echo "ok      $name ($target)"
  else
    echo "FAILED  $name ($target)"
    failed=1
  fi
done
exit "$failed"
