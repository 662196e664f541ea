# The front door. Every recipe is a plain line that can be typed without just.

# What there is
default:
    @just --list

# Daily loop: everything that does not need the network stack, in seconds
t:
    cargo test -q -p ccpeer-core --all-features
    cargo test -q -p ccpeer-formats -p ccpeer-store -p ccpeer-sim

# As CI sees it: formatting and lints
lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings

# House rules only
tidy:
    cargo test -q -p ccpeer-sim --test tidy

# Simulate N worlds
sim N="2000":
    cargo run -q -p ccpeer-sim -- run --seeds {{ N }}

# 10,000 worlds and every planted bug
sim-full:
    cargo run -q -p ccpeer-sim -- run --seeds 10000
    cargo run -q -p ccpeer-sim -- mutants

# One world again, with everything that happened in it
seed S:
    cargo run -q -p ccpeer-sim -- replay {{ S }} --trace

# Stories and end-to-end runs: real agents on loopback
e2e *ARGS:
    cargo test -p ccpeer --test house {{ ARGS }}

# A to B and back while the agents are killed N times
kills N="100":
    CCPEER_KILLS={{ N }} cargo test -p ccpeer --test house kill -- --nocapture

# N flipped bits in a store, named and made good by a peer; 200 make 1,000 chunks
flips N="200":
    CCPEER_FLIPS={{ N }} cargo test -p ccpeer --test house k_s07_flipped -- --nocapture

# A device floods another with N sessions beyond its quota
flood N="1000":
    CCPEER_FLOOD={{ N }} cargo test -p ccpeer --test house k_s11 -- --nocapture

# The store when the power goes: every point of a recorded life, N rounds of
# dice; then a crash in each recovery
crash N="2":
    CCPEER_CRASH_ROUNDS={{ N }} cargo test -p ccpeer-store --test store crash -- --nocapture

# The store when the disk fails: every operation, in every way; full at any size
faults:
    CCPEER_FAULTS=all cargo test -p ccpeer-store --test store every_fault -- --nocapture

# What a crash leaves at every step of a placement, N random subsets each; every
# step failed; hostile texts in every field, and somebody who looks all the time
placement N="4":
    CCPEER_CRASH_IMAGES={{ N }} CCPEER_HOSTILE=1 cargo test -p ccpeer-agent --lib place::tests -- --nocapture

# A million lines to Unix and back, and to Windows and back, a line of 100 MB, a session of 500 MB, a long join
bulk:
    CCPEER_BULK=full cargo test --release -p ccpeer-formats --test bulk -- --nocapture --test-threads=1

# Fuzz one target for so many seconds (needs cargo-fuzz and a nightly compiler)
fuzz T SECONDS="60":
    cd fuzz && mkdir -p target/corpus/{{ T }} && cargo +nightly fuzz run --sanitizer none {{ T }} target/corpus/{{ T }} corpus/{{ T }} -- -max_total_time={{ SECONDS }}

# The agent killed 170 times in each phase of its work, and 200 times on the way
kills-full:
    CCPEER_FULL=1 cargo test -p ccpeer --test house kills -- --nocapture --test-threads=1

# A disk that is full and grows by 4 KiB at a time; 20 agents on one home
disk-full:
    CCPEER_FULL=1 cargo test -p ccpeer --test house k_s0 -- --nocapture --test-threads=1 --skip kills

# The hook client: 1,000 events, 200 at once, 1,000 kills, a spool full of 10,000
hooks-full:
    CCPEER_FULL=1 cargo test -p ccpeer --test house k_h -- --nocapture --test-threads=1

# Two devices and two clones push to one repository N times, with kills; what 100
# turns of a session of 10 MB cost there
mirror N="500":
    CCPEER_FULL=1 CCPEER_MIRROR_OPS={{ N }} cargo test -p ccpeer --test house mirror:: -- --nocapture --test-threads=1

# What ships, through the compiler for Windows and macOS (needs rustup, pip)
platforms *ARGS:
    scripts/platforms/check.sh {{ ARGS }}

# The whole story in a scratch directory
demo:
    cargo run -q -- demo

# The page of `ccpeer ui` in headless Chromium (see scripts/browser/README.md)
page *ARGS:
    node scripts/browser/check.mjs --program target/debug/ccpeer --playwright target/browser {{ ARGS }}

# The whole story with the real Claude Code CLI (needs Linux, python3, git, npm)
lab *ARGS:
    cargo build --release
    python3 scripts/lab/lab.py --ccpeer target/release/ccpeer {{ ARGS }}

# What the extension claude-sync-sessions does against `ccpeer serve`, by a client in
# Node: N sessions up and down, checksums of both sides (needs node)
seed-b N="200":
    cargo build -p ccpeer
    scripts/lab/seed_b.sh target/debug/ccpeer {{ N }}

# Every kind of session x how it was made, with the real CLI, there and back
matrix *ARGS:
    cargo build --release
    python3 scripts/lab/lab.py --ccpeer target/release/ccpeer matrix {{ ARGS }}

# Hostile peers in their full form, on real links: about ten minutes
hostile N="100000":
    CCPEER_FRAMES={{ N }} cargo test -p ccpeer-net --lib k_n01 -- --nocapture
    CCPEER_ATTEMPTS=10000 cargo test -p ccpeer-net --lib k_p07 -- --nocapture
    CCPEER_REAL_TIMES=1 cargo test -p ccpeer-net --lib crowds::k_n -- --nocapture --test-threads=1
    CCPEER_RECORDS=200000 cargo test -p ccpeer-net --lib rumours -- --nocapture

# Somebody in the middle of N pairings: half an hour for 1,000
middle N="1000":
    CCPEER_PAIRINGS={{ N }} cargo test -p ccpeer-net --lib k_p05 -- --nocapture

# Running agents against a forger, a turned clock (needs libfaketime), wrong codes, and
# eyes everywhere: 15 minutes, of which locks take seven
pairing-full:
    CCPEER_FULL=1 cargo test -p ccpeer --test house -- k_p03 k_p04 k_p06 k_n08 k_n09 --nocapture

# A running agent and 10,000 strangers
strangers:
    cargo test -p ccpeer-net --lib --no-run --message-format=json \
        | sed -n 's/.*"executable":"\([^"]*ccpeer_net-[^"]*\)".*/\1/p' > target/knock
    CCPEER_FULL=1 CCPEER_KNOCK="$(tail -1 target/knock)" cargo test -p ccpeer --test house k_p07 -- --nocapture

# Agents in network namespaces: blocked multicast, cuts, moves, loss, a stranger,
# seven devices, and ten minutes in which nobody does anything (Linux, root)
netns QUIET="600":
    CCPEER_FULL=1 CCPEER_QUIET={{ QUIET }} cargo test -p ccpeer --test house netns -- --nocapture --test-threads=1

# How soon a turn shows on another device: 100 runs, direct and through a third,
# and beside a device that does not answer (Linux, root)
latency:
    CCPEER_FULL=1 cargo test --release -p ccpeer --test house latency -- --nocapture --test-threads=1

# What it costs, beside the tools that are installed, in one table (Linux, root): an
# hour; `just bench --quick all` two minutes; see docs/PERFORMANCE.md
bench *ARGS="all":
    cargo build --release -p ccpeer
    cargo build --release --examples -p ccpeer-net
    python3 scripts/bench/bench.py {{ ARGS }}

# Parts by themselves: chunker, rewriter, digest, codec, store
bench-parts *ARGS:
    cargo bench -p ccpeer-core -p ccpeer-formats -p ccpeer-store -p ccpeer-agent {{ ARGS }}

# Write expectations and generated documents anew
bless:
    BLESS=1 INSTA_UPDATE=always cargo test --workspace

# The Debian package, installed, run and removed in a tree of its own (needs cargo-deb, dpkg)
deb:
    cargo build --release --locked -p ccpeer
    scripts/packaging/deb.sh

# Documentation of the crates
doc:
    cargo doc --workspace --no-deps

# Everything that must hold
ci *STEPS:
    .ci/run {{ STEPS }}
