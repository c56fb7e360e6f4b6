//! `ufs demo`: see `ufs --help`.

fn main() -> std::process::ExitCode {
    overlay_fuse::cli::ufs()
}
