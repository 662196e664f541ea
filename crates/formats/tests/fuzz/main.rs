//! The fuzz oracles of foreign formats as ordinary tests: over the committed
//! corpus, over changed copies of it, and over inputs too large to be committed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod f03_manifest;
mod f04_hook;
mod f05_rewrite;
mod f06_settings;
mod f13_transcript;
mod f14_bundle;
mod f15_tasks;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;
mod seeds;

#[test]
fn k_f01_manifests_and_their_places() {
    replay::replay("f03_manifest", &seeds::manifests(), f03_manifest::check);
    replay::mutate("f03_manifest", 5_000, f03_manifest::check);
}

#[test]
fn k_f01_hooks() {
    replay::replay("f04_hook", &seeds::hooks(), f04_hook::check);
    replay::mutate("f04_hook", 3_000, f04_hook::check);
}

#[test]
fn k_f01_rewriting() {
    replay::replay("f05_rewrite", &seeds::lines(), f05_rewrite::check);
    replay::mutate("f05_rewrite", 2_000, f05_rewrite::check);
}

#[test]
fn k_f01_settings() {
    replay::replay("f06_settings", &seeds::settings(), f06_settings::check);
    replay::mutate("f06_settings", 1_000, f06_settings::check);
}

#[test]
fn k_f01_transcripts() {
    replay::replay(
        "f13_transcript",
        &seeds::transcripts(),
        f13_transcript::check,
    );
    replay::mutate("f13_transcript", 1_000, f13_transcript::check);
}

#[test]
fn k_f01_bundles() {
    replay::replay("f14_bundle", &seeds::bundles(), f14_bundle::check);
    replay::mutate("f14_bundle", 2_000, f14_bundle::check);
}

#[test]
fn k_f01_hand_off_files() {
    replay::replay("f15_tasks", &seeds::tasks(), f15_tasks::check);
    replay::mutate("f15_tasks", 1_000, f15_tasks::check);
}

#[test]
fn k_n03_floods_and_depth_are_survived() {
    replay::monsters(f14_bundle::check);
    replay::monsters(f15_tasks::check);
    replay::monsters(f03_manifest::check);
    replay::monsters(f04_hook::check);
    replay::monsters(f06_settings::check);
}

#[test]
fn k_n03_floods_and_depth_in_transcripts() {
    replay::monsters(f05_rewrite::survives);
    replay::monsters(f13_transcript::survives);
}
