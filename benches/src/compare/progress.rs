//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// How often a line says which step it is, without a terminal.
const EVERY: Duration = Duration::from_secs(20);

/// Shown on the standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` where it is no terminal.
    bar: Option<ProgressBar>,
    steps: usize,
    done: Cell<usize>,
    /// When a line was last written.
    said: Cell<Instant>,
}

impl Progress {
    /// Of `steps` in all.
    pub(crate) fn new(steps: usize) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps as u64);
            let template = "{elapsed} [{bar:30}] {pos}/{len}, {eta} left: {wide_msg}";
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                // The usual bar says as much, in other words.
                Err(_) => bar,
            }
        });
        Progress {
            bar,
            steps,
            done: Cell::new(0),
            said: Cell::new(Instant::now()),
        }
    }

    /// What is being done, apart from the steps.
    pub(crate) fn note(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(what),
        }
    }

    /// A step that begins.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None if self.said.get().elapsed() < EVERY => {}
            None => {
                self.said.set(Instant::now());
                say(&format!("{} of {}: {what}", self.done.get(), self.steps));
            }
        }
    }

    /// A step that has ended.
    pub(crate) fn done(&self) {
        self.done.set(self.done.get() + 1);
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// What is to be read afterwards too.
    pub(crate) fn tell(&self, sentence: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(sentence)),
            None => say(sentence),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
