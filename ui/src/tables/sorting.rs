//! Columns that sort, and a field that filters. Pure order, thin header cells.

use std::cmp::Ordering;

use leptos::prelude::*;

use crate::nav::nav;

/// By which column, and which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sorting {
    /// Position among the columns.
    pub(crate) column: usize,
    /// Largest first.
    pub(crate) descending: bool,
}

/// A value to sort by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    /// Read as text.
    Text(String),
    /// Read as a number, and written on the right.
    Number(f64),
    /// How bad a word is; written as a word.
    Rank(f64),
}

impl Key {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Text(_), _) => Ordering::Less,
            (_, Self::Text(_)) => Ordering::Greater,
            (Self::Number(a) | Self::Rank(a), Self::Number(b) | Self::Rank(b)) => a.total_cmp(b),
        }
    }
}

/// A column's heading and how to sort by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<T: 'static> {
    /// Heading.
    pub(crate) name: &'static str,
    /// Value to sort by.
    pub(crate) key: fn(&T) -> Key,
}

/// Sorts rows; equal ones keep their order.
pub(crate) fn sort<T>(rows: &mut [T], columns: &[Column<T>], sorting: Sorting) {
    let Some(column) = columns.get(sorting.column) else { return };
    rows.sort_by(|a, b| {
        let order = (column.key)(a).compare(&(column.key)(b));
        if sorting.descending { order.reverse() } else { order }
    });
}

/// The heading row: each heading is a button; numbers start with the largest.
pub(crate) fn headings<T>(
    columns: &'static [Column<T>],
    sorting: RwSignal<Sorting>,
    sample: &T,
) -> impl IntoView + use<T> {
    let cells = columns.iter().enumerate().map(|(i, column)| {
        let key = (column.key)(sample);
        let largest_first = !matches!(key, Key::Text(_));
        let state = move || match sorting.get() {
            Sorting { column, descending } if column == i => {
                if descending {
                    "descending"
                } else {
                    "ascending"
                }
            }
            Sorting { .. } => "none",
        };
        let press = move |_| {
            sorting.update(|s| {
                *s = match s.column == i {
                    true => Sorting { descending: !s.descending, ..*s },
                    false => Sorting { column: i, descending: largest_first },
                };
            });
        };
        view! {
            <th class=if matches!(key, Key::Number(_)) { "number" } else { "" } aria-sort=state>
                <button on:click=press>{column.name}</button>
            </th>
        }
    });
    view! { <tr>{cells.collect_view()}</tr> }
}

/// The title line of a table's page, with its filter.
#[component]
pub(crate) fn TableHead(
    /// The page's heading.
    title: &'static str,
    /// Rows that are shown.
    count: Memo<usize>,
) -> impl IntoView {
    let nav = nav();
    view! {
        <header class="table-head">
            <h1>{title}<span class="tally">{count}</span></h1>
            <input
                type="search"
                class="filter"
                placeholder="Filter"
                aria-label=format!("Filter {}", title.to_lowercase())
                prop:value=move || nav.filter.get()
                on:input=move |event| nav.set_filter(&event_target_value(&event))
            />
        </header>
    }
}

/// Whether any of the texts holds the filter, whatever the case.
pub(crate) fn holds(filter: &str, texts: &[&str]) -> bool {
    let wanted = filter.trim().to_lowercase();
    wanted.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column<(&str, f64)>] = &[
        Column { name: "name", key: |row| Key::Text(row.0.into()) },
        Column { name: "rate", key: |row| Key::Number(row.1) },
    ];

    #[test]
    fn rows_sort_by_text_and_number_both_ways() {
        let mut rows = [("b", 2.0), ("a", 10.0), ("c", f64::NAN)];
        sort(&mut rows, COLUMNS, Sorting { column: 0, descending: false });
        assert_eq!(rows.map(|r| r.0), ["a", "b", "c"]);
        sort(&mut rows[..2], COLUMNS, Sorting { column: 1, descending: false });
        assert_eq!(rows.map(|r| r.0), ["b", "a", "c"]);
        sort(&mut rows, COLUMNS, Sorting { column: 9, descending: true });
        assert_eq!(rows.map(|r| r.0), ["b", "a", "c"]);
    }

    #[test]
    fn filters_look_into_every_text() {
        assert!(holds(" PAY ", &["shop/web", "shop/payments"]));
        assert!(holds("", &[]));
        assert!(!holds("db", &["shop/web"]));
    }
}
