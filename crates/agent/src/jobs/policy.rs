//! `policy`: how much is kept because of whom, and for how long.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ccpeer_core::id::DeviceId;
use ccpeer_core::sync::event::Event;

use super::secrets;
use crate::api::{
    self, ApiError, DevicePolicy, ErrorCode, Fetch, Place, PolicyChange, ProjectCode, ProjectPlace,
    SummaryBy, SummaryChange, SummaryPolicy,
};
use crate::driver::{Ask, Coding, Enriching, Handle, Input};
use crate::enrich::{EVERY_MIN_BOUNDS, PER_DAY_MAX};
use crate::policy::{KEEP_DAYS_MAX, Moved, Policy};
use crate::pool::blocking;
use crate::{pause, problem, projects};

mod share;

/// Changes what is to be changed, and tells what holds.
pub(super) async fn policy(
    handle: &Handle,
    change: Option<PolicyChange>,
) -> Result<api::Policy, ApiError> {
    // These are kept beside the policy.
    let change = match change {
        Some(PolicyChange::Pause { seconds }) => {
            pause::begin(handle, seconds).await?;
            None
        }
        Some(PolicyChange::Resume) => {
            pause::end(handle).await?;
            None
        }
        Some(PolicyChange::SecretsSeen) => {
            secrets::seen(handle).await?;
            None
        }
        change => change,
    };
    // Until the changed policy is written, or two changes leave one.
    let _turn = match change {
        Some(_) => Some(handle.shared.choosing.lock().await),
        None => None,
    };
    let store = Arc::clone(&handle.shared.store);
    let policy = blocking(move || Policy::load(&store)).await;
    let mut policy = policy.map_err(|e| problem::store(&e))?;
    let mut introduces = false;
    let mut places = false;
    let mut fetches = false;
    let mut left = None;
    if let Some(change) = change {
        match change {
            PolicyChange::Share { which, share, anew } => {
                left = Some(share::change(handle, which, share, anew).await?);
            }
            PolicyChange::Fetch { device, how } => {
                let device = handle.ask(|to| Ask::Device(device, to)).await??;
                fetches = true;
                match how {
                    Fetch::All => policy.fetch.remove(&device.id),
                    how => policy.fetch.insert(device.id, how),
                };
            }
            PolicyChange::Quota {
                device: None,
                bytes,
            } => policy.quota = bytes,
            PolicyChange::Quota {
                device: Some(device),
                bytes,
            } => {
                let device = handle.ask(|to| Ask::Device(device, to)).await??;
                policy.quotas.insert(device.id, bytes);
            }
            PolicyChange::Introduce { device, how } => {
                let device = handle.ask(|to| Ask::Device(device, to)).await??;
                policy.introduce.insert(device.id, how);
                introduces = true;
            }
            PolicyChange::Place { project, how } => {
                places = true;
                match project {
                    None => policy.places.default = how,
                    Some(project) => {
                        let dir = directory_of(handle, project).await?;
                        match how {
                            Place::Ask => policy.places.dirs.remove(&dir),
                            how => policy.places.dirs.insert(dir, how),
                        };
                    }
                }
            }
            PolicyChange::PlaceFrom { device, how } => {
                let device = handle.ask(|to| Ask::Device(device, to)).await??;
                places = true;
                match how {
                    Place::Never => policy.places.devices.insert(device.id, how),
                    Place::Ask | Place::Auto => policy.places.devices.remove(&device.id),
                };
            }
            PolicyChange::Code { project, on } => {
                let dir = directory_of(handle, project).await?;
                policy.code.choose(dir, on);
            }
            PolicyChange::StartLine { on } => policy.start_line = on,
            PolicyChange::Keep { days: Some(0) } => {
                return Err(
                    ApiError::new(ErrorCode::Usage, "less than a day is too short")
                        .hint("give a number of days, or `forever`"),
                );
            }
            PolicyChange::Summary(change) => change_summary(&mut policy.summary, change)?,
            PolicyChange::Keep { days } => {
                policy.keep_days = days.filter(|d| *d <= KEEP_DAYS_MAX);
            }
            PolicyChange::Secrets { bridge, how } => {
                secrets::change(handle, &mut policy, &bridge, how).await?;
            }
            PolicyChange::Pause { .. } | PolicyChange::Resume | PolicyChange::SecretsSeen => {}
        }
        let store = Arc::clone(&handle.shared.store);
        if let Some(note) = policy.note() {
            let written = blocking(move || store.put_notes(&[note])).await;
            written.map_err(|e| problem::store(&e))?;
        }
        let summary = Enriching::Chosen(policy.summary.clone());
        handle.send(Input::Enrich(summary)).await?;
        let code = Coding::Chosen(policy.code.clone());
        handle.send(Input::Code(code)).await?;
        if places {
            handle.shared.bell.chosen();
        }
        if fetches {
            let told = handle.ask(|to| Ask::Fetches(policy.clone(), to));
            handle.send(Input::Machine(Box::new(told.await?))).await?;
        }
        if introduces {
            let told = handle.ask(|to| Ask::Introducers(policy.clone(), to));
            handle.send(Input::Machine(Box::new(told.await?))).await?;
        }
        let quotas = handle.ask(|to| Ask::Quotas(policy.clone(), to)).await?;
        handle
            .send(Input::Machine(Box::new(Event::Quotas(quotas))))
            .await?;
    }
    let charges = handle.ask(Ask::Charges).await?;
    let chosen = policy.introduce.clone();
    let introduce = |id: &str| chosen.get(id).copied().unwrap_or_default();
    let quota_of = |id: &str| policy.quotas.get(id).copied().unwrap_or(policy.quota);
    let dirs = policy.places.dirs.iter();
    let of_projects = dirs.map(|(dir, how)| ProjectPlace {
        dir: dir.clone(),
        how: *how,
    });
    let of_projects = of_projects.collect();
    let places = policy.places.clone();
    let place_of = |id: &str| places.devices.get(id).copied().unwrap_or_default();
    let fetch_of = |id: &str| policy.fetch.get(id).copied().unwrap_or_default();
    let (rules, closed) = share::rules(handle).await;
    Ok(api::Policy {
        quota_default: policy.quota,
        keep_days: policy.keep_days,
        summary: policy.summary.clone(),
        place_default: policy.places.default,
        place_projects: of_projects,
        code_projects: policy.code.0.iter().map(ProjectCode::of).collect(),
        start_line: policy.start_line,
        paused: handle.shared.pause.told(),
        bridges: secrets::bridges(handle, &policy).await,
        secrets: handle.shared.exposed.list(),
        share_default: rules.default_share(),
        share_rules: rules.list(),
        share_closed: closed,
        share_left: left,
        devices: charges
            .into_iter()
            .map(|(device, used)| {
                let own = device.id.parse::<DeviceId>().ok() == Some(handle.shared.me);
                let quota = (!own).then(|| quota_of(&device.id));
                DevicePolicy {
                    introduce: (!own).then(|| introduce(&device.id)),
                    place: (!own).then(|| place_of(&device.id)),
                    fetch: (!own).then(|| fetch_of(&device.id)),
                    over: quota.is_some_and(|q| used >= q),
                    device,
                    used,
                    quota,
                }
            })
            .collect(),
    })
}

/// What was said of a project that moved holds in its new place as well: what others
/// may have of it, whether it is placed by itself, whether its code goes along. `now`
/// says where a directory is now, `dirs` are those in which sessions work. The old
/// words stay. How many there are more, or would be.
///
/// # Errors
/// When what was said cannot be read or written; then nothing may be moved, because
/// it could leave.
pub(super) async fn follow(
    handle: &Handle,
    now: Arc<Moved>,
    dirs: Vec<PathBuf>,
    dry_run: bool,
) -> Result<usize, ApiError> {
    let ruled = share::follow(handle, Arc::clone(&now), dirs, dry_run).await?;
    let _turn = handle.shared.choosing.lock().await;
    let store = Arc::clone(&handle.shared.store);
    let followed = blocking(move || {
        let mut policy = Policy::load(&store)?;
        let more = policy.follow(&*now);
        if let (Some(note), true) = (policy.note(), more > 0 && !dry_run) {
            store.put_notes(&[note])?;
        }
        Ok((more, policy))
    });
    let (more, policy) = followed.await.map_err(|e| problem::store(&e))?;
    if more > 0 && !dry_run {
        let code = Coding::Chosen(policy.code);
        handle.send(Input::Code(code)).await?;
    }
    Ok(ruled + more)
}

/// Takes over what was named; within bounds, or not at all.
fn change_summary(policy: &mut SummaryPolicy, change: SummaryChange) -> Result<(), ApiError> {
    let refused = |what: String| {
        Err(ApiError::new(ErrorCode::Usage, what)
            .hint("nothing was changed; `ccpeer policy` shows what holds"))
    };
    let (least, most) = EVERY_MIN_BOUNDS;
    if let Some(minutes) = change.every_min {
        if !(least..=most).contains(&minutes) {
            return refused(format!(
                "the pause between two summaries is {least} to {most} minutes"
            ));
        }
        policy.every_min = minutes;
    }
    for (wanted, bound) in [
        (change.per_hour, &mut policy.per_hour),
        (change.per_day, &mut policy.per_day),
    ] {
        if let Some(requests) = wanted {
            if !(1..=PER_DAY_MAX).contains(&requests) {
                return refused(format!("a budget is 1 to {PER_DAY_MAX} requests"));
            }
            *bound = requests;
        }
    }
    if let Some(by) = change.by {
        if by == (SummaryBy::Command { argv: Vec::new() }) {
            return refused("no command was given".to_owned());
        }
        policy.by = by;
        policy.chosen = true;
    }
    Ok(())
}

/// The directory of a project here: named, or known under this name.
pub(super) async fn directory_of(handle: &Handle, project: String) -> Result<String, ApiError> {
    let named = PathBuf::from(&project);
    let mut found: Vec<String> = if named.is_absolute() {
        let dir = blocking(move || projects::use_dir(&named)).await?;
        vec![dir.display().to_string()]
    } else {
        let known = super::projects::list(handle).await?.into_iter();
        // By its own name, or by that of its directory here.
        let last = |dir: &str| {
            Path::new(dir)
                .file_name()
                .map(std::ffi::OsStr::to_os_string)
        };
        known
            .filter_map(|p| Some((p.name, p.dir?)))
            .filter(|(name, dir)| *name == project || last(dir) == Some((&project).into()))
            .map(|(_, dir)| dir)
            .collect()
    };
    found.sort();
    found.dedup();
    match (found.pop(), found.len()) {
        (Some(dir), 0) => Ok(dir),
        (None, _) => Err(ApiError::new(
            ErrorCode::NotFound,
            "no project here is known by this name",
        )
        .hint("`ccpeer projects` lists them; a directory can be given, too")),
        (Some(dir), _) => {
            found.push(dir);
            Err(
                ApiError::new(ErrorCode::Ambiguous, "more than one project has this name")
                    .hint("give its directory")
                    .choices(found),
            )
        }
    }
}
