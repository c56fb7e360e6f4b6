//! The tables in Markdown.

use std::fmt::{self, Write};

use super::super::peer::{FUSE_OVERLAYFS, KERNEL, OURS, VOLATILE};
use super::super::requests::SYSTEM_CALLS;
use super::super::results::{Cell, Results, Row};
use super::super::scale::Size;

/// All of them.
pub(super) fn tables(results: &Results) -> String {
    let mut out = String::new();
    match write_tables(&mut out, results) {
        Ok(()) => out,
        // A String takes everything.
        Err(fmt::Error) => out,
    }
}

fn write_tables(out: &mut String, results: &Results) -> fmt::Result {
    let rounds = match results.rounds {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds"),
    };
    let amount = match results.size {
        Size::Full => "",
        Size::Quick => "; a tenth of the usual amounts",
        Size::Tiny => "; amounts too small for figures",
    };
    writeln!(
        out,
        "{}; {}, {rounds}{amount}.\n",
        results.machine.sentence(),
        results.variant.words()
    )?;
    ratios(out, results)?;
    misses(out, results)?;
    requests(out, results)
}

/// Operations per second of the kernel's overlayfs; of the others, how many
/// times as many.
fn ratios(out: &mut String, results: &Results) -> fmt::Result {
    let others: Vec<&str> = others(results).collect();
    let has = |name: &str| results.peers.iter().any(|peer| peer == name);
    let ours = [OURS, VOLATILE].into_iter().filter(|ours| has(ours));
    let to_peer: Vec<&str> = ours.filter(|_| has(FUSE_OVERLAYFS)).collect();
    let mut head = vec!["work".to_owned(), "kernel, per second".to_owned()];
    head.extend(others.iter().map(|peer| (*peer).to_owned()));
    head.extend(
        to_peer
            .iter()
            .map(|ours| format!("{ours} / {FUSE_OVERLAYFS}")),
    );
    table_head(out, &head)?;
    for row in &results.rows {
        let mut line = vec![row.name.clone(), kernel_rate(row)];
        line.extend(others.iter().map(|peer| ratio(row, peer, KERNEL)));
        line.extend(to_peer.iter().map(|ours| ratio(row, ours, FUSE_OVERLAYFS)));
        table_line(out, &line)?;
    }
    writeln!(
        out,
        "\nColumns without `/`: ratio to the kernel's overlayfs. `~`: the rounds of one side \
         differ by more than half. `fails`: it cannot do this. Empty: not measured.\n"
    )?;
    for row in &results.rows {
        writeln!(out, "- `{}`: {}.", row.name, row.about)?;
    }
    writeln!(out)
}

fn others(results: &Results) -> impl Iterator<Item = &str> {
    let peers = results.peers.iter().map(String::as_str);
    peers.filter(|peer| *peer != KERNEL)
}

fn kernel_rate(row: &Row) -> String {
    let Some(cell) = row.cells.get(KERNEL) else {
        return String::new();
    };
    let doubt = if cell.is_steady() { "" } else { " ~" };
    cell.median().map_or_else(String::new, |rate| {
        format!("{} {}{doubt}", short(rate), row.unit)
    })
}

fn ratio(row: &Row, peer: &str, other: &str) -> String {
    let Some(cell) = row.cells.get(peer) else {
        return String::new();
    };
    if cell.failure.is_some() {
        return "fails".to_owned();
    }
    let steady = cell.is_steady() && row.cells.get(other).is_none_or(Cell::is_steady);
    let doubt = if steady { "" } else { " ~" };
    row.ratio(peer, other)
        .map_or_else(String::new, |ratio| format!("{}{doubt}", three(ratio)))
}

/// Three significant digits at the most, and no more than two behind the
/// point, unless all that there is lies there.
fn three(ratio: f64) -> String {
    match ratio {
        _ if ratio >= 100.0 => format!("{ratio:.0}"),
        _ if ratio >= 10.0 => format!("{ratio:.1}"),
        _ if ratio >= 0.095 => format!("{ratio:.2}"),
        _ if ratio >= 0.0095 => format!("{ratio:.3}"),
        _ => format!("{ratio:.1e}"),
    }
}

/// `1234567` as `1.23 M`.
fn short(rate: f64) -> String {
    match rate {
        _ if rate >= 1e6 => format!("{} M", three(rate / 1e6)),
        _ if rate >= 1e3 => format!("{} k", three(rate / 1e3)),
        _ => three(rate),
    }
}

fn misses(out: &mut String, results: &Results) -> fmt::Result {
    let missed = |row| Row::misses(row).into_iter().map(move |miss| (row, miss));
    let misses: Vec<_> = results.rows.iter().flat_map(missed).collect();
    if misses.is_empty() {
        return Ok(());
    }
    writeln!(out, "Targets missed:\n")?;
    let head = ["work", "of", "to", "ratio", "target"];
    table_head(out, &head.map(str::to_owned))?;
    for (row, miss) in misses {
        let line = [
            row.name.clone(),
            miss.ours.to_owned(),
            miss.other.to_owned(),
            three(miss.ratio),
            format!("{}", miss.target),
        ];
        table_line(out, &line)?;
    }
    writeln!(out)
}

/// Requests by kind per operation.
fn requests(out: &mut String, results: &Results) -> fmt::Result {
    let counted: Vec<&str> = others(results)
        .filter(|peer| {
            let mut cells = results.rows.iter().filter_map(|row| row.cells.get(*peer));
            cells.any(|cell| cell.requests.is_some())
        })
        .collect();
    if counted.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "Requests per operation, and in brackets the system calls of the server:\n"
    )?;
    let mut head = vec!["work"];
    head.extend(&counted);
    table_head(out, &head)?;
    for row in &results.rows {
        let cells: Vec<_> = counted
            .iter()
            .map(|peer| row.cells.get(*peer).and_then(|cell| cell.requests.as_ref()))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let mut line = vec![row.name.clone()];
        for cell in cells {
            let Some(requests) = cell else {
                line.push(String::new());
                continue;
            };
            let mut kinds: Vec<_> = requests
                .iter()
                .filter(|(kind, count)| *kind != SYSTEM_CALLS && **count >= LEAST)
                .collect();
            kinds.sort_by(|a, b| b.1.total_cmp(a.1));
            let mut words: Vec<String> = kinds
                .into_iter()
                .map(|(kind, count)| format!("{} {kind}", three(*count)))
                .collect();
            if words.is_empty() {
                words.push("none".to_owned());
            }
            if let Some(calls) = requests.get(SYSTEM_CALLS).filter(|calls| **calls >= LEAST) {
                words.push(format!("[{}]", three(*calls)));
            }
            line.push(words.join(", "));
        }
        table_line(out, &line)?;
    }
    writeln!(out)
}

/// What is rarer per operation is left out.
const LEAST: f64 = 0.005;

fn table_head(out: &mut String, words: &[impl AsRef<str>]) -> fmt::Result {
    table_line(out, words)?;
    writeln!(out, "|{}", " --- |".repeat(words.len()))
}

fn table_line(out: &mut String, words: &[impl AsRef<str>]) -> fmt::Result {
    write!(out, "|")?;
    for word in words {
        write!(out, " {} |", word.as_ref())?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_deserve() {
        assert_eq!(three(0.0123), "0.012");
        assert_eq!(three(0.123), "0.12");
        assert_eq!(three(0.000_123), "1.2e-4");
        assert_eq!(three(12.34), "12.3");
        assert_eq!(three(1234.5), "1234");
        assert_eq!(short(1_234_567.0), "1.23 M");
        assert_eq!(short(45_600.0), "45.6 k");
    }
}
