//! The program of this folder; see `cli.rs`.

fn main() -> std::process::ExitCode {
    cluster_tests::cli::main()
}
