//! Whether a plan holds together, and stays within what can be simulated.

use std::collections::BTreeSet;

use super::{CallPlan, Fault, FaultKind, Plan, PlanError, ServicePlan};

const MAX_SERVICES: usize = 20_000;
const MAX_CALLS: usize = 1_000;
const MAX_FAULTS: usize = 2_000;
const MAX_SECONDS: u64 = 7 * 86_400;
const MAX_RATE: f64 = 100_000.0;
const MAX_MS: f64 = 3_600_000.0;

impl Plan {
    /// Every problem of the plan at once.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let mut found = Problems::default();
        found.range("seconds", self.seconds as f64, (1.0, MAX_SECONDS as f64));
        found.range("sampled", self.sampled, (0.0001, 1.0));
        found.range("number of services", self.services.len() as f64, (1.0, MAX_SERVICES as f64));
        found.range("number of faults", self.faults.len() as f64, (0.0, MAX_FAULTS as f64));
        let names: BTreeSet<&str> = self.services.iter().map(|service| service.name.as_str()).collect();
        if names.len() < self.services.len() {
            found.add("services: a name is given twice".to_owned());
        }
        for service in &self.services {
            found.service(service, &names);
        }
        if self.entries.is_empty() {
            found.add("entries: there is no traffic".to_owned());
        }
        for entry in &self.entries {
            let at = format!("entry {}", entry.server);
            found.known(&at, &entry.server, &names);
            found.range(&format!("{at}: per_second"), entry.per_second, (0.001, MAX_RATE));
            found.range(&format!("{at}: patience_ms"), entry.patience_ms, (1.0, MAX_MS));
            found.range(&format!("{at}: swing"), entry.swing, (0.0, 0.95));
            found.range(&format!("{at}: swing_s"), entry.swing_s, (1.0, MAX_MS));
            found.range(&format!("{at}: ramp"), entry.ramp, (0.01, 100.0));
        }
        for (at, fault) in self.faults.iter().enumerate() {
            found.fault(at, fault, self);
        }
        if found.0.is_empty() { Ok(()) } else { Err(PlanError::Invalid(found.0)) }
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn range(&mut self, what: &str, value: f64, (least, most): (f64, f64)) {
        if !(least..=most).contains(&value) {
            self.add(format!("{what}: {value} is not within {least} and {most}"));
        }
    }

    fn known(&mut self, at: &str, name: &str, names: &BTreeSet<&str>) {
        if !names.contains(name) {
            self.add(format!("{at}: there is no service \"{name}\""));
        }
    }

    fn service(&mut self, service: &ServicePlan, names: &BTreeSet<&str>) {
        let at = format!("service {}", service.name);
        if service.name.is_empty() {
            self.add("services: a name is empty".to_owned());
        }
        self.range(&format!("{at}: replicas"), f64::from(service.replicas), (1.0, 1_000.0));
        self.range(&format!("{at}: concurrency"), f64::from(service.concurrency), (1.0, 1e6));
        self.range(&format!("{at}: median_ms"), service.median_ms, (0.001, MAX_MS));
        self.range(&format!("{at}: spread"), service.spread, (0.0, 3.0));
        self.range(&format!("{at}: failing"), service.failing, (0.0, 1.0));
        self.range(&format!("{at}: number of calls"), service.calls.len() as f64, (0.0, MAX_CALLS as f64));
        for call in &service.calls {
            self.call(&at, call, names);
        }
        let servers: BTreeSet<&str> = service.calls.iter().map(|call| call.server.as_str()).collect();
        if servers.len() < service.calls.len() {
            self.add(format!("{at}: calls a service twice; give it one call with a share"));
        }
    }

    fn call(&mut self, service: &str, call: &CallPlan, names: &BTreeSet<&str>) {
        let at = format!("{service}: call to {}", call.server);
        self.known(&at, &call.server, names);
        self.range(&format!("{at}: share"), call.share, (0.0, 1.0));
        self.range(&format!("{at}: timeout_ms"), call.timeout_ms, (0.1, MAX_MS));
        self.range(&format!("{at}: per_try_ms"), call.per_try_ms.unwrap_or(1.0), (0.1, MAX_MS));
        self.range(&format!("{at}: retries"), f64::from(call.retries), (0.0, 20.0));
        self.range(&format!("{at}: network_ms"), call.network_ms, (0.0, MAX_MS));
    }

    fn fault(&mut self, number: usize, fault: &Fault, plan: &Plan) {
        use FaultKind as Kind;
        let at = format!("fault {}", number + 1);
        let client = fault.client.as_deref();
        let calls = |client: &str| {
            plan.services
                .iter()
                .find(|service| service.name == client)
                .is_some_and(|service| service.calls.iter().any(|call| call.server == fault.service))
        };
        match (fault.kind.is_of_an_edge(), client) {
            (true, Some(client)) if !calls(client) => {
                self.add(format!("{at}: \"{client}\" does not call \"{}\"", fault.service));
            }
            (true, None) => self.add(format!("{at}: of an edge, so say its client")),
            (false, Some(_)) => self.add(format!("{at}: of a service, so leave the client out")),
            _ => {}
        }
        let entered = plan.entries.iter().any(|entry| entry.server == fault.service);
        if fault.kind == Kind::DemandSurge && !entered {
            self.add(format!("{at}: users do not call \"{}\"", fault.service));
        } else if !plan.services.iter().any(|service| service.name == fault.service) {
            self.add(format!("{at}: there is no service \"{}\"", fault.service));
        }
        self.range(&format!("{at}: from_s"), fault.from_s, (0.0, MAX_SECONDS as f64));
        self.range(&format!("{at}: to_s"), fault.to_s, (fault.from_s, MAX_SECONDS as f64));
        let (ratio, ms, times) = fault.kind.needs();
        for (name, needed, value, range) in [
            ("ratio", ratio, fault.ratio, (0.0, 1.0)),
            ("ms", ms, fault.ms, (0.0, MAX_MS)),
            ("times", times, fault.times, (0.0, 100.0)),
        ] {
            match (needed, value) {
                (true, Some(value)) => self.range(&format!("{at}: {name}"), value, range),
                (true, None) => self.add(format!("{at}: {name} is missing")),
                (false, Some(_)) => self.add(format!("{at}: {name} means nothing for this kind")),
                (false, None) => {}
            }
        }
    }
}

impl FaultKind {
    /// Whether it belongs to an edge rather than to a service.
    #[must_use]
    pub const fn is_of_an_edge(self) -> bool {
        matches!(
            self,
            Self::EdgeDelay
                | Self::EdgeLoss
                | Self::ExtraCalls
                | Self::RetriesWithoutBudget
                | Self::WrongTimeout
                | Self::LowThreshold
        )
    }

    /// Which of `ratio`, `ms` and `times` it needs.
    const fn needs(self) -> (bool, bool, bool) {
        match self {
            Self::Crash | Self::Refusal => (false, false, false),
            Self::Errors
            | Self::BadReplica
            | Self::EdgeLoss
            | Self::CapacityLoss
            | Self::Misconfigured
            | Self::ClientErrors => (true, false, false),
            Self::Latency | Self::EdgeDelay | Self::WrongTimeout | Self::Contention | Self::SlowLeak | Self::Pause => {
                (false, true, false)
            }
            Self::DemandSurge | Self::ExtraCalls | Self::RetriesWithoutBudget | Self::LowThreshold | Self::Sluggish => {
                (false, false, true)
            }
            Self::BadDeploy => (true, true, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"seconds": 60,
        "services": [{"name": "a", "median_ms": 2, "calls": [{"server": "b"}]}, {"name": "b", "median_ms": 1}],
        "entries": [{"server": "a", "per_second": 10}],
        "faults": [{"kind": "errors", "service": "b", "from_s": 10, "to_s": 20, "ratio": 0.5}]}"#;

    #[test]
    fn a_plan_is_written_and_read_back() {
        let plan = Plan::from_json(GOOD).unwrap();
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let bad = GOOD
            .replace("\"b\", \"from_s\": 10", "\"c\", \"from_s\": 30")
            .replace("\"per_second\": 10", "\"per_second\": -1");
        let told = Plan::from_json(&bad).unwrap_err().to_string();
        for part in ["3 problem(s)", "no service \"c\"", "to_s: 20", "per_second: -1"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_a_kind_needs_is_asked_for() {
        let table = [
            ("\"ratio\": 0.5", "\"ms\": 5", "ratio is missing"),
            ("\"ratio\": 0.5", "\"ratio\": 1.5", "ratio: 1.5 is not within 0 and 1"),
            ("errors", "edge_loss", "say its client"),
            ("\"kind\": \"errors\"", "\"kind\": \"edge_loss\", \"client\": \"b\"", "\"b\" does not call \"b\""),
            ("\"ratio\"", "\"rato\"", "not valid JSON"),
        ];
        for (from, to, told) in table {
            let error = Plan::from_json(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
