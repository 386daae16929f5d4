//! Free ports on loopback, for programs that take their ports as arguments.
//!
//! Chosen below the range from which the system gives ports to outgoing connections (from 32768 on Linux), because a
//! client of the same test could otherwise take one between the choice and the use.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// Where the next search of this process begins; the process id keeps processes apart.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` neighbouring ports that are free now.
///
/// # Errors
/// When no such range is free.
pub fn free(count: u16) -> Result<u16> {
    let span = LAST - FIRST;
    let start = (std::process::id() % u32::from(span)) as u16;
    for _ in 0..span / count.max(1) {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let base = FIRST + (u32::from(start) + u32::from(offset)).rem_euclid(u32::from(span)) as u16;
        if (base..base + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(base);
        }
    }
    None.with_context(|| format!("no {count} neighbouring ports are free between {FIRST} and {LAST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_free_and_given_once() -> Result<()> {
        let (first, second) = (free(20)?, free(20)?);
        assert!(first.abs_diff(second) >= 20, "{first} and {second} overlap");
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, second + 20));
        let third = free(20)?;
        assert!(third > second + 20 || third < second, "{third} holds a port that is taken");
        Ok(())
    }
}
