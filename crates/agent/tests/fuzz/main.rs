//! The agent's fuzz oracles as ordinary tests: over the committed corpus and
//! over changed copies of it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod f09_spool;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn k_f01_spool_files() {
    replay::replay("f09_spool", &seeds(), f09_spool::check);
    replay::mutate("f09_spool", 5_000, f09_spool::check);
}

#[test]
fn k_n03_floods_and_depth_in_spool_files() {
    replay::monsters(f09_spool::check);
}

/// A spool file as it is written, and what may lie there instead of one.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use ccpeer_agent::api::HookHeader;
    let header = HookHeader {
        v: ccpeer_agent::api::API_VERSION,
        id: "00112233445566778899aabbccddeeff".into(),
        event: "Stop".into(),
        session: Some("e47fe3ca-2b33-4853-b61e-4bb21fa16e3a".into()),
        pid: Some(4711),
        project_dir: Some("/w/proj".into()),
        entrypoint: None,
        cut: false,
    };
    let good = ccpeer_agent::spool::encode(&header, br#"{"hook_event_name":"Stop"}"#);
    let deep = [b"{\"id\":".as_slice(), &[b'['; 3000]].concat();
    vec![
        ("good", good.clone()),
        (
            "good-empty-input",
            ccpeer_agent::spool::encode(&header, b""),
        ),
        (
            "good-odd-input",
            ccpeer_agent::spool::encode(&header, b"\n\n\0\xff{"),
        ),
        ("cut-in-header", good[..20].to_vec()),
        (
            "no-break",
            good.iter().copied().filter(|b| *b != b'\n').collect(),
        ),
        ("empty", Vec::new()),
        ("break", b"\n".to_vec()),
        ("zeros", vec![0; 512]),
        ("deep", deep),
        ("other", b"{\"id\":1}\n{}".to_vec()),
    ]
}
