//! The options of aufs, as one table: how they are read, and what becomes of
//! them. `docs/aufs.md` shows it.

use overlay_core::policy::PolicyError;

use super::super::UsageError;
use super::super::options::Given;
use super::branch::{directory, indexed, is_decimal, list, modified, one};
use super::table::{Here, Meaning, OptionRow};
use super::{Change, Opaque, Setting, Sum, Switch, Udba, Word};

const MOUNT: &str = "Mount Options";
const SYNTAX: &str = "Mount Options; Branch Syntax";
const POLICIES: &str = "Policies to Select One among Multiple Writable Branches";
const SOURCE: &str = "`fs/aufs/opts.c`";

const fn row(
    names: &'static [&'static str],
    value: &'static str,
    what: &'static str,
    here: Here,
    source: &'static str,
    meaning: Meaning,
) -> OptionRow {
    OptionRow {
        names,
        value,
        what,
        here,
        source,
        meaning,
    }
}

const fn branches(
    names: &'static [&'static str],
    value: &'static str,
    what: &'static str,
    read: fn(&Given<'_>) -> Result<Word, UsageError>,
) -> OptionRow {
    let meaning = Meaning::Branches(read);
    row(names, value, what, Here::Works, SYNTAX, meaning)
}

const fn word(
    names: &'static [&'static str],
    what: &'static str,
    source: &'static str,
    setting: fn() -> Setting,
) -> OptionRow {
    row(names, "", what, Here::Works, source, Meaning::Word(setting))
}

const fn value(
    names: &'static [&'static str],
    value: &'static str,
    what: &'static str,
    source: &'static str,
    read: fn(&Given<'_>) -> Result<Setting, UsageError>,
) -> OptionRow {
    row(
        names,
        value,
        what,
        Here::Works,
        source,
        Meaning::Value(read),
    )
}

const fn word_but(
    names: &'static [&'static str],
    what: &'static str,
    source: &'static str,
    but: &'static str,
    setting: fn() -> Setting,
) -> OptionRow {
    let meaning = Meaning::Word(setting);
    row(names, "", what, Here::WorksBut(but), source, meaning)
}

const fn value_but(
    names: &'static [&'static str],
    value: &'static str,
    what: &'static str,
    source: &'static str,
    but: &'static str,
    read: fn(&Given<'_>) -> Result<Setting, UsageError>,
) -> OptionRow {
    let meaning = Meaning::Value(read);
    row(names, value, what, Here::WorksBut(but), source, meaning)
}

const fn accepted(
    names: &'static [&'static str],
    what: &'static str,
    source: &'static str,
    why: &'static str,
) -> OptionRow {
    row(
        names,
        "",
        what,
        Here::Accepted(why),
        source,
        Meaning::Anyway,
    )
}

const fn refused(
    names: &'static [&'static str],
    value: &'static str,
    what: &'static str,
    source: &'static str,
    why: &'static str,
) -> OptionRow {
    row(
        names,
        value,
        what,
        Here::Refused(why),
        source,
        Meaning::Refused,
    )
}

const NO_TABLE: &str = "inode numbers are kept in no file, so there is none to cut: leave it out";
const NUMBERS: &str = "no file is made: numbers are made of those on the branches, and need none";
const NO_BLOCKS: &str = "it sizes the kernel's memory for listings, which are read piece by piece \
                         here: leave it out";
const OLD: &str = "aufs itself ignores it: leave it out";

/// All options, in the order of the manual.
pub const OPTIONS: &[OptionRow] = &[
    branches(
        &["br", "dirs"],
        "BRANCH[:BRANCH...]",
        "branches, top first; the first is `rw` if nothing is said, the others `ro`",
        |given| list(given).map(Word::Branches),
    ),
    branches(
        &["add", "ins"],
        "INDEX:BRANCH",
        "a branch at this place, 0 being the top",
        |given| indexed(given).map(Word::Change),
    ),
    branches(
        &["append"],
        "BRANCH",
        "a branch below all others",
        |given| Ok(Word::Change(Change::Append(one(given)?))),
    ),
    branches(&["prepend"], "BRANCH", "a branch on top", |given| {
        Ok(Word::Change(Change::Prepend(one(given)?)))
    }),
    branches(
        &["del"],
        "DIR",
        "takes a branch away; `EBUSY` while it is in use, or if it is the last",
        |given| directory(given).map(Word::Change),
    ),
    branches(
        &["mod"],
        "DIR=PERMISSION",
        "changes what a branch may be used for",
        |given| modified(given).map(Word::Change),
    ),
    value_but(
        &["xino"],
        "PATH",
        "keeps the inode numbers in this file; `.aufs.xino` on the first writable branch if \
         nothing is said",
        MOUNT,
        NUMBERS,
        |given| Ok(Setting::Xino(Some(given.path()))),
    ),
    word_but(
        &["noxino"],
        "keeps no inode numbers",
        MOUNT,
        NUMBERS,
        || Setting::Xino(None),
    ),
    refused(
        &["trunc_xib"],
        "",
        "cuts the bitmap of inode numbers",
        MOUNT,
        NO_TABLE,
    ),
    accepted(
        &["notrunc_xib"],
        "does not, when a branch is taken away",
        MOUNT,
        "there is no such file",
    ),
    refused(
        &["trunc_xino_path", "trunc_xino"],
        "BRANCH",
        "cuts the table of inode numbers of a branch; the source knows it as `trunc_xino` alone",
        MOUNT,
        NO_TABLE,
    ),
    refused(
        &["itrunc_xino"],
        "INDEX",
        "the same by the branch's place",
        MOUNT,
        NO_TABLE,
    ),
    refused(
        &["trunc_xino"],
        "",
        "cuts those tables when they have grown",
        MOUNT,
        NO_TABLE,
    ),
    accepted(
        &["notrunc_xino"],
        "does not; the default",
        MOUNT,
        "there is no such file",
    ),
    refused(
        &["trunc_xino_v"],
        "N:N",
        "when those tables have grown too much; never in the manual",
        SOURCE,
        NO_TABLE,
    ),
    value(
        &["create", "create_policy"],
        "POLICY",
        "which writable branch takes new objects; the default is `tdp`",
        POLICIES,
        |given| policy(given).map(Setting::Create),
    ),
    value(
        &["cpup", "copyup", "copyup_policy"],
        "POLICY",
        "which writable branch takes copies; the default is `tdp`",
        POLICIES,
        |given| policy(given).map(Setting::CopyUp),
    ),
    accepted(
        &["dio"],
        "`O_DIRECT` may be asked for, and fails at the first access where the branch has none",
        "Direct I/O",
        "it is asked of the branch in any case",
    ),
    refused(
        &["nodio"],
        "",
        "opening with `O_DIRECT` fails; the default",
        "Direct I/O",
        "O_DIRECT is asked of the branch, which may refuse it: leave it out",
    ),
    word_but(
        &["verbose", "v"],
        "tells which object keeps a branch from being taken away",
        MOUNT,
        "the names are told in any case",
        || Setting::Verbose(Switch::On),
    ),
    word_but(
        &["noverbose", "quiet", "q", "silent"],
        "does not; the default",
        MOUNT,
        "the names are told in any case",
        || Setting::Verbose(Switch::Off),
    ),
    word(
        &["sum"],
        "`statfs(2)` tells the sum of all branches",
        MOUNT,
        || Setting::Sum(Sum::All),
    ),
    word(
        &["wsum"],
        "the sum of the writable ones; not in the manual",
        SOURCE,
        || Setting::Sum(Sum::Writable),
    ),
    word(
        &["nosum"],
        "what the first branch says; the default",
        MOUNT,
        || Setting::Sum(Sum::First),
    ),
    value_but(
        &["dirwh"],
        "N",
        "a removed directory with N whiteouts or more is renamed, and cleared later; the default \
         is 3",
        MOUNT,
        "all are cleared at once, in the work area",
        |given| number(given, u32::MAX).map(Setting::DirWh),
    ),
    value_but(
        &["rdcache"],
        "SEC",
        "how long a listing is good; at most 3600, the default is 10",
        "Virtual or Vertical Directory Block; `fs/aufs/opts.c`",
        "a listing is taken anew at each opening, and is good while that lasts",
        |given| number(given, 3600).map(Setting::RdCache),
    ),
    refused(
        &["rdblk"],
        "N",
        "size of the blocks of a listing; the default is 512",
        MOUNT,
        NO_BLOCKS,
    ),
    refused(
        &["rdhash"],
        "N",
        "size of the hash table of a listing; the default is 32",
        MOUNT,
        NO_BLOCKS,
    ),
    word_but(
        &["plink"],
        "hard links of a read-only branch stay one object when they are copied up; the default",
        "Pseudo Link",
        "only where one branch can be written, and it is on top (decision 21); among several \
         writable ones they part: as `noplink`",
        || Setting::PseudoLinks(Switch::On),
    ),
    word(
        &["noplink"],
        "they become objects of their own",
        "Pseudo Link",
        || Setting::PseudoLinks(Switch::Off),
    ),
    refused(
        &["clean_plink"],
        "",
        "forgets the pseudo links; aufs has long ignored it",
        SOURCE,
        OLD,
    ),
    refused(
        &["list_plink"],
        "",
        "prints the pseudo links to the kernel's log; only with debugging",
        SOURCE,
        "there is no such log: leave it out",
    ),
    value(
        &["udba"],
        "none|reval|notify",
        "when changes that others make to branches are seen: never, at the next lookup (the \
         default), at once",
        "User's Direct Branch Access",
        |given| {
            let levels = [
                ("none", Udba::None),
                ("reval", Udba::Reval),
                ("notify", Udba::Notify),
                // Names of what `notify` stands for, in the source alone.
                ("fsnotify", Udba::Notify),
                ("inotify", Udba::Notify),
            ];
            given.choose(&levels).map(Setting::Udba)
        },
    ),
    value(
        &["diropq"],
        "a|always|w|whiteouted",
        "which new directories are opaque: all, or those over a whiteout (the default)",
        MOUNT,
        |given| {
            let choices = [
                ("a", Opaque::Always),
                ("always", Opaque::Always),
                ("w", Opaque::Whiteouted),
                ("whiteouted", Opaque::Whiteouted),
            ];
            given.choose(&choices).map(Setting::Opaque)
        },
    ),
    word(
        &["warn_perm"],
        "warns of a branch whose owner or mode differs from those it joins; the default",
        MOUNT,
        || Setting::WarnPerm(Switch::On),
    ),
    word(&["nowarn_perm"], "does not", MOUNT, || {
        Setting::WarnPerm(Switch::Off)
    }),
    word(
        &["shwh"],
        "shows whiteouts as files; for read-only mounts",
        MOUNT,
        || Setting::ShowWhiteouts(Switch::On),
    ),
    word(&["noshwh"], "does not; the default", MOUNT, || {
        Setting::ShowWhiteouts(Switch::Off)
    }),
    accepted(
        &["dirperm1"],
        "a directory has the permissions of its topmost branch alone",
        MOUNT,
        "so it is in any case",
    ),
    refused(
        &["nodirperm1"],
        "",
        "who has none on one of its branches has none; the default",
        MOUNT,
        "a directory has the permissions of its topmost branch alone: leave it out",
    ),
    refused(
        &["dirren"],
        "",
        "directories of several branches can be renamed",
        MOUNT,
        "renaming one is EXDEV, and mv copies it: leave it out",
    ),
    accepted(
        &["nodirren"],
        "renaming one is `EXDEV`; the default",
        MOUNT,
        "so it is in any case",
    ),
    word(
        &["acl"],
        "POSIX ACLs; the default where the kernel has them",
        SOURCE,
        || Setting::Acl(Switch::On),
    ),
    word(&["noacl"], "none", SOURCE, || Setting::Acl(Switch::Off)),
    refused(
        &["fhsm_sec"],
        "SEC",
        "how often a program that manages a hierarchy of branches is told their sizes; the \
         default is 30",
        "`aufs_fhsm(5)`; `fs/aufs/opts.c`",
        "there is no such program: leave it out",
    ),
    refused(
        &["droplvl"],
        "N",
        "a set of other options, for speed; of `mount.aufs(8)`, the kernel does not see it",
        "Gain the performance in return for the features",
        "write the options that it stands for, or leave it out",
    ),
    refused(
        &["ephemeral"],
        "",
        "the same as `droplvl=3`",
        "Gain the performance in return for the features",
        "write the options that it stands for, or leave it out",
    ),
    refused(
        &["si"],
        "ID",
        "for the scripts of aufs",
        SOURCE,
        "it belongs to the scripts of aufs: leave it out",
    ),
    refused(&["nodlgt"], "", "of aufs 1; ignored", SOURCE, OLD),
    refused(
        &["debug"],
        "N",
        "of unionfs; ignored",
        SOURCE,
        "aufs itself ignores it: leave it out, or run with --debug",
    ),
    refused(
        &["delete"],
        "whiteout|all",
        "of unionfs; ignored",
        SOURCE,
        OLD,
    ),
    refused(&["imap"], "X", "of unionfs; ignored", SOURCE, OLD),
];

fn policy<P: std::str::FromStr<Err = PolicyError>>(given: &Given<'_>) -> Result<P, UsageError> {
    let text = given.list().to_string_lossy();
    text.parse()
        .map_err(|error: P::Err| given.wrong(error.to_string()))
}

fn number(given: &Given<'_>, max: u32) -> Result<u32, UsageError> {
    let text = given.list().to_str().filter(|text| is_decimal(text));
    let number = text.and_then(|text| text.parse().ok());
    number
        .filter(|number| *number <= max)
        .ok_or_else(|| given.wrong(format!("write a number from 0 to {max}")))
}
