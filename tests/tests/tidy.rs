//! Rules about the project itself that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use culvert_tests::bins;
use serde_json::Value;

/// Longest file of Rust, in lines.
const LONGEST_FILE: usize = 500;
/// Longest function, in lines: what fits a screen, and a little.
const LONGEST_FUNCTION: usize = 90;
/// The one file with unsafe code.
const UNSAFE: &str = "node/src/sys.rs";

/// What each crate may depend on inside the workspace.
const MAY_DEPEND_ON: [(&str, &[&str]); 6] = [
    ("culvert-proto", &[]),
    ("culvert-crypto", &["culvert-proto"]),
    ("culvert-node", &["culvert-proto", "culvert-crypto"]),
    (
        "culvert-manage",
        &["culvert-proto", "culvert-crypto", "culvert-node"],
    ),
    (
        "culvert-relay",
        &[
            "culvert-proto",
            "culvert-crypto",
            "culvert-node",
            "culvert-manage",
        ],
    ),
    (
        "culvert-edge",
        &[
            "culvert-proto",
            "culvert-crypto",
            "culvert-node",
            "culvert-manage",
        ],
    ),
];

/// Crates without sockets, clocks, files, threads or random numbers of their own: words that must
/// not occur in their sources outside tests.
const SANS_IO: [&str; 2] = ["proto/src", "crypto/src"];
const IO_WORDS: [&str; 9] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "std::env",
    "getrandom::",
    "tokio::",
    "monoio::",
];

fn metadata() -> Value {
    let output = Command::new(bins::cargo())
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(bins::project_root())
        .output()
        .expect("run cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn crates_depend_only_downwards() {
    let metadata = metadata();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let dependencies: BTreeSet<String> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("culvert-"))
            .map(str::to_owned)
            .collect();
        found.insert(
            package["name"].as_str().expect("name").to_owned(),
            dependencies,
        );
    }
    for (package, allowed) in MAY_DEPEND_ON {
        let has = found
            .get(package)
            .unwrap_or_else(|| panic!("no package {package}"));
        for dependency in has {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{package} depends on {dependency}"
            );
        }
    }
    let known: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    for (package, dependencies) in &found {
        let free = ["culvert-tests", "culvert-benches"].contains(&package.as_str());
        assert!(
            free || known.contains(package.as_str()),
            "no rule for {package}"
        );
        assert!(
            free || !dependencies.iter().any(|name| name.ends_with("tests")),
            "{package} depends on the tests"
        );
    }
}

#[test]
fn sans_io_crates_do_no_io() {
    for directory in SANS_IO {
        for file in rust_files(&bins::project_root().join(directory)) {
            let text = read(&file);
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in IO_WORDS {
                assert!(!code.contains(word), "{} uses {word}", name(&file));
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_one_place() {
    for file in all_rust_files() {
        if name(&file) == UNSAFE || name(&file) == "tests/tests/tidy.rs" {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            assert!(
                !uses.iter().any(|word| code.contains(word)),
                "{}:{}: unsafe",
                name(&file),
                number + 1
            );
        }
    }
    for package in ["proto", "crypto", "relay", "edge"] {
        let manifest = read(&bins::project_root().join(package).join("Cargo.toml"));
        assert!(
            manifest.contains("unsafe_code = \"forbid\""),
            "{package} may use unsafe"
        );
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for file in all_rust_files() {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > LONGEST_FILE {
            long.push(format!("{} has {} lines", name(&file), lines.len()));
        }
        for (start, length) in functions(&lines) {
            if length > LONGEST_FUNCTION {
                long.push(format!("{}:{}: {length} lines", name(&file), start + 1));
            }
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

/// First line and number of lines of each function. rustfmt puts the closing brace of one under
/// its first line, which is all this knows of Rust.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = code
            .split_whitespace()
            .take_while(|word| !word.starts_with("fn("));
        let is_function = words
            .take(5)
            .take_while(|word| {
                [
                    "pub",
                    "pub(crate)",
                    "pub(super)",
                    "const",
                    "async",
                    "unsafe",
                    "fn",
                ]
                .contains(word)
            })
            .any(|word| word == "fn");
        if !is_function {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let closing = format!("{indent}}}");
        if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
            found.push((start, length + 1));
        }
    }
    found
}

#[test]
fn no_words_that_do_not_belong() {
    // Put together here so that this file does not hold them itself.
    let banned: Vec<String> = [
        ("db", "g!("),
        ("to", "do!("),
        ("unimple", "mented!("),
        ("FIX", "ME"),
        ("XX", "X:"),
        ("TO", "DO"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("chat", "gpt"),
        ("clau", "de"),
        ("copi", "lot"),
    ]
    .into_iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    for file in tracked_text_files() {
        let text = read(&file);
        for word in &banned {
            assert!(
                !text.contains(word.as_str()),
                "{} holds `{word}`",
                name(&file)
            );
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read(&bins::project_root().join("Cargo.toml"));
    let mut inside = false;
    let mut reason = false;
    for line in manifest.lines() {
        match line {
            _ if line.starts_with('[') => inside = line == "[workspace.dependencies]",
            "" => reason = false,
            _ if !inside => {}
            _ if line.starts_with('#') => reason = true,
            _ if line.starts_with("culvert-") => {}
            _ => assert!(reason, "no reason above: {line}"),
        }
    }
    for package in ["proto", "crypto", "node", "relay", "edge"] {
        for line in read(&bins::project_root().join(package).join("Cargo.toml")).lines() {
            assert!(
                !line.contains("version = \""),
                "{package} names a version: {line}"
            );
        }
    }
}

#[test]
fn every_crate_and_file_says_what_it_is() {
    for file in all_rust_files() {
        let text = read(&file);
        let first = text
            .lines()
            .find(|line| !line.starts_with("#!") && !line.is_empty());
        let is_described = first.is_some_and(|line| line.starts_with("//!"));
        assert!(
            is_described,
            "{} does not begin with what it is",
            name(&file)
        );
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Path inside the project.
fn name(path: &Path) -> String {
    let inside = path.strip_prefix(bins::project_root()).unwrap_or(path);
    inside.display().to_string()
}

fn all_rust_files() -> Vec<PathBuf> {
    let crates = [
        "proto", "crypto", "node", "relay", "edge", "benches", "fuzz", "tests",
    ];
    crates
        .iter()
        .flat_map(|name| rust_files(&bins::project_root().join(name)))
        .collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = files(directory);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}

fn tracked_text_files() -> Vec<PathBuf> {
    let kinds = ["rs", "toml", "md", "yml", "yaml", "sh", ""];
    let mut found = files(bins::project_root());
    found.retain(|path| {
        let kind = path
            .extension()
            .and_then(|kind| kind.to_str())
            .unwrap_or_default();
        let text = fs::read(path).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok());
        kinds.contains(&kind) && text && !name(path).contains("corpus")
    });
    found
}

/// All files below a directory, without build output and hidden directories.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let own = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if own.starts_with('.') && own != ".ci" || ["target", "artifacts"].contains(&own) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
