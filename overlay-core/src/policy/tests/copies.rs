//! Copies, and links and renames that keep the branch of their source.

use super::world::{Branch, at, copier, file, id, ro, rw, stack};
use crate::error::Error;
use crate::policy::{COPY_UP, Candidate, Place, WhenFull};
use crate::stack::BranchId;

fn copied(policy: &str, branches: &[Branch], source: usize) -> Option<usize> {
    let chosen = copier(policy).copy_up(branches, id(source), &[]);
    chosen.unwrap().map(at)
}

#[test]
fn every_policy_has_a_test_of_its_name() {
    let tests = include_str!("copies.rs");
    for row in COPY_UP {
        assert!(tests.contains(&format!("\nfn {}_copies", row.name)));
    }
}

#[test]
fn tdp_copies_to_the_highest_with_the_parent_or_to_the_nearest() {
    let branches = stack([rw(1).bare(), rw(2), rw(3), rw(4).bare(), ro()]);
    assert_eq!(copied("tdp", &branches, 4), Some(1));
    let nowhere = stack([rw(1).bare(), rw(2).bare(), ro()]);
    assert_eq!(copied("tdp", &nowhere, 2), Some(1));
    let below = stack([ro(), rw(2)]);
    assert_eq!(copied("tdp", &below, 0), None);
}

#[test]
fn bup_copies_to_the_nearest_with_the_parent_or_over_all_with_it() {
    let branches = stack([rw(1), rw(2), rw(3).bare(), ro(), rw(9)]);
    assert_eq!(copied("bup", &branches, 3), Some(1));
    let above = stack([rw(1).bare(), ro(), rw(3).bare(), ro()]);
    assert_eq!(copied("bup", &above, 3), Some(0));
}

#[test]
fn bu_copies_to_the_nearest_whoever_has_the_parent() {
    let branches = stack([rw(1), rw(2), rw(3).bare(), ro(), rw(9)]);
    assert_eq!(copied("bu", &branches, 3), Some(2));
    assert_eq!(copied("bu", &stack([ro(), ro()]), 1), None);
}

#[test]
fn an_object_of_a_writable_branch_stays_there() {
    let branches = stack([rw(1), rw(2), rw(3).bare()]);
    for row in COPY_UP {
        assert_eq!(copied(row.name, &branches, 1), Some(1), "{}", row.name);
    }
}

#[test]
fn a_copy_for_which_a_branch_is_full_goes_further_up_where_the_policy_allows() {
    let branches = stack([rw(1), rw(2), rw(3), ro()]);
    for row in COPY_UP {
        let copier = copier(row.name);
        let mut failed = Vec::new();
        while let Some(id) = copier.copy_up(&branches, id(3), &failed).unwrap() {
            failed.push(id);
        }
        let tried: Vec<usize> = failed.into_iter().map(at).collect();
        match row.when_full {
            WhenFull::Fails => assert_eq!(tried, [0], "{}", row.name),
            WhenFull::Next => assert_eq!(tried, [2, 1, 0], "{}", row.name),
        }
    }
}

#[test]
fn a_copy_is_never_below_its_original() {
    let kinds = || [rw(1), rw(1).bare(), ro(), ro().bare()];
    for a in kinds() {
        for b in kinds() {
            for c in kinds() {
                let branches = stack([a.clone(), b.clone(), c.clone()]);
                for row in COPY_UP {
                    // Where the original lies, its parent lies too.
                    for source in (0..3).filter(|at| !branches[*at].is_bare()) {
                        let chosen = copied(row.name, &branches, source);
                        let fine = |at: usize| at <= source && branches[at].is_writable();
                        assert!(chosen.is_none_or(fine), "{} {branches:#?}", row.name);
                        let possible = (0..=source).any(|at| branches[at].is_writable());
                        // `bup` looks at no branch without the parent that
                        // has one with it above.
                        assert!(chosen.is_some() || !possible || row.name == "bup");
                    }
                }
            }
        }
    }
}

#[test]
fn a_link_stays_with_its_source_or_follows_the_copy() {
    let branches = stack([rw(1), rw(2), ro(), rw(4), ro()]);
    let linked = |source| copier("bu").link(&branches, id(source), &file()).unwrap();
    assert_eq!(linked(3), Some(id(3)));
    assert_eq!(linked(2), Some(id(1)));
    assert_eq!(linked(4), Some(id(3)));
}

#[test]
fn a_link_under_a_mark_goes_above_it() {
    let branches = stack([rw(1), rw(2), ro(), rw(4)]);
    let under = |ceiling| Place {
        ceiling: Some(id(ceiling)),
        ..file()
    };
    let linked = |ceiling| {
        copier("bu")
            .link(&branches, id(3), &under(ceiling))
            .unwrap()
    };
    assert_eq!(linked(3), Some(id(3)));
    assert_eq!(linked(2), Some(id(1)), "the mark's branch is read-only");
    assert_eq!(linked(0), Some(id(0)));
}

#[test]
fn a_rename_goes_to_the_higher_of_source_and_target() {
    let branches = stack([rw(1), rw(2), ro(), rw(4)]);
    let renamed = |source, replaced: Option<usize>| {
        let replaced = replaced.map(id);
        let chosen = copier("bu").rename(&branches, id(source), replaced, &file());
        chosen.unwrap().map(at)
    };
    assert_eq!(renamed(3, None), Some(3));
    assert_eq!(renamed(3, Some(1)), Some(1));
    assert_eq!(renamed(1, Some(3)), Some(1));
    assert_eq!(renamed(3, Some(2)), Some(1), "a read-only one is copied up");
    assert_eq!(renamed(2, None), Some(1));
}

#[test]
fn a_full_branch_sends_a_link_up_where_the_policy_allows() {
    let branches = stack([rw(1), rw(2), ro()]);
    let full = [id(1)];
    let place = Place {
        failed: &full,
        ..file()
    };
    let linked = |policy| copier(policy).link(&branches, id(1), &place).unwrap();
    assert_eq!(linked("bu"), Some(id(0)));
    assert_eq!(linked("tdp"), None);
}

#[test]
fn a_source_that_left_the_stack_is_stale() {
    let branches = stack([rw(1)]);
    let gone = BranchId(99);
    assert_eq!(
        copier("bu").copy_up(&branches, gone, &[]),
        Err(Error::Stale)
    );
    let renamed = copier("bu").rename(&branches, gone, None, &file());
    assert_eq!(renamed, Err(Error::Stale));
}
