//! DNS against a name server of the test's own: a few lines of RFC 1035.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::net::UdpSocket;

use super::*;

/// What the server answers: name and type to records, each with its time to live.
type Zone = Arc<Mutex<BTreeMap<(String, u16), Vec<(u32, Vec<u8>)>>>>;

const A: u16 = 1;
const SRV: u16 = 33;

fn srv(priority: u16, weight: u16, port: u16, host: &str) -> Vec<u8> {
    let mut data = [priority.to_be_bytes(), weight.to_be_bytes(), port.to_be_bytes()].concat();
    for label in host.split('.') {
        data.push(label.len() as u8);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    data
}

async fn serve(socket: UdpSocket, zone: Zone) {
    let mut packet = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut packet).await {
        let (mut at, mut labels) = (12, Vec::new());
        while packet[at] > 0 {
            let end = at + 1 + usize::from(packet[at]);
            labels.push(String::from_utf8_lossy(&packet[at + 1..end]).to_ascii_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([packet[at + 1], packet[at + 2]]);
        let question = &packet[12..at + 5];
        assert!(at + 5 <= length);
        let zone = zone.lock().unwrap().clone();
        let records = zone.get(&(labels.join("."), kind));
        let known = zone.keys().any(|(name, _)| *name == labels.join("."));
        let mut answer = packet[..2].to_vec();
        answer.extend_from_slice(&[0x84, if known { 0x80 } else { 0x83 }, 0, 1]);
        let records = records.cloned().unwrap_or_default();
        answer.extend_from_slice(&[0, records.len() as u8, 0, 0, 0, 0]);
        answer.extend_from_slice(question);
        for (ttl, data) in records {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1]);
            answer.extend_from_slice(&ttl.to_be_bytes());
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(&data);
        }
        let _ = socket.send_to(&answer, client).await;
    }
}

async fn world() -> (Zone, Arc<TokioResolver>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let zone = Zone::default();
    tokio::spawn(serve(socket, Arc::clone(&zone)));
    (zone, resolver(Some(server)).unwrap())
}

fn set(zone: &Zone, name: &str, kind: u16, records: Vec<(u32, Vec<u8>)>) {
    zone.lock().unwrap().insert((name.to_owned(), kind), records);
}

fn sockets(addresses: &[&str]) -> Vec<Found> {
    addresses.iter().map(|address| address.parse::<SocketAddr>().unwrap().into()).collect()
}

#[tokio::test]
async fn a_changed_name_is_seen_when_its_time_is_over_and_a_lost_one_keeps_its_answer() {
    let (zone, resolver) = world().await;
    set(&zone, "payments.test", A, vec![(1, vec![10, 0, 0, 2]), (1, vec![10, 0, 0, 1])]);
    let mut dns = Dns::new(resolver, "payments.test.", 80);
    assert_eq!(dns.next().await, sockets(&["10.0.0.1:80", "10.0.0.2:80"]));
    set(&zone, "payments.test", A, vec![(1, vec![10, 0, 0, 3])]);
    assert_eq!(dns.next().await, sockets(&["10.0.0.3:80"]));
    zone.lock().unwrap().clear();
    let lost = tokio::time::timeout(Duration::from_millis(2_500), dns.next()).await;
    assert!(lost.is_err(), "a name that is gone gives no answer: {lost:?}");
}

#[tokio::test]
async fn srv_records_say_host_port_priority_and_weight() {
    let (zone, resolver) = world().await;
    let records = [
        srv(20, 1, 9090, "c.test"),
        srv(10, 3, 8080, "a.test"),
        srv(10, 0, 8081, "b.test"),
        srv(10, 1, 1, "gone.test"),
    ];
    set(&zone, "_http._tcp.payments.test", SRV, records.map(|data| (30, data)).to_vec());
    for (name, last) in [("a.test", 1), ("b.test", 2), ("c.test", 3)] {
        set(&zone, name, A, vec![(30, vec![10, 0, 0, last])]);
    }
    let mut dns = Dns::new(resolver, "_http._tcp.payments.test.", 80);
    assert!(dns.is_service());
    let found = |tier, address: &str, weight| Found { tier, address: address.parse().unwrap(), weight };
    let expected = [found(10, "10.0.0.1:8080", 3), found(10, "10.0.0.2:8081", 0), found(20, "10.0.0.3:9090", 1)];
    assert_eq!(dns.next().await, expected, "a host that does not resolve is left out");
}

#[test]
fn ipv4_is_preferred_and_order_does_not_matter() {
    let parse = |text: &[&str]| text.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    let mixed = parse(&["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(preferred(mixed.into_iter()), parse(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(preferred(parse(&["::1"]).into_iter()), parse(&["::1"]));
}
