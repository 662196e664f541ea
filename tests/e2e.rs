//! End to end: real agents, real connections on loopback, real files.

mod bad_input;
mod fork;
mod hooks_live;
mod kills;
mod netns;
mod pairing;
mod round_trip;
mod third;
mod upkeep;
mod world;
