//! A stack and a history.

use std::fmt;

use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;

use super::{links, metacopies, ops, ops_with_redirects, stacks};
use crate::spec::{Config, Dir, Op, RedirectDir, Stored, Switch};

/// A stack and what is done to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Case {
    /// The layers, top first.
    pub layers: Vec<Dir<Stored>>,
    /// Whether the top layer is written.
    pub writable: bool,
    /// The options.
    pub config: Config,
    /// The history.
    pub ops: Vec<Op>,
}

/// Stacks of `layers` layers with histories of up to `length` operations.
/// One in ten is read-only.
pub fn cases(layers: impl Into<SizeRange>, length: usize) -> impl Strategy<Value = Case> {
    let writable = prop_oneof![9 => Just(true), 1 => Just(false)];
    (stacks(layers), writable, vec(ops(), 0..=length)).prop_map(|(layers, writable, ops)| Case {
        layers,
        writable,
        config: Config::default(),
        ops,
    })
}

/// The same with `redirect_dir=on`. The writable layer is rotated into the
/// lowers now and then, so that these hold redirects, too.
pub fn cases_with_redirects(
    layers: impl Into<SizeRange>,
    length: usize,
) -> impl Strategy<Value = Case> {
    let writable = prop_oneof![9 => Just(true), 1 => Just(false)];
    let ops = vec(ops_with_redirects(), 0..=length);
    let config = Config {
        redirect_dir: RedirectDir::On,
        ..Config::default()
    };
    (stacks(layers), writable, ops).prop_map(move |(layers, writable, ops)| Case {
        layers,
        writable,
        config,
        ops,
    })
}

/// The same with these options. With `metacopy=on` the lower layers hold
/// metacopies, and there may be data-only layers below them; with `index=on`
/// there are more hard links.
pub fn cases_configured(
    layers: impl Into<SizeRange>,
    length: usize,
    config: Config,
) -> impl Strategy<Value = Case> {
    let cases = cases_with_redirects(layers, length);
    let linked = vec(prop::bool::weighted(0.4), 12);
    (cases, linked, metacopies::wishes()).prop_map(move |(case, linked, wishes)| {
        let mut case = Case { config, ..case };
        if config.index.is_on() {
            let layers = case.layers.iter_mut();
            layers.for_each(|root| links::link(root, &linked));
        }
        match config.metacopy {
            Switch::On => metacopies::with_lower_ones(case, wishes),
            Switch::Off => case,
        }
    })
}

/// The same with remounts all over the history, and at its end as many as
/// there are sides to see what is left.
pub fn cases_of_travels(
    layers: impl Into<SizeRange>,
    length: usize,
    config: Config,
    sides: usize,
) -> impl Strategy<Value = Case> {
    let remounts = vec(prop::bool::weighted(0.15), length);
    let cases = cases_configured(layers, length, config);
    (cases, remounts).prop_map(move |(case, remounts)| {
        let mut ops = Vec::new();
        for (op, remounts) in case.ops.into_iter().zip(remounts) {
            ops.push(op);
            ops.extend(remounts.then_some(Op::Remount));
        }
        ops.extend(std::iter::repeat_n(Op::Remount, sides));
        Case { ops, ..case }
    })
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.layers.iter().enumerate() {
            let role = match index {
                0 if self.writable => " (writable)",
                _ if index + self.config.data_only >= self.layers.len() => " (data-only)",
                _ => "",
            };
            write!(f, "layer {index}{role}:\n{layer}")?;
        }
        if self.config != Config::default() {
            writeln!(f, "{}", self.config)?;
        }
        writeln!(f, "history:")?;
        let mut ops = self.ops.iter().enumerate();
        ops.try_for_each(|(index, op)| writeln!(f, "  {index}: {op}"))
    }
}

impl fmt::Debug for Case {
    /// The same as `Display`: whoever prints a case wants to read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
