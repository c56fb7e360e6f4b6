//! Pools: branches with any access, policies, and live changes in histories.

use std::fmt;

use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{ops, renames, stacks};
use crate::spec::pool::{Branch, Change, CopyUp, Create, Marks, Permission, Policies};
use crate::spec::{Op, Pool};

/// A pool and what is done to it.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolCase {
    /// The branches, top first.
    pub branches: Vec<Branch>,
    /// Which of them take what is new, and copies.
    pub policies: Policies,
    /// The history.
    pub steps: Vec<Step>,
}

/// A step of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An operation.
    Op(Op),
    /// Live changes that are made in one go.
    Change(Vec<Change>),
}

impl PoolCase {
    /// The pool before the first step.
    pub fn pool(&self) -> Pool {
        Pool::new(&self.branches, self.policies)
    }
}

/// Pools of `branches` branches with histories of up to `length` operations.
pub fn pools(branches: impl Into<SizeRange>, length: usize) -> impl Strategy<Value = PoolCase> {
    let steps = vec(operations().prop_map(Step::Op), 0..=length);
    (branches_of(branches), policies(), steps).prop_map(|(branches, policies, steps)| PoolCase {
        branches,
        policies,
        steps,
    })
}

/// The same with live changes among the operations.
pub fn pools_that_change(
    branches: impl Into<SizeRange>,
    length: usize,
) -> impl Strategy<Value = PoolCase> {
    let step = prop_oneof![
        6 => operations().prop_map(Step::Op),
        1 => vec(changes(), 1..=2).prop_map(Step::Change),
    ];
    let steps = vec(step, 0..=length);
    (branches_of(branches), policies(), steps).prop_map(|(branches, policies, steps)| PoolCase {
        branches,
        policies,
        steps,
    })
}

/// One operation; pools do not rotate.
fn operations() -> BoxedStrategy<Op> {
    let ops = prop_oneof![2 => ops(), 1 => renames::steps()];
    ops.prop_map(|op| match op == Op::Rotate {
        true => Op::Remount,
        false => op,
    })
    .boxed()
}

/// Boxed, as operations are: they are many large strategies in one.
fn branches_of(count: impl Into<SizeRange>) -> BoxedStrategy<Vec<Branch>> {
    /// As many as any stack has.
    const MOST: usize = 8;
    let count = count.into();
    let roots = prop_oneof![2 => stacks(count.clone()), 1 => renames::trees(count)];
    (roots, vec(uses(), MOST))
        .prop_map(|(roots, uses)| {
            let roots = roots.into_iter().zip(uses);
            let branches = roots.map(|(root, (permission, marks, free))| Branch {
                root,
                permission,
                marks,
                free,
            });
            branches.collect()
        })
        .boxed()
}

/// What a branch is besides what it stores.
fn uses() -> impl Strategy<Value = (Permission, Marks, u64)> {
    let free = select(&[FREE, FREE * 2, FREE * 3][..]);
    (permissions(), marks(), free)
}

/// The least that is available on a branch, in bytes: more than a history
/// writes, and a whole number of blocks of any size.
pub const FREE: u64 = 1 << 30;

fn permissions() -> impl Strategy<Value = Permission> {
    prop_oneof![
        4 => Just(Permission::Rw),
        2 => Just(Permission::RoWh),
        1 => Just(Permission::Ro),
    ]
}

fn marks() -> impl Strategy<Value = Marks> {
    prop_oneof![
        2 => Just(Marks::Overlay),
        2 => Just(Marks::Aufs),
        1 => Just(Marks::AufsAlwaysOpaque),
    ]
}

/// Any pair of policies.
pub fn policies() -> impl Strategy<Value = Policies> {
    let create = select(
        &[
            Create::TopDownParent,
            Create::RoundRobin,
            Create::MostFree,
            Create::TopDownMostFree(FREE * 2),
            Create::ParentMostFree,
            Create::FirstFound,
            Create::ExistingFirst,
            Create::ExistingMostFree,
            Create::LeastFree,
            Create::ExistingLeastFree,
        ][..],
    );
    let copy_up = select(
        &[
            CopyUp::TopDownParent,
            CopyUp::BottomUpParent,
            CopyUp::BottomUp,
        ][..],
    );
    (create, copy_up).prop_map(|(create, copy_up)| Policies { create, copy_up })
}

/// Places are below five: some of them are too far down.
fn changes() -> impl Strategy<Value = Change> {
    let branch =
        || branches_of(1).prop_filter_map("one branch was asked for", |all| all.into_iter().next());
    let place = || 0..5_usize;
    prop_oneof![
        1 => branch().prop_map(Change::Append),
        1 => branch().prop_map(Change::Prepend),
        1 => (place(), branch()).prop_map(|(index, branch)| Change::Insert(index, branch)),
        3 => place().prop_map(Change::Remove),
        4 => (place(), permissions()).prop_map(|(index, how)| Change::Mode(index, how)),
    ]
}

impl fmt::Display for PoolCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, branch) in self.branches.iter().enumerate() {
            write!(f, "branch {index} {branch}")?;
        }
        let Policies { create, copy_up } = self.policies;
        writeln!(f, "create={create},cpup={copy_up}\nhistory:")?;
        let mut steps = self.steps.iter().enumerate();
        steps.try_for_each(|(index, step)| writeln!(f, "  {index}: {step}"))
    }
}

impl fmt::Debug for PoolCase {
    /// The same as `Display`: whoever prints a case wants to read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Op(op) => fmt::Display::fmt(op, f),
            Step::Change(changes) => {
                f.write_str("change: ")?;
                changes
                    .iter()
                    .try_for_each(|change| fmt::Display::fmt(change, f))
            }
        }
    }
}
