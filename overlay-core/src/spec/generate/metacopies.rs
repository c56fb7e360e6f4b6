//! Files whose content lies below.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Case, cases_of_redirects, redirects};
use crate::spec::{
    Config, Data, Dir, Id, Leaf, Metacopy, Path, Redirect, RedirectDir, Stored, Switch, Visible,
    repaired, rests_on, sized, view_over,
};

/// What becomes of the files of a stack, one after the other, and how many of
/// its layers are data-only.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    files: Vec<Option<Wish>>,
    data_only: usize,
}

/// A metacopy, perhaps with a redirect.
type Wish = Option<Redirect>;

pub(super) fn wishes() -> impl Strategy<Value = Wishes> {
    let wish = option::weighted(0.3, redirects::redirects());
    let files = vec(option::weighted(0.6, wish), 48);
    let data_only = select(&[0, 0, 1, 2][..]);
    (files, data_only).prop_map(|(files, data_only)| Wishes { files, data_only })
}

/// The case with metacopies in its lower layers, all of them with content.
pub(super) fn with_lower_ones(case: Case, wishes: Wishes) -> Case {
    let first = usize::from(case.writable);
    let mut case = with_metacopies(case, wishes, first);
    case.layers = repaired(&case.layers, case.config.data_only);
    case
}

/// Stacks with metacopies that nobody ever wrote. Some have no content: a
/// redirect may lead anywhere. There are directories with redirects, too.
///
/// With data-only layers below, all have content, directories have no
/// redirects, and nothing is writable: from the writable layer the kernel
/// follows no redirect that leads straight into a data-only one.
pub fn cases_of_metacopies(
    layers: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Case> {
    let config = Config {
        redirect_dir: RedirectDir::On,
        metacopy: Switch::On,
        ..Config::default()
    };
    let cases = (cases_of_redirects(layers), wishes()).prop_map(move |(case, wishes)| {
        let mut case = with_metacopies(Case { config, ..case }, wishes, 0);
        match case.config.data_only {
            0 => case.layers = sized(&case.layers, 0),
            data => {
                case.layers.iter_mut().for_each(straighten);
                case.layers = repaired(&case.layers, data);
                case.writable = false;
            }
        }
        case
    });
    cases.prop_filter("a file is seen twice", rests_on_nothing_seen)
}

/// Takes the redirects of directories away.
fn straighten(dir: &mut Dir<Stored>) {
    dir.redirect = None;
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => straighten(dir),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

fn with_metacopies(mut case: Case, wishes: Wishes, first: usize) -> Case {
    // The kernel wants one layer that shows something, and the writable one.
    let most = case.layers.len() - first.max(1);
    let data = wishes.data_only.min(most.saturating_sub(1));
    let shown = case.layers.len() - data;
    let mut files = wishes.files.into_iter();
    for layer in &mut case.layers[first..shown] {
        convert(layer, data > 0, &mut files);
    }
    case.config.data_only = data;
    case
}

/// A file with several names stays whole: its names would have to lead to one
/// content. So does one in an opaque directory, unless its redirect leads out:
/// the kernel forgets that something is opaque when it comes to a metacopy.
/// And where there are data-only layers, absolute redirects have one name: a
/// directory on the way that a layer shows keeps the kernel from looking there.
fn convert(dir: &mut Dir<Stored>, short: bool, wishes: &mut impl Iterator<Item = Option<Wish>>) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => convert(dir, short, wishes),
            Stored::Leaf(Leaf {
                id,
                links: 1,
                data: Data::File(content),
                meta,
            }) => match wishes.next().flatten() {
                Some(None | Some(Redirect::Name(_))) if dir.opaque => {}
                None => {}
                Some(redirect) => {
                    *entry = Stored::Metacopy(Metacopy {
                        id: *id,
                        links: 1,
                        size: content.len() as u64,
                        redirect: redirect.map(|redirect| shortened(redirect, short)),
                        meta: meta.clone(),
                    });
                }
            },
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

fn shortened(redirect: Redirect, short: bool) -> Redirect {
    match redirect {
        Redirect::Path(path) if short => Redirect::Path(Path(path.0.into_iter().take(1).collect())),
        Redirect::Path(_) | Redirect::Name(_) => redirect,
    }
}

/// Whether no file on which a metacopy of the writable layer rests is seen
/// under a name of its own, or under another metacopy: there the kernel says
/// `ESTALE`, as with directories.
fn rests_on_nothing_seen(case: &Case) -> bool {
    let data = case.config.data_only;
    let mut seen = BTreeSet::new();
    leaves(&view_over(&case.layers, data), &mut seen);
    let mut rested = rests_on(&case.layers, data).into_iter();
    rested.all(|(copy, below)| !case.writable || copy.layer > 0 || seen.insert(below))
}

fn leaves(dir: &Dir<Visible>, seen: &mut BTreeSet<Id>) {
    for entry in dir.entries.values() {
        match entry {
            Visible::Dir(dir) => leaves(dir, seen),
            Visible::Leaf(leaf) => {
                seen.insert(leaf.id);
            }
        }
    }
}
