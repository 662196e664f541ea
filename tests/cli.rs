//! The command line from outside: exit codes, streams, JSON, and what is asked
//! of the agent. The agent is played by the test.

mod agent_said;
mod real;
mod settings;
mod usage;
