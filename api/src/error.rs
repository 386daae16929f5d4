//! How every refusal looks.

use crate::wire;

wire! {
    /// The body of every answer with status 400 or above.
    pub struct ApiError {
        /// What went wrong.
        pub error: ErrorBody,
    }

    /// What went wrong, for programs and for people.
    pub struct ErrorBody {
        /// A stable word: `not_found`, `bad_request`, `unauthorized`, `forbidden`, `method_not_allowed`, `timeout`, `too_large`,
        /// `unavailable`, `internal`.
        pub code: String,
        /// One sentence with the fix where it is known.
        pub message: String,
    }
}
