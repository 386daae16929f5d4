//! Raw TCP: bytes between the application and a service, one exchange for each connection.
//!
//! What is counted: the connection, its bytes, and as latency the time until the other side was connected, because how long
//! a connection lives says nothing about its server. The breaker is told whether the connection could be made and whether the server
//! broke it. A client that breaks its own connection has left, which is no failure.

use std::sync::Arc;
use std::time::Duration;

use tripline_breaker::Outcome;
use tripline_mesh::{EgressFilter, ListenerProtocol, Timeouts};
use tripline_model::{Protocol, ServiceName};

use crate::directory::Lookup;
use crate::exchange::{AttemptEnd, End, Exchange};
use crate::guarded_io::Traffic;
use crate::mark::Mark;
use crate::pump::{self, Ended};
use crate::tally::{EdgeSlot, Protection, Refusal};
use crate::target::{NoPick, Target, Wish};
use crate::tls::Offer;
use crate::transport;
use crate::wire::Wire;
use crate::worker::Worker;

/// Passes a connection to one of the sidecar's own ports on to the service that the port leads to.
pub(crate) async fn forwarded(worker: &Arc<Worker>, number: usize, client: Wire, traffic: &Arc<Traffic>) {
    let Some(forward) = worker.shared.forwards.get(number) else { return };
    let plan = worker.shared.plan.get();
    let Lookup::Service(service) = plan.directory.find(&forward.service) else { return };
    let Some(route) = service.tcp_route(forward.port) else { return };
    if let Some(way) = route.way() {
        let (target, idle) = (Arc::clone(&way.target), route.idle);
        // A connection may live for days, and must not hold a plan that has been replaced.
        drop(plan);
        outbound(worker, &target, idle, (client, traffic)).await;
    }
}

/// Passes a redirected connection on to the service it was going to.
pub(crate) async fn redirected(worker: &Arc<Worker>, client: Wire, traffic: &Arc<Traffic>) {
    let Some(original) = traffic.arrival().original else { return };
    let plan = worker.shared.plan.get();
    let found = plan.directory.tcp_route_to(original).map(|(route, target)| (Arc::clone(target), route.idle));
    drop(plan);
    if let Some((target, idle)) = found {
        outbound(worker, &target, idle, (client, traffic)).await;
    }
}

/// Passes a redirected connection that is no HTTP and goes to no service on to where it was going, if the mesh allows it.
pub(crate) async fn outside(worker: &Arc<Worker>, client: Wire, traffic: &Arc<Traffic>) {
    let Some(original) = traffic.arrival().original else { return };
    let allowed = worker.shared.plan.get().egress == EgressFilter::AllowAll;
    let external = allowed.then(|| worker.shared.externals.find_bytes(original).ok()).flatten();
    let Some(external) = external else {
        tracing::debug!(%original, "connection refused: no service of this node is there, and the mesh lets no other out");
        return worker.shard.refuse(Refusal::UnknownHost);
    };
    external.resolve(worker.shared.clock).await;
    let idle = Timeouts::default_for(ListenerProtocol::Tcp).idle;
    outbound(worker, &external.target, idle, (client, traffic)).await;
}

async fn outbound(
    worker: &Arc<Worker>,
    target: &Arc<Target>,
    idle: Option<Duration>,
    (client, traffic): (Wire, &Arc<Traffic>),
) {
    let slot = EdgeSlot::Outbound(target.number);
    let mut exchange = Exchange::connection(worker, slot, traffic.busy());
    let now = exchange.began();
    let picked = match target.enter(now).await {
        Ok(ticket) => {
            exchange.keep(ticket);
            target.pick(Wish::default(), now)
        }
        Err(no_pick) => Err(no_pick),
    };
    let picked = match picked {
        Ok(picked) => picked,
        Err(NoPick::Unresolved | NoPick::Late) => return exchange.settle(End::Failed),
        Err(NoPick::Rejected(breaker, rejection)) => {
            // There is no answer that could tell the client more than the closed connection does.
            exchange.induced_by(Mark::rejected(&breaker, rejection.reason.as_str(), rejection.origin.as_str()));
            return exchange.settle(End::Shed);
        }
    };
    exchange.attempt_begins();
    exchange.protected(picked.endpoint.transport().protection());
    let trace = exchange.context().trace;
    let endpoint = Arc::clone(&picked.endpoint);
    let connected = transport::connect(&endpoint, Offer::All, &worker.shared.limits).await;
    let now = worker.shared.clock.now();
    let server = match connected {
        Ok(server) => {
            picked.ends(Outcome::Success, trace, now);
            server
        }
        Err(failure) => {
            picked.ends(Outcome::Failure(failure.fault()), trace, now);
            tracing::debug!(server = %target.server, failure = failure.word(), "connection not made");
            return unanswered(exchange);
        }
    };
    if pass(&mut exchange, (client, server), idle).await == Ended::ServerBroke {
        target.note_broken_answer(&endpoint, trace, worker.shared.clock.now());
    }
}

/// Passes a connection of another service on to the application.
pub(crate) async fn inbound(worker: &Arc<Worker>, client: Wire, traffic: &Arc<Traffic>) {
    let arrival = traffic.arrival();
    let Some(app) = worker.shared.app(arrival.listener) else { return };
    let peer = arrival.security.peer().unwrap_or(ServiceName::UNKNOWN);
    let number = worker.shard.client(Some(peer.as_bytes()), Protocol::Tcp);
    let mut exchange = Exchange::connection(worker, EdgeSlot::Inbound(number), traffic.busy());
    exchange.protected(Protection::of(arrival.security.is_mutual()));
    let Some(_place) = app.enter().await else { return exchange.settle(End::Shed) };
    exchange.attempt_begins();
    match transport::connect(&app.endpoint, Offer::All, &worker.shared.limits).await {
        Ok(server) => drop(pass(&mut exchange, (client, server), app.idle).await),
        Err(failure) => {
            tracing::debug!(failure = failure.word(), "the application was not connected to");
            exchange.blame(Some(false));
            unanswered(exchange);
        }
    }
}

fn unanswered(mut exchange: Exchange) {
    exchange.attempt_ends(AttemptEnd::NoAnswer);
    exchange.settle(End::Failed);
}

/// Passes bytes until the end. The sidecar's own end cuts them when its time to drain is over, not before.
async fn pass(exchange: &mut Exchange, (mut client, mut server): (Wire, Wire), idle: Option<Duration>) -> Ended {
    exchange.latency_ends();
    let ended = pump::both_ways(&mut client, &mut server, idle, exchange).await;
    match ended {
        Ended::Closed | Ended::Idle => exchange.settle(End::Success),
        Ended::ClientBroke => exchange.settle(End::Cancelled),
        Ended::ServerBroke => {
            exchange.attempt_ends(AttemptEnd::NoAnswer);
            exchange.settle(End::Failed);
        }
    }
    ended
}
