//! What a request costs: HTTP/1.1, HTTP/2, gRPC and mutual TLS beside Envoy, and telemetry beside none.

use anyhow::Result;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::Plan;
use crate::bed::{Bed, Telemetry};
use crate::load::{Call, Run, Target, h2load, wrk};
use crate::report::{Bar, figure, median, rounded};

/// Rounds of two hops, ours second.
struct Rounds {
    peer: Vec<Run>,
    ours: Vec<Run>,
}

impl Rounds {
    /// The median of the rounds' ratios, ours to the peer's.
    fn ratio(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.peer).map(|(ours, peer)| of(ours) / of(peer).max(f64::MIN_POSITIVE)))
    }

    /// Both sides' medians, for who wants to see what a ratio was made from.
    fn both(&self, peer: &str, of: impl Fn(&Run) -> f64) -> Value {
        json!({
            "peer": peer,
            "ours": rounded(median(self.ours.iter().map(&of))),
            "peers": rounded(median(self.peer.iter().map(&of))),
            "rounds": self.ours.len(),
            "errors": self.ours.iter().map(|run| run.errors).sum::<u64>(),
        })
    }

    /// Prints the ratio of CPU a request.
    fn cpu(&self, row: &str, peer: &str, bar: f64) {
        let of = |run: &Run| run.cpu_us;
        figure(row, "cpu_per_request_ratio", self.ratio(of), Bar::AtMost(bar), self.both(peer, of));
    }
}

/// HTTP/1.1: processor time, requests a second, p99.
pub(crate) async fn http1(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    let (envoy, sidecar) = (bed.envoy_client().await?, bed.sidecar(Telemetry::On).await?);
    let (envoy_hop, our_hop) = ([envoy.pid()], [sidecar.running.pid()]);
    let through_envoy = Target { port: bed.envoy()[0], host: "http1.bench.local", hop: &envoy_hop };
    let through_ours = Target { port: bed.client().outbound, host: "http1.bench.local", hop: &our_hop };
    let rounds = by_wrk(plan, &through_envoy, &through_ours).await?;
    rounds.cpu("http1", "envoy", 0.28);
    let rate = |run: &Run| run.per_second;
    figure("http1", "requests_per_second_ratio", rounds.ratio(rate), Bar::AtLeast(3.2), rounds.both("envoy", rate));
    let p99 = |run: &Run| run.p99_ms.unwrap_or(f64::NAN);
    figure("http1", "p99_ratio", rounds.ratio(p99), Bar::AtMost(0.4), rounds.both("envoy", p99));
    Ok(())
}

/// Two sidecars of ours, one without a collector.
pub(crate) async fn telemetry(plan: Plan) -> Result<()> {
    let mut rounds = Rounds { peer: Vec::new(), ours: Vec::new() };
    for _ in 0..plan.rounds {
        let bed = Bed::start().await?;
        for (telemetry, runs) in [(Telemetry::Off, &mut rounds.peer), (Telemetry::On, &mut rounds.ours)] {
            let sidecar = bed.sidecar(telemetry).await?;
            let hop = [sidecar.running.pid()];
            let target = Target { port: bed.client().outbound, host: "http1.bench.local", hop: &hop };
            runs.push(wrk(&target, plan.connections, plan.length).await?);
        }
    }
    rounds.cpu("telemetry", "the sidecar with --collector none", 1.10);
    Ok(())
}

/// A sidecar at both ends and mutual TLS between them.
pub(crate) async fn mtls(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    let envoys = (bed.envoy_client().await?, bed.envoy_server().await?);
    let sidecars = (bed.sidecar(Telemetry::On).await?, bed.server_sidecar().await?);
    let envoy_hop = [envoys.0.pid(), envoys.1.pid()];
    let our_hop = [sidecars.0.running.pid(), sidecars.1.running.pid()];
    let through_envoy = Target { port: bed.envoy()[2], host: "secure.bench.local", hop: &envoy_hop };
    let through_ours = Target { port: bed.client().outbound, host: "secure.bench.local", hop: &our_hop };
    by_wrk(plan, &through_envoy, &through_ours).await?.cpu("mtls", "two envoys", 0.5);
    Ok(())
}

/// HTTP/2, both sides of the hop.
pub(crate) async fn http2(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    by_h2load(plan, &bed, "http2.bench.local", Call { path: "/", message: None }).await?.cpu("http2", "envoy", 0.4);
    Ok(())
}

/// gRPC unary calls of 1 KiB, answered with as much.
pub(crate) async fn grpc(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    let message = bed.message();
    let call = Call { path: "/bench.Echo/Say", message: Some(&message) };
    by_h2load(plan, &bed, "grpc.bench.local", call).await?.cpu("grpc", "envoy", 0.4);
    Ok(())
}

/// Load of every kind through our sidecars alone.
pub(crate) async fn training(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    let (client, server) = (bed.sidecar(Telemetry::On).await?, bed.server_sidecar().await?);
    let hop = [client.running.pid(), server.running.pid()];
    let target = |host| Target { port: bed.client().outbound, host, hop: &hop };
    for host in ["http1.bench.local", "secure.bench.local"] {
        wrk(&target(host), plan.connections, plan.length).await?;
    }
    let message = bed.message();
    let calls = [
        ("http2.bench.local", Call { path: "/", message: None }),
        ("grpc.bench.local", Call { path: "/bench.Echo/Say", message: Some(&message) }),
    ];
    for (host, call) in calls {
        h2load(&target(host), (plan.connections, plan.streams), plan.length, call).await?;
    }
    Ok(())
}

async fn by_wrk(plan: Plan, peer: &Target<'_>, ours: &Target<'_>) -> Result<Rounds> {
    let mut rounds = Rounds { peer: Vec::new(), ours: Vec::new() };
    for _ in 0..plan.rounds {
        rounds.peer.push(wrk(peer, plan.connections, plan.length).await?);
        rounds.ours.push(wrk(ours, plan.connections, plan.length).await?);
    }
    Ok(rounds)
}

async fn by_h2load(plan: Plan, bed: &Bed, host: &str, call: Call<'_>) -> Result<Rounds> {
    let (envoy, sidecar) = (bed.envoy_client().await?, bed.sidecar(Telemetry::On).await?);
    let (envoy_hop, our_hop): ([Pid; 1], [Pid; 1]) = ([envoy.pid()], [sidecar.running.pid()]);
    let peer = Target { port: bed.envoy()[1], host, hop: &envoy_hop };
    let ours = Target { port: bed.client().outbound, host, hop: &our_hop };
    let load = (plan.connections, plan.streams);
    let mut rounds = Rounds { peer: Vec::new(), ours: Vec::new() };
    for _ in 0..plan.rounds {
        rounds.peer.push(h2load(&peer, load, plan.length, call).await?);
        rounds.ours.push(h2load(&ours, load, plan.length, call).await?);
    }
    Ok(rounds)
}
