//! x
#[cfg(test)]
pub(crate) mod sample;
