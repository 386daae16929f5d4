//! `tripline proxies`.

use tripline_api::ProxyList;

use super::Listed;
use super::figures::{ago, count};
use crate::style::Tone;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

impl Listed for ProxyList {
    const PATH: &'static str = "proxies";

    fn table(&self) -> Table {
        let columns = [
            Left("SERVICE"),
            Left("INSTANCE"),
            Left("VERSION"),
            Left("STATE"),
            Right("SEEN AGO"),
            Right("DROPPED"),
            Right("CLOCK MS"),
        ];
        let mut table = Table::new(columns, "no proxies: no sidecar has reported yet");
        for proxy in &self.proxies {
            table.row([
                Cell::from(&proxy.service),
                Cell::from(&proxy.instance),
                Cell::from(&proxy.version),
                if proxy.live { Cell::toned("live", Tone::Good) } else { Cell::toned("silent", Tone::Bad) },
                ago(&proxy.last_seen),
                count(proxy.dropped),
                format!("{:+.0}", proxy.clock_offset_ms).into(),
            ]);
        }
        table
    }
}
