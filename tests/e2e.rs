//! End to end: real agents, real connections on loopback, real files.

mod bad_input;
mod baton;
mod claude;
mod fork;
#[cfg(unix)]
mod hooks_live;
mod kills;
mod names;
mod netns;
mod pairing;
mod presence;
mod retention;
mod round_trip;
mod third;
mod upkeep;
mod why;
mod world;
