//! Every path that ccpeer owns or looks at, as one value. No other place joins
//! a path below `CCPEER_HOME`.

use std::path::{Path, PathBuf};

use ccpeer_formats::claude::slug;

/// The places of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    claude: PathBuf,
    user: PathBuf,
    project_pin: Option<String>,
}

/// Why the places cannot be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HomeError {
    /// There is neither `CCPEER_HOME` nor a home directory.
    #[error("no home directory is known")]
    NoHome,
}

/// A named variable of the environment. Passed as a function so that the rule
/// can be tested and nothing else reads the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

impl Home {
    /// From the environment of this process.
    ///
    /// # Errors
    /// When nothing says where home is.
    pub fn from_process() -> Result<Self, HomeError> {
        Self::from_env(&|name| std::env::var_os(name))
    }

    /// `CCPEER_HOME`, else the platform's per-user data directory + `ccpeer`;
    /// `CLAUDE_CONFIG_DIR`, else `~/.claude`, with the first one also
    /// `CLAUDE_CODE_PROJECT_DIR_NAME`. Empty variables count as unset.
    ///
    /// # Errors
    /// When nothing says where home is.
    pub fn from_env(env: Env<'_>) -> Result<Self, HomeError> {
        let var = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let user = if cfg!(windows) {
            var("USERPROFILE")
        } else {
            var("HOME")
        };
        let root = match (var("CCPEER_HOME"), &user) {
            (Some(root), _) => absolute(root),
            (None, Some(user)) => data_dir(&var, user).join("ccpeer"),
            (None, None) => return Err(HomeError::NoHome),
        };
        let claude = match (var("CLAUDE_CONFIG_DIR"), &user) {
            (Some(dir), _) => absolute(dir),
            (None, Some(user)) => user.join(".claude"),
            (None, None) => return Err(HomeError::NoHome),
        };
        // Claude Code heeds it only together with the other one.
        let pin = var("CLAUDE_CONFIG_DIR").and(env("CLAUDE_CODE_PROJECT_DIR_NAME"));
        let pin = pin.and_then(|name| name.into_string().ok());
        Ok(Self {
            project_pin: pin.filter(|name| slug::is_pin(name)),
            user: user.unwrap_or_else(|| root.clone()),
            root,
            claude,
        })
    }

    /// Everything of ours lies below this.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Claude Code's directory.
    #[must_use]
    pub fn claude(&self) -> &Path {
        &self.claude
    }

    /// The user's home directory.
    #[must_use]
    pub fn user(&self) -> &Path {
        &self.user
    }

    /// The one directory below `projects/` that Claude Code uses in our
    /// environment, if that says so.
    #[must_use]
    pub fn project_pin(&self) -> Option<&str> {
        self.project_pin.as_deref()
    }

    /// Claude Code's settings, which `hooks install` edits.
    #[must_use]
    pub fn claude_settings(&self) -> PathBuf {
        self.claude.join("settings.json")
    }

    /// The device's secret key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("device.key")
    }

    /// A key that is to take the place of [`Home::key`].
    #[must_use]
    pub fn next_key(&self) -> PathBuf {
        self.root.join("device.key.next")
    }

    /// A key that was replaced, by the beginning of its device's id. It is kept:
    /// a device that was away has to be told by it.
    #[must_use]
    pub fn old_key(&self, short: &str) -> PathBuf {
        self.root.join(format!("device.key.old-{short}"))
    }

    /// On which machine and in which directory this home was made.
    #[must_use]
    pub fn binding(&self) -> PathBuf {
        self.root.join("device.place")
    }

    /// Whom this device trusts, beside the store, for the day on which the store
    /// is lost.
    #[must_use]
    pub fn spare_trust(&self) -> PathBuf {
        self.root.join("devices.json")
    }

    /// What of this device's sessions others may have: the user's rules.
    #[must_use]
    pub fn sharing(&self) -> PathBuf {
        self.root.join("sharing.json")
    }

    /// Starts that failed a moment ago.
    #[must_use]
    pub fn failed_starts(&self) -> PathBuf {
        self.root.join("starts.json")
    }

    /// What the Windows task scheduler is told, where it runs the agent.
    #[must_use]
    pub fn service_task(&self) -> PathBuf {
        self.root.join("service.xml")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Hook events that were taken and are not in the store yet.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// Locked for as long as an agent runs.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("agent.lock")
    }

    /// Directory of the socket; only its owner may enter it.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The local socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// Hook events that wait for the agent.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Spool files that could not be read, kept for a look.
    #[must_use]
    pub fn spool_rejected(&self) -> PathBuf {
        self.spool().join("rejected")
    }

    /// Where programs run that write summaries: empty but for what they leave.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// What a relay of one's own keeps.
    #[must_use]
    pub fn relay_dir(&self) -> PathBuf {
        self.root.join("relay")
    }

    /// What lets a device into our own relay that it does not know.
    #[must_use]
    pub fn relay_token(&self) -> PathBuf {
        self.relay_dir().join("token")
    }

    /// The address of our own relay, with the token.
    #[must_use]
    pub fn relay_address(&self) -> PathBuf {
        self.relay_dir().join("address")
    }

    /// The certificate that our own relay has made itself.
    #[must_use]
    pub fn relay_certificate(&self) -> PathBuf {
        self.relay_dir().join("cert.pem")
    }

    /// The key that belongs to it.
    #[must_use]
    pub fn relay_key(&self) -> PathBuf {
        self.relay_dir().join("key.pem")
    }

    /// Logs.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The agent's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.log_dir().join("agent.log")
    }

    /// Where the hook client says what went wrong; it has no other voice.
    #[must_use]
    pub fn hook_log(&self) -> PathBuf {
        self.log_dir().join("hook.log")
    }

    /// What placements replaced, and the settings before they were edited.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// What is kept of git mirrors: a directory for each.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    /// One of them.
    #[must_use]
    pub fn mirror(&self, name: &str) -> PathBuf {
        self.mirrors().join(name)
    }

    /// The key that opens this device's encrypted mirrors when the device's own is
    /// gone. A copy of it belongs somewhere else.
    #[must_use]
    pub fn recovery_key(&self) -> PathBuf {
        self.root.join("recovery.key")
    }

    /// Where what is imported is unpacked before it is looked at; gone when that has
    /// ended.
    #[must_use]
    pub fn imports(&self) -> PathBuf {
        self.root.join("imports")
    }

    /// Where the code that goes along with a session is put together, and looked at
    /// when it has come; gone when that has ended.
    #[must_use]
    pub fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    /// The index that is searched: a cache, made anew from the store.
    #[must_use]
    pub fn search(&self) -> PathBuf {
        self.root.join("search")
    }

    /// Claude Code's settings as they were before each edit.
    #[must_use]
    pub fn settings_backups(&self) -> PathBuf {
        self.backups().join("settings")
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn data_dir(var: &dyn Fn(&str) -> Option<PathBuf>, user: &Path) -> PathBuf {
    if cfg!(windows) {
        var("LOCALAPPDATA").unwrap_or_else(|| user.join("AppData").join("Local"))
    } else if cfg!(target_os = "macos") {
        user.join("Library").join("Application Support")
    } else {
        var("XDG_DATA_HOME")
            .filter(|p| p.is_absolute())
            .unwrap_or_else(|| user.join(".local").join("share"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn home(vars: &[(&str, &str)]) -> Result<Home, HomeError> {
        let vars: Vec<(String, OsString)> = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), OsString::from(v)))
            .collect();
        Home::from_env(&move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn variables_win_and_empty_ones_do_not_count() {
        let h = home(&[
            ("HOME", "/h"),
            ("CCPEER_HOME", "/c"),
            ("CLAUDE_CONFIG_DIR", "/k"),
        ])
        .unwrap();
        assert_eq!((h.root(), h.claude()), (Path::new("/c"), Path::new("/k")));
        let h = home(&[
            ("HOME", "/h"),
            ("CCPEER_HOME", ""),
            ("CLAUDE_CONFIG_DIR", ""),
        ])
        .unwrap();
        assert_eq!(h.claude(), Path::new("/h/.claude"));
        assert!(h.root().ends_with("ccpeer"));
        assert_eq!(home(&[]), Err(HomeError::NoHome));
    }

    #[test]
    fn a_pin_counts_only_together_with_claudes_directory() {
        let check = |vars: &[(&str, &str)], want: Option<&str>| {
            let vars = [&[("HOME", "/h")], vars].concat();
            assert_eq!(home(&vars).unwrap().project_pin(), want, "{vars:?}");
        };
        let dir = ("CLAUDE_CONFIG_DIR", "/k");
        check(&[dir], None);
        check(&[("CLAUDE_CODE_PROJECT_DIR_NAME", "work")], None);
        check(
            &[dir, ("CLAUDE_CODE_PROJECT_DIR_NAME", "work")],
            Some("work"),
        );
        check(&[dir, ("CLAUDE_CODE_PROJECT_DIR_NAME", "../x")], None);
        check(&[dir, ("CLAUDE_CODE_PROJECT_DIR_NAME", "")], None);
    }
}
