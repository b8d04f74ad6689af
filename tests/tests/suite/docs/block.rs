//! The fenced blocks of a document, and of what kind each is.

use std::{fs, path::Path};

/// One fenced block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// `docs/operating.md:12`, for messages.
    pub(super) at: String,
    /// How it is checked.
    pub(super) kind: Kind,
    /// What is in it, without the indentation of the fence.
    pub(super) text: String,
}

/// How a block is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Compiled, and run unless it says `no_run`, as a test of the documentation.
    Rust,
    /// Run against a fleet; ends with this exit code.
    Run(i32),
    /// Too long for a test, or needs a host of its own: programs and flags exist.
    Flags,
    /// Needs systemd: the units exist, programs and flags too.
    Systemd,
    /// Configuration of a master: `check-config` takes it.
    MasterConfig,
    /// Dependencies of a `Cargo.toml`: packages and features exist.
    Cargo,
    /// A drop-in of `baton-master.service`: `systemd-analyze verify` takes it.
    DropIn,
    /// A whole bot in Python, or in Node: run beside a fleet.
    Python,
    /// See [`Python`](Self::Python).
    Node,
    /// A frame, written in hexadecimal digits; the next block says it as JSON.
    Frame,
    /// One JSON value.
    Json,
    /// A worker, which a test of `baton-sink` runs with a real broker.
    Worker,
    /// Not for a program.
    Text,
}

/// Every block of a document of the project.
pub(super) fn blocks(root: &Path, document: &str) -> Vec<Block> {
    let text = fs::read_to_string(root.join(document)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let rest = line.trim_start();
        let Some(info) = rest.strip_prefix("```") else {
            continue;
        };
        let at = format!("{document}:{}", number + 1);
        let indent = line.len() - rest.len();
        let mut inside = String::new();
        loop {
            let (_, line) = lines.next().unwrap_or_else(|| panic!("{at}: no end"));
            if line.trim() == "```" {
                break;
            }
            inside.push_str(line.get(indent..).unwrap_or_default());
            inside.push('\n');
        }
        let kind = kind(info).unwrap_or_else(|| panic!("{at}: nobody checks a block `{info}`"));
        blocks.push(Block {
            at,
            kind,
            text: inside,
        });
    }
    blocks
}

fn kind(info: &str) -> Option<Kind> {
    Some(match info {
        "rust" | "rust,no_run" => Kind::Rust,
        "sh" => Kind::Run(0),
        "sh,flags" => Kind::Flags,
        "sh,systemd" => Kind::Systemd,
        "toml" => Kind::MasterConfig,
        "toml,cargo" => Kind::Cargo,
        "ini,service" => Kind::DropIn,
        "python" => Kind::Python,
        "js" => Kind::Node,
        "hex" => Kind::Frame,
        "json" => Kind::Json,
        "js,worker" | "python,worker" => Kind::Worker,
        "text" => Kind::Text,
        info => Kind::Run(info.strip_prefix("sh,exit=")?.parse().ok()?),
    })
}

#[test]
fn blocks_are_found_with_their_kind_and_without_their_indentation() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a\n```sh\nls\n```\n1. b\n\n   ```sh,exit=2\n   cd\n\n     x\n   ```\n";
    fs::write(folder.path().join("a.md"), text).unwrap();
    let found = blocks(folder.path(), "a.md");
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0].kind, found[0].text.as_str()),
        (&Kind::Run(0), "ls\n")
    );
    assert_eq!(
        (&found[1].kind, found[1].text.as_str()),
        (&Kind::Run(2), "cd\n\n  x\n")
    );
    assert_eq!(found[1].at, "a.md:7");
    assert_eq!(kind("ruby"), None);
}
