//! Every bound in one place. Sizes in bytes, times in milliseconds unless the
//! name says otherwise.

/// A signed header. It is of fixed shape; this is slack for its numbers.
pub const HEADER_BYTES_MAX: usize = 512;
/// The payload of one entry.
pub const PAYLOAD_BYTES_MAX: usize = 7 * 1024;
/// One control message between peers.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Entries in one message; it is cut earlier when their bytes fill it.
pub const MESSAGE_ENTRIES_MAX: usize = 128;
/// Payload bytes after which a message of entries is closed.
pub const MESSAGE_ENTRY_BYTES: usize = 48 * 1024;
/// Logs (device and epoch) that one frontier may name.
pub const FRONTIER_LOGS_MAX: usize = 1024;
/// Epochs of one device that we keep; a device that exceeds it is refused more.
pub const EPOCHS_PER_DEVICE_MAX: usize = 64;

/// One chunk, uncompressed.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Smallest, typical and largest chunk of the content-defined cut.
pub const CHUNK_CUT: (usize, usize, usize) = (16 * 1024, 64 * 1024, 256 * 1024);
/// One manifest, encoded.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Slots (files) in one manifest.
pub const MANIFEST_SLOTS_MAX: usize = 4096;
/// Segments of one file: each hand-over between devices adds one.
pub const SEGMENTS_MAX: usize = 256;
/// Origins that one manifest may name.
pub const ORIGINS_MAX: usize = 64;
/// Chunk references in one list page.
pub const LIST_REFS_MAX: usize = 128;
/// List pages of one segment: with [`LIST_REFS_MAX`] this covers 2 GiB.
pub const LIST_PAGES_MAX: usize = 1024;
/// All files of one session together.
pub const SESSION_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// A path of another machine, kept as search text for rewriting.
pub const FOREIGN_PATH_BYTES_MAX: usize = 4096;

/// Names of devices, printable characters.
pub const DEVICE_NAME_CHARS_MAX: usize = 32;
/// Titles of sessions, characters.
pub const TITLE_CHARS_MAX: usize = 80;
/// Parents of one version.
pub const PARENTS_MAX: usize = 16;
/// A snapshot document, encoded.
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024;

/// Chunk requests under way to one peer.
pub const FETCH_IN_FLIGHT_PER_PEER_MAX: usize = 64;
/// Chunks named in one fetch effect.
pub const FETCH_BATCH_MAX: usize = 16;
/// Chunks that we know we need and have not asked for yet.
pub const WANTS_MAX: usize = 256 * 1024;
/// Pause before a failed chunk is asked for again, and its upper bound.
pub const FETCH_RETRY_MS: (u64, u64) = (500, 30_000);
/// How often frontiers are compared even if nothing happened.
pub const HAVE_INTERVAL_MS: u64 = 60_000;
/// A range that was asked for and did not come is asked for again after this.
pub const RANGE_TIMEOUT_MS: u64 = 10_000;
/// Peers with a live link at once.
pub const PEERS_MAX: usize = 64;
/// Devices that may be trusted.
pub const TRUSTED_MAX: usize = 256;
/// Misbehaviour that is forgiven before a link is closed.
pub const FAULTS_MAX: u32 = 8;

/// A hook's JSON; what is longer is cut and flagged.
pub const HOOK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Spool files kept while the agent is away.
pub const SPOOL_FILES_MAX: usize = 10_000;
/// Bytes of spool files kept.
pub const SPOOL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A hook client answers within this, whatever the agent does.
pub const HOOK_DEADLINE_MS: u64 = 400;
/// One request or answer of the local API.
pub const API_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Local clients at once.
pub const API_CLIENTS_MAX: usize = 256;
/// Events waiting for the driver.
pub const DRIVER_QUEUE_MAX: usize = 1024;
/// Growth within this long makes a session live where nothing better is known.
pub const LIVE_GROWTH_MS: u64 = 120_000;

/// One line of a transcript that is read for its content; a longer one is
/// counted and passed over.
pub const TRANSCRIPT_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records of which a transcript's digest remembers the place in the tree; when
/// there are more, the older half is forgotten.
pub const DIGEST_NODES_MAX: usize = 256 * 1024;
/// A transcript's digest, encoded.
pub const DIGEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Prompts that a digest keeps; of more, the first few and the latest stay.
pub const DIGEST_PROMPTS_MAX: usize = 64;
/// Turns whose last answer a digest keeps.
pub const DIGEST_ANSWERS_MAX: usize = 32;
/// Characters of one text that a digest keeps.
pub const DIGEST_TEXT_CHARS_MAX: usize = 8 * 1024;
/// Edited files that a digest names.
pub const DIGEST_FILES_MAX: usize = 100;
/// Tool calls, commands, commits, todos and sub-agents that a digest keeps, each.
pub const DIGEST_ITEMS_MAX: usize = 64;
/// Elements of one list in foreign JSON that are looked at.
pub const JSON_ITEMS_MAX: usize = 4096;
/// A text in a hook's JSON, bytes.
pub const HOOK_TEXT_BYTES_MAX: usize = 64 * 1024;
/// The hand-off prompt of a snapshot, characters.
pub const HANDOFF_CHARS_MAX: usize = 1500;
