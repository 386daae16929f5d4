//! What the demo tells while it runs: incidents and faults as lines, and on a terminal one line that is always current.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;
use tripline_api::{Incident, IncidentList, Phase};
use tripline_demo::load::LoadReport;

use crate::client::Client;
use crate::style::{self, Tone, printable};

/// Goes to the start of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";
/// Between these a line that is too long is cut at the terminal's edge: a wrapped one could not be cleared.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Tells what is new.
#[derive(Debug)]
pub(super) struct Status {
    client: Client,
    live: bool,
    coloured: bool,
    began: Instant,
    before: (Instant, LoadReport),
    known: BTreeMap<String, (Phase, Option<String>)>,
    open: Option<String>,
}

impl Status {
    /// Asks `client` for incidents; `headless` demos have no live line.
    pub(super) fn new(client: Client, headless: bool) -> Self {
        let now = Instant::now();
        let live = !headless && io::stderr().is_terminal();
        Self {
            client,
            live,
            coloured: live && style::colours_on(true),
            began: now,
            before: (now, LoadReport::default()),
            known: BTreeMap::new(),
            open: None,
        }
    }

    /// The time of all lines counts from now.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
        self.before.0 = self.began;
    }

    /// Asks for incidents and brings the terminal up to date.
    pub(super) async fn refresh(&mut self, load: &LoadReport, faults: &[String]) {
        // A collector that does not answer shows in the next line, and in the end of the demo.
        match self.client.get::<IncidentList>("incidents", &[]).await {
            Ok(list) => {
                for line in self.news(&list.incidents) {
                    self.tell(&line);
                }
            }
            Err(error) => tracing::debug!(%error, "no incidents"),
        }
        if self.live {
            let line = self.line(load, faults);
            let mut err = io::stderr().lock();
            let _ = write!(err, "{CLEAR_LINE}{NO_WRAP}{line}{WRAP}").and_then(|()| err.flush());
        }
        self.before = (Instant::now(), load.clone());
    }

    /// Writes a line that stays, with the time since the demo was ready.
    pub(super) fn tell(&self, line: &str) {
        let clear = if self.live { CLEAR_LINE } else { "" };
        style::tell(format_args!("{clear}{}  {line}", clock(self.began.elapsed())));
    }

    /// Clears the live line.
    pub(super) fn end(&self) {
        if self.live {
            let _ = write!(io::stderr().lock(), "{CLEAR_LINE}");
        }
    }

    /// A line for each incident that is new, has another phase, or another first candidate.
    fn news(&mut self, incidents: &[Incident]) -> Vec<String> {
        let mut news = Vec::new();
        for incident in incidents.iter().rev() {
            let state = (incident.phase, incident.origin().map(str::to_owned));
            if self.known.get(&incident.id) != Some(&state) {
                news.push(describe(incident));
                self.known.insert(incident.id.clone(), state);
            }
        }
        self.known.retain(|id, _| incidents.iter().any(|incident| incident.id == *id));
        let mut open = incidents.iter().filter(|incident| !incident.is_resolved());
        self.open = open.next().map(|first| {
            let origin = printable(first.origin().unwrap_or("origin unknown"));
            let more = open.count();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}, {}: {origin}{more}", first.level, first.phase)
        });
        news
    }

    fn line(&self, load: &LoadReport, faults: &[String]) -> String {
        let (at, before) = &self.before;
        let seconds = at.elapsed().as_secs_f64().max(0.001);
        let since = |pick: fn(&LoadReport) -> u64| pick(load).saturating_sub(pick(before)) as f64;
        let rate = since(|r| r.sent) / seconds;
        let ended = since(LoadReport::ended);
        let failed = since(|r| r.failed + r.unanswered);
        let share = if ended > 0.0 { failed / ended * 100.0 } else { 0.0 };
        let tone = if share >= 10.0 {
            Tone::Bad
        } else if share >= 1.0 {
            Tone::Warn
        } else {
            Tone::Good
        };
        let paint = |tone: Tone, text: &str| if self.coloured { tone.paint(text) } else { text.to_owned() };
        let errors = paint(tone, &format!("{share:.1} % failed"));
        let incident = match &self.open {
            Some(open) => paint(Tone::Bad, open),
            None => "no incident".to_owned(),
        };
        let fault = if faults.is_empty() { String::new() } else { format!("  |  fault: {}", faults.join("; ")) };
        format!("{}  {rate:.0} requests/s  {errors}  |  {incident}{fault}", clock(self.began.elapsed()))
    }
}

/// `cascade, spreading: suspected origin shop/payments-db (0.93), hurts 4 services`.
fn describe(incident: &Incident) -> String {
    let origin = match incident.suspected_origins.first() {
        Some(first) => format!("suspected origin {} ({:.2})", printable(&first.service), first.score),
        None => "no suspected origin yet".to_owned(),
    };
    let hurt = incident.blast_radius.services.len();
    let (level, phase) = (incident.level, incident.phase);
    format!("incident {}: {level}, {phase}; {origin}, hurts {hurt} services", printable(&incident.id))
}

/// `01:07`.
fn clock(since: Duration) -> String {
    format!("{:02}:{:02}", since.as_secs() / 60, since.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ApiArguments;

    #[tokio::test(start_paused = true)]
    async fn an_incident_is_told_once_for_each_change() {
        let api = ApiArguments { collector: "http://127.0.0.1:1".to_owned(), token: None };
        let mut status = Status::new(Client::new(&api).expect("a client"), true);
        let mut incident: Incident = serde_json::from_str(include_str!("../show/incident.json")).expect("an incident");
        let told = status.news(std::slice::from_ref(&incident));
        let expected = "cascade, spreading; suspected origin shop/payments-db (0.93), hurts 3 services";
        assert!(told.len() == 1 && told[0].ends_with(expected), "{told:?}");
        assert!(status.news(std::slice::from_ref(&incident)).is_empty());
        assert!(status.line(&LoadReport::default(), &[]).ends_with("|  cascade, spreading: shop/payments-db"));
        incident.phase = Phase::Resolved;
        assert_eq!(status.news(&[incident]).len(), 1);
        assert!(
            status
                .line(&LoadReport::default(), &["web hang, 3 s left".to_owned()])
                .ends_with("fault: web hang, 3 s left")
        );
        assert_eq!(status.news(&[]).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_live_line_counts_since_the_last_one() {
        let api = ApiArguments { collector: "http://127.0.0.1:1".to_owned(), token: None };
        let mut status = Status::new(Client::new(&api).expect("a client"), true);
        status.coloured = true;
        status.before.1 = LoadReport { sent: 100, succeeded: 100, ..LoadReport::default() };
        tokio::time::advance(Duration::from_secs(2)).await;
        let now = LoadReport { sent: 500, succeeded: 400, failed: 100, ..LoadReport::default() };
        let line = status.line(&now, &[]);
        assert!(line.starts_with("00:02  200 requests/s  \x1b[31m25.0 % failed\x1b[0m  |  no incident"), "{line}");
    }
}
