//! What a browser at the console holds in its cookie after signing in.

use super::secret::secret_text;

const PREFIX: &str = "ivc_";

secret_text! {
    /// A signed-in browser's secret in the clear.
    ConsoleKey, PREFIX
}
