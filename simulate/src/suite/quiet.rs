//! Hours and days in which nobody is to be told of anything, and an hour with a breaker that flaps, of which people are to be told once.

use tripline_breaker::jitter::SplitMix;

use super::shapes::{self, Draw};
use super::{Case, of};
use crate::plan::{Fault, FaultKind};

/// Kinds of quiet hours.
pub const QUIET: [&str; 12] = [
    "plain",
    "swing",
    "ramp",
    "deploys",
    "low_traffic",
    "uncalled_fault",
    "skew",
    "no_sidecar",
    "host_pauses",
    "host_overloaded",
    "client_errors",
    "sampled",
];

/// Shares of the traces that are kept in hours of the kind `sampled`, one hour after the other.
const SAMPLED: [f64; 3] = [0.01, 0.1, 1.0];

/// An hour in which nothing happens that anyone should be told of, of the kind that its number says.
#[must_use]
pub fn quiet(hour: u64) -> (Case, &'static str) {
    let kind = QUIET[(hour % QUIET.len() as u64) as usize];
    let mut draw = Draw(SplitMix::new(hour.wrapping_mul(0x9e37_79b9).wrapping_add(23)));
    let mut mesh = shapes::any(&mut draw);
    mesh.entries.iter_mut().for_each(|entry| entry.per_second = draw.between(15.0, 40.0));
    match kind {
        "swing" => mesh.entries.iter_mut().for_each(|entry| (entry.swing, entry.swing_s) = (0.5, 1_800.0)),
        "ramp" => mesh.entries.iter_mut().for_each(|entry| entry.ramp = 2.5),
        "deploys" => {
            // A new process is slower by a few milliseconds until it is warm.
            for at in 1..6 {
                let service = mesh.any_service(&mut draw);
                let (from_s, ms) = (f64::from(at) * 550.0, Some(draw.between(1.0, 4.0)));
                mesh.faults.push(Fault { from_s, to_s: from_s + 20.0, ms, ..of(FaultKind::Latency, &service) });
            }
        }
        "low_traffic" => mesh.entries.iter_mut().for_each(|entry| entry.per_second = 1.0),
        "uncalled_fault" => {
            mesh.add_uncalled("shop/idle");
            let ratio = Some(1.0);
            mesh.faults.push(Fault { from_s: 600.0, to_s: 1_200.0, ratio, ..of(FaultKind::Errors, "shop/idle") });
        }
        "skew" => {
            let ahead = [-500, -50, 50, 500];
            mesh.services.iter_mut().for_each(|service| service.clock_ahead_ms = *draw.of(&ahead));
        }
        "no_sidecar" => {
            let service = mesh.any_service(&mut draw);
            if let Some(service) = mesh.service(&service) {
                service.sidecar = false;
            }
        }
        "host_pauses" => {
            for at in 1..12 {
                let (from_s, ms) = (f64::from(at) * 290.0 + draw.between(0.0, 5.0), Some(draw.between(200.0, 500.0)));
                mesh.strike_all(|service| Fault { from_s, to_s: from_s + 1.0, ms, ..of(FaultKind::Pause, service) });
            }
        }
        "host_overloaded" => {
            for at in 1..12 {
                let (from_s, times) = (f64::from(at) * 290.0 + draw.between(0.0, 5.0), Some(2.0));
                let to_s = from_s + 10.0;
                mesh.strike_all(|service| Fault { from_s, to_s, times, ..of(FaultKind::Sluggish, service) });
            }
        }
        "client_errors" => {
            // Clients ask for nonsense for some minutes, now of the entry, now of a service further on.
            for at in 1..6 {
                let service = if at == 1 { mesh.entries[0].server.clone() } else { mesh.any_service(&mut draw) };
                let (from_s, ratio) = (f64::from(at) * 600.0, Some(draw.between(0.3, 0.9)));
                mesh.faults.push(Fault {
                    from_s,
                    to_s: from_s + 240.0,
                    ratio,
                    ..of(FaultKind::ClientErrors, &service)
                });
            }
        }
        "sampled" => {
            // Nobody has a sidecar: whatever is known is known from the spans that are kept, of services that fail a little always.
            mesh.sampled = SAMPLED[(hour / QUIET.len() as u64) as usize % SAMPLED.len()];
            mesh.entries.iter_mut().for_each(|entry| entry.per_second *= 6.0);
            for service in &mut mesh.services {
                (service.sidecar, service.failing) = (false, draw.between(0.0, 0.006));
            }
        }
        _ => {}
    }
    let shape = mesh.shape;
    (Case { seed: hour, shape, plan: mesh.plan(3_600) }, kind)
}

/// A quiet day: whatever quiet hours hold comes one after the other, at a few requests a second.
#[must_use]
pub fn quiet_day(seed: u64) -> Case {
    let mut draw = Draw(SplitMix::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(29)));
    let mut mesh = shapes::any(&mut draw);
    for entry in &mut mesh.entries {
        (entry.per_second, entry.swing, entry.swing_s) = (draw.between(5.0, 8.0), 0.5, 86_400.0);
    }
    for hour in 1..24 {
        let from_s = f64::from(hour) * 3_600.0;
        let service = mesh.any_service(&mut draw);
        match hour % 3 {
            0 => {
                let ms = Some(draw.between(200.0, 500.0));
                mesh.strike_all(|service| Fault { from_s, to_s: from_s + 1.0, ms, ..of(FaultKind::Pause, service) });
            }
            1 => mesh.strike_all(|service| Fault {
                from_s,
                to_s: from_s + 10.0,
                times: Some(2.0),
                ..of(FaultKind::Sluggish, service)
            }),
            _ => {
                let ms = Some(draw.between(1.0, 4.0));
                mesh.faults.push(Fault { from_s, to_s: from_s + 20.0, ms, ..of(FaultKind::Latency, &service) });
            }
        }
    }
    let shape = mesh.shape;
    Case { seed, shape, plan: mesh.plan(86_400) }
}

/// An hour in which the breakers of one edge, whose server fails one request in a hundred, open at the first failure for half an hour: they open and
/// close all the time, and nothing else is wrong.
#[must_use]
pub fn flapping(hour: u64) -> Case {
    let mut draw = Draw(SplitMix::new(hour.wrapping_mul(0x9e37_79b9).wrapping_add(37)));
    let mut mesh = shapes::any(&mut draw);
    let (client, server) = mesh.any_edge(&mut draw);
    if let Some(service) = mesh.service(&server) {
        service.failing = 0.01;
    }
    let (from_s, to_s, times) = (600.0, 2_400.0, Some(1.0));
    mesh.faults.push(Fault { client: Some(client), from_s, to_s, times, ..of(FaultKind::LowThreshold, &server) });
    let shape = mesh.shape;
    Case { seed: hour, shape, plan: mesh.plan(3_600) }
}

#[cfg(test)]
mod tests {
    use tripline_topology::detect::Settings;

    use super::*;
    use crate::score;
    use crate::watch::watch;

    /// The first hours of a kind, cut short.
    fn hours(kind: &str, count: usize) -> impl Iterator<Item = Case> {
        let kind = QUIET.iter().position(|known| *known == kind).unwrap();
        (0..count).map(move |turn| {
            let (mut case, _) = quiet((turn * QUIET.len() + kind) as u64);
            case.plan.seconds = 1_000;
            case
        })
    }

    #[test]
    fn clients_that_ask_for_nonsense_blame_nobody() {
        for case in hours("client_errors", 2) {
            assert_eq!(score::quiet(&case, Settings::default()), Vec::<String>::new(), "hour {}", case.seed);
        }
    }

    #[test]
    fn a_sampled_failure_that_stands_for_a_hundred_is_one() {
        // One trace in a hundred is kept, then one in ten, then all. Taken for all that they stand for, two failures in a row are an incident.
        for case in hours("sampled", 3) {
            assert_eq!(score::quiet(&case, Settings::default()), Vec::<String>::new(), "hour {}", case.seed);
        }
    }

    #[test]
    fn a_fault_is_found_among_sampled_spans() {
        let mut case = hours("sampled", 2).last().unwrap();
        assert!(case.plan.sampled < 1.0);
        let service = case.plan.services.last().unwrap().name.clone();
        let fault = Fault { from_s: 600.0, to_s: 700.0, ratio: Some(0.5), ..of(FaultKind::Errors, &service) };
        case.plan.faults.push(fault);
        let verdict = watch(&crate::run(&case.plan, case.seed), Settings::default());
        let origins: Vec<String> =
            verdict.incidents.iter().map(|watched| watched.last.origin().unwrap().service.to_string()).collect();
        assert_eq!(origins, [service]);
    }

    #[test]
    fn a_breaker_that_flaps_is_one_incident_that_counts_its_trips() {
        let mut case = flapping(1);
        case.plan.seconds = 1_200;
        let told = score::recurring(&case, Settings::default());
        assert!(told.trips > 20, "{told:?}");
        assert_eq!((told.incidents, told.counted), (1, told.trips as u64));
        assert!(told.notices <= 3, "{told:?}");
    }

    #[test]
    fn a_host_that_pauses_or_is_overloaded_blames_nobody() {
        // The first hours of both kinds, on whatever mesh was drawn.
        for hour in [8, 9] {
            let (mut case, kind) = quiet(hour);
            assert!(kind.starts_with("host_"), "{kind}");
            case.plan.seconds = 1_000;
            assert_eq!(score::quiet(&case, Settings::default()), Vec::<String>::new(), "{kind}");
        }
    }
}
