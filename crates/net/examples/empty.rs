//! What starting a program costs here: nothing is done. The bench starts it beside
//! the hook client.

fn main() {}
