//! Plain tables: a head in capitals, columns two blanks apart, numbers to the right, no borders, so that `awk` and eyes
//! both like them.

use std::fmt::Write;

use crate::style::{Tone, printable};

/// One cell: a text in a tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(text.as_ref()).into_owned(), tone: Tone::Plain }
    }
}

impl Cell {
    /// A text in a tone.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { tone, ..text.into() }
    }
}

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// What is written instead of a table without rows.
    empty: &'static str,
}

impl Table {
    /// No rows yet; `empty` is written if it stays so.
    pub(crate) fn new(columns: impl Into<Vec<Column>>, empty: &'static str) -> Self {
        Self { columns: columns.into(), rows: Vec::new(), empty }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    /// The whole table, each line ended.
    pub(crate) fn render(&self, coloured: bool) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let heads: Vec<&str> = self
            .columns
            .iter()
            .map(|c| match c {
                Column::Left(head) | Column::Right(head) => *head,
            })
            .collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| head.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let head: Vec<Cell> = heads.into_iter().map(|head| Cell::toned(head, Tone::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for ((column, cell), width) in self.columns.iter().zip(row).zip(&widths) {
                let blanks = " ".repeat(width - cell.text.chars().count());
                let shown = if coloured { cell.tone.paint(&cell.text) } else { cell.text.clone() };
                // Writing to a String cannot fail.
                let _ = match column {
                    Column::Left(_) => write!(line, "{shown}{blanks}  "),
                    Column::Right(_) => write!(line, "{blanks}{shown}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colours() {
        let mut table = Table::new([Column::Left("NAME"), Column::Right("REQ/S"), Column::Left("STATE")], "nothing");
        table.row(["shop/web".into(), "7".into(), Cell::toned("open", Tone::Bad)]);
        table.row(["ü".into(), "1234.5".into(), "closed".into()]);
        let plain = "NAME       REQ/S  STATE\nshop/web       7  open\nü         1234.5  closed\n";
        assert_eq!(table.render(false), plain);
        assert!(table.render(true).contains("       7  \x1b[31mopen\x1b[0m\n"));
    }

    #[test]
    fn no_rows_say_so() {
        assert_eq!(Table::new([Column::Left("NAME")], "no incidents").render(true), "no incidents\n");
    }
}
