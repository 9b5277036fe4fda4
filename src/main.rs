//! The `invigil` binary: everything it can do is in [`invigil::cli`].

fn main() -> std::process::ExitCode {
    invigil::cli::Cli::run()
}
