//! Mesh documents given to the collector.

use crate::wire;

wire! {
    /// Body of `POST /api/v1/mesh`: the documents of one whole mesh; they replace those given before.
    pub struct MeshRequest {
        /// The documents, as files or any other source.
        pub sources: Vec<MeshSource>,
    }

    /// One source of mesh documents.
    pub struct MeshSource {
        /// A file name; findings name it.
        pub name: String,
        /// YAML or JSON, one or several documents.
        pub text: String,
    }

    /// Answer of `GET /api/v1/mesh` (`null` before anything was given) and of a `POST` that was accepted.
    pub struct AppliedMesh {
        /// When it was given.
        pub applied_at: String,
        /// Its name.
        pub name: String,
        /// Node ids of its virtual nodes, ordered.
        pub nodes: Vec<String>,
        /// Who may call whom, as declared.
        pub edges: Vec<DeclaredEdge>,
        /// What was noticed.
        pub warnings: Vec<MeshFinding>,
        /// The documents themselves.
        pub sources: Vec<MeshSource>,
    }

    /// A call that the documents allow.
    pub struct DeclaredEdge {
        /// Node id of the caller.
        pub client: String,
        /// Node id of the called.
        pub server: String,
    }

    /// Something noticed in a document.
    pub struct MeshFinding {
        /// Name of the source.
        pub source: String,
        /// Line in it, from 1; 0 when it is about no line in particular.
        pub line: u64,
        /// Path of the field; empty when it is about the whole document.
        pub field: String,
        /// What was expected, or what will not happen.
        pub message: String,
    }
}
