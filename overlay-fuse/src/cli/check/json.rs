//! Findings for programs: one JSON object a line.

use overlay_core::Directories;
use overlay_core::check::{Finding, Outcome, Remedy, Summary};
use serde_json::{Map, Value, json};

use super::text::{place, unless};

/// Paths that are not UTF-8 are shown with replacement characters, and as
/// `path_escaped` with `\xNN` for every byte that is not printable ASCII.
pub(super) fn finding(directories: &Directories, finding: &Finding) -> Option<String> {
    let (layer, directory) = place(directories, finding);
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("kind", json!(finding.kind.name()));
    put("severity", json!(finding.severity().name()));
    put("layer", json!(layer));
    put("directory", json!(directory.to_string_lossy()));
    put("path", json!(String::from_utf8_lossy(&finding.path)));
    if std::str::from_utf8(&finding.path).is_err() {
        put(
            "path_escaped",
            json!(finding.path.escape_ascii().to_string()),
        );
    }
    put("meaning", json!(finding.kind.meaning()));
    put("detail", json!(finding.detail));
    match finding.remedy {
        Remedy::Repair(does) => put("repair", json!(does)),
        Remedy::Consent(consent, instead) => put("no_repair", json!(unless(consent, instead))),
        Remedy::None(why) => put("no_repair", json!(why)),
    }
    match &finding.outcome {
        Outcome::Left => put("outcome", json!("left")),
        Outcome::Repaired => put("outcome", json!("repaired")),
        Outcome::Failed(error) => {
            put("outcome", json!("failed"));
            put("error", json!(error.to_string()));
        }
    }
    Some(Value::Object(line).to_string())
}

/// The last line.
pub(super) fn summary(summary: &Summary, code: u8) -> String {
    json!({"summary": {
        "objects": summary.objects,
        "errors": summary.errors,
        "warnings": summary.warnings,
        "leftovers": summary.leftovers,
        "hints": summary.hints,
        "repaired": summary.repaired,
        "left": summary.left,
        "repairable": summary.repairable,
        "unreadable": summary.unreadable,
        "exit": code,
    }})
    .to_string()
}
