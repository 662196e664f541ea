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
pub const FRONTIER_LOGS_MAX: usize = 960;
/// Epochs of one device that we keep; a device that exceeds it is refused more.
pub const EPOCHS_PER_DEVICE_MAX: usize = 64;

/// One chunk, uncompressed.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Smallest, typical and largest chunk of the content-defined cut. What packs a
/// transcript is what stands before it, so long chunks take less room than short ones.
pub const CHUNK_CUT: (usize, usize, usize) = (512 * 1024, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX);
/// One manifest, encoded.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Slots (files) in one manifest.
pub const MANIFEST_SLOTS_MAX: usize = 4096;
/// Files of a kind that is not known, in one manifest.
pub const OPAQUE_FILES_MAX: usize = 256;
/// One of them; a longer one is not captured.
pub const OPAQUE_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// All of them together.
pub const OPAQUE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many directories deep they may lie below a directory of their session.
pub const OPAQUE_DEPTH_MAX: usize = 4;
/// Names that are looked at below a session's own directories to find them.
pub const OPAQUE_NAMES_MAX: usize = 4096;
/// The label of one of them.
pub const OPAQUE_NAME_BYTES_MAX: usize = 160;
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
/// Age at which a placed file does not keep its time any more: Claude Code
/// deletes what is older than 30 days, and five of them are left to the user.
pub const PLACED_AGE_MS_MAX: u64 = 25 * 24 * 3600 * 1000;
/// Versions of its line that are looked at, in each direction, when one is placed.
pub const RELATIVES_MAX: usize = 4096;
/// Those whose content is compared with what lies here.
pub const RELATIVES_COMPARED_MAX: usize = 32;
/// Parents of one version.
pub const PARENTS_MAX: usize = 16;
/// A snapshot document, encoded.
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024;
/// Versions back from a head among which a document that a model has worked on is
/// looked for: what is older than so many turns helps nobody.
pub const ENRICHED_BACK_MAX: usize = 1024;

/// Chunk requests under way to one peer.
pub const FETCH_IN_FLIGHT_PER_PEER_MAX: usize = 256;
/// Chunks named in one fetch effect: they are packed together.
pub const FETCH_BATCH_MAX: usize = 64;
/// Bytes of chunks that have come and are gathered before they are made durable.
pub const FETCH_GATHERED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Chunks that have come and that nobody has taken yet, of one request.
pub const FETCH_ANSWERS_MAX: usize = 4;
/// Chunks that are named as being like what is asked for, and how many bytes of
/// their end are used.
pub const FETCH_NEAR_MAX: usize = 8;
/// See above.
pub const FETCH_NEAR_BYTES_MAX: usize = 256 * 1024;
/// Versions that are looked at for one that is here and like the one asked for.
pub const NEAR_VERSIONS_MAX: usize = 64;
/// Chunks that come along with a manifest, at most, and their bytes.
pub const FETCH_ALONG_MAX: usize = 64;
/// See above.
pub const FETCH_ALONG_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A parcel: content that is sent before it is asked for, packed.
pub const PARCEL_BYTES_MAX: usize = 48 * 1024;
/// What it may hold that would have been asked for, and how much of everything.
pub const PARCEL_ANSWERS_MAX: usize = 4;
/// See above.
pub const PARCEL_CONTENT_BYTES_MAX: usize = 512 * 1024;
/// Chunks looked at in vain, because their holders are busy, in one go.
pub const FETCH_LOOKS_MAX: usize = 32;
/// Chunks that we know we need and have not asked for yet.
pub const WANTS_MAX: usize = 256 * 1024;
/// Pause before a failed chunk is asked for again, and its upper bound.
pub const FETCH_RETRY_MS: (u64, u64) = (500, 30_000);
/// How often frontiers are compared even if nothing happened.
pub const HAVE_INTERVAL_MS: u64 = 60_000;
/// A range that was asked for and did not come is asked for again after this.
pub const RANGE_TIMEOUT_MS: u64 = 10_000;
/// Frontiers are not sent to one peer more often than this.
pub const HAVE_PAUSE_MS: u64 = 250;
/// Manifests known to be whole at one peer; further ones are not remembered.
pub const HINTS_PER_PEER_MAX: usize = 16 * 1024;
/// Manifests and documents of which a peer learns when its link comes up that they
/// are whole here, newest first.
pub const HINTS_AT_START_MAX: usize = 4096;
/// Parts into which they are cut to be compared by digests.
pub const COMPLETE_PARTS: usize = 32;
/// Bytes of the digest of one part.
pub const COMPLETE_DIGEST_BYTES: usize = 16;
/// Looks into the store under way at once.
pub const CHECKS_IN_FLIGHT_MAX: usize = 32;
/// Versions that somebody asked for explicitly and that are not here yet.
pub const NEEDS_MAX: usize = 256;
/// Failed attempts after which a chunk is only asked for at the slow pace.
pub const FETCH_ATTEMPTS_MAX: u32 = 12;
/// The slow pace, and the pause after our own store could not keep a chunk.
pub const FETCH_SLOW_MS: (u64, u64) = (600_000, 30_000);
/// Peers with a live link at once.
pub const PEERS_MAX: usize = 64;
/// Devices that may be trusted.
pub const TRUSTED_MAX: usize = 256;
/// Devices that one device may revoke; beyond it, it trusts nobody.
pub const REVOKED_MAX: usize = 4 * TRUSTED_MAX;
/// Revocations by others that one device may overrule; of more, the greatest ids
/// go, and what they spared is out again.
pub const OVERRULED_MAX: usize = REVOKED_MAX;
/// Devices that are shown as offered.
pub const OFFERS_MAX: usize = TRUSTED_MAX;
/// Members whose word makes a revocation final that nobody here has made.
pub const VOICES_FINAL: usize = 2;
/// Keys of our own, replaced by now, under which a peer that was away is told so.
pub const FORMER_KEYS_MAX: usize = 4;
/// Replacements of one device's key that are followed.
pub const ROLLS_IN_ROW_MAX: usize = 64;
/// Bytes of entries that are kept of one device. Its logs end there for us.
pub const LOG_BYTES_PER_DEVICE_MAX: u64 = 512 * 1024 * 1024;
/// Content that is fetched because of one device, unless the user sets another
/// bound or asks for something by name.
pub const QUOTA_BYTES_PER_DEVICE: u64 = 5 * 1024 * 1024 * 1024;
/// Bytes of an entry's hash that go with a frontier, so that two branches of one
/// length are told apart.
pub const TIP_BYTES: usize = 8;
/// How far one entry may move our lamport clock on. At a gigabyte of entries from
/// one device, it is still far from its end.
pub const LAMPORT_STEP_MAX: u64 = 1 << 40;
/// Misbehaviour that is forgiven before a link is closed.
pub const FAULTS_MAX: u32 = 8;

/// A hook's JSON; what is longer is cut and flagged.
pub const HOOK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Spool files kept while the agent is away.
pub const SPOOL_FILES_MAX: usize = 10_000;
/// Bytes of spool files kept.
pub const SPOOL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Spool files that could not be handled and are kept for a look.
pub const SPOOL_REJECTED_MAX: usize = 100;
/// The hook client's log; a longer one begins anew.
pub const HOOK_LOG_BYTES_MAX: u64 = 256 * 1024;
/// Claude Code's settings; a larger file is not edited.
pub const SETTINGS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Copies of the settings from before an edit that are kept.
pub const SETTINGS_BACKUPS_MAX: usize = 20;
/// What the hook client may print at the start of a session, characters.
pub const HOOK_LINE_CHARS_MAX: usize = 300;
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
/// Plans of a session that a digest names.
pub const DIGEST_PLANS_MAX: usize = 16;
/// Elements of one list in foreign JSON that are looked at.
pub const JSON_ITEMS_MAX: usize = 4096;
/// A text in a hook's JSON, bytes.
pub const HOOK_TEXT_BYTES_MAX: usize = 64 * 1024;
/// The last bytes of a transcript of which a model is told.
pub const MODEL_TRANSCRIPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a model is told of the conversation, in tokens, roughly.
pub const MODEL_TOKENS_MAX: usize = 20_000;
/// The hand-off prompt of a snapshot, characters.
pub const HANDOFF_CHARS_MAX: usize = 1500;

/// Bidirectional streams that a peer may have open on one link.
pub const LINK_STREAMS_MAX: u32 = 16;
/// Bytes that a peer may have under way on one link.
pub const LINK_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes that somebody whom the gate has not let in, or who is pairing, may send
/// before they are read.
pub const STRANGER_WINDOW_BYTES: u32 = 16 * 1024;
/// Messages waiting to be written to one peer; one more closes the link.
pub const LINK_OUTBOX_MAX: usize = 256;
/// Messages of one peer that are decoded and wait to be verified.
pub const LINK_INBOX_MAX: usize = 32;
/// Chunks that are in memory at once because one peer asked for them.
pub const SERVES_PER_PEER_MAX: usize = 4;
/// A request for chunks, encoded.
pub const CHUNK_REQUEST_BYTES_MAX: usize = 4096;
/// Incoming handshakes under way at once; more are ignored.
pub const HANDSHAKES_MAX: usize = 64;
/// Dials under way at once.
pub const DIALS_MAX: usize = 8;
/// A dial ends after this.
pub const DIAL_TIMEOUT_MS: u64 = 3_000;
/// Both hellos are said within this, or the connection is closed.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// A peer is pinged when nothing was heard of it for so long, and how long it may
/// then be silent. The side that was dialled waits longer by half of the second.
pub const HEARTBEAT_MS: (u64, u64) = (5_000, 3_000);
/// A link is quiet when no entry and no chunk has passed for so long. Every so often,
/// the second, it is looked whether anything has come from the peer on a quiet one;
/// it is pinged when nothing has. The transport sends a sign of life every five
/// seconds, so in each such span there is one; and twice the span, with the silence
/// that the side that dialled then allows, is less than [`IDLE_TIMEOUT_MS`], after
/// which the transport tells the other side.
pub const QUIET_LINK_MS: (u64, u64) = (30_000, 5_500);
/// A frame, or a piece of a chunk, that was begun is complete within this.
pub const PROGRESS_TIMEOUT_MS: u64 = 30_000;
/// The transport gives a silent connection up after this.
pub const IDLE_TIMEOUT_MS: u64 = 15_000;
/// Pause before a peer is dialled again, and its upper bound.
pub const REDIAL_MS: (u64, u64) = (500, 30_000);
/// The same for a peer that does not trust us.
pub const REDIAL_REFUSED_MS: (u64, u64) = (5_000, 120_000);
/// How long a peer that broke the protocol is kept out, doubled for each further
/// fault up to the second number.
pub const FAULT_PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// The device with the larger id lets the other one dial first for this long,
/// so that two links at once are rare.
pub const DIAL_STAGGER_MS: u64 = 200;
/// Addresses remembered of one peer, of each source.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;

/// Devices remembered from multicast discovery, the least recently seen go.
pub const SIGHTINGS_MAX: usize = 256;
/// Unknown devices taken from multicast discovery in any ten seconds: under one
/// address, and in all.
pub const SIGHTINGS_NEW_PER_10S: (usize, usize) = (8, 64);
/// Packets of multicast that are looked at in a second: of one source, and in all.
pub const DISCOVERY_PACKETS_PER_S: (u32, u32) = (50, 500);
/// Packets of multicast that are taken from the system in a second; what comes
/// beyond that the system drops.
pub const DISCOVERY_READS_PER_S: u32 = 10_000;
/// The longest packet of multicast that is looked at, and the most records of each
/// kind in it.
pub const DISCOVERY_PACKET_BYTES_MAX: usize = 1500;
/// See above.
pub const DISCOVERY_RECORDS_MAX: u16 = 64;
/// Interfaces on which others are looked for.
pub const INTERFACES_MAX: usize = 16;

/// How long an invitation stands.
pub const PAIR_WINDOW_MS: u64 = 120_000;
/// How long the inviting side may think about the last question.
pub const PAIR_ANSWER_MS: u64 = 120_000;
/// Connections of strangers at once while an invitation stands.
pub const PAIR_CONNECTIONS_MAX: usize = 8;
/// Bytes that a stranger may send on one of them, and the longest frame.
pub const PAIR_BYTES_MAX: (usize, usize) = (4096, 1024);
/// Failed attempts before pairing is locked.
pub const PAIR_TRIES_MAX: u32 = 3;
/// The first lock after failed attempts; each further one is twice as long, up
/// to the second number.
pub const PAIR_LOCK_MS: (u64, u64) = (60_000, 3_600_000);
/// Inviting devices on which one code is tried.
pub const PAIR_CANDIDATES_MAX: usize = 3;
/// How long a code looks for an inviting device.
pub const PAIR_FIND_MS: u64 = 20_000;

/// Relays that one device uses at once.
pub const RELAYS_MAX: usize = 4;
/// A relay's address as text, bytes.
pub const RELAY_ADDRESS_BYTES_MAX: usize = 512;
/// An attempt to reach a relay ends after this.
pub const RELAY_PROBE_MS: u64 = 5_000;
/// Pause between attempts to find out why a relay is not there, and its upper
/// bound.
pub const RELAY_PROBE_PAUSE_MS: (u64, u64) = (2_000, 30_000);
/// Devices connected to our own relay at once, and connections of one of them.
pub const RELAY_CLIENTS_MAX: (usize, usize) = (128, 4);
/// Connections to our own relay that have not shown yet who they are: in all, and
/// from one address.
pub const RELAY_HANDSHAKES_MAX: (usize, usize) = (64, 16);
/// Connections that our own relay accepts in a second, and in one go.
pub const RELAY_ACCEPTS: (u32, u32) = (64, 256);
/// Within this long a connection to our own relay has shown who it is.
pub const RELAY_HANDSHAKE_MS: u64 = 5_000;
/// Bytes a second that our own relay takes from one connection, unless the user
/// sets another bound.
pub const RELAY_RATE_BYTES: u32 = 64 * 1024 * 1024;

/// Connections to the web server that have not said yet what they want; of more,
/// the oldest is closed.
pub const WEB_UNHEARD_MAX: usize = 64;
/// How long one has for its handshake and the head of its request.
pub const WEB_HEAD_MS: u64 = 5_000;
/// Bytes of the head of a request.
pub const WEB_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub const WEB_HEADERS_MAX: usize = 48;
/// Requests that are dealt with at once.
pub const WEB_ANSWERS_MAX: usize = 8;
/// How long a request may take from its head to the end of its answer.
pub const WEB_REQUEST_MS: u64 = 600_000;
/// Every so many bytes of a body have [`WEB_BODY_PAUSE_MS`] to come in.
pub const WEB_BODY_PACE_BYTES: usize = 64 * 1024;
/// See [`WEB_BODY_PACE_BYTES`].
pub const WEB_BODY_PAUSE_MS: u64 = 10_000;
/// Of a body that was refused so much is read, for so long, that its sender gets
/// to see why.
pub const WEB_DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// See [`WEB_DRAIN_BYTES_MAX`].
pub const WEB_DRAIN_MS: u64 = 2_000;
/// Bytes of a bundle that is pushed to `ccpeer serve`, as the reference server
/// takes them.
pub const SERVE_PUSH_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Bytes of the files of a session that `ccpeer serve` gives as one bundle.
pub const SERVE_PULL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Clients that have a token for `ccpeer serve`.
pub const SERVE_TOKENS_MAX: usize = 64;

/// Memory that the store may use to cache pages.
pub const STORE_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes written in one transaction of the store; more is split or waits.
pub const STORE_COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Content that becomes durable in one transaction with what is said of it; more of
/// it is written before, beside the driver's other work.
pub const STORE_TOGETHER_BYTES_MAX: usize = 256 * 1024;
/// Waiting writes that share one transaction of the store.
pub const STORE_COMMIT_JOBS_MAX: usize = 1024;
/// How long a chunk must have been garbage before it goes, counted in time with
/// an agent running. Never less than a day.
pub const COLLECT_GRACE_MS: u64 = 24 * 60 * 60 * 1000;
/// What one run of the collector adds to that time at most, however long ago the
/// one before was: a clock that jumps is not believed.
pub const COLLECT_STEP_MS_MAX: u64 = 2 * 60 * 60 * 1000;
/// Rows that one transaction of the collector changes.
pub const COLLECT_ROWS_MAX: usize = 1024;
/// A store's file that is shorter is not worth writing anew.
pub const COMPACT_FILE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Key of a note, bytes.
pub const NOTE_KEY_BYTES_MAX: usize = 256;
/// Value of a note, bytes.
pub const NOTE_VALUE_BYTES_MAX: usize = 1024 * 1024;
/// A line of a transcript that is looked at as a whole when its paths are
/// rewritten; a longer one is read through a window.
pub const REWRITE_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A line of a transcript that is placed: it is held in memory and checked as a
/// whole. A longer one that came from elsewhere is refused.
pub const PLACED_LINE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What is kept about a sub-agent, where it is placed: checked as a whole.
pub const PLACED_AGENT_BYTES_MAX: u64 = 1024 * 1024;
/// Records of two lines of a session that are joined, together: half of the
/// memory that an operation may take.
pub const JOIN_RECORDS_MAX: usize = 1_800_000;
/// Runs of lines that are passed over in a join because they are here already.
pub const JOIN_SKIPS_MAX: usize = 64 * 1024;
/// Backups of what placements replaced that are always kept: as many as can be
/// taken back.
pub const BACKUPS_KEPT_MIN: usize = 32;
/// How old a backup is, by the clock, before it may go.
pub const BACKUP_AGE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Days on which the agent ran since a backup was made, before it may go.
pub const BACKUP_DAYS_MIN: u32 = 30;
/// How far the clock moves between two such days.
pub const BACKUP_DAY_MS: u64 = 20 * 3600 * 1000;
