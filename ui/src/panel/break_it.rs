//! In the demo: break a service and watch. Not there when the collector knows no demo.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use tripline_api::{DemoFault, DemoFaultKind, DemoFaultList, DemoFaultRequest};

use crate::app::store;
use crate::icons::{self, Icon};
use crate::poll::poll_if_there;
use crate::{fetch, format, time};

const ADDRESS: &str = "/api/v1/demo/faults";
/// How often running faults are asked for.
const EVERY: Duration = Duration::from_secs(2);
/// Choices for how long, in seconds.
const LENGTHS: [u32; 3] = [20, 40, 120];

/// The control, when the demo runs and knows the service.
#[component]
pub(crate) fn BreakIt(
    /// Node id.
    id: Arc<str>,
) -> impl IntoView {
    let faults = poll_if_there::<DemoFaultList>(ADDRESS, EVERY);
    let id = StoredValue::new(id.to_string());
    let known = Memo::new(move |_| {
        faults
            .with(|list| list.ready().is_some_and(|list| id.with_value(|id| list.services.iter().any(|s| same(s, id)))))
    });
    let running = Memo::new(move |_| {
        faults.with(|list| {
            let all = list.ready().map(|list| list.faults.as_slice()).unwrap_or_default();
            let mine = all.iter().filter(|fault| fault.active && id.with_value(|id| same(&fault.service, id)));
            mine.cloned().collect::<Vec<DemoFault>>()
        })
    });
    view! {
        <Show when=move || known.get()>
            <section class="break-it">
                <h3><Icon d=icons::BOLT />"Break it"<span class="tally">"demo"</span></h3>
                <Running running />
                <Controls id />
            </section>
        </Show>
    }
}

#[component]
fn Running(running: Memo<Vec<DemoFault>>) -> impl IntoView {
    let at = store().at;
    let left = move |fault: &DemoFault| {
        let left = time::parse(&fault.ends_at).map(|end| time::duration(end - at.get())).unwrap_or_default();
        view! { <p class="running" role="status">{format!("Broken on purpose: {}, {left} left", fault.kind)}</p> }
    };
    move || running.with(|all| all.iter().map(left).collect_view())
}

#[component]
fn Controls(id: StoredValue<String>) -> impl IntoView {
    let kind = RwSignal::new(DemoFaultKind::Errors);
    let seconds = RwSignal::new(40_u32);
    let said = RwSignal::new(String::new());
    let start = move |_| {
        let request = DemoFaultRequest {
            service: id.get_value(),
            kind: kind.get_untracked(),
            seconds: f64::from(seconds.get_untracked()),
        };
        spawn_local(async move {
            said.set(match fetch::post::<DemoFault>(ADDRESS, &request).await {
                Ok(_) => String::new(),
                Err(error) => format!("Not broken: {error}"),
            });
        });
    };
    let kinds = DemoFaultKind::ALL.iter().map(|&choice| {
        view! {
            <label title=meaning(choice)>
                <input type="radio" name="fault-kind" prop:checked=move || kind.get() == choice on:change=move |_| kind.set(choice) />
                <span>{choice.as_str()}</span>
            </label>
        }
    });
    let lengths = LENGTHS.map(|choice| {
        view! {
            <label>
                <input type="radio" name="fault-length" prop:checked=move || seconds.get() == choice on:change=move |_| seconds.set(choice) />
                <span>{format!("{choice} s")}</span>
            </label>
        }
    });
    view! {
        <fieldset class="choices"><legend class="unseen">"What to break"</legend>{kinds.collect_view()}</fieldset>
        <fieldset class="choices"><legend class="unseen">"For how long"</legend>{lengths.collect_view()}</fieldset>
        <button class="button danger" on:click=start>
            {move || format!("Break {} for {} s", id.with_value(|id| format::short(id).to_owned()), seconds.get())}
        </button>
        <p class="hint" role="status">{said}</p>
    }
}

const fn meaning(kind: DemoFaultKind) -> &'static str {
    match kind {
        DemoFaultKind::Errors => "answers most requests with 500",
        DemoFaultKind::Latency => "answers late",
        DemoFaultKind::Crash => "its process ends, and starts again afterwards",
        DemoFaultKind::Hang => "accepts requests and never answers",
    }
}

/// The demo may name its services with or without their namespace.
fn same(named: &str, id: &str) -> bool {
    named == id || format::short(named) == format::short(id)
}
