//! `projects`: which project is which directory here, and what the user says
//! about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::{self, ApiError, DeviceName, ErrorCode, ProjectChange, ProjectsChanged};
use crate::driver::{Ask, Handle};
use crate::local::LocalState;
use crate::pool::blocking;
use crate::projects::{self, Around, Finder, Mapping, ROOTS_MAX, Row, Seen};
use crate::{place, problem, view};

/// Rows that are named where several are meant.
const CHOICES_MAX: usize = 20;

pub(super) async fn list(handle: &Handle) -> Result<Vec<api::Project>, ApiError> {
    let (rows, names) = look(handle).await?;
    Ok(rows.iter().map(|row| shown(row, &names)).collect())
}

/// Changes what is to be changed, and tells what holds.
pub(super) async fn change(
    handle: &Handle,
    change: ProjectChange,
) -> Result<ProjectsChanged, ApiError> {
    match change {
        ProjectChange::Set { project, dir } => set(handle, &project, &dir).await,
        ProjectChange::Forget { project } => forget(handle, &project).await,
        ProjectChange::AddRoot { dir } => {
            let dir = projects::use_dir(Path::new(&dir))?;
            change_roots(handle, move |roots| {
                let new = !roots.contains(&dir);
                if new {
                    roots.push(dir.clone());
                }
                Ok(new.then(|| format!("projects are looked for below {}", dir.display())))
            })
            .await
        }
        ProjectChange::RemoveRoot { dir } => {
            change_roots(handle, move |roots| {
                let given = PathBuf::from(&dir);
                let real = projects::use_dir(&given).unwrap_or_else(|_| given.clone());
                let before = roots.len();
                roots.retain(|root| *root != real && *root != given);
                if roots.len() == before {
                    return Err(ApiError::new(
                        ErrorCode::NotFound,
                        format!("{dir} is not one of the directories that hold projects"),
                    )
                    .hint("`ccpeer projects root` lists them"));
                }
                Ok(Some(format!(
                    "projects are not looked for below {dir} any more"
                )))
            })
            .await
        }
        ProjectChange::Roots => change_roots(handle, |_| Ok(None)).await,
    }
}

async fn set(handle: &Handle, project: &str, dir: &str) -> Result<ProjectsChanged, ApiError> {
    let dir = projects::use_dir(Path::new(dir))?;
    let (rows, names) = look(handle).await?;
    let row = meant(&rows, project, &names)?;
    let notes: Vec<_> = row
        .identities
        .iter()
        .filter_map(|identity| {
            let said = Mapping {
                identity: identity.clone(),
                dir: dir.clone(),
                said: true,
            };
            said.note()
        })
        .collect();
    if notes.is_empty() {
        return Err(ApiError::new(
            ErrorCode::Refused,
            format!(
                "nothing but its name tells {:?} from another project",
                row.name
            ),
        )
        .hint(
            "choose a directory for each of its sessions with `ccpeer continue TASK --into DIR`",
        ));
    }
    let message = format!("{} lies in {}", view::line(&row.name), dir.display());
    write(handle, notes).await?;
    answer(handle, Some(message), row).await
}

async fn forget(handle: &Handle, project: &str) -> Result<ProjectsChanged, ApiError> {
    let (rows, names) = look(handle).await?;
    let row = meant(&rows, project, &names)?;
    let shared = Arc::clone(&handle.shared);
    let identities = row.identities.clone();
    let forgotten = blocking(move || {
        let finder = Finder::new(&shared.store, &shared.home)?;
        let of_it = |m: &&Mapping| identities.iter().any(|i| m.place(i).is_some());
        let notes: Vec<_> = finder
            .mappings()
            .iter()
            .filter(of_it)
            .map(Mapping::forgotten)
            .collect();
        shared.store.put_notes(&notes)?;
        Ok(notes.len())
    })
    .await
    .map_err(|e| problem::store(&e))?;
    let name = view::line(&row.name);
    let message = match forgotten {
        0 => format!("nothing was remembered of {name}"),
        _ => format!("what was remembered of {name} is forgotten"),
    };
    answer(handle, Some(message), row).await
}

/// What holds now, with the row that was meant.
async fn answer(
    handle: &Handle,
    message: Option<String>,
    before: &Row,
) -> Result<ProjectsChanged, ApiError> {
    let (rows, names) = look(handle).await?;
    let row = rows.iter().find(|row| row.sessions == before.sessions);
    Ok(ProjectsChanged {
        message,
        project: row.map(|row| shown(row, &names)),
        roots: roots(handle).await?,
    })
}

async fn change_roots(
    handle: &Handle,
    change: impl FnOnce(&mut Vec<PathBuf>) -> Result<Option<String>, ApiError> + Send + 'static,
) -> Result<ProjectsChanged, ApiError> {
    let shared = Arc::clone(&handle.shared);
    let message = blocking(move || {
        let around = Around::load(&shared.store, &shared.home).map_err(|e| problem::store(&e))?;
        let mut roots = around.roots;
        let message = change(&mut roots)?;
        if roots.len() > ROOTS_MAX {
            return Err(ApiError::new(
                ErrorCode::Usage,
                format!("more than {ROOTS_MAX} directories are not looked below"),
            ));
        }
        if message.is_some() {
            let written = shared.store.put_notes(Around::note(&roots).as_slice());
            written.map_err(|e| problem::store(&e))?;
        }
        Ok(message)
    })
    .await?;
    Ok(ProjectsChanged {
        message,
        project: None,
        roots: roots(handle).await?,
    })
}

async fn roots(handle: &Handle) -> Result<Vec<String>, ApiError> {
    let shared = Arc::clone(&handle.shared);
    let around = blocking(move || Around::load(&shared.store, &shared.home)).await;
    let around = around.map_err(|e| problem::store(&e))?;
    Ok(around
        .roots
        .iter()
        .map(|r| r.display().to_string())
        .collect())
}

async fn write(handle: &Handle, notes: Vec<ccpeer_store::NoteWrite>) -> Result<(), ApiError> {
    let store = Arc::clone(&handle.shared.store);
    let written = blocking(move || store.put_notes(&notes)).await;
    written.map_err(|e| problem::store(&e))
}

/// The table, and what devices are called.
async fn look(handle: &Handle) -> Result<(Vec<Row>, BTreeMap<String, DeviceName>), ApiError> {
    let heads = handle.ask(Ask::Sessions).await?;
    let names: BTreeMap<String, DeviceName> = heads
        .iter()
        .map(|(head, _)| (head.device.id.clone(), head.device.clone()))
        .collect();
    let shared = Arc::clone(&handle.shared);
    let rows = blocking(move || {
        let (store, home) = (&*shared.store, &shared.home);
        let local: BTreeMap<_, _> = LocalState::load_all(store)
            .map_err(|e| problem::store(&e))?
            .into_iter()
            .map(|(session, state)| (session, PathBuf::from(state.here.project)))
            .collect();
        let mut seen = Vec::new();
        for (head, _) in heads {
            let version = head.version;
            let mut identity = place::identity_of(store, version.manifest)?;
            if identity.name.is_empty() {
                identity.name.clone_from(&version.meta.project);
            }
            seen.push(Seen {
                session: version.session,
                identity,
                device: head.device.id,
                branch: version.meta.branch,
                here: local.get(&version.session).cloned(),
            });
        }
        let finder = Finder::new(store, home).map_err(|e| problem::store(&e))?;
        Ok::<_, ApiError>(projects::rows(&finder, seen))
    })
    .await?;
    Ok((rows, names))
}

/// The row that is meant, or the choice.
fn meant<'r>(
    rows: &'r [Row],
    wanted: &str,
    names: &BTreeMap<String, DeviceName>,
) -> Result<&'r Row, ApiError> {
    let several = match projects::find_row(rows, wanted) {
        Ok(at) => rows.get(at),
        Err(several) if several.is_empty() => {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("no project is called {wanted:?}"),
            )
            .hint("`ccpeer projects` lists them; a name, a directory or the beginning of a remote will do"));
        }
        Err(several) => {
            let choice = |at: &usize| Some(in_a_line(&shown(rows.get(*at)?, names)));
            return Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("{} projects may be meant by {wanted:?}", several.len()),
            )
            .hint("name it by its directory or the beginning of its remote")
            .choices(
                several
                    .iter()
                    .take(CHOICES_MAX)
                    .filter_map(choice)
                    .collect(),
            ));
        }
    };
    several.ok_or_else(|| ApiError::new(ErrorCode::Bug, "a row is gone"))
}

fn in_a_line(project: &api::Project) -> String {
    let place = project
        .remotes
        .first()
        .cloned()
        .or_else(|| project.dir.clone());
    format!(
        "{} ({})",
        project.name,
        place.unwrap_or_else(|| "not known here".to_owned())
    )
}

fn shown(row: &Row, names: &BTreeMap<String, DeviceName>) -> api::Project {
    let device = |id: &String| names.get(id).cloned();
    api::Project {
        name: view::line(&row.name),
        dir: row.dir.as_ref().map(|dir| dir.display().to_string()),
        known: row.known,
        certain: row.certain,
        candidates: row
            .candidates
            .iter()
            .map(|dir| dir.display().to_string())
            .collect(),
        remotes: row
            .remotes
            .iter()
            .map(|remote| view::line(remote))
            .collect(),
        subdir: view::line(&row.subdir),
        sessions: row.sessions.len() as u64,
        devices: row.devices.iter().filter_map(device).collect(),
    }
}
