//! Faults by hand: how the collector's HTTP API starts and lists them.
//!
//! The book of faults is behind a lock, because the API and the task that runs the demo both change it and the API
//! must be answered without waiting for that task. The lock is held for a look into a short list, never across an
//! await. What follows from a new fault goes to the task, which alone holds the processes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tripline_api::{ApiError, DemoFault, DemoFaultList, DemoFaultRequest, ErrorBody};
use tripline_collector::clock;
use tripline_collector::http::DemoControl;
use tripline_demo::fault::{FaultKind, LONGEST};
use tripline_demo::shop::{SERVICES, ServiceSpec};
use tripline_model::Timestamp;

use super::faults::{Effect, FaultBook, kind_of};

/// Faults started by hand that wait to be carried out, at most.
const QUEUE: usize = 16;

/// The hold on the demo's faults. Cheap to clone; all clones hold the same.
#[derive(Debug, Clone)]
pub(super) struct Control {
    book: Arc<Mutex<FaultBook>>,
    effects: mpsc::Sender<Vec<Effect>>,
    began: Instant,
    began_wall: Timestamp,
}

/// A checked request for a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StartFault {
    service: &'static str,
    kind: FaultKind,
    lasting: Duration,
}

impl Control {
    /// No faults yet, time starts now; and what is to be carried out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<Effect>>) {
        let (effects, due) = mpsc::channel(QUEUE);
        let (began, began_wall) = (Instant::now(), clock::now());
        (Self { book: Arc::default(), effects, began, began_wall }, due)
    }

    /// The book, and the time on it.
    pub(super) fn book(&self) -> (MutexGuard<'_, FaultBook>, Duration) {
        (self.book.lock().unwrap_or_else(PoisonError::into_inner), self.began.elapsed())
    }
}

impl DemoControl for Control {
    fn start(&self, request: DemoFaultRequest) -> Result<DemoFault, ApiError> {
        let fault = checked(&request)?;
        let place =
            self.effects.try_reserve().map_err(|_| refused("unavailable", "the demo is busy or ending".to_owned()))?;
        let (mut book, now) = self.book();
        place.send(book.start(fault.service, fault.kind, fault.lasting, now));
        book.newest(self.began_wall).ok_or_else(|| refused("internal", "the fault was lost".to_owned()))
    }

    fn list(&self) -> DemoFaultList {
        self.book().0.list(self.began_wall)
    }
}

fn checked(request: &DemoFaultRequest) -> Result<StartFault, ApiError> {
    let spec = ServiceSpec::named(&request.service).ok_or_else(|| {
        let names = SERVICES.each_ref().map(|service| service.name).join(", ");
        refused("not_found", format!("the shop has no service \"{}\": use one of {names}", request.service))
    })?;
    let lasting = Duration::try_from_secs_f64(request.seconds).ok().filter(|t| !t.is_zero() && *t <= LONGEST);
    let lasting = lasting.ok_or_else(|| {
        let (wanted, longest) = (request.seconds, LONGEST.as_secs());
        refused("bad_request", format!("seconds: expected more than 0, at most {longest}, got {wanted}"))
    })?;
    Ok(StartFault { service: spec.name, kind: kind_of(request.kind), lasting })
}

fn refused(code: &str, message: String) -> ApiError {
    ApiError { error: ErrorBody { code: code.to_owned(), message } }
}

#[cfg(test)]
mod tests {
    use tripline_api::DemoFaultKind;

    use super::*;

    fn request(service: &str, seconds: f64) -> DemoFaultRequest {
        DemoFaultRequest { service: service.to_owned(), kind: DemoFaultKind::Hang, seconds }
    }

    #[test]
    fn requests_are_checked() {
        let hang = |lasting| StartFault { service: "cart", kind: FaultKind::Hang, lasting };
        assert_eq!(checked(&request("shop/cart", 0.5)), Ok(hang(Duration::from_millis(500))));
        assert_eq!(checked(&request("cart", 3600.0)), Ok(hang(LONGEST)));
        for seconds in [0.0, -1.0, 3601.0, f64::NAN, f64::INFINITY, 1e300] {
            let error = checked(&request("cart", seconds)).expect_err("out of range").error;
            assert_eq!((error.code.as_str(), error.message.contains("at most 3600")), ("bad_request", true));
        }
        let error = checked(&request("bart", 1.0)).expect_err("unknown").error;
        assert_eq!((error.code.as_str(), error.message.contains("use one of gateway, web")), ("not_found", true));
    }

    #[tokio::test]
    async fn a_fault_is_listed_and_carried_out_and_a_flood_is_refused() {
        let (control, mut due) = Control::new();
        let started = control.start(request("web", 5.0)).expect("started");
        assert_eq!((started.service.as_str(), started.active), ("shop/web", true));
        assert_eq!(control.list().faults, [started]);
        assert!(matches!(due.recv().await.as_deref(), Some([Effect::Tell("web", _)])));
        for _ in 0..QUEUE {
            control.start(request("web", 5.0)).expect("there is room");
        }
        assert_eq!(control.start(request("web", 5.0)).expect_err("no room").error.code, "unavailable");
    }
}
