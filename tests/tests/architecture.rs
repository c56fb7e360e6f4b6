//! Imports go one way. The order of the crate's modules is written down here
//! once; whoever adds a module gives it a place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `overlay-core`, those that know least first. A module may use
/// those of its own line and of the lines before.
const ORDER: &[&[&str]] = &[
    &["name", "attr", "error"],
    &["how", "handle"],
    &["sys"],
    &["layer", "watch"],
    &["dialect"],
    &["stack", "policy"],
    &["check", "convert"],
    &["union"],
    &["fs"],
];

/// The specification stands aside: it uses these alone, and nobody uses it.
const SPEC: &str = "spec";
const SPEC_MAY_USE: &[&str] = &["name", "attr", "error"];

/// What a front end has no business with.
const NOT_FOR_FRONT_ENDS: &[&str] = &["spec", "sys"];

fn package(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the package lies in the workspace")
        .join(name)
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable source tree") {
        let path = entry.expect("a readable source tree").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// The text without comments, so that examples and prose may name anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("sources are UTF-8");
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names after each `prefix` in `code`: one, or those of a group.
fn imported<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        &text[..end.unwrap_or(text.len())]
    };
    let mut out = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            out.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    out.push(word(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    out
}

/// What the crate's root shows under another name: `pub use attr::{Attr}`.
fn reexports(root: &Path) -> BTreeMap<String, String> {
    let code = code(root);
    let mut out = BTreeMap::new();
    for part in code.split("pub use ").skip(1) {
        let statement = part.split(';').next().unwrap_or("");
        let module: String = statement.chars().take_while(|c| *c != ':').collect();
        for name in statement.split(|c: char| !c.is_alphanumeric() && c != '_') {
            out.insert(name.to_owned(), module.clone());
        }
    }
    out
}

fn place(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// Why `module` must not use `other`, if so.
fn objection(module: &str, other: &str) -> Option<String> {
    if module == other {
        return None;
    }
    if module == SPEC {
        let allowed = SPEC_MAY_USE.contains(&other);
        return (!allowed).then(|| format!("the specification uses {SPEC_MAY_USE:?} alone"));
    }
    if other == SPEC {
        return Some("nobody uses the specification but tests".into());
    }
    match (place(module), place(other)) {
        (Some(user), Some(used)) if used <= user => None,
        (Some(_), Some(_)) => Some(format!(
            "`{other}` knows `{module}`, not the other way round"
        )),
        (None, _) => Some(format!("`{module}` has no place in ORDER")),
        (_, None) => Some(format!("`{other}` has no place in ORDER")),
    }
}

#[test]
fn imports_go_one_way() {
    let mut broken = Vec::new();
    let src = package("overlay-core").join("src");
    let root = src.join("lib.rs");
    let reexports = reexports(&root);
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files.iter().filter(|file| **file != root) {
        let inside = file.strip_prefix(&src).expect("found below it");
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        let module = parts[0].trim_end_matches(".rs");
        let code = code(file);
        let mut used = imported(&code, "crate::");
        // `super` once more than there are modules around it is the root.
        used.extend(imported(&code, &"super::".repeat(parts.len())));
        for name in used {
            let other = reexports.get(name).map_or(name, String::as_str);
            let is_module =
                place(other).is_some() || other == SPEC || src.join(format!("{other}.rs")).exists();
            if let (true, Some(why)) = (is_module, objection(module, other)) {
                broken.push(format!("{}: uses `{other}`: {why}", inside.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "imports go one way:\n{}",
        broken.join("\n")
    );
}

#[test]
fn front_ends_use_the_engine_alone() {
    let src = package("overlay-fuse").join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut broken = Vec::new();
    for file in files {
        for name in imported(&code(&file), "overlay_core::") {
            if NOT_FOR_FRONT_ENDS.contains(&name) {
                broken.push(format!("{}: uses overlay_core::{name}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_rule_reader_understands_groups_and_paths() {
    let code = "use crate::{attr::{Attr, X}, name};\nuse crate::layer::mem;\nuse supercrate::no;";
    assert_eq!(imported(code, "crate::"), ["attr", "name", "layer"]);
    assert!(objection("layer", "union").is_some());
    assert!(objection("union", "spec").is_some());
    assert!(objection("spec", "layer").is_some());
    assert!(objection("union", "sys").is_none());
}
