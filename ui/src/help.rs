//! The keys, over everything else.

use leptos::html::Button;
use leptos::prelude::*;

use crate::app::ui;
use crate::icons::{self, Icon};
use crate::keys::HELP;

/// The keys, when they are asked for.
#[component]
pub(crate) fn Help() -> impl IntoView {
    let shown = ui().help;
    view! {
        <Show when=move || shown.get()>
            <Dialog />
        </Show>
    }
}

#[component]
fn Dialog() -> impl IntoView {
    let shown = ui().help;
    let close = NodeRef::<Button>::new();
    Effect::new(move |_| {
        if let Some(button) = close.get() {
            // The dialog's only control: so Tab stays within it.
            let _ = button.focus();
        }
    });
    view! {
        <div class="scrim" on:click=move |_| shown.set(false)>
            <section
                class="dialog"
                role="dialog"
                aria-modal="true"
                aria-labelledby="help-title"
                on:click=|event| event.stop_propagation()
            >
                <h2 id="help-title">"Keys"</h2>
                <button node_ref=close class="tool" aria-label="Close" on:click=move |_| shown.set(false)>
                    <Icon d=icons::CLOSE />
                </button>
                <dl>
                    {HELP
                        .iter()
                        .map(|(keys, does)| {
                            view! {
                                <dt>{keys.iter().map(|key| view! { <kbd>{*key}</kbd> }).collect_view()}</dt>
                                <dd>{*does}</dd>
                            }
                        })
                        .collect_view()}
                </dl>
            </section>
        </div>
    }
}
