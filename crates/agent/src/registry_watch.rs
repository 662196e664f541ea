//! Is told by the system when Claude Code's registry of live sessions changes, so
//! that nobody has to look every few seconds whether it has.
//!
//! A hint when to look and nothing more: what is there is found out by `live.rs`,
//! and where the system tells nothing (a file system that cannot, too many watches)
//! the caller looks by the clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::home::Home;
use crate::live;

/// Of so many looks one is taken while no session is open, as far as we know and the
/// registry says, and the system tells when that changes.
pub(crate) const LIVENESS_RESTS: u32 = 12;

/// A watch over the registry, or over the directory in which it will appear.
pub(crate) struct RegistryWatch {
    heard: Arc<Heard>,
    /// None where the system offers nothing of the kind.
    watcher: Option<RecommendedWatcher>,
    /// Claude Code's directory, in which the registry appears and vanishes.
    claude: (PathBuf, Covered),
    registry: (PathBuf, Covered),
}

/// Whether changes in a directory are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covered {
    Watched,
    /// It is not there; the one above it tells when it comes.
    Absent,
    Not,
}

/// What the system's thread tells.
#[derive(Default)]
struct Heard {
    stirred: Notify,
    /// The registry itself came or went: the watch over it is of another one.
    replaced: AtomicBool,
}

impl Heard {
    fn take(&self, told: notify::Result<Event>) {
        // An error says that something was missed, or that a watch is gone.
        let Ok(event) = told else {
            self.replaced.store(true, Ordering::Release);
            self.stirred.notify_one();
            return;
        };
        // What looking itself causes.
        if event.kind.is_access() {
            return;
        }
        let is_registry = |path: &PathBuf| path.ends_with(live::REGISTRY);
        let is_inside = |path: &PathBuf| path.parent().is_some_and(|p| p.ends_with(live::REGISTRY));
        if event.paths.iter().any(is_registry) {
            self.replaced.store(true, Ordering::Release);
        } else if !event.paths.iter().any(is_inside) {
            // Something else in Claude Code's directory.
            return;
        }
        self.stirred.notify_one();
    }
}

impl RegistryWatch {
    /// Begins to watch, as far as that is possible.
    pub(crate) fn begin(home: &Home) -> Self {
        let heard = Arc::new(Heard::default());
        let told = Arc::clone(&heard);
        let watcher = notify::recommended_watcher(move |event| told.take(event));
        if let Err(error) = &watcher {
            tracing::debug!(%error, "the system tells of no changes: the registry is polled");
        }
        let mut watch = Self {
            heard,
            watcher: watcher.ok(),
            claude: (home.claude().to_owned(), Covered::Not),
            registry: (home.claude().join(live::REGISTRY), Covered::Not),
        };
        watch.renew();
        watch
    }

    /// Waits until the registry may have changed. Changes that come together are
    /// told once.
    pub(crate) async fn stirred(&self) {
        self.heard.stirred.notified().await;
    }

    /// Whether changes are told; otherwise somebody has to look.
    pub(crate) fn is_watched(&self) -> bool {
        self.claude.1 == Covered::Watched
            && self.registry.1 != Covered::Not
            && !self.heard.replaced.load(Ordering::Acquire)
    }

    /// Watches what could not be watched before, and a registry that has come
    /// instead of another one. To be called with each look.
    pub(crate) fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        if self.heard.replaced.swap(false, Ordering::AcqRel) {
            self.registry.1 = Covered::Not;
        }
        // The outer one first: what comes between the two is told by it.
        for (path, covered) in [&mut self.claude, &mut self.registry] {
            if *covered != Covered::Watched {
                *covered = cover(watcher, path);
            }
        }
    }
}

fn cover(watcher: &mut RecommendedWatcher, path: &Path) -> Covered {
    match watcher.watch(path, RecursiveMode::NonRecursive) {
        Ok(()) => Covered::Watched,
        Err(_) if matches!(path.try_exists(), Ok(false)) => Covered::Absent,
        Err(error) => {
            // Tried again with each look: nothing for the log.
            tracing::trace!(kind = ?error.kind, "a directory cannot be watched");
            Covered::Not
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::testing::World;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn told(watch: &RegistryWatch) -> bool {
        tokio::time::timeout(PATIENCE, watch.stirred())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn changes_of_the_registry_are_told() {
        let world = World::new("a");
        fs::create_dir_all(world.claude()).unwrap();
        let mut watch = RegistryWatch::begin(&world.home);
        if !watch.is_watched() {
            // A file system that tells nothing: then the caller looks.
            return;
        }
        let registry = world.claude().join(live::REGISTRY);
        fs::create_dir(&registry).unwrap();
        assert!(told(&watch).await);
        watch.renew();
        fs::write(registry.join("1.json"), "{}").unwrap();
        assert!(told(&watch).await, "a session was opened");

        // Another registry in its place is watched as well.
        fs::remove_dir_all(&registry).unwrap();
        assert!(told(&watch).await);
        watch.renew();
        fs::create_dir(&registry).unwrap();
        assert!(told(&watch).await);
        watch.renew();
        fs::write(registry.join("2.json"), "{}").unwrap();
        assert!(told(&watch).await);
        assert!(watch.is_watched());
    }

    #[test]
    fn without_a_directory_somebody_has_to_look() {
        let world = World::new("a");
        let _ = fs::remove_dir_all(world.claude());
        let mut watch = RegistryWatch::begin(&world.home);
        assert!(!watch.is_watched());
        fs::create_dir_all(world.claude()).unwrap();
        watch.renew();
        assert!(watch.watcher.is_none() || watch.is_watched());
    }
}
