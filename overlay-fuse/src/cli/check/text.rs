//! Findings for people: one line each.

use std::path::PathBuf;

use overlay_core::Directories;
use overlay_core::check::{Consent, Finding, Outcome, Remedy, Repair, Severity, Spot, Summary};

use crate::cli::shown;

/// The directory that a finding's path starts from, and what it is.
pub(super) fn place(directories: &Directories, finding: &Finding) -> (&'static str, PathBuf) {
    let index = match finding.spot {
        Spot::Branch(id) => id.0 as usize,
        Spot::Work => {
            let work = directories.workdir().unwrap_or_default();
            return ("work", work);
        }
    };
    let upper = directories.upper.iter().map(|path| ("upper", path));
    let lowers = directories.lowers.iter().map(|path| ("lower", path));
    let data = directories.data_lowers.iter().map(|path| ("data", path));
    upper
        .chain(lowers)
        .chain(data)
        .nth(index)
        .map_or(("lower", PathBuf::new()), |(role, path)| {
            (role, path.clone())
        })
}

/// `None` for what is told with `verbose` alone.
pub(super) fn finding(
    directories: &Directories,
    finding: &Finding,
    repair: Repair,
    verbose: bool,
) -> Option<String> {
    match finding.severity() {
        Severity::Error | Severity::Warning => {}
        Severity::Leftover | Severity::Hint if verbose => {}
        // A repair that fails is no leftover.
        Severity::Leftover if matches!(finding.outcome, Outcome::Failed(_)) => {}
        Severity::Leftover | Severity::Hint => return None,
    }
    let (_, directory) = place(directories, finding);
    let path = match finding.path[..] {
        [] => directory,
        [..] => directory.join(finding.path()),
    };
    let path = shown(&path);
    let detail = match &*finding.detail {
        "" => String::new(),
        detail => format!(" ({detail})"),
    };
    let done = match (&finding.outcome, finding.remedy, repair) {
        (Outcome::Repaired, Remedy::Repair(does), _) => format!("repaired: {does}"),
        (Outcome::Failed(error), _, _) => format!("the repair failed ({error})"),
        (_, Remedy::Repair(does), _) => format!("--repair {does}"),
        (_, Remedy::Consent(consent, instead), Repair::All) => {
            format!("not repaired: {}", unless(consent, instead))
        }
        (_, Remedy::Consent(consent, instead), Repair::Nothing) => {
            format!("no repair: {}", unless(consent, instead))
        }
        (_, Remedy::None(why), Repair::All) => format!("not repaired: {why}"),
        (_, Remedy::None(why), Repair::Nothing) => format!("no repair: {why}"),
    };
    let (severity, meaning) = (finding.severity().name(), finding.kind.meaning());
    Some(format!("{severity}: {path}: {meaning}{detail}; {done}"))
}

/// What to do where a repair needs a word more.
pub(super) fn unless(consent: Consent, instead: &str) -> String {
    let (if_so, flag) = match consent {
        Consent::Volatile => ("if it is known to be whole", "--accept-volatile"),
        Consent::Lower => ("if these are right", "--accept-lower"),
    };
    format!("{instead}, or, {if_so}, use --repair {flag}")
}

/// The last line.
pub(super) fn summary(summary: &Summary, verbose: bool) -> String {
    let counted = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let mut line = format!(
        "{} checked: {}, {}, {}, {}",
        counted(summary.objects, "object"),
        counted(summary.errors, "error"),
        counted(summary.warnings, "warning"),
        counted(summary.leftovers, "leftover"),
        counted(summary.hints, "hint"),
    );
    if summary.repaired > 0 {
        line += &format!("; {} repaired", summary.repaired);
    }
    if summary.repairable > 0 {
        line += &format!("; {} can be repaired", summary.repairable);
    }
    if !verbose && summary.leftovers + summary.hints > 0 {
        line += " (-v lists leftovers and hints)";
    }
    line
}
