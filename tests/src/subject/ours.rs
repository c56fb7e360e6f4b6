//! How a union of ours is told what a [`Config`] says, and how much of that
//! it knows.

use overlay_core::spec::{self, Config, RedirectDir, Switch};
use overlay_core::union::{self, Options};
use overlay_core::{Dialect, Namespace};

/// What a configuration may ask of a union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Redirects made, followed or refused.
    Redirects,
    /// Files copied up without their content.
    Metacopy,
    /// Layers that show nothing by themselves.
    DataOnly,
    /// Marks in the `user` namespace.
    UserXattr,
    /// Lower hard links that stay linked.
    Index,
    /// Everything in the index.
    NfsExport,
}

/// What our union knows. Tests of ours leave out configurations that ask for
/// anything else.
pub const SUPPORTED: &[Part] = &[
    Part::Redirects,
    Part::Metacopy,
    Part::DataOnly,
    Part::UserXattr,
    Part::Index,
];

/// Whether our union knows all that `config` asks for.
pub fn supports(config: &Config) -> bool {
    let asked = [
        (Part::Redirects, true),
        (Part::Metacopy, config.metacopy.is_on()),
        (Part::DataOnly, config.data_only > 0),
        (Part::UserXattr, config.namespace == spec::Namespace::User),
        (Part::Index, config.index.is_on()),
        (Part::NfsExport, config.nfs_export.is_on()),
    ];
    let mut asked = asked.into_iter().filter(|(_, is_asked)| *is_asked);
    asked.all(|(part, _)| SUPPORTED.contains(&part))
}

/// The combinations that the kernel accepts and our union knows.
pub fn supported() -> Vec<Config> {
    let mut configs = Config::accepted();
    configs.retain(supports);
    configs
}

/// Combinations that change how something is copied up: `metacopy`, `index`,
/// and both, with redirects.
pub fn changing_what_is_copied() -> [Config; 3] {
    let switches = [
        (Switch::On, Switch::Off),
        (Switch::Off, Switch::On),
        (Switch::On, Switch::On),
    ];
    switches.map(|(metacopy, index)| Config {
        redirect_dir: RedirectDir::On,
        metacopy,
        index,
        ..Config::default()
    })
}

/// The options of a union. What is in [`SUPPORTED`] is told here, or by the
/// [`dialect`] of the layers.
pub fn options(config: Config) -> Options {
    Options {
        redirect_dir: match config.redirect_dir {
            spec::RedirectDir::On => union::RedirectDir::On,
            spec::RedirectDir::Follow => union::RedirectDir::Follow,
            spec::RedirectDir::NoFollow => union::RedirectDir::NoFollow,
        },
        metacopy: match config.metacopy {
            Switch::On => union::Metacopy::On,
            // What others made is read, unlike by the kernel.
            Switch::Off => union::Metacopy::Follow,
        },
        index: match config.index {
            Switch::On => union::Index::On,
            Switch::Off => union::Index::Off,
        },
        xino: match config.xino {
            spec::Xino::Auto => union::Xino::Auto,
            spec::Xino::On => union::Xino::On,
            spec::Xino::Off => union::Xino::Off,
        },
        ..Options::default()
    }
}

/// The dialect of the layers.
pub fn dialect(config: Config) -> Dialect {
    Dialect::Overlay(match config.namespace {
        spec::Namespace::Trusted => Namespace::Trusted,
        spec::Namespace::User => Namespace::User,
    })
}
