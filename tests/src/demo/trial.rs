//! Faults in a running demo and what was made of them: when people were told, whom it suspected, through which phases it went, when it was
//! over, and how many incidents there were.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::{Timestamp, Unit};
use serde_json::json;
use tripline_api::{Candidate, FoldedAlert, Incident, IncidentList, Phase};

use super::Demo;
use crate::wait;
use crate::webhook::{Told, Webhook};

/// Until an incident is over after its fault: probes of half a minute, two quiet minutes, and a busy machine.
const OVER: Duration = Duration::from_secs(330);
/// Until its service is well again.
const WELL: Duration = Duration::from_secs(60);
/// A notification may come so long after the first breaker opened.
const TOLD_AFTER_TRIP: f64 = 2.0;

/// A fault of the demo's.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The service, without its namespace.
    pub service: String,
    /// `errors`, `latency`, `crash` or `hang`.
    pub kind: String,
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    /// Reads `SERVICE:KIND`.
    fn from_str(text: &str) -> Result<Self> {
        let (service, kind) = text.split_once(':').with_context(|| format!("{text}: expected SERVICE:KIND"))?;
        Ok(Self { service: service.to_owned(), kind: kind.to_owned() })
    }
}

/// What one incident was seen to be.
#[derive(Debug, Clone)]
struct Seen {
    /// What it was when each of its first suspects was first seen in the first place.
    suspects: Vec<(Timestamp, Incident)>,
    phases: Vec<Phase>,
    last: Incident,
    /// When it was first seen in its last phase.
    turned: Timestamp,
}

/// What one fault brought.
#[derive(Debug)]
pub struct Row {
    fault: Fault,
    /// How many faults began with it, itself included, and the incidents that there were then.
    faults: usize,
    incidents: Vec<Seen>,
    /// Those of earlier faults, which may have taken it in.
    earlier: Vec<Incident>,
    begun: Timestamp,
    seconds: f64,
    seen: Option<Seen>,
    told: Option<Told>,
}

impl Demo {
    /// Starts faults of so many seconds at once, and watches until each has an incident of its own that suspects its service first and has
    /// come to the phase `until`, or until there is no more hope of that.
    ///
    /// # Errors
    /// When the demo does not answer.
    pub async fn trial(&self, webhook: &Webhook, faults: &[Fault], (seconds, until): (u64, Phase)) -> Result<Vec<Row>> {
        let list = async || anyhow::Ok(self.api.get::<IncidentList>("/api/v1/incidents").await?.incidents);
        let before: Vec<(String, Phase)> = list().await?.into_iter().map(|known| (known.id, known.phase)).collect();
        let begun = Timestamp::now();
        for fault in faults {
            let body = json!({"service": fault.service, "kind": fault.kind, "seconds": seconds});
            self.api.post("/api/v1/demo/faults", &body).await?;
        }
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        let more = match until {
            Phase::Resolved => OVER,
            Phase::Recovering => WELL,
            Phase::Starting | Phase::Spreading | Phase::Contained => Duration::ZERO,
        };
        let limit = Duration::from_secs(seconds) + more;
        let watched = wait::until("the incidents", limit, async || {
            for incident in list().await? {
                let known = before.iter().find(|(id, _)| *id == incident.id);
                // One that goes on is an earlier fault's; one that was over and goes on again took in this one.
                if known.is_none_or(|(_, phase)| *phase == Phase::Resolved && incident.phase != Phase::Resolved)
                    || seen.contains_key(&incident.id)
                {
                    note(&mut seen, incident);
                }
            }
            let told = webhook.told();
            let told = |found: &Seen| told.iter().any(|told| told.incident.id == found.last.id);
            let done = |fault: &Fault| of(&seen, fault).is_some_and(|found| found.last.phase >= until && told(found));
            ensure!(faults.iter().all(done), "not yet");
            ensure!(until != Phase::Resolved || seen.values().all(|seen| seen.last.phase == until), "not all");
            Ok::<_, anyhow::Error>(())
        });
        // A trial that failed is a row that says so.
        drop(watched.await);
        let earlier: Vec<Incident> = list().await?.into_iter().filter(|known| !seen.contains_key(&known.id)).collect();
        let told = webhook.told();
        let row = |fault: &Fault| {
            let seen_as = of(&seen, fault).or_else(|| seen.values().next()).cloned();
            let mut opened = told.iter().filter(|told| told.notice == "opened" && told.at >= begun);
            let told = seen_as.as_ref().and_then(|seen| opened.find(|told| told.incident.id == seen.last.id)).cloned();
            let (fault, faults, earlier) = (fault.clone(), faults.len(), earlier.clone());
            let incidents = seen.values().cloned().collect();
            Row { fault, faults, incidents, earlier, begun, seconds: seconds as f64, seen: seen_as, told }
        };
        Ok(faults.iter().map(row).collect())
    }
}

/// The incident that suspects the service of a fault first.
fn of<'a>(seen: &'a BTreeMap<String, Seen>, fault: &Fault) -> Option<&'a Seen> {
    seen.values().find(|seen| is_at(seen.last.origin(), fault))
}

fn is_at(origin: Option<&str>, fault: &Fault) -> bool {
    origin.and_then(|origin| origin.strip_prefix("shop/")) == Some(&fault.service)
}

fn note(seen: &mut BTreeMap<String, Seen>, incident: Incident) {
    let now = Timestamp::now();
    let known = seen.entry(incident.id.clone()).or_insert_with(|| Seen {
        suspects: Vec::new(),
        phases: Vec::new(),
        last: incident.clone(),
        turned: now,
    });
    if first(&incident).is_some() && known.suspects.last().is_none_or(|(_, last)| first(last) != first(&incident)) {
        known.suspects.push((now, incident.clone()));
    }
    if known.phases.last() != Some(&incident.phase) {
        known.phases.push(incident.phase);
        known.turned = now;
    }
    known.last = incident;
}

/// Whom an incident suspects first: an edge, or a service.
fn first(incident: &Incident) -> Option<&str> {
    incident.suspected_origins.first().map(|first| first.edge.as_ref().unwrap_or(&first.service).as_str())
}

fn seconds(earlier: Timestamp, later: Timestamp) -> f64 {
    (later - earlier).total(Unit::Second).unwrap_or(f64::INFINITY)
}

impl Row {
    /// Seconds from the fault to the notification of its incident, and from the first breaker that opened in it, where one had.
    fn waited(&self) -> Option<(f64, Option<f64>)> {
        let (told, seen) = (self.told.as_ref()?, self.seen.as_ref()?);
        let opened = seen.last.folded.iter().filter(|folded| folded.kind == "breaker_opened");
        let first = opened.filter_map(|folded| folded.at.parse::<Timestamp>().ok()).min();
        let after = first.filter(|at| *at >= self.begun).map(|at| seconds(at, told.at)).filter(|after| *after >= 0.0);
        Some((seconds(self.begun, told.at), after))
    }

    /// Fails, saying why, unless the fault was one incident of its own that suspected its service when it was told, and went through its phases
    /// in order.
    ///
    /// # Errors
    /// When any of that is not so.
    pub fn check(&self) -> Result<()> {
        let found = self.incidents.len();
        let wrong = if found != self.faults {
            format!("{found} incidents of {} faults", self.faults)
        } else if !is_at(self.seen.as_ref().and_then(|seen| seen.last.origin()), &self.fault) {
            "somebody else is suspected in the end".to_owned()
        } else if !is_at(self.told.as_ref().and_then(|told| told.incident.origin()), &self.fault) {
            "somebody else was suspected when it was told".to_owned()
        } else if !self.seen.as_ref().is_some_and(|seen| seen.phases.is_sorted()) {
            "phases out of order".to_owned()
        } else {
            return Ok(());
        };
        bail!("{wrong}:\n{self}\n{}", self.told_apart())
    }

    /// The incidents, each with whom it suspected why, from when on, and what was folded into it.
    fn told_apart(&self) -> String {
        let suspects = |since: Timestamp, incident: &Incident| {
            let line = |of: &Candidate| format!("\n    {:.2} {} {:?}", of.score, of.service, of.evidence);
            let lines: String = incident.suspected_origins.iter().map(line).collect();
            format!("\n  {:.2} s:{lines}", seconds(self.begun, since))
        };
        let whole = |turns: &[(Timestamp, Incident)], last: &Incident| {
            let Incident { id, phase, started_at, detected_at, updated_at, .. } = last;
            let turns: String = turns.iter().map(|(since, incident)| suspects(*since, incident)).collect();
            let now = suspects(Timestamp::now(), last);
            let folded = |folded: &FoldedAlert| format!("\n  {} {} {}", folded.at, folded.kind, folded.edge);
            let folded: String = last.folded.iter().map(folded).collect();
            format!(
                "{id} {phase:?}, started {started_at}, detected {detected_at}, updated {updated_at}{turns}{now}{folded}\n"
            )
        };
        let seen = self.incidents.iter().map(|seen| whole(&seen.suspects, &seen.last));
        seen.chain(self.earlier.iter().map(|earlier| format!("earlier: {}", whole(&[], earlier)))).collect()
    }

    /// Fails unless it was told within two seconds of the first breaker: on a machine that has nothing else to do.
    ///
    /// # Errors
    /// When it was told later.
    pub fn check_in_time(&self) -> Result<()> {
        let (_, after) = self.waited().unwrap_or_default();
        ensure!(after.is_none_or(|after| after <= TOLD_AFTER_TRIP), "told late:\n{self}");
        Ok(())
    }

    /// The line over the rows.
    #[must_use]
    pub const fn head() -> &'static str {
        "| fault | suspected first when told | told after the fault | told after the first trip | phases | over after the fault | incidents |\n\
         |---|---|---|---|---|---|---|"
    }
}

/// A row of a table in Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} {} | ", self.fault.service, self.fault.kind)?;
        let Some(seen) = &self.seen else { return write!(f, "nobody | | | | | {} |", self.incidents.len()) };
        let named = |incident: &Incident| incident.origin().unwrap_or("nobody").replace("shop/", "");
        write!(f, "{}", self.told.as_ref().map_or("nobody".to_owned(), |told| named(&told.incident)))?;
        if seen.suspects.len() > 1 {
            let seen: Vec<String> = seen
                .suspects
                .iter()
                .map(|(since, was)| {
                    format!("{} from {:.2} s", first(was).unwrap_or("nobody"), seconds(self.begun, *since))
                })
                .collect();
            write!(f, " (seen: {})", seen.join(", ").replace("shop/", ""))?;
        }
        let (told, after) = self.waited().unzip();
        let told = told.map_or("never".to_owned(), |told| format!("{told:.2} s"));
        let after = match after.flatten() {
            Some(after) if after < 0.1 => format!("{:.0} ms", after * 1e3),
            Some(after) => format!("{after:.2} s"),
            None => "no breaker before".to_owned(),
        };
        let phases: Vec<&str> = seen.phases.iter().map(|phase| phase.as_str()).collect();
        let over = seconds(self.begun, seen.turned) - self.seconds;
        let over = if seen.last.phase == Phase::Resolved { format!("{over:.0} s") } else { "not yet".to_owned() };
        write!(
            f,
            " | {told} | {after} | {} | {over} | {} of {} |",
            phases.join(", "),
            self.incidents.len(),
            self.faults
        )
    }
}
