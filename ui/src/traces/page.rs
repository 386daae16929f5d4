//! The page of one trace.

use std::time::Duration;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tripline_api::Trace;

use super::waterfall::{Row, rows};
use crate::icons::{self, Icon};
use crate::poll::{Loaded, poll};
use crate::{clock, format, links};

/// Spans of a trace may come late; how often to look again.
const EVERY: Duration = Duration::from_secs(10);
/// Rows that are drawn; what is beyond is counted.
const SHOWN: usize = 500;
/// Indentation stops growing here.
const DEEPEST: usize = 12;

/// One trace.
#[component]
pub(crate) fn TracePage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|params| params.get("id").unwrap_or_default()));
    let trace = poll::<Trace>(move || Some(format!("/api/v1/traces/{}", links::encode(&id.get()))), EVERY);
    let opened = RwSignal::new(None::<String>);
    view! {
        <article class="page">
            <header class="table-head"><h1>"Trace "<code>{id}</code></h1></header>
            {move || trace.with(|trace| match trace {
                Loaded::Waiting => view! { <p class="hint">"Looking…"</p> }.into_any(),
                Loaded::Failed(error) => view! {
                    <div class="notice"><p>{error.to_string()}</p><p class="hint">"Traces are sampled, and kept as long as the retention says."</p></div>
                }.into_any(),
                Loaded::Ready(trace) => waterfall(trace, opened).into_any(),
            })}
        </article>
    }
}

fn waterfall(trace: &Trace, opened: RwSignal<Option<String>>) -> impl IntoView + use<> {
    let (rows, total) = rows(&trace.spans);
    let started = rows.first().map(|row| clock::date_and_time(&row.span.started_at));
    let errors = rows.iter().filter(|row| row.span.status == "error").count();
    let beyond = rows.len().saturating_sub(SHOWN);
    let facts = format!(
        "{} · {} · {}",
        format::latency(total),
        format::plural(rows.len(), "span"),
        format::plural(errors, "error")
    );
    let scale = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| {
        view! { <span style:left=format!("{}%", share * 100.0)>{if share > 0.0 { format::latency(share * total) } else { "0".to_owned() }}</span> }
    });
    view! {
        <p class="facts">{started}<span>{facts}</span></p>
        <div class="waterfall" role="table" aria-label="Spans">
            <div class="scale" aria-hidden="true"><span></span><div>{scale.collect_view()}</div></div>
            {rows.into_iter().take(SHOWN).map(|row| line(row, opened)).collect_view()}
        </div>
        {(beyond > 0).then(|| view! { <p class="hint">{format!("{beyond} more are not drawn.")}</p> })}
    }
}

fn line(row: Row, opened: RwSignal<Option<String>>) -> impl IntoView {
    let Row { span, depth, start, length } = row;
    let id = StoredValue::new(span.span_id.clone());
    let open = move || opened.with(|opened| opened.as_deref().is_some_and(|o| id.with_value(|id| o == id)));
    let press = move |_| opened.set(if open() { None } else { Some(id.get_value()) });
    let failed = span.status == "error";
    let class = format!("span kind-{}{}", span.kind, if failed { " failed" } else { "" });
    let bar = format!("left:{:.2}%;width:max(2px,{:.2}%)", start * 100.0, length * 100.0);
    let indent = format!("padding-left:{}px", depth.min(DEEPEST) * 14 + 8);
    let (service, name, kind) = (format::short(&span.service).to_owned(), span.name.clone(), span.kind.clone());
    let duration = format::latency(span.duration_ms);
    // Read from the right when the bar ends near the right edge.
    let side = if start + length > 0.8 { "duration before" } else { "duration after" };
    let near = format!(
        "{}:{:.2}%",
        if start + length > 0.8 { "right" } else { "left" },
        if start + length > 0.8 { (1.0 - start) * 100.0 } else { (start + length) * 100.0 }
    );
    view! {
        <div class=class role="row">
            <button class="span-line" aria-expanded=move || open().to_string() on:click=press>
                <span class="span-name" role="cell" style=indent>
                    {failed.then(|| view! { <Icon d=icons::health(tripline_api::Health::Failing) /> })}
                    <strong>{service}</strong>
                    " "{name}
                    <small>{kind}</small>
                </span>
                <span class="span-track" role="cell">
                    <span class="span-bar" style=bar></span>
                    <span class=side style=near>{duration}</span>
                </span>
            </button>
            <Show when=open>
                {attributes(&span)}
            </Show>
        </div>
    }
}

fn attributes(span: &tripline_api::Span) -> impl IntoView + use<> {
    let known = [
        ("span", span.span_id.clone()),
        ("instance", span.instance.clone()),
        ("started", span.started_at.clone()),
        ("status", format!("{} {}", span.status, span.status_message).trim().to_owned()),
    ];
    let known = known.into_iter().map(|(name, value)| (name.to_owned(), value));
    let attributes = span.attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
    let events = span
        .events
        .iter()
        .map(|event| ("event".to_owned(), format!("{} {}", clock::time_of_day(&event.at), event.name)));
    let all = known.chain(attributes).chain(events).filter(|(_, value)| !value.is_empty());
    view! {
        <dl class="attributes">
            {all.map(|(name, value)| view! { <dt>{name}</dt><dd>{value}</dd> }).collect_view()}
        </dl>
    }
}
