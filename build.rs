//! Has the crate built anew when the web SDK or the console was: their files are embedded by `src/sdk.rs` and `src/console.rs`.

fn main() {
    for part in ["web-client/sdk", "web-client/console"] {
        let built = format!("{part}/dist");
        // A path that is not there would have the crate built anew every time.
        let watched = if std::path::Path::new(&built).is_dir() { &built } else { part };
        if std::path::Path::new(watched).is_dir() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
