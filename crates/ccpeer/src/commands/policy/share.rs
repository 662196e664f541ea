//! `ccpeer policy share`: how the rules are read from the command line, and told.

use ccpeer_agent::api::{Policy, Share, ShareWhich};

use super::named;
use crate::context::{say, talk};
use crate::error::CommandError;

/// What a rule is about, as it was typed. What is there as a directory is one, and
/// no pattern.
pub(super) fn which(text: &str) -> Result<ShareWhich, CommandError> {
    let pattern = text.contains(['*', '?', '[', '{']) && !std::path::Path::new(text).is_dir();
    Ok(match text {
        "default" => ShareWhich::Default,
        text if pattern && text.starts_with('.') => ShareWhich::Glob(named(text)?),
        text if pattern => ShareWhich::Glob(text.to_owned()),
        text => ShareWhich::Project(named(text)?),
    })
}

fn words(share: Share) -> &'static str {
    match share {
        Share::Sync => "all of it",
        Share::Snapshot => "its document only",
        Share::Local => "nothing",
    }
}

/// The rules, among what else holds.
pub(super) fn tell(policy: &Policy) -> Result<(), CommandError> {
    if let Some(why) = &policy.share_closed {
        return say(format!(
            "share   nothing about any session: {why}\n        see `ccpeer status`"
        ));
    }
    say(format!(
        "share   {} of a session here, where no rule says otherwise",
        words(policy.share_default)
    ))?;
    for rule in &policy.share_rules {
        let what = match &rule.which {
            ShareWhich::Default => continue,
            ShareWhich::Project(dir) => format!("in {dir}"),
            ShareWhich::Glob(glob) => format!("where it looks like {glob}"),
        };
        say(format!("        {} {what}", words(rule.share)))?;
    }
    Ok(())
}

/// What a change left behind.
pub(super) fn tell_left(policy: &Policy) -> Result<(), CommandError> {
    let Some(left) = &policy.share_left else {
        return Ok(());
    };
    if left.sessions > 0 {
        let (sessions, verb) = count(left.sessions);
        let verb = if verb == "is" { "was" } else { "were" };
        let held = match left.devices.len() {
            0 => "Other devices may hold".to_owned(),
            1 => format!("{} holds", left.devices.first().map_or("", |d| &d.name)),
            n => format!("{n} devices hold"),
        };
        talk(format!(
            "{sessions} {verb} shared before. {held} versions from before, which stay there; \
             nothing more leaves."
        ));
    }
    if left.opened > 0 {
        let (sessions, verb) = count(left.opened);
        talk(format!("{sessions} {verb} shared from now on."));
    }
    Ok(())
}

fn count(sessions: u64) -> (String, &'static str) {
    if sessions == 1 {
        ("1 session".to_owned(), "is")
    } else {
        (format!("{sessions} sessions"), "are")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_is_about_is_read() {
        let check = |text: &str, want: &ShareWhich| assert_eq!(which(text).unwrap(), *want);
        check("default", &ShareWhich::Default);
        check("thing", &ShareWhich::Project("thing".to_owned()));
        check("secret-*", &ShareWhich::Glob("secret-*".to_owned()));
        check("~/w/**", &ShareWhich::Glob("~/w/**".to_owned()));
        let here = std::path::absolute(".").unwrap().display().to_string();
        check(".", &ShareWhich::Project(here));
    }
}
