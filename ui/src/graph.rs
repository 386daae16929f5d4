//! The live service graph.
//!
//! Pure geometry below ([`shape`], [`scene`], [`camera`], [`wave`], [`look`]), thin views above ([`page`], [`canvas`], [`node`],
//! [`edge`], [`breaker_glyph`]). The scene is built when the topology changes; a metric only changes the look of its own
//! node or edge.

mod breaker_glyph;
pub(crate) mod camera;
mod canvas;
mod edge;
mod legend;
mod look;
pub(crate) mod node;
mod notice;
mod outline;
pub(crate) mod page;
pub(crate) mod picture;
pub(crate) mod scene;
pub(crate) mod shape;
pub(crate) mod wave;
