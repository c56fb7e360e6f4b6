//! What holds of every choice, over all stacks of one to three branches of
//! every access and three sizes, under every mark and after every failure.

use super::with_low;
use super::world::{Branch, at, chooser, file, first, id, ro, rw, spread, stack, tried};
use crate::policy::{CREATE, Candidate, CreateRow, Place, WhenFull};
use crate::stack::BranchId;

/// What a watermark of 60 tells apart.
const SIZES: [u64; 3] = [0, 50, 100];
const LOW: u64 = 60;

fn branches() -> Vec<Branch> {
    let writable = SIZES.iter().flat_map(|size| [rw(*size), rw(*size).bare()]);
    writable.chain([ro(), ro().bare()]).collect()
}

/// All stacks in which some branch has the parent, as in life.
fn stacks() -> Vec<Vec<Branch>> {
    let mut longer: Vec<Vec<Branch>> = vec![Vec::new()];
    let mut out = Vec::new();
    for _ in 0..3 {
        let grown = longer.iter().flat_map(|upper| {
            let with = |branch| upper.iter().cloned().chain([branch]).collect();
            branches().into_iter().map(with)
        });
        longer = grown.collect();
        out.extend(longer.iter().cloned().map(stack));
    }
    out.retain(|stack: &Vec<Branch>| !stack.iter().all(Branch::is_bare));
    assert_eq!(out.len(), (8 - 4) + (64 - 16) + (512 - 64));
    out
}

fn written(row: &CreateRow) -> String {
    with_low(row.name, row.arguments, LOW)
}

/// Whether it chooses by the parent directory.
fn preserves_paths(row: &CreateRow) -> bool {
    row.name.starts_with("ep") || matches!(row.name, "pmfs" | "newest" | "tdp")
}

fn usable(stack: &[Branch]) -> Vec<usize> {
    let all = 0..stack.len();
    all.filter(|at| stack[*at].is_writable()).collect()
}

fn subsets(length: usize) -> impl Iterator<Item = Vec<BranchId>> {
    let has = |set: usize, at: &usize| set >> at & 1 == 1;
    (0..1usize << length).map(move |set| (0..length).filter(|at| has(set, at)).map(id).collect())
}

#[test]
fn a_choice_can_be_written_has_not_failed_and_is_not_hidden() {
    for stack in stacks() {
        for failed in subsets(stack.len()) {
            for ceiling in [None, Some(0), Some(1), Some(2)] {
                for row in CREATE {
                    let place = Place {
                        ceiling: ceiling.map(id),
                        failed: &failed,
                        ..file()
                    };
                    let chosen = chooser(&written(row)).create(&stack, &place).unwrap();
                    let Some(chosen) = chosen else { continue };
                    let told = || format!("{} {place:?} {stack:#?}", row.name);
                    assert!(stack[at(chosen)].is_writable(), "{}", told());
                    assert!(!failed.contains(&chosen), "{}", told());
                    let ceiling = ceiling.filter(|at| *at < stack.len());
                    assert!(ceiling.is_none_or(|it| at(chosen) <= it), "{}", told());
                }
            }
        }
    }
}

#[test]
fn there_is_a_choice_wherever_anything_can_be_written() {
    for stack in stacks() {
        let top = stack.iter().position(|branch| !branch.is_bare()).unwrap();
        let with_parent = usable(&stack).into_iter().any(|at| !stack[at].is_bare());
        for row in CREATE {
            let possible = match row.name {
                "tdp" => usable(&stack).iter().any(|at| *at <= top),
                "pmfs" => with_parent || usable(&stack).iter().any(|at| *at <= top),
                _ => !usable(&stack).is_empty(),
            };
            let chosen = first(&written(row), &stack);
            assert_eq!(chosen.is_some(), possible, "{} {stack:#?}", row.name);
        }
    }
}

#[test]
fn a_full_branch_is_left_for_the_next_until_none_is_left() {
    for stack in stacks() {
        for row in CREATE {
            let tried = tried(&written(row), &stack);
            let mut sorted = tried.clone();
            sorted.sort_unstable();
            let mut once = sorted.clone();
            once.dedup();
            assert_eq!(once, sorted, "{}: twice the same {stack:#?}", row.name);
            match row.when_full {
                WhenFull::Fails => assert!(tried.len() <= 1, "{}", row.name),
                WhenFull::Next if preserves_paths(row) => {
                    let bare = |at: &&usize| stack[**at].is_bare();
                    let left = tried.iter().filter(bare).count();
                    assert!(left == 0 || left == tried.len(), "{} {stack:#?}", row.name);
                }
                WhenFull::Next => assert_eq!(sorted, usable(&stack), "{}", row.name),
            }
        }
    }
}

#[test]
fn the_parents_branches_are_kept_where_the_policy_says_so() {
    for stack in stacks() {
        if !usable(&stack).into_iter().any(|at| !stack[at].is_bare()) {
            continue;
        }
        for row in CREATE.iter().filter(|row| preserves_paths(row)) {
            let Some(chosen) = first(&written(row), &stack) else {
                continue;
            };
            // The parent of a file on a read-only branch is made above it.
            let kept = row.name == "tdp" || !stack[chosen].is_bare();
            assert!(kept, "{} {stack:#?}", row.name);
        }
    }
}

#[test]
fn a_fresh_look_never_gives_the_fuller_branch() {
    for stack in stacks() {
        let free = usable(&stack).into_iter().map(|at| stack[at].available());
        let free: Vec<u64> = free.collect();
        let chosen = |policy| first(policy, &stack).map(|at| stack[at].available());
        assert_eq!(chosen("mfs"), free.iter().max().copied());
        assert_eq!(chosen("lfs"), free.iter().min().copied());
        // All have the same size.
        assert_eq!(chosen("lus"), free.iter().max().copied());
        assert_eq!(chosen("lup"), free.iter().max().copied());
    }
}

#[test]
fn watermarks_hold() {
    for stack in stacks() {
        let roomy: Vec<usize> = usable(&stack)
            .into_iter()
            .filter(|at| stack[*at].available() >= LOW)
            .collect();
        for policy in ["mfsrr", "tdmfs", "pmfsrr"] {
            let chosen = first(&format!("{policy}:{LOW}"), &stack);
            match (chosen, roomy.is_empty()) {
                (Some(chosen), false) => assert!(roomy.contains(&chosen), "{policy} {stack:#?}"),
                (chosen, _) => assert_eq!(chosen.is_some(), !usable(&stack).is_empty()),
            }
        }
        let top = first(&format!("tdmfs:{LOW}"), &stack);
        if !roomy.is_empty() {
            assert_eq!(top, roomy.first().copied());
        }
    }
}

#[test]
fn turns_are_fair() {
    for stack in stacks() {
        let usable = usable(&stack);
        if usable.is_empty() {
            continue;
        }
        for policy in ["rr", "mfsrr:1000", "pmfsrr:1000"] {
            let spread = spread(policy, &stack, 4 * usable.len());
            let fair = usable.iter().map(|at| (*at, 4)).collect();
            assert_eq!(spread, fair, "{policy} {stack:#?}");
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let branches = stack([rw(10), rw(20), rw(30)]);
    let choices = |policy: &str| -> Vec<_> {
        let chooser = chooser(policy);
        let choose = |_| chooser.create(&branches, &file()).unwrap();
        (0..100).map(choose).collect()
    };
    for policy in ["rand", "eprand", "pfrd", "eppfrd"] {
        assert_eq!(choices(policy), choices(policy), "{policy}");
    }
}
