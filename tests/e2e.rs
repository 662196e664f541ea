//! End to end: real agents, real connections on loopback, real files.

mod answer;
mod bad_input;
mod baton;
#[cfg(unix)]
mod bridges;
mod claude;
#[cfg(target_os = "linux")]
mod code;
mod endings;
#[cfg(target_os = "linux")]
mod forged;
#[cfg(target_os = "linux")]
mod forger;
mod fork;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(unix)]
mod gate;
#[cfg(unix)]
mod hooks_live;
mod hooks_plugin;
mod join;
mod kills;
#[cfg(target_os = "linux")]
mod lan;
#[cfg(target_os = "linux")]
mod latency;
mod mcp;
mod members;
#[cfg(unix)]
mod mirror;
mod mistakes;
mod names;
#[cfg(target_os = "linux")]
mod netns;
#[cfg(target_os = "linux")]
mod netns_faults;
#[cfg(target_os = "linux")]
mod netns_many;
#[cfg(target_os = "linux")]
mod netns_quiet;
#[cfg(unix)]
mod one_home;
mod pairing;
#[cfg(unix)]
mod paused;
#[cfg(unix)]
mod phases;
#[cfg(unix)]
mod policy;
mod presence;
mod projects;
#[cfg(target_os = "linux")]
mod relay;
mod retention;
mod round_trip;
mod search;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(unix)]
mod seeds;
mod serve;
#[cfg(target_os = "linux")]
mod service;
mod start_line;
mod story;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(target_os = "linux")]
mod summary;
mod third;
#[cfg(unix)]
mod tui;
mod ui;
mod unasked;
mod unknown;
mod upkeep;
mod why;
#[cfg(target_os = "linux")]
mod wire;
#[cfg(unix)]
mod with_code;
mod world;
