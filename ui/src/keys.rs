//! Which key does what. The keys work everywhere but in a field that one writes in; there only Escape does.

use crate::graph::scene::Direction;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Go to the search field.
    Search,
    /// Go to the graph.
    Graph,
    /// Go to the incidents.
    Incidents,
    /// Next theme.
    Theme,
    /// Show or hide the keys.
    Help,
    /// Show the whole graph.
    Fit,
    /// Zoom in.
    ZoomIn,
    /// Zoom out.
    ZoomOut,
    /// Close what was opened last.
    Close,
    /// Go to the neighbouring node.
    Walk(Direction),
}

/// A key as the browser reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Press {
    /// `KeyboardEvent.key`.
    pub(crate) key: String,
    /// Whether the focus is in a field for text.
    pub(crate) typing: bool,
    /// Whether Ctrl, Alt or Meta is held.
    pub(crate) modified: bool,
}

/// What there is to know, for the help.
pub(crate) const HELP: &[(&[&str], &str)] = &[
    (&["/"], "Search services, edges and incidents"),
    (&["g"], "Graph"),
    (&["i"], "Incidents"),
    (&["Tab", "←", "↑", "→", "↓"], "Walk through the graph"),
    (&["Enter"], "Open the panel of what is focused"),
    (&["Esc"], "Close"),
    (&["f"], "Fit the whole graph"),
    (&["+", "−"], "Zoom"),
    (&["t"], "Light, dark or automatic"),
    (&["?"], "These keys"),
];

/// What the key asks for, if anything.
pub(crate) fn action(press: &Press) -> Option<Action> {
    if press.key == "Escape" {
        return Some(Action::Close);
    }
    if press.typing || press.modified {
        return None;
    }
    Some(match press.key.as_str() {
        "/" => Action::Search,
        "g" => Action::Graph,
        "i" => Action::Incidents,
        "t" => Action::Theme,
        "?" => Action::Help,
        "f" => Action::Fit,
        "+" | "=" => Action::ZoomIn,
        "-" | "_" => Action::ZoomOut,
        "ArrowLeft" => Action::Walk(Direction::Left),
        "ArrowRight" => Action::Walk(Direction::Right),
        "ArrowUp" => Action::Walk(Direction::Up),
        "ArrowDown" => Action::Walk(Direction::Down),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(key: &str) -> Press {
        Press { key: key.into(), ..Press::default() }
    }

    #[test]
    fn keys_do_what_the_help_says() {
        assert_eq!(action(&press("/")), Some(Action::Search));
        assert_eq!(action(&press("ArrowUp")), Some(Action::Walk(Direction::Up)));
        assert_eq!(action(&press("q")), None);
    }

    #[test]
    fn who_writes_is_left_alone_except_by_escape() {
        assert_eq!(action(&Press { typing: true, ..press("g") }), None);
        assert_eq!(action(&Press { modified: true, ..press("f") }), None);
        assert_eq!(action(&Press { typing: true, ..press("Escape") }), Some(Action::Close));
    }
}
