//! Why spans made an edge, or made none: what `explain` counts and says.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident, $count:ident: $($(#[$each:meta])* $variant:ident $word:literal $text:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$each])* #[doc = $text] $variant),* }

        /// How many there are.
        pub const $count: usize = $name::ALL.len();

        impl $name {
            /// Every one, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its word in the API and in metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// What it says to people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

reasons! {
    /// Why a call was counted on an edge.
    CallReason, CALL_REASONS:
    Paired "paired" "a span of the server under a span of the client",
    Attempt "attempt" "a further server under the same client span: a retry or a hedge",
    SharedSpan "shared_span" "client and server reported one span under the same id, as Zipkin does",
    Link "link" "a message was processed by a span that links to the span that sent it",
    Queue "queue" "a span names the queue that it sent to or processed from",
    Database "database" "a client span names a database, which never reports itself",
    Named "named_peer" "no server's span came within 15 s, so the peer that the client's span names stands for it",
    Alias "known_peer" "no server's span came, but the peer that the client's span names has stood for this server before",
    User "root" "a server's span without a parent: called by the users",
}

reasons! {
    /// Why a span made no edge.
    SilentReason, SILENT_REASONS:
    Repeated "repeated" "seen before: senders repeat what was not acknowledged",
    SameService "same_service" "under a span of its own service, within which no edge leads",
    ParentMissing "parent_missing" "its parent, perhaps of a caller that is not traced or was not sampled, did not come within 120 s",
    PeerUnnamed "peer_unnamed" "a client's span that names no peer, and no server's span came",
    MessagingStep "messaging_step" "a message made, polled for or settled: another span tells of the call",
    QueueUnnamed "queue_unnamed" "a message processed without naming its queue, a parent or a link",
    Evicted "evicted" "put out before its time because too many spans were waiting",
}
