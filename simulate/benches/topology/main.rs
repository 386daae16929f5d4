//! `cargo xtask bench topology`: the detector on the scored set, and its speed. One JSON object a line.
//!
//! `--seeds A..B` chooses cases, `--quiet-hours N`, `--quiet-days N`, `--flapping N` and `--self-sustaining N` how many of those, `--misses` prints each case that
//! went wrong to stderr, `--tell SEED` everything about one case. `--only speed` and `--only large` print nothing but the figures of that name, for at most
//! `--services N`. Without arguments: the first 200 scored seeds, 24 quiet hours, a quiet day, 10 flapping breakers, 20 self-sustaining cases, speed up to 10,000 services.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod large;
mod speed;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tripline_simulate::score::{self, FaultOutcome, Figure, Outcome, Recurring, Seen, mean, quantile, share};
use tripline_simulate::suite;
use tripline_topology::detect::{Level, Settings};
use tripline_topology::with_helpers;

struct Arguments {
    seeds: Range<u64>,
    quiet_hours: u64,
    quiet_days: u64,
    flapping: u64,
    self_sustaining: u64,
    misses: bool,
    tell: Option<u64>,
    speed: bool,
    only: Option<Only>,
    services: usize,
}

/// Figures that can be asked for alone.
#[derive(Clone, Copy)]
enum Only {
    Speed,
    Large,
}

fn main() {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(2);
        }
    };
    let settings = Settings::default();
    if let Some(seed) = arguments.tell {
        tell(seed, settings);
        return;
    }
    match arguments.only {
        Some(Only::Speed) => return with_helpers(|| speed::print(settings, arguments.services)),
        Some(Only::Large) => return with_helpers(|| large::print(settings, arguments.services)),
        None => {}
    }
    let outcomes = all(arguments.seeds.clone(), |seed| score::score(&suite::case(seed), settings));
    if arguments.misses {
        tell_misses(&outcomes);
    }
    print_figures(&outcomes, &arguments.seeds, settings.window.as_secs_f64());
    print_kinds(&outcomes);
    let start = arguments.seeds.start;
    if arguments.speed {
        with_helpers(|| speed::print(settings, arguments.services));
    }
    lasting(start..start + arguments.self_sustaining, settings, arguments.misses);
    quiet(start..start + arguments.quiet_hours, settings, arguments.misses);
    flapping(start..start + arguments.flapping, settings, arguments.misses);
    for day in start..start + arguments.quiet_days {
        let notices = score::quiet(&suite::quiet_day(day), settings);
        notices.iter().filter(|_| arguments.misses).for_each(|notice| eprintln!("quiet day {day}: {notice}"));
        println!(
            "{}",
            json!({"bench": "topology", "figure": "quiet_day_notices", "value": notices.len(), "seconds": 86_400})
        );
    }
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let first = suite::SCORED.start;
        let mut arguments = Self {
            seeds: first..first + 200,
            quiet_hours: 24,
            quiet_days: 1,
            flapping: 10,
            self_sustaining: 20,
            misses: false,
            tell: None,
            speed: true,
            only: None,
            services: 10_000,
        };
        while let Some(argument) = given.next() {
            let mut number = || {
                let value = given.next().ok_or_else(|| format!("{argument} needs a value"))?;
                Ok::<String, String>(value)
            };
            match argument.as_str() {
                "--seeds" => {
                    let text = number()?;
                    let (from, to) = text.split_once("..").ok_or("--seeds takes A..B, as in 0..100")?;
                    let read = |text: &str| text.parse::<u64>().map_err(|_| format!("\"{text}\" is no seed"));
                    arguments.seeds = read(from)?..read(to)?;
                }
                "--quiet-hours" => arguments.quiet_hours = number()?.parse().map_err(|_| "not a number of hours")?,
                "--quiet-days" => arguments.quiet_days = number()?.parse().map_err(|_| "not a number of days")?,
                "--flapping" => arguments.flapping = number()?.parse().map_err(|_| "not a number of hours")?,
                "--self-sustaining" => {
                    arguments.self_sustaining = number()?.parse().map_err(|_| "not a number of cases")?;
                }
                "--misses" => arguments.misses = true,
                "--only" => {
                    arguments.only = Some(match number()?.as_str() {
                        "speed" => Only::Speed,
                        "large" => Only::Large,
                        other => return Err(format!("\"{other}\" is neither speed nor large")),
                    });
                }
                "--services" => arguments.services = number()?.parse().map_err(|_| "not a number of services")?,
                "--no-speed" => arguments.speed = false,
                "--tell" => arguments.tell = Some(number()?.parse().map_err(|_| "not a seed")?),
                // cargo adds it.
                "--bench" => {}
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(arguments)
    }
}

/// Runs something for every number, on two threads, in order.
fn all<T: Send>(range: Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(range.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end {
                return done;
            }
            done.push((seed, run(seed)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut done = work();
        done.extend(other.join().unwrap_or_default());
        done
    });
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, value)| value).collect()
}

fn print(name: &str, figure: Figure) {
    let round = |value: f64| (value * 1e4).round() / 1e4;
    println!(
        "{}",
        json!({"bench": "topology", "figure": name, "value": round(figure.value), "low": round(figure.low),
               "high": round(figure.high), "of": figure.of})
    );
}

fn print_figures(outcomes: &[Outcome], seeds: &Range<u64>, window: f64) {
    let faults: Vec<&FaultOutcome> = outcomes.iter().flat_map(|outcome| &outcome.faults).collect();
    let seen: Vec<&Seen> = faults.iter().filter_map(|fault| fault.seen.as_ref()).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>() as usize;
    let opened = sum(|outcome| outcome.opened);
    println!(
        "{}",
        json!({"bench": "topology", "seeds": format!("{}..{}", seeds.start, seeds.end), "cases": outcomes.len(), "unfit": outcomes.iter().filter(|outcome| !outcome.fit).count(),
               "faults": faults.len(), "incidents": opened, "false": sum(|o| o.wrong), "splits": sum(|o| o.splits),
               "merges": sum(|o| o.merges)})
    );
    print("incident_recall", share(seen.len(), faults.len()));
    print("incident_precision", share(seen.len(), opened));
    print("split_errors", share(sum(|outcome| outcome.splits), opened));
    print("merge_errors", share(sum(|outcome| outcome.merges), faults.len()));
    let lags: Vec<f64> = seen.iter().map(|seen| seen.lag).collect();
    for (name, q) in [("p50", 0.5), ("p95", 0.95)] {
        let figure = quantile(&lags, q);
        print(&format!("time_to_detect_{name}_seconds"), figure);
        let scaled =
            Figure { value: figure.value / window, low: figure.low / window, high: figure.high / window, ..figure };
        print(&format!("time_to_detect_{name}_windows"), scaled);
    }
    for (at, when) in ["opening", "after_30s", "end"].into_iter().enumerate() {
        for top in [1, 3] {
            let right = seen.iter().filter(|seen| seen.ranks[at].is_some_and(|rank| rank < top)).count();
            print(&format!("origin_ac{top}_{when}"), share(right, seen.len()));
        }
    }
    print_simple(outcomes);
    let f1 = |(both, found, truly): (usize, usize, usize)| 2.0 * both as f64 / (found + truly).max(1) as f64;
    print("path_f1", mean(&seen.iter().map(|seen| f1(seen.path)).collect::<Vec<_>>()));
    let ratio = |part: usize, whole: usize| part as f64 / whole as f64;
    let precision = seen.iter().filter(|s| s.blast.1 > 0).map(|s| ratio(s.blast.0, s.blast.1)).collect::<Vec<_>>();
    let recall = seen.iter().filter(|s| s.blast.2 > 0).map(|s| ratio(s.blast.0, s.blast.2)).collect::<Vec<_>>();
    print("blast_radius_precision", mean(&precision));
    print("blast_radius_recall", mean(&recall));
    let wide = faults.iter().filter(|fault| fault.hurt >= 5).filter_map(|fault| fault.seen.as_ref());
    let told: Vec<(u64, u64)> = wide.map(|seen| seen.told).collect();
    let (notices, alerts) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
    print("notices_per_raw_alert_5_services", share(notices as usize, alerts as usize));
    print("raw_alerts_per_incident_5_services", mean(&told.iter().map(|told| told.1 as f64).collect::<Vec<_>>()));
    print("notices_per_incident", mean(&seen.iter().map(|seen| seen.told.0 as f64).collect::<Vec<_>>()));
}

fn print_simple(outcomes: &[Outcome]) {
    let mut origins: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for outcome in outcomes {
        for fault in &outcome.faults {
            *origins.entry(outcome.shape).or_default().entry(fault.service.to_string()).or_default() += 1;
        }
    }
    let total: usize = outcomes.iter().map(|outcome| outcome.faults.len()).sum();
    for top in [1, 3] {
        let best = |counts: &BTreeMap<String, usize>| {
            let mut counts: Vec<usize> = counts.values().copied().collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.into_iter().take(top).sum::<usize>()
        };
        print(&format!("constant_ac{top}"), share(origins.values().map(best).sum(), total));
        let right = |of: fn(&FaultOutcome) -> Option<usize>| {
            let faults = outcomes.iter().flat_map(|outcome| &outcome.faults);
            faults.filter(|fault| of(fault).is_some_and(|rank| rank < top)).count()
        };
        print(&format!("max_z_ac{top}"), share(right(|fault| fault.max_z), total));
        print(&format!("walk_ac{top}"), share(right(|fault| fault.walk), total));
    }
}

fn print_kinds(outcomes: &[Outcome]) {
    let mut kinds = BTreeMap::new();
    for fault in outcomes.iter().flat_map(|outcome| &outcome.faults) {
        let entry: &mut (usize, usize, usize, usize, Vec<f64>) = kinds.entry(fault.kind).or_default();
        entry.0 += 1;
        if let Some(seen) = &fault.seen {
            entry.1 += 1;
            entry.2 += usize::from(seen.ranks[2] == Some(0));
            entry.3 += usize::from(seen.ranks[2].is_some_and(|rank| rank < 3));
            entry.4.push(seen.lag);
        }
    }
    for (kind, (faults, detected, first, third, lags)) in kinds {
        println!(
            "{}",
            json!({"bench": "topology", "kind": kind, "faults": faults, "detected": detected, "origin_first": first,
                   "origin_in_three": third, "time_to_detect_p50_seconds": quantile(&lags, 0.5).value})
        );
    }
}

fn tell(seed: u64, settings: Settings) {
    let case = suite::case(seed);
    let told = tripline_simulate::run_with_truth(&case.plan, seed);
    println!("{} with {:#?}", case.shape, case.plan.faults);
    for truth in &told.truths {
        println!("{truth:#?}");
    }
    let verdict = tripline_simulate::watch::watch(&told.reported, settings);
    let second = |at: tripline_model::Timestamp| at.since(tripline_simulate::START).as_secs_f64();
    for (at, notice, id) in &verdict.notices {
        println!("{:.1} {notice:?} {id}", second(*at));
    }
    for watched in &verdict.incidents {
        for (when, incident) in [("opened", &watched.opened), ("settled", &watched.settled), ("last", &watched.last)] {
            println!(
                "{} {when} at {:.1}, started {:.1}, {:?}",
                incident.id,
                second(incident.updated),
                second(incident.started),
                incident.level
            );
            for candidate in &incident.candidates {
                let edge = candidate.suspect.edge.as_ref().map(ToString::to_string).unwrap_or_default();
                println!(
                    "    {} {} {:.2} {edge}",
                    candidate.suspect.service,
                    candidate.kind.as_str(),
                    candidate.score.get()
                );
                candidate.evidence.iter().for_each(|evidence| println!("        {}", evidence.text));
            }
            for hop in incident.path.iter() {
                println!("    {} {} {:.1} {:?}", hop.distance, hop.key, second(hop.at), hop.event);
            }
        }
    }
}

fn tell_misses(outcomes: &[Outcome]) {
    for outcome in outcomes {
        for fault in &outcome.faults {
            let text = match &fault.seen {
                None if fault.merged => "merged".to_owned(),
                None => "missed".to_owned(),
                Some(seen) if seen.ranks[2] != Some(0) => {
                    format!("named {} (rank {:?}, level {:?})", seen.named, seen.ranks, seen.level)
                }
                Some(seen) if seen.lag > 20.0 => format!("late by {:.1} s", seen.lag),
                Some(seen) if seen.ranks[0] != Some(0) => {
                    format!("named {} at the opening (rank {:?})", seen.first_named, seen.ranks[0])
                }
                Some(_) => continue,
            };
            eprintln!("seed {} {} {:?} of {}: {text}", outcome.seed, outcome.shape, fault.kind, fault.service);
        }
        if outcome.wrong + outcome.splits > 0 {
            eprintln!("seed {} {}: {} false, {} splits", outcome.seed, outcome.shape, outcome.wrong, outcome.splits);
        }
    }
}

fn lasting(seeds: Range<u64>, settings: Settings, misses: bool) {
    let outcomes = all(seeds, |seed| score::score(&suite::self_sustaining(seed), settings));
    let faults: Vec<&FaultOutcome> =
        outcomes.iter().flat_map(|outcome| &outcome.faults).filter(|fault| fault.outlasted).collect();
    if misses {
        for fault in &faults {
            eprintln!("self-sustaining: {:?}", fault.seen);
        }
    }
    let named = |fault: &&&FaultOutcome| fault.seen.as_ref().is_some_and(|seen| seen.level == Level::SelfSustaining);
    print("self_sustaining_called_so", share(faults.iter().filter(named).count(), faults.len()));
    let short = outcomes.iter().flat_map(|outcome| &outcome.faults).filter(|fault| !fault.outlasted);
    print("self_sustaining_called_wrongly", {
        let short: Vec<&FaultOutcome> = short.collect();
        share(short.iter().filter(named).count(), short.len())
    });
}

/// Notices of one incident beyond which `--misses` tells them all: opened, a rise, another origin, resolved.
const CALM: usize = 4;

/// Hours with one breaker that flaps: one incident each, with the number of its trips.
fn flapping(hours: Range<u64>, settings: Settings, misses: bool) {
    let told = all(hours.clone(), |hour| score::recurring(&suite::flapping(hour), settings));
    let is_one = |told: &Recurring| told.incidents == 1 && told.counted == told.trips as u64;
    for (hour, told) in hours.zip(&told).filter(|(_, told)| misses && (!is_one(told) || told.notices > CALM)) {
        eprintln!("flapping hour {hour}: {told:?}");
        let notices = score::quiet(&suite::flapping(hour), settings);
        notices.iter().for_each(|notice| eprintln!("    {notice}"));
    }
    let of = |value: fn(&Recurring) -> f64| mean(&told.iter().map(value).collect::<Vec<f64>>());
    print("flapping_one_incident", share(told.iter().filter(|told| is_one(told)).count(), told.len()));
    print("flapping_trips", of(|told| told.trips as f64));
    print("flapping_notices", of(|told| told.notices as f64));
}

fn quiet(hours: Range<u64>, settings: Settings, misses: bool) {
    let told = all(hours.clone(), |hour| {
        let (case, kind) = suite::quiet(hour);
        (kind, score::quiet(&case, settings))
    });
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (hour, (kind, notices)) in hours.zip(&told) {
        *kinds.entry(*kind).or_default() += notices.len();
        for notice in notices.iter().filter(|_| misses) {
            eprintln!("quiet hour {hour} ({kind}): {notice}");
        }
    }
    let total: usize = kinds.values().sum();
    println!(
        "{}",
        json!({"bench": "topology", "figure": "quiet_notices", "value": total, "hours": told.len(), "by_kind": kinds})
    );
}
