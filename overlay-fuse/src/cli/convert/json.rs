//! Notes for programs: one JSON object a line.

use overlay_core::convert::{Note, Summary};
use serde_json::{Map, Value, json};

/// Paths that are not UTF-8 are shown with replacement characters, and as
/// `path_escaped` with `\xNN` for every byte that is not printable ASCII.
pub(super) fn note(note: &Note) -> String {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        line.insert(name.to_owned(), value);
    };
    put("kind", json!(note.kind.name()));
    put("effect", json!(note.kind.effect().name()));
    put("path", json!(String::from_utf8_lossy(&note.path)));
    if std::str::from_utf8(&note.path).is_err() {
        put("path_escaped", json!(note.path.escape_ascii().to_string()));
    }
    put("meaning", json!(note.kind.meaning()));
    put("detail", json!(note.detail));
    if !note.kind.advice().is_empty() {
        put("advice", json!(note.kind.advice()));
    }
    Value::Object(line).to_string()
}

/// The last line.
pub(super) fn summary(summary: &Summary) -> String {
    json!({"summary": {
        "objects": summary.objects,
        "refused": summary.refused,
        "dropped": summary.dropped,
        "whiteouts": summary.whiteouts,
        "opaque": summary.opaque,
        "resumed": summary.resumed,
    }})
    .to_string()
}
