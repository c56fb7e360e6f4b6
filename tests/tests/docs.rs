//! `docs/semantics.md` names a test for every rule: here it is held to that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in the workspace")
        .into()
}

/// All files with this ending below `dir`, but what cargo built.
fn files(dir: &Path, ending: &str, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable source tree") {
        let path = entry.expect("a readable source tree").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            files(&path, ending, out);
        } else if path.extension().is_some_and(|found| found == ending) {
            out.push(path);
        }
    }
}

/// Names of functions that follow a `#[test]`.
fn tests() -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(&workspace(), "rs", &mut sources);
    let mut tests = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(&source).expect("sources are UTF-8");
        for part in text.split("#[test]").skip(1) {
            let name = part.split_once("fn ").map(|(_, rest)| rest);
            let name = name.and_then(|rest| rest.split_once('('));
            tests.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    tests
}

/// What stands between backquotes and could be a test's name.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.split('`').skip(1).step_by(2);
    inside.filter(|word| {
        word.contains('_')
            && word
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    })
}

#[test]
fn every_test_named_in_the_semantics_exists() {
    let text =
        fs::read_to_string(workspace().join("docs/semantics.md")).expect("docs/semantics.md");
    let tests = tests();
    let mut missing = Vec::new();
    let mut number = 0;
    for line in text.lines() {
        let Some(rule) = line.strip_prefix("- **S") else {
            continue;
        };
        number += 1;
        assert!(
            rule.starts_with(&format!("{number}**")),
            "rules are numbered in order; S{number} is missing before: {line}"
        );
        let (_, named) = rule
            .split_once("Tests:")
            .unwrap_or_else(|| panic!("S{number} names no test"));
        let found = quoted(named).count() > 0 || named.contains("model tests");
        assert!(found, "S{number} names no test");
        missing.extend(quoted(named).filter(|name| !tests.contains(*name)));
    }
    assert!(number > 0, "docs/semantics.md has rules");
    let model = text
        .split("\n\n")
        .find(|part| part.starts_with("The four **model tests**"));
    missing.extend(
        quoted(model.expect("the model tests are named")).filter(|name| !tests.contains(*name)),
    );
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
