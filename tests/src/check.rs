//! Runs one case against a subject and compares.
//!
//! After every operation: (1) the result and (2) the errno are the model's.
//! After every operation or at the end of the history ([`Depth`]): (3) what
//! is seen of the whole tree is what the model sees, (4) the lower layers are
//! as they were, (5) the view that the specification computes from what lies
//! in storage is the one that the subject shows, (6) inode numbers have not
//! changed, (7) the work area is empty.

use std::collections::BTreeMap;

use overlay_core::FileKind;
use overlay_core::attr::Timestamp;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{
    Config, Dir, Model, Op, Outcome, Path, Rules, Seen, Stored, differences, indexed, look,
    view_over,
};

use crate::Subject;
use crate::subject::Numbers;

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
    let rules = subject.rules().unwrap_or(rules);
    let mut run = Run {
        model: Model::new(&case.layers, case.writable, rules, case.config),
        before: subject.stored(),
        subject,
        writable: case.writable,
        rules,
        config: case.config,
        numbers: BTreeMap::new(),
    };
    run.compare_all()
        .map_err(|message| format!("before the first operation: {message}"))?;
    for (index, op) in case.ops.iter().enumerate() {
        let place = |message| format!("after {index}: {op}\n    {message}");
        if !run.model.settled(op) {
            continue;
        }
        if *op == Op::Rotate && run.copies_all_names() {
            run.touch_all_names().map_err(place)?;
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
    rules: Rules,
    config: Config,
    before: Vec<Dir<Stored>>,
    /// The subject's inode number for each of the model's.
    numbers: BTreeMap<u64, u64>,
}

impl Run<'_> {
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let found = self.subject.apply(op);
        if let Some(rules) = self.subject.rules() {
            self.rules = rules;
            self.model.follow(rules);
        }
        let expected = self.model.apply(op);
        if let Op::Remount | Op::Rotate = op {
            if *op == Op::Rotate {
                self.before = self.subject.stored();
            }
            match self.subject.numbers(op) {
                Numbers::Stay => {}
                Numbers::StayBelowTheRoot => {
                    let root = self.model.look()[&Path::default()].ino;
                    self.numbers.remove(&root);
                }
                Numbers::Change => self.numbers.clear(),
            }
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

    /// Copies up the names that show a copy only because of the index. Some
    /// may have been already, and the model does not know which.
    fn touch_all_names(&mut self) -> Result<(), String> {
        for path in self.model.shown_by_the_index() {
            let mtime = Timestamp {
                sec: 1_000_000_000,
                nsec: 0,
            };
            self.step(&Op::SetMtime { path, mtime })?;
        }
        Ok(())
    }

    fn copies_all_names(&self) -> bool {
        self.config.index.is_on() && self.subject.copies_all_names()
    }

    fn compare_all(&mut self) -> Result<(), String> {
        let mut shown = self.subject.look()?;
        if self.copies_all_names() {
            copy_link_counts(true, &self.model.look(), &mut shown);
        }
        if self.rules == Rules::Kernel && self.config.nfs_export.is_on() {
            // Difference D12: which links are counted depends on remounts, and
            // on when the kernel forgets an inode.
            copy_link_counts(false, &self.model.look(), &mut shown);
        }
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
        let mut decoded = look(&indexed(
            view_over(&stored, self.config.data_only),
            &self.subject.index(),
        ));
        if self.rules == Rules::Kernel && self.config.nfs_export.is_on() {
            // Difference D12: it depends on remounts which links are counted.
            copy_link_counts(false, &shown, &mut decoded);
        }
        if self.copies_all_names() {
            copy_link_counts(true, &shown, &mut decoded);
        }
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

/// Link counts of what lies at the same place and is, or is not, a directory.
fn copy_link_counts(of_directories: bool, from: &Seen, to: &mut Seen) {
    for (path, sight) in to {
        let is_meant = |kind: FileKind| kind.is_dir() == of_directories;
        match from.get(path) {
            Some(shown) if is_meant(shown.kind) && is_meant(sight.kind) => {
                sight.nlink = shown.nlink;
            }
            Some(_) | None => {}
        }
    }
}

/// The differences of two trees, as a message that begins with `what`.
pub fn same(what: &str, expected: &Seen, found: &Seen) -> Result<(), String> {
    let differences = differences(expected, found);
    if differences.is_empty() {
        return Ok(());
    }
    let lines = differences
        .iter()
        .map(|difference| format!("\n    {difference}"));
    Err(format!("{what}:{}", lines.collect::<String>()))
}
