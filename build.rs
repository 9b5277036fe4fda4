//! Has the crate built anew when the web SDK was: its files are embedded by `src/sdk.rs`.

fn main() {
    let built = "web-client/sdk/dist";
    // A path that is not there would have the crate built anew every time.
    let watched = if std::path::Path::new(built).is_dir() { built } else { "web-client/sdk" };
    if std::path::Path::new(watched).is_dir() {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
