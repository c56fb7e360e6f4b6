//! Redirects that nobody ever wrote.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Case, cases, names, places};
use crate::spec::{Dir, Id, Redirect, Stored, Visible, view};

/// Stacks with redirects that nobody ever wrote, leading anywhere, but never
/// to a directory that can be seen elsewhere: there the kernel says `ESTALE`.
pub fn cases_of_redirects(
    layers: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Case> {
    let redirects = vec(option::weighted(0.3, redirects()), 32);
    let redirected = (cases(layers, 0), redirects).prop_map(|(mut case, redirects)| {
        let mut redirects = redirects.into_iter();
        for root in &mut case.layers {
            redirect(root, &mut redirects);
        }
        case
    });
    redirected.prop_filter("a directory is seen twice", |case| {
        seen_once(&view(&case.layers), &mut BTreeSet::new())
    })
}

pub(super) fn seen_once(dir: &Dir<Visible>, seen: &mut BTreeSet<Id>) -> bool {
    let mut entries = dir.entries.values();
    dir.parts.iter().all(|part| seen.insert(*part))
        && entries.all(|entry| match entry {
            Visible::Dir(dir) => seen_once(dir, seen),
            Visible::Leaf(_) => true,
        })
}

pub(super) fn redirects() -> impl Strategy<Value = Redirect> {
    prop_oneof![
        names().prop_map(Redirect::Name),
        places().prop_map(|place| Redirect::Path(place.path())),
    ]
}

/// Gives the directories in `dir`, one after the other, what is wished.
/// The name that it had is whited out, as by a rename.
fn redirect(dir: &mut Dir<Stored>, wishes: &mut impl Iterator<Item = Option<Redirect>>) {
    let mut left = Vec::new();
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => {
                if !dir.opaque {
                    dir.redirect = wishes.next().flatten();
                }
                if let Some(Redirect::Name(name)) = &dir.redirect {
                    left.push(name.clone());
                }
                redirect(dir, wishes);
            }
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
    for name in left {
        dir.entries.entry(name).or_insert(Stored::Whiteout);
    }
}
