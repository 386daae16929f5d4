//! What the demo tells at its start (what is where) and at its end (how the load went).

use std::fmt::Write;

use tripline_demo::load::LoadReport;

use super::crew::Crew;
use super::setting::Setting;
use crate::args::DemoArguments;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// The table of all processes and the addresses to open.
pub(super) fn opening(setting: &Setting, crew: &Crew, arguments: &DemoArguments, coloured: bool) -> String {
    let columns = [
        Left("SERVICE"),
        Right("PID"),
        Right("PORT"),
        Right("SIDECAR"),
        Right("INBOUND"),
        Right("OUTBOUND"),
        Right("ADMIN"),
        Left("CALLS"),
    ];
    let mut table = Table::new(columns, "");
    let id = |id: Option<u32>| Cell::from(id.map_or_else(|| "-".to_owned(), |id| id.to_string()));
    for (spec, ports) in setting.ports.all() {
        let [service, sidecar] = crew.ids(spec.name);
        let port = |address: std::net::SocketAddr| Cell::from(address.port().to_string());
        table.row([
            spec.name.into(),
            id(service),
            port(ports.app),
            id(sidecar),
            port(ports.inbound),
            port(ports.outbound),
            port(ports.admin),
            spec.dependencies().collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    let mut text = table.render(coloured) + "\n";
    let entrance = setting.ports.entrance();
    let mut line = |name: &str, what: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<11}{what}");
    };
    if arguments.report_to.is_none() {
        line("web UI", format!("http://{}", setting.listen.http));
        line("OTLP", format!("gRPC {}, HTTP {}", setting.listen.otlp_grpc, setting.listen.otlp_http));
    } else {
        line("reports", format!("to {}", setting.report_to));
    }
    line("users", format!("http://{entrance}/browse, /search, /cart, /checkout"));
    line("mesh", setting.mesh().display().to_string());
    line("logs", setting.logs().display().to_string());
    line("load", if arguments.no_load { "none".to_owned() } else { format!("{} requests a second", arguments.rate) });
    for fault in &arguments.faults {
        let (after, lasting) = (fault.after.as_secs_f64(), fault.lasting.as_secs_f64());
        line("fault", format!("{} {} after {after} s, for {lasting} s", fault.service, fault.kind));
    }
    if arguments.report_to.is_none() {
        line("break it", format!("{}, or in the web UI", by_hand(setting)));
    }
    line(
        "end it",
        arguments.seconds.map_or_else(|| "Ctrl-C".to_owned(), |n| format!("Ctrl-C, or by itself after {n} s")),
    );
    text
}

/// How to start a fault by hand.
fn by_hand(setting: &Setting) -> String {
    let body = r#"{"service":"payments-db","kind":"errors","seconds":40}"#;
    format!("curl -H 'content-type: application/json' -d '{body}' http://{}/api/v1/demo/faults", setting.listen.http)
}

/// How the load went.
pub(super) fn closing(load: &LoadReport) -> String {
    let ms = |q| load.latency.quantile(q).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0);
    format!(
        "load: {} requests sent, {} succeeded, {} failed, {} without an answer, {} not sent for want of room; \
         p50 {:.1} ms, p99 {:.1} ms\n",
        load.sent,
        load.succeeded,
        load.failed,
        load.unanswered,
        load.skipped,
        ms(0.5),
        ms(0.99)
    )
}
