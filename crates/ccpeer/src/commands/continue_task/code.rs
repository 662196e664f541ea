//! What `ccpeer continue` says about the code: how the checkout here stands to what
//! the session saw, and the work tree that was made.

use ccpeer_agent::api::{Code, CodeCapsule, CodeHere, CodeThere, CodeWorktree};
use ccpeer_core::text;

use crate::table;

/// Characters of a commit that are shown.
const COMMIT_CHARS: usize = 10;
/// Files that were left out and are named.
const LEFT_OUT_SHOWN: usize = 20;

/// A line for each thing that is to be said. `asked`: for the code as well.
pub(super) fn tell(code: &Code, asked: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(there) = &code.there {
        lines.push(format!("code there: {}", saw(there)));
    }
    if let Some(here) = &code.here {
        lines.push(format!("code here:  {}", stands(here)));
    }
    if let Some(capsule) = &code.capsule {
        lines.extend(along(capsule, asked));
    }
    if let Some(worktree) = &code.worktree {
        lines.extend(made(worktree));
    }
    lines
}

fn at(branch: &str, commit: &str) -> String {
    let commit = commit.get(..COMMIT_CHARS).unwrap_or(commit);
    let branch = text::one_line(branch, 80);
    match (
        branch.as_str(),
        text::one_line(commit, COMMIT_CHARS).as_str(),
    ) {
        ("", "") => "before the first commit".to_owned(),
        ("", commit) => format!("no branch, at {commit}"),
        (branch, "") => branch.to_owned(),
        (branch, commit) => format!("{branch} at {commit}"),
    }
}

fn differs(changed: u64) -> String {
    match changed {
        0 => "clean".to_owned(),
        1 => "1 file changed".to_owned(),
        n => format!("{n} files changed"),
    }
}

fn saw(there: &CodeThere) -> String {
    let at = at(&there.branch, &there.commit);
    match there.changed {
        Some(changed) => format!("{at}, {}", differs(changed)),
        None => at,
    }
}

fn stands(here: &CodeHere) -> String {
    let at = at(&here.branch, &here.commit);
    let changed = differs(here.changed);
    let commits = |n: u64| if n == 1 { "commit" } else { "commits" };
    let relation = match (here.knows_commit, here.ahead, here.behind) {
        (_, Some(0), Some(0)) => "the same commit".to_owned(),
        (_, Some(a), Some(0)) => format!("{a} {} ahead", commits(a)),
        (_, Some(0), Some(b)) => format!("{b} {} behind", commits(b)),
        (_, Some(a), Some(b)) => format!("{a} {} ahead and {b} behind", commits(a)),
        (Some(false), ..) => "does not have that commit".to_owned(),
        _ => return format!("{at}, {changed}"),
    };
    format!("{at}, {changed}; {relation}")
}

fn along(capsule: &CodeCapsule, asked: bool) -> Vec<String> {
    let device = text::one_line(&capsule.device.name, 48);
    let mut lines = Vec::new();
    if !capsule.complete {
        lines.push("  its changes are not here yet".to_owned());
        return lines;
    }
    if !capsule.current {
        let since = table::since(&capsule.at);
        lines.push(format!(
            "  what came along is of an earlier turn, from {device}, {since}"
        ));
    }
    if let Some(why) = &capsule.content_left_out {
        lines.push(format!("  its changes did not come along: {}", line(why)));
        return lines;
    }
    if let Some(why) = &capsule.commits_left_out {
        let unsent = capsule.unsent;
        lines.push(format!(
            "  {unsent} commits that no remote has did not come along: {}",
            line(why)
        ));
    }
    if !asked {
        lines.push("  `--with-code` makes a work tree with its changes".to_owned());
    }
    let left = capsule.left_out.len() as u64 + capsule.left_out_more;
    let shown = if asked { LEFT_OUT_SHOWN } else { 3 };
    for file in capsule.left_out.iter().take(shown) {
        lines.push(format!(
            "  left out: {} ({})",
            line(&file.path),
            line(&file.why)
        ));
    }
    let more = left.saturating_sub(shown as u64);
    if more > 0 {
        lines.push(format!("  and {more} more; `--json` names them"));
    }
    lines
}

fn made(worktree: &CodeWorktree) -> Vec<String> {
    let on = match &worktree.branch {
        Some(branch) => format!("on branch {}", line(branch)),
        None => "without a branch: `git switch -c NAME` gives it one".to_owned(),
    };
    let mut lines = vec![format!("work tree {}, {on}", worktree.dir)];
    lines.extend(worktree.notes.iter().map(|n| format!("  {}", line(n))));
    let words: Vec<String> = worktree.remove.iter().map(|w| super::quoted(w)).collect();
    lines.push(format!("  to remove it: {}", words.join(" ")));
    lines
}

fn line(text: &str) -> String {
    text::one_line(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> CodeHere {
        CodeHere {
            dir: "/w/app".to_owned(),
            branch: "main".to_owned(),
            commit: "1234567890abcdef".to_owned(),
            changed: 0,
            knows_commit: Some(true),
            ahead: Some(0),
            behind: Some(0),
        }
    }

    #[test]
    fn how_a_checkout_stands_is_a_line() {
        let check = |here: &CodeHere, want: &str| assert_eq!(stands(here), want);
        let same = here();
        check(&same, "main at 1234567890, clean; the same commit");
        let apart = CodeHere {
            changed: 1,
            ahead: Some(1),
            behind: Some(3),
            ..here()
        };
        check(
            &apart,
            "main at 1234567890, 1 file changed; 1 commit ahead and 3 behind",
        );
        let unknown = CodeHere {
            branch: String::new(),
            knows_commit: Some(false),
            ahead: None,
            behind: None,
            ..here()
        };
        check(
            &unknown,
            "no branch, at 1234567890, clean; does not have that commit",
        );
    }

    #[test]
    fn k_i02_what_a_peer_wrote_is_stripped() {
        let there = CodeThere {
            branch: "\u{1b}[31mred\u{202e}".to_owned(),
            commit: "abc\u{7}".to_owned(),
            changed: None,
        };
        let said = tell(
            &Code {
                there: Some(there),
                ..Code::default()
            },
            false,
        );
        assert!(said.iter().all(|l| l.chars().all(|c| !c.is_control())));
    }
}
