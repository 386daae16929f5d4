//! Light, dark, or as the system has it; kept in the browser. `boot.js` sets it before the first paint.

use leptos::prelude::*;

/// Where the choice is kept; `boot.js` reads it too.
const KEY: &str = "tripline-theme";

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Theme {
    /// Its written form.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The next one of the toggle.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Auto => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::Auto,
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }
}

/// The choice, read from the browser; every change is applied and kept.
pub(crate) fn kept() -> RwSignal<Theme> {
    let storage = || window().local_storage().ok().flatten();
    let stored = storage().and_then(|storage| storage.get_item(KEY).ok().flatten());
    let theme = RwSignal::new(stored.as_deref().map_or(Theme::Auto, Theme::parse));
    Effect::new(move |_| {
        let word = theme.get().as_str();
        if let Some(root) = document().document_element() {
            // A page that cannot set its own attribute has worse problems than its colours.
            let _ = root.set_attribute("data-theme", word);
        }
        if let Some(storage) = storage() {
            // Private windows refuse: then the choice lasts as long as the page.
            let _ = storage.set_item(KEY, word);
        }
    });
    theme
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toggle_goes_round_and_what_is_kept_reads_back() {
        for theme in [Theme::Auto, Theme::Light, Theme::Dark] {
            assert_eq!(Theme::parse(theme.as_str()), theme);
            assert_eq!(theme.next().next().next(), theme);
        }
        assert_eq!(Theme::parse("sepia"), Theme::Auto);
    }
}
