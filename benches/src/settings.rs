//! What is measured, and how long.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use culvert_tests::bins;

use crate::contender::{self, Kind};
use crate::work;

/// Measure Culvert beside its peers, on this machine's loopback.
///
/// Contenders take turns in interleaved rounds. The result is a table of medians and a table of the project's
/// targets, on standard output, and as files.
#[derive(Clone, Debug, Parser)]
pub struct Settings {
    /// Rounds; each measures everything once, in another order of contenders.
    #[arg(long, default_value_t = 7, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub rounds: usize,
    /// Seconds of each single measurement.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    pub seconds: f64,
    /// One short round with little load: shows that everything works, not how fast.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub quick: bool,
    /// Contenders to measure, in place of all: parts of their names.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Work to do, in place of all: parts of postgres, bulk, requests, latency, connects, slow, relay,
    /// channels, idle.
    #[arg(long, value_delimiter = ',')]
    pub work: Vec<String>,
    /// Of that work, what has one of these in the first column of the report; separated by `;`.
    #[arg(long, value_delimiter = ';')]
    pub row: Vec<String>,
    /// File for all samples.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Take up what a run that was broken off has left in the file of `--json`: what was measured then is not
    /// measured again.
    #[arg(long, requires = "json")]
    pub resume: bool,
    /// File for the report; in one that has the marks `<!-- load -->` and `<!-- /load -->`, what is between
    /// them is replaced. Another file that is there already is left alone.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// The program `ockam-node` of tests/interop [default: where cargo puts it]
    #[arg(long, value_name = "PROGRAM")]
    pub ockam: Option<PathBuf>,
    /// The program `rathole` [default: the one in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub rathole: Option<PathBuf>,
}

impl Settings {
    /// Puts in what was left out.
    ///
    /// # Errors
    /// When a program that was named is not there.
    pub fn complete(mut self) -> io::Result<Self> {
        for program in [&self.ockam, &self.rathole].into_iter().flatten() {
            let found = fs::metadata(program).ok().filter(fs::Metadata::is_file);
            if found.is_none_or(|file| file.permissions().mode() & 0o111 == 0) {
                let what = format!("{}: no such program", program.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
        }
        known("--only", &self.only, &work::contenders())?;
        known("--work", &self.work, &work::ALL.map(|(name, _)| name))?;
        if self.quick {
            (self.rounds, self.seconds) = (1, 0.1);
        }
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
            || bins::project_root().join("tests/interop/target"),
            PathBuf::from,
        );
        let built = target.join("release/ockam-node");
        self.ockam = self.ockam.or_else(|| built.is_file().then_some(built));
        self.rathole = self.rathole.or_else(|| contender::program("rathole"));
        Ok(self)
    }

    /// Whether `--only` lets this contender take part.
    pub fn wants(&self, name: &str) -> bool {
        chosen(&self.only, name)
    }

    /// Whether `--work` lets this work be done.
    pub fn does(&self, name: &str) -> bool {
        chosen(&self.work, name)
    }

    /// Whether `--row` lets this part of it be done.
    pub fn has_row(&self, name: &str) -> bool {
        chosen(&self.row, name)
    }

    /// The contenders for whole chains that were asked for and can take part.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Kind::ALL.to_vec();
        kinds.retain(|kind| self.wants(kind.name()) && kind.missing(self).is_none());
        kinds
    }

    /// One measurement.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// What is done before it and not measured.
    pub fn warm_up(&self) -> Duration {
        self.time().min(Duration::from_secs(3)) / 6
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.01..=60.0)
        .contains(&seconds)
        .then_some(seconds)
        .ok_or_else(|| "between 0.01 and 60".into())
}

/// Fails if a part of a name is in none of the names there are.
fn known(option: &str, parts: &[String], names: &[&str]) -> io::Result<()> {
    let is_known = |part: &&String| names.iter().any(|name| is_in(part, name));
    match parts.iter().find(|part| !is_known(part)) {
        None => Ok(()),
        Some(part) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{option} {part}: nothing is named so; there are: {}",
                names.join("; ")
            ),
        )),
    }
}

fn is_in(part: &str, name: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

fn chosen(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|part| is_in(part, name))
}
