//! The outline of a node by its kind, around its middle: what a thing is can be told without colour or text. Pure.

use tripline_api::NodeKind;

/// As the value of SVG's `d`; more strokes for the lid of a cylinder and for what waits behind a queue.
pub(crate) const fn outline(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Service | NodeKind::External => {
            "M-74-38H74A10 10 0 0 1 84-28V28A10 10 0 0 1 74 38H-74A10 10 0 0 1-84 28V-28A10 10 0 0 1-74-38Z"
        }
        NodeKind::Gateway => {
            "M-72-38H66Q70-38 72-35L83-3Q84 0 83 3L72 35Q70 38 66 38H-72Q-84 38-84 26V-26Q-84-38-72-38Z"
        }
        NodeKind::Database => "M-84-31C-84-41 84-41 84-31V31C84 41-84 41-84 31ZM-84-31C-84-21 84-21 84-31",
        NodeKind::Queue => {
            "M-74-38H74A10 10 0 0 1 84-28V28A10 10 0 0 1 74 38H-74A10 10 0 0 1-84 28V-28A10 10 0 0 1-74-38ZM89-29V29M94-22V22"
        }
        NodeKind::User => "M-28-28H28A28 28 0 0 1 28 28H-28A28 28 0 0 1-28-28Z",
    }
}
