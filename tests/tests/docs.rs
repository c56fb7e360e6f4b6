//! `docs/semantics.md` names a test for every rule, and `docs/complaints.md` for
//! every complaint: here they are held to that.

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

/// Tests that a page names once, and rules by these words.
const KINDS: &[&str] = &[
    "model tests",
    "option tests",
    "travel tests",
    "rename tests",
    "pool tests",
];

/// Rules in `text` are numbered `letter` 1, 2, 3, ... and name tests, which are
/// returned.
fn named_by_rules(text: &str, letter: char) -> Vec<&str> {
    let mut named = Vec::new();
    let mut number = 0;
    for line in text.lines() {
        let Some(rule) = line.strip_prefix(&format!("- **{letter}")) else {
            continue;
        };
        let (now, _) = rule.split_once("**").unwrap_or_default();
        let now: u32 = now
            .parse()
            .unwrap_or_else(|_| panic!("no number of a rule: {line}"));
        assert!(now > number, "rules are numbered in order: {line}");
        number = now;
        let (_, tests) = rule
            .split_once("Tests:")
            .unwrap_or_else(|| panic!("{letter}{number} names no test"));
        let of_a_kind = KINDS.iter().any(|kind| tests.contains(kind));
        let found = quoted(tests).count() > 0 || of_a_kind;
        assert!(found, "{letter}{number} names no test");
        named.extend(quoted(tests));
    }
    assert!(number > 0, "there are rules");
    named
}

#[test]
fn every_test_named_in_the_semantics_exists() {
    let page = |name: &str| {
        let path = workspace().join("docs").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (semantics, durability) = (page("semantics.md"), page("durability.md"));
    let complaints = page("complaints.md");
    let rows = complaints.lines().filter(|line| line.starts_with("| "));
    let mut named = named_by_rules(&semantics, 'S');
    named.extend(named_by_rules(&durability, 'V'));
    for kind in KINDS {
        let says = format!("**{kind}**");
        let part = semantics.split("\n\n").find(|part| part.contains(&says));
        named.extend(quoted(
            part.unwrap_or_else(|| panic!("no {kind} are named")),
        ));
    }
    for row in rows.skip(1) {
        let (_, tests) = row
            .trim_end_matches(" |")
            .rsplit_once(" | ")
            .unwrap_or_default();
        assert!(quoted(tests).count() > 0, "no test is named: {row}");
        named.extend(quoted(tests));
    }
    let tests = tests();
    named.retain(|name| !tests.contains(*name));
    assert!(named.is_empty(), "no such tests: {named:#?}");
}
