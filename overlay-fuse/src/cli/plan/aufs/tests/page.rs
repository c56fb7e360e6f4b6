//! `docs/aufs.md` shows the tables.

use overlay_core::policy::{COPY_UP, CREATE, REFUSED, WhenFull};

use super::*;

const PAGE: &str = include_str!("../../../../../../docs/aufs.md");

fn full(when: WhenFull) -> &'static str {
    match when {
        WhenFull::Fails => "`ENOSPC`",
        WhenFull::Next => "the next",
    }
}

/// The rows of the section under `heading`, without the head of its table.
fn shown(heading: &str) -> Vec<&'static str> {
    let mut lines = PAGE.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "the page has no {heading:?}");
    let section = lines.take_while(|line| !line.starts_with("## "));
    section
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect()
}

/// Fails with what the page should show.
fn assert_shown(heading: &str, rows: impl Iterator<Item = String>) {
    let expected: Vec<String> = rows.collect();
    let right = shown(heading) == expected;
    assert!(right, "{heading} should be\n{}", expected.join("\n"));
}

#[test]
fn the_page_shows_every_option() {
    // A `|` would end the cell.
    let cell = |text: &str| text.replace('|', "\\|");
    assert_shown(
        "## Options",
        OPTIONS.iter().map(|row| {
            let (written, here) = (cell(&row.written()), row.here.words());
            format!("| {written} | {} | {here} | {} |", row.what, row.source)
        }),
    );
}

#[test]
fn the_page_shows_every_attribute() {
    assert_shown(
        "## Attributes of branches",
        ATTRIBUTES.iter().map(|row| {
            let fits = row.fits.words();
            format!("| `{}` | {fits} | {} | {} |", row.word, row.what, row.here)
        }),
    );
}

#[test]
fn the_page_shows_every_policy() {
    let names = |name: &str, long: &str, arguments: &str| match long {
        "" => format!("`{name}{arguments}`"),
        long => format!("`{name}{arguments}`, `{long}{arguments}`"),
    };
    assert_shown(
        "## Policies for new objects",
        CREATE.iter().map(|row| {
            let names = names(row.name, row.long, row.arguments.written());
            let full = full(row.when_full);
            format!("| {names} | {} | {full} | {} |", row.what, row.source)
        }),
    );
    assert_shown(
        "## Policies for copies",
        COPY_UP.iter().map(|row| {
            let names = names(row.name, row.long, "");
            let full = full(row.when_full);
            format!("| {names} | {} | {full} | {} |", row.what, row.source)
        }),
    );
    assert_shown(
        "## Policies that are refused",
        REFUSED
            .iter()
            .map(|row| format!("| `{}` | {} |", row.name, row.why)),
    );
}
