//! Writes what takes a path's place, spelled like what stood there. Must not
//! know where in a text it goes.

use crate::remote_path::RemotePath;

use super::pattern::Form;
use super::spelling::{Slash, Spelling, write_part, write_slash};

/// How the replaced path was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) spelling: Spelling,
    /// It is the path of a `file://` URL.
    pub(super) file: bool,
    /// Level of JSON in which it stands.
    pub(super) level: u32,
}

/// Appends the path. If it is now separated by back-slashes where it was by
/// `/` before, says how many stand for one: the rest of the path has to follow.
pub(super) fn write_path(
    to: &RemotePath,
    form: Form,
    was: Written,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let spelling = &was.spelling;
    let source = spelling.slash.unwrap_or(Slash::Plain);
    let whole = matches!(source, Slash::Percent(_));
    let upper = match source {
        Slash::Percent(upper) => upper,
        _ => spelling.percent.or(spelling.colon).unwrap_or(true),
    };
    let encoded = whole || spelling.percent.is_some() || (was.file && !spelling.raw);
    let url = encoded.then_some((upper, whole));

    let slash = match (to.drive(), form, source) {
        (None, _, Slash::Back(_)) => Slash::Plain,
        (Some(_), Form::Unix, Slash::Plain) if url.is_none() && !was.file => {
            Slash::Back(1 << was.level)
        }
        _ => source,
    };
    if let Some(drive) = to.drive() {
        write_drive(drive, form, &was, slash, out);
    }
    for part in to.parts() {
        write_slash(slash, out);
        write_part(part, spelling, url, out);
    }
    match slash {
        Slash::Back(run) if source == Slash::Plain => Some(run),
        _ => None,
    }
}

fn write_drive(drive: char, form: Form, was: &Written, slash: Slash, out: &mut Vec<u8>) {
    let msys = matches!(form, Form::Msys | Form::Wsl);
    let drive = if msys {
        drive.to_ascii_lowercase()
    } else {
        drive
    };
    let swapped = if drive.is_ascii_lowercase() {
        drive.to_ascii_uppercase()
    } else {
        drive.to_ascii_lowercase()
    };
    let drive = if was.spelling.drive_swapped {
        swapped
    } else {
        drive
    };
    if form == Form::Wsl {
        write_slash(slash, out);
        out.extend_from_slice(b"mnt");
    }
    if msys || (form == Form::Unix && was.file) {
        write_slash(slash, out);
    }
    // A drive's letter is ASCII: nothing else parses as one.
    out.push(drive as u8);
    if msys {
        return;
    }
    let encoded = match (slash, form) {
        (Slash::Percent(upper), Form::Unix) => Some(upper),
        _ => was.spelling.colon,
    };
    out.extend_from_slice(match encoded {
        None => b":",
        Some(true) => b"%3A",
        Some(false) => b"%3a",
    });
}
