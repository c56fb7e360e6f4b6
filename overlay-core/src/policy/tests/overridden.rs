//! Marks that override the policies.

use super::world::{Branch, at, chooser, file, id, ro, rw, stack};
use crate::policy::{Candidate, Place, constrain};
use crate::stack::BranchId;

fn placed(branches: &[Branch], choice: usize, ceiling: usize) -> Option<usize> {
    constrain(branches, id(choice), Some(id(ceiling)), &[]).map(at)
}

#[test]
fn a_mark_on_a_writable_branch_takes_the_object() {
    // The second pair of examples in the manual.
    assert_eq!(placed(&stack([rw(1), rw(2)]), 1, 0), Some(0));
    assert_eq!(placed(&stack([rw(1), rw(2), rw(3)]), 2, 1), Some(1));
}

#[test]
fn over_a_mark_on_a_read_only_branch_the_nearest_writable_takes_it() {
    // The first pair of examples in the manual.
    assert_eq!(placed(&stack([rw(1), ro(), rw(2)]), 2, 1), Some(0));
    assert_eq!(placed(&stack([rw(1), rw(2), ro(), rw(3)]), 3, 2), Some(1));
    assert_eq!(placed(&stack([ro(), rw(1)]), 1, 0), None);
}

#[test]
fn a_choice_at_the_mark_or_above_it_stands() {
    let branches = stack([rw(1), rw(2), rw(3)]);
    assert_eq!(placed(&branches, 1, 1), Some(1));
    assert_eq!(placed(&branches, 0, 2), Some(0));
    assert_eq!(constrain(&branches, id(2), None, &[]), Some(id(2)));
}

#[test]
fn what_overrides_goes_past_a_full_branch() {
    let branches = stack([rw(1), rw(2), rw(3)]);
    let placed = constrain(&branches, id(2), Some(id(1)), &[id(1)]);
    assert_eq!(placed, Some(id(0)));
    let all = [id(0), id(1)];
    assert_eq!(constrain(&branches, id(2), Some(id(1)), &all), None);
}

#[test]
fn branches_that_left_the_stack_decide_nothing() {
    let branches = stack([rw(1), rw(2)]);
    let gone = BranchId(99);
    assert_eq!(constrain(&branches, id(1), Some(gone), &[]), Some(id(1)));
    assert_eq!(constrain(&branches, gone, Some(id(1)), &[]), None);
}

#[test]
fn every_policy_is_overridden() {
    let branches = stack([rw(0), ro(), rw(500), rw(900).modified(9)]);
    for row in crate::policy::CREATE {
        let policy = super::with_low(row.name, row.arguments, 10);
        let place = Place {
            ceiling: Some(id(1)),
            ..file()
        };
        let chosen = chooser(&policy).create(&branches, &place).unwrap();
        assert_eq!(chosen, Some(branches[0].id()), "{policy}");
    }
}
