//! What `--help` says of the options: the table, written out.

use super::super::aufs::{Here, OPTIONS, OptionRow};
use super::{GROUPS, Meaning, MountOption};

/// Where the explanations begin, and the lines end.
const COLUMN: usize = 27;
const WIDTH: usize = 80;

const BRANCHES: &str = "
 Branches by the words of aufs, instead of layers. What is mounted is changed by
 remount with add, ins, append, prepend, del, mod, create, cpup and sums, as by
 ufs branch:
";

/// All options that are not refused, by group.
pub(in super::super) fn help() -> String {
    let mut text = String::from("Options for -o:\n");
    for group in GROUPS {
        let mut shown = group.options.iter().filter(is_shown).peekable();
        if shown.peek().is_none() {
            continue;
        }
        text.push_str(&format!("\n {}:\n", group.title));
        while let Some(option) = shown.next() {
            let mut names = written(option);
            while let Some(next) = shown.next_if(|next| next.help == option.help) {
                names.push_str(", ");
                names.push_str(&written(next));
            }
            paragraph(&names, option.help, &mut text);
        }
    }
    text.push_str(BRANCHES);
    for row in OPTIONS.iter().filter(|row| works(row)) {
        let what = match row.here.why() {
            "" => row.what.to_owned(),
            but => format!("{} (here: {but})", row.what),
        };
        // The table is written for Markdown.
        paragraph(&row.forms().join(", "), &what.replace('`', ""), &mut text);
    }
    text
}

fn works(row: &OptionRow) -> bool {
    match row.here {
        Here::Works | Here::WorksBut(_) => true,
        Here::Accepted(_) | Here::Refused(_) => false,
    }
}

fn is_shown(option: &&MountOption) -> bool {
    match option.meaning {
        Meaning::Word(_) | Meaning::Switch(_) | Meaning::Value(_) | Meaning::Elsewhere => true,
        Meaning::Refused(_) => false,
    }
}

fn written(option: &MountOption) -> String {
    match option.value {
        "" => option.name.to_owned(),
        value => format!("{}={value}", option.name),
    }
}

/// The names, and beside them the explanation; on a line of their own if they
/// are long.
fn paragraph(names: &str, help: &str, text: &mut String) {
    let mut line = String::from("  ");
    wrap(names, 2, &mut line, text);
    if line.len() + 2 > COLUMN {
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    line.push_str(&" ".repeat(COLUMN.saturating_sub(line.len())));
    wrap(help, COLUMN, &mut line, text);
    text.push_str(&line);
    text.push('\n');
}

fn wrap(words: &str, indent: usize, line: &mut String, text: &mut String) {
    for word in words.split_whitespace() {
        if line.len() > indent {
            if line.len() + 1 + word.len() > WIDTH {
                text.push_str(line);
                text.push('\n');
                *line = " ".repeat(indent);
            } else {
                line.push(' ');
            }
        }
        line.push_str(word);
    }
}
