//! The words of the command line.

use std::path::PathBuf;

use clap::Parser;

use super::peer::{Peer, Program, installed};
use super::scale::{Size, Variant};
use super::workload::Workload;
use super::{say, workloads};

/// Compares a mount of ours with the kernel's overlayfs and its peers
///
/// All work over the same generated layers, in turn. Needs root, Linux 6.8 and
/// about 3 GiB in the directory for the layers. The table goes to the standard
/// output.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Args {
    /// How often each workload is run on each peer
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Only these workloads, by name or the beginning of it
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<String>,
    /// Only these peers
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    peers: Vec<String>,
    /// Another peer, or another program for one. What it is follows from the
    /// beginning of its name: ufsmount, kernel, fuse-overlayfs, unionfs,
    /// mergerfs. Without PATH it is what was built with this program
    #[arg(long = "peer", value_name = "NAME[=PATH]")]
    peer: Vec<String>,
    /// More mount options for a peer
    #[arg(long, value_name = "NAME=OPTION[,OPTION...]")]
    options: Vec<String>,
    /// The layers
    #[arg(long, value_enum, default_value_t = Variant::Eight)]
    variant: Variant,
    /// How much there is of everything
    #[arg(long, value_enum, default_value_t = Size::Full)]
    size: Size,
    /// The same as --size quick
    #[arg(long, conflicts_with = "size")]
    quick: bool,
    /// Do not count requests
    #[arg(long)]
    no_counts: bool,
    /// Where to make the directory for the layers
    #[arg(long, default_value = "/var/tmp", value_name = "DIR")]
    dir: PathBuf,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write all numbers
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// List the workloads and end
    #[arg(long)]
    list: bool,
}

/// What to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) workloads: Vec<&'static dyn Workload>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) variant: Variant,
    pub(crate) size: Size,
    pub(crate) counts: bool,
    pub(crate) dir: PathBuf,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
}

impl Args {
    /// `None` if there is nothing left to do. Fails with a sentence.
    pub(crate) fn plan(self) -> Result<Option<Plan>, String> {
        if self.list {
            for workload in workloads::ALL {
                println!("{:22} {}", workload.name(), workload.about());
            }
            return Ok(None);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(
                "needs root, to mount the kernel's overlayfs and to drop caches: run it as root"
                    .to_owned(),
            );
        }
        Ok(Some(Plan {
            rounds: self.rounds.max(1),
            workloads: self.workloads()?,
            peers: self.chosen_peers()?,
            variant: self.variant,
            size: if self.quick { Size::Quick } else { self.size },
            counts: !self.no_counts,
            dir: self.dir,
            markdown: self.markdown,
            svg: self.svg,
            json: self.json,
        }))
    }

    fn workloads(&self) -> Result<Vec<&'static dyn Workload>, String> {
        for only in &self.only {
            let mut all = workloads::ALL.iter();
            if !all.any(|workload| is_meant(workload.name(), only)) {
                return Err(format!(
                    "there is no workload {only:?}: see --list for their names"
                ));
            }
        }
        let wanted = |workload: &&&dyn Workload| {
            let mut only = self.only.iter();
            let name = workload.name();
            workload.variants().contains(&self.variant)
                && (self.only.is_empty() || only.any(|only| is_meant(name, only)))
        };
        let chosen: Vec<_> = workloads::ALL.iter().filter(wanted).copied().collect();
        match chosen.is_empty() {
            true => Err("none of these workloads makes sense on this --variant".to_owned()),
            false => Ok(chosen),
        }
    }

    fn chosen_peers(&self) -> Result<Vec<Peer>, String> {
        let wanted = |name: &str| self.peers.is_empty() || self.peers.iter().any(|p| p == name);
        let mut peers = installed(&mut |sentence| {
            let name = sentence.split(' ').next().unwrap_or_default();
            let named = |word: &String| word.split('=').next() == Some(name);
            if wanted(name) && !self.peer.iter().any(named) {
                say(sentence);
            }
        })?;
        for word in &self.peer {
            let new = match word.split_once('=') {
                Some((name, path)) => Peer::new(name, Program::At(path.into()))?,
                None => Peer::new(word, Program::Itself)?,
            };
            match peers.iter_mut().find(|peer| peer.name == new.name) {
                Some(old) => old.program = new.program,
                None => peers.push(new),
            }
        }
        for word in &self.options {
            let split = word.split_once('=');
            let (name, options) = split.ok_or_else(|| {
                format!("--options {word:?} names no peer: write NAME=OPTION[,OPTION...]")
            })?;
            let peer = peers.iter_mut().find(|peer| peer.name == name);
            let peer = peer.ok_or_else(|| format!("--options: there is no peer {name:?}"))?;
            peer.options.extend(options.split(',').map(str::to_owned));
        }
        if let Some(unknown) = self
            .peers
            .iter()
            .find(|name| !peers.iter().any(|peer| peer.name == **name))
        {
            return Err(format!(
                "there is no peer {unknown:?} here: --peer {unknown}=PATH says where it is"
            ));
        }
        peers.retain(|peer| wanted(&peer.name));
        Ok(peers)
    }
}

/// Whether `only` is the name or its beginning up to a `-`.
fn is_meant(name: &str, only: &str) -> bool {
    let rest = name.strip_prefix(only);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_in_full_or_up_to_a_dash() {
        assert!(is_meant("walk-cold", "walk"));
        assert!(is_meant("walk-cold", "walk-cold"));
        assert!(!is_meant("walk-cold", "wal"));
        assert!(!is_meant("walk", "walk-cold"));
    }
}
