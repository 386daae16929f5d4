//! The mesh documents given to the collector: validated, kept in one file, handed out again.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tokio::sync::watch;
use tripline_api as api;
use tripline_mesh::{Mesh, Problem, Source};

use super::App;
use super::answer::{Answer, Body, Refusal};
use crate::clock;
use crate::history::write_durably;

/// Sources of one mesh at most.
const MAX_SOURCES: usize = 1_000;

/// The mesh documents given last. Cheap to clone; all clones hold the same.
#[derive(Debug, Clone)]
pub struct MeshStore {
    file: Option<PathBuf>,
    applied: watch::Sender<Option<Arc<api::AppliedMesh>>>,
}

impl MeshStore {
    /// A store that forgets when the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { file: None, applied: watch::Sender::new(None) }
    }

    /// A store in `file`, which is read now when it is there. A damaged file is told and passed over.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        let applied = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .inspect_err(|error| tracing::error!(file = %file.display(), %error, "the stored mesh is damaged; apply it again"))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file: Some(file), applied: watch::Sender::new(applied.map(Arc::new)) })
    }

    /// What was given last, and whatever is given later.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<api::AppliedMesh>>> {
        self.applied.subscribe()
    }

    /// Keeps a mesh in place of the one before.
    fn keep(&self, applied: &Arc<api::AppliedMesh>) -> io::Result<()> {
        if let Some(file) = &self.file {
            let text = serde_json::to_vec(applied)?;
            write_durably(file, |file| -> io::Result<()> { file.write_all(&text) })?;
        }
        self.applied.send_replace(Some(Arc::clone(applied)));
        Ok(())
    }
}

/// The mesh documents given last; `null` when there were none.
#[utoipa::path(get, path = "/api/v1/mesh", responses((status = 200, body = Option<api::AppliedMesh>)))]
pub(super) async fn get(State(app): State<App>) -> Answer<Option<Arc<api::AppliedMesh>>> {
    Ok(Json(app.parts.mesh.applied.borrow().clone()))
}

/// Validates the documents of a whole mesh and keeps them in place of those given before. With one problem nothing changes,
/// and the message lists all problems, one a line, each with source, line and field.
#[utoipa::path(post, path = "/api/v1/mesh", request_body = api::MeshRequest, responses(
    (status = 200, body = api::AppliedMesh), (status = 400, body = api::ApiError)))]
pub(super) async fn post(
    State(app): State<App>,
    Body(request): Body<api::MeshRequest>,
) -> Answer<Arc<api::AppliedMesh>> {
    if request.sources.len() > MAX_SOURCES {
        return Err(Refusal::bad_request(format!("sources: expected at most {MAX_SOURCES}")));
    }
    let store = app.parts.mesh.clone();
    // Parsing megabytes and syncing a file would hold up the runtime's worker.
    let work = tokio::task::spawn_blocking(move || {
        let applied = Arc::new(validate(request)?);
        store.keep(&applied).map_err(|error| {
            tracing::error!(%error, "the mesh could not be stored");
            Refusal::internal("the documents are valid but could not be stored; the collector's log says why")
        })?;
        Ok(Json(applied))
    });
    work.await.unwrap_or_else(|_| Err(Refusal::internal("validating the documents failed")))
}

fn validate(request: api::MeshRequest) -> Result<api::AppliedMesh, Refusal> {
    let sources: Vec<Source<'_>> =
        request.sources.iter().map(|source| Source { name: &source.name, text: &source.text }).collect();
    let loaded = Mesh::parse(&sources).map_err(|problems| Refusal::bad_request(problems.to_string()))?;
    let edge = |(client, server): (tripline_model::ServiceName, tripline_model::ServiceName)| api::DeclaredEdge {
        client: client.to_string(),
        server: server.to_string(),
    };
    Ok(api::AppliedMesh {
        applied_at: clock::rfc3339(clock::now()),
        name: loaded.mesh.name.clone(),
        nodes: loaded.mesh.nodes.keys().chain(loaded.mesh.gateways.keys()).map(ToString::to_string).collect(),
        edges: loaded.mesh.declared_edges().into_iter().map(edge).collect(),
        warnings: loaded.warnings.into_iter().map(finding).collect(),
        sources: request.sources,
    })
}

fn finding(problem: Problem) -> api::MeshFinding {
    api::MeshFinding {
        source: problem.source,
        line: problem.line as u64,
        field: problem.field,
        message: problem.message,
    }
}
