//! What was measured, and what follows from it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use super::machine::Machine;
use super::peer::{FUSE_OVERLAYFS, KERNEL, OURS, VOLATILE};
use super::scale::{Size, Variant};
use super::workload::Target;

/// All that one comparison has yielded; this is also the raw file.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) size: Size,
    pub(crate) variant: Variant,
    pub(crate) rounds: usize,
    pub(crate) peers: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One figure of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) unit: String,
    #[serde(skip)]
    pub(crate) target: Target,
    /// By peer; who was not measured is not there.
    pub(crate) cells: BTreeMap<String, Cell>,
}

/// What one peer has reached.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cell {
    /// Operations per second, in the order of the rounds.
    pub(crate) rates: Vec<f64>,
    /// Why there are fewer than rounds.
    pub(crate) failure: Option<String>,
    /// Requests by kind, and system calls of the server, per operation.
    pub(crate) requests: Option<BTreeMap<String, f64>>,
}

/// Rates that differ by more than this from round to round are marked.
const STEADY: f64 = 1.5;

impl Cell {
    /// Operations per second.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut rates = self.rates.clone();
        rates.sort_unstable_by(f64::total_cmp);
        let middle = rates.len() / 2;
        match rates.len() % 2 {
            _ if rates.is_empty() => None,
            0 => {
                let (low, high) = (rates.get(middle.checked_sub(1)?)?, rates.get(middle)?);
                Some((low + high) / 2.0)
            }
            _ => rates.get(middle).copied(),
        }
    }

    pub(crate) fn is_steady(&self) -> bool {
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        most <= least * STEADY
    }
}

/// A target that was not reached.
#[derive(Debug)]
pub(crate) struct Miss {
    pub(crate) ours: &'static str,
    pub(crate) other: &'static str,
    pub(crate) ratio: f64,
    pub(crate) target: f64,
}

impl Row {
    pub(crate) fn rate(&self, peer: &str) -> Option<f64> {
        self.cells.get(peer)?.median()
    }

    /// How many times the operations of `other` in the same time.
    pub(crate) fn ratio(&self, peer: &str, other: &str) -> Option<f64> {
        Some(self.rate(peer)? / self.rate(other)?)
    }

    /// The targets that were not reached.
    pub(crate) fn misses(&self) -> Vec<Miss> {
        let targets = [
            (OURS, FUSE_OVERLAYFS, self.target.fuse_overlayfs),
            (OURS, KERNEL, self.target.kernel),
            (VOLATILE, FUSE_OVERLAYFS, self.target.volatile),
        ];
        let missed = targets.into_iter().filter_map(|(ours, other, target)| {
            let (ratio, target) = (self.ratio(ours, other)?, target?);
            (ratio < target).then_some(Miss {
                ours,
                other,
                ratio,
                target,
            })
        });
        missed.collect()
    }
}

impl Results {
    /// Success, unless ours or the kernel's could not do something: the
    /// others have limits of their own.
    pub(crate) fn status(&self) -> ExitCode {
        let failed = |row: &Row| {
            let ours = [KERNEL, OURS, VOLATILE].into_iter();
            let mut cells = ours.filter_map(|peer| row.cells.get(peer));
            cells.any(|cell| cell.failure.is_some())
        };
        match self.rows.iter().any(failed) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(rates: &[f64]) -> Cell {
        Cell {
            rates: rates.to_vec(),
            ..Cell::default()
        }
    }

    #[test]
    fn a_median_is_not_moved_by_one_odd_round() {
        assert_eq!(cell(&[10.0, 900.0, 12.0]).median(), Some(12.0));
        assert_eq!(cell(&[10.0, 12.0]).median(), Some(11.0));
        assert_eq!(cell(&[]).median(), None);
    }

    #[test]
    fn a_target_is_missed_by_a_ratio_below_it() {
        let cells = [(OURS, 80.0), (KERNEL, 100.0), (FUSE_OVERLAYFS, 50.0)];
        let row = Row {
            name: "stat".to_owned(),
            about: String::new(),
            unit: "files".to_owned(),
            target: Target::to(1.5, 0.9),
            cells: cells
                .into_iter()
                .map(|(peer, rate)| (peer.to_owned(), cell(&[rate])))
                .collect(),
        };
        let misses = row.misses();
        assert_eq!(misses.len(), 1);
        assert_eq!(misses[0].other, KERNEL);
        assert_eq!(misses[0].ratio, 0.8);
    }
}
