//! The `invigil` binary: everything it can do is in [`invigil::cli`].

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
