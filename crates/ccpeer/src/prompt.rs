//! Questions to the person in front of the terminal. Asked on standard error,
//! so that standard output stays data.

use std::io::{self, BufRead, Read, Write};

use crate::context::can_ask;

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks for a yes. The default is no; so is every answer but a plain yes, and
/// the end of the input.
pub(crate) fn yes(question: &str) -> bool {
    line(&format!("{question} [y/N] ")).is_some_and(|answer| is_yes(&answer))
}

/// One line from the terminal or from standard input; `None` at its end. The
/// prompt is shown only to a person.
pub(crate) fn line(prompt: &str) -> Option<String> {
    if can_ask() {
        let _ = write!(io::stderr(), "{prompt}");
        let _ = io::stderr().flush();
    }
    let mut answer = Vec::new();
    let read = io::stdin()
        .lock()
        .take(ANSWER_BYTES_MAX)
        .read_until(b'\n', &mut answer)
        .ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&answer).trim().to_owned())
}

pub(crate) fn is_yes(answer: &str) -> bool {
    matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_plain_yes_is_one() {
        assert!(is_yes("y") && is_yes("YES"));
        assert!(!is_yes("") && !is_yes("yeah") && !is_yes("n"));
    }
}
