//! End to end: real agents, real connections on loopback, real files.

mod bad_input;
mod baton;
mod claude;
mod fork;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(unix)]
mod hooks_live;
mod join;
mod kills;
mod names;
mod netns;
#[cfg(unix)]
mod one_home;
mod pairing;
#[cfg(unix)]
mod phases;
mod presence;
mod retention;
mod round_trip;
mod story;
mod third;
mod upkeep;
mod why;
mod world;
