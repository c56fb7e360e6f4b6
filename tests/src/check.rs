//! Runs one case against a subject and compares.
//!
//! After every operation: (1) the result and (2) the errno are the model's.
//! After every operation or at the end of the history ([`Depth`]): (3) what
//! is seen of the whole tree is what the model sees, (4) the lower layers are
//! as they were, (5) the view that the specification computes from what lies
//! in storage is the one that the subject shows, (6) inode numbers have not
//! changed, (7) the work area is empty.

use std::collections::BTreeMap;

use overlay_core::spec::generate::Case;
use overlay_core::spec::{Dir, Model, Op, Outcome, Rules, Seen, Stored, differences, look, view};

use crate::Subject;

/// When the checks that need a look at everything are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// After every operation.
    EveryOp,
    /// At the end of the history.
    End,
}

/// Runs `case`; the first difference as a message.
pub fn check(
    case: &Case,
    rules: Rules,
    subject: &mut dyn Subject,
    depth: Depth,
) -> Result<(), String> {
    let mut run = Run {
        model: Model::new(&case.layers, case.writable, rules, case.config),
        before: subject.stored(),
        subject,
        writable: case.writable,
        numbers: BTreeMap::new(),
    };
    run.compare_all()
        .map_err(|message| format!("before the first operation: {message}"))?;
    for (index, op) in case.ops.iter().enumerate() {
        let place = |message| format!("after {index}: {op}\n    {message}");
        if !run.model.settled(op) {
            continue;
        }
        run.step(op).map_err(place)?;
        if depth == Depth::EveryOp || index + 1 == case.ops.len() {
            run.compare_all().map_err(place)?;
        }
    }
    Ok(())
}

struct Run<'a> {
    model: Model,
    subject: &'a mut dyn Subject,
    writable: bool,
    before: Vec<Dir<Stored>>,
    /// The subject's inode number for each of the model's.
    numbers: BTreeMap<u64, u64>,
}

impl Run<'_> {
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let expected = self.model.apply(op);
        let found = self.subject.apply(op);
        if *op == Op::Remount && !self.subject.numbers_persist() {
            self.numbers.clear();
        }
        if *op == Op::Rotate {
            // What was written is another object now, seen in a lower layer.
            self.numbers.clear();
            self.before = self.subject.stored();
        }
        let agree = match (&expected, &found) {
            (Outcome::Sight(expected), Outcome::Sight(found)) => {
                self.same_number(expected.ino, found.ino)?;
                expected.agrees(found)
            }
            (expected, found) => expected == found,
        };
        if agree {
            return Ok(());
        }
        Err(format!("expected {expected}\n    found    {found}"))
    }

    fn compare_all(&mut self) -> Result<(), String> {
        let shown = self.subject.look()?;
        same("the model and the union differ", &self.model.look(), &shown)?;
        for (path, sight) in self.model.look() {
            let found = shown[&path].ino;
            self.same_number(sight.ino, found)
                .map_err(|message| format!("{path}: {message}"))?;
        }
        let stored = self.subject.stored();
        let lowers = usize::from(self.writable);
        for (index, (before, now)) in self.before.iter().zip(&stored).enumerate().skip(lowers) {
            if before != now {
                return Err(format!("layer {index} was written:\n{before}became\n{now}"));
            }
        }
        let decoded = look(&view(&stored));
        same(
            "the layers in storage and the union differ",
            &decoded,
            &shown,
        )?;
        match self.subject.litter() {
            litter if litter.is_empty() => Ok(()),
            litter => Err(format!("the work area holds {litter:?}")),
        }
    }

    fn same_number(&mut self, model: u64, found: u64) -> Result<(), String> {
        match *self.numbers.entry(model).or_insert(found) {
            before if before == found => Ok(()),
            before => Err(format!("the inode number was {before} and is {found}")),
        }
    }
}

fn same(what: &str, expected: &Seen, found: &Seen) -> Result<(), String> {
    let differences = differences(expected, found);
    if differences.is_empty() {
        return Ok(());
    }
    let lines = differences
        .iter()
        .map(|difference| format!("\n    {difference}"));
    Err(format!("{what}:{}", lines.collect::<String>()))
}
