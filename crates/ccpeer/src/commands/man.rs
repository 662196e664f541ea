//! `ccpeer man`

use crate::context::{Context, say};
use crate::error::CommandError;

/// Print the manual page
///
/// To read it: `ccpeer man | man -l -`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {}

pub(crate) fn run(_: &ManArgs, _: &Context) -> Result<(), CommandError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(crate::cli::command()).render(&mut page)?;
    say(String::from_utf8_lossy(&page).trim_end())
}
