//! How far it is: a bar on a terminal, a line for each step elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// Shown on the standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` where it is no terminal.
    bar: Option<ProgressBar>,
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
        Progress { bar }
    }

    /// What is being done, apart from the steps.
    pub(crate) fn note(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(what),
        }
    }

    /// A step that begins. Without a terminal nothing is said of it: its
    /// round has said enough.
    pub(crate) fn step(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// A step that has ended.
    pub(crate) fn done(&self) {
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
