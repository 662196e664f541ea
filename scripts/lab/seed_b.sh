#!/bin/sh
# Upload All and Download All of the extension claude-sync-sessions against
# `ccpeer serve`, with the client in seed_b_client.mjs and a home of its own:
#
#   seed_b.sh CCPEER [SESSIONS]
set -eu
ccpeer=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
world=$(mktemp -d)
export HOME="$world/home" CCPEER_HOME="$world/ccpeer"
mkdir -p "$HOME/.claude/projects"
agent=
server=
end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
    wait
    rm -rf "$world"
}
trap end EXIT

# Waits until a file has a line, or gives up.
line() {
    tries=0
    while ! grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "$1 never said $2" >&2; exit 1; }
        sleep 0.1
    done
}

"$ccpeer" agent --listen 127.0.0.1:0 --no-mdns >"$world/agent" 2>&1 &
agent=$!
line "$world/agent" ready
token=$("$ccpeer" serve token add lab)
"$ccpeer" serve --listen 127.0.0.1:0 --json >"$world/server" 2>&1 &
server=$!
line "$world/server" '"url"'
url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$world/server")
node "$here/seed_b_client.mjs" "$url" "$token" "${2:-200}"
"$ccpeer" tasks --json | node -e '
let text = "";
process.stdin.on("data", (d) => (text += d));
process.stdin.on("end", () => console.log(`${JSON.parse(text).length} tasks are listed`));'
