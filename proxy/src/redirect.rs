//! Where a connection was going before the kernel redirected it here.
//!
//! A `REDIRECT` rule of iptables rewrites the destination and remembers the old one, which `SO_ORIGINAL_DST` tells. A connection
//! that was made to the sidecar itself has none, or its own address.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// The destination that a redirected connection had; none of one that was made to us.
pub(crate) fn original(stream: &TcpStream) -> Option<SocketAddr> {
    let local = stream.local_addr().ok()?;
    let socket = SockRef::from(stream);
    let told = if is_v4(local) { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let original = unmapped(told.ok()?.as_socket()?);
    (original != unmapped(local)).then_some(original)
}

/// Whether the connection came over IPv4, to a socket of either family.
fn is_v4(address: SocketAddr) -> bool {
    unmapped(address).is_ipv4()
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_made_to_us_was_going_nowhere_else() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has nothing to tell about it.
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            assert_eq!(original(&listener.accept().await.unwrap().0), None, "{address}");
        }
    }
}
