//! The secret that requests over TCP show.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use subtle::ConstantTimeEq as _;

use crate::problem::Problem;

/// Fewest characters: what is shorter can be guessed.
const SHORTEST: usize = 16;
/// Most characters.
const LONGEST: usize = 1024;
/// Permissions of others than the owner and the group.
const OTHERS: u32 = 0o007;

/// A bearer token. Its text is never shown or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one: 32 random bytes in hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        use fmt::Write as _;
        let bytes = culvert_node::random_bytes::<32>();
        let mut text = String::new();
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Takes a text.
    ///
    /// # Errors
    ///
    /// When it is too short, too long or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !(SHORTEST..=LONGEST).contains(&text.len()) {
            return Err(Problem::invalid(
                "this cannot be a token",
                format!("use {SHORTEST} to {LONGEST} letters, digits and signs, without spaces"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads it from a file.
    ///
    /// # Errors
    ///
    /// When there is none, it cannot be read, or others may use it too.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        Self::read(path).map_err(|error| cannot("read", path, &error))?
    }

    /// Reads it from a file, which is made with mode 0600 and a new token when there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or made, or others may use it too.
    pub fn load_or_create(path: &Path) -> Result<Self, Problem> {
        match Self::read(path) {
            Ok(read) => return read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("read", path, &error)),
        }
        let token = Self::random();
        // Whole or not at all: another process may start at the same time.
        let own = path.with_added_extension(std::process::id().to_string());
        let made = write(&own, &token).and_then(|()| fs::hard_link(&own, path));
        let _ = fs::remove_file(&own);
        match made {
            Ok(()) => Ok(token),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(cannot("write", path, &error)),
        }
    }

    fn read(path: &Path) -> io::Result<Result<Self, Problem>> {
        let text = fs::read_to_string(path)?;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & OTHERS != 0 {
            return Ok(Err(Problem::invalid(
                format!(
                    "the token in {} can be used by every user of this machine (mode {:03o})",
                    path.display(),
                    mode & 0o777
                ),
                format!("chmod 600 {}", path.display()),
            )));
        }
        Ok(Self::new(&text).map_err(|mut problem| {
            problem.message = format!("{} holds no token", path.display());
            problem
        }))
    }

    /// Whether a request that shows `shown` may come in. Takes as long for every text of a length.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// The value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn write(path: &Path, token: &Token) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", token.0)?;
    file.sync_all()
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::failed(
        format!("cannot {what} the token in {}: {error}", path.display()),
        "name a file that this user may read, in a directory that exists",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_from_others() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("token");
        let token = Token::load_or_create(&path).expect("a token");
        assert_eq!(Token::load_or_create(&path), Ok(token.clone()));
        assert_eq!(Token::load(&path), Ok(token.clone()));
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(place.path()).expect("entries").count(), 1);
        assert!(!format!("{token:?}").contains(&token.0));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let refused = Token::load(&path).expect_err("others may read it");
        assert!(refused.message.contains("mode 644"), "{refused}");
        assert!(refused.hint.contains("chmod 600"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "short", "with a space in it ....", &"x".repeat(1025)] {
            Token::new(text).expect_err(text);
        }
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("token");
        fs::write(&path, "short\n").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let refused = Token::load(&path).expect_err("too short");
        assert!(refused.message.ends_with("holds no token"), "{refused}");
        let token = Token::new(" 0123456789abcdef\n").expect("a token");
        assert!(token.matches("0123456789abcdef"));
        assert!(!token.matches("0123456789abcdeF") && !token.matches(""));
    }
}
