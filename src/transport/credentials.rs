//! What proves that a node belongs to the cluster: a shared secret, or certificate files.
//!
//! Owns the text form of a secret and its least length. Does not make certificates; `tls` does.
//! Invariant: a secret is never shown by `Debug`, in an error or in a log line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Error;

/// What this node shows to others and demands of them.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Certificates are derived from a secret that all nodes share.
    Secret {
        /// Signs what this node shows, and is accepted.
        current: Secret,
        /// Is accepted too. To change the secret of a running cluster: give every node the new one here, then swap
        /// the two on every node, then take the old one away.
        previous: Option<Secret>,
    },
    /// Certificates come from files. The certificate must be valid for `<cluster>.quorate.internal`, for clients
    /// and for servers.
    Pem {
        /// The certificate chain of this node, leaf first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
        /// The authorities whose certificates are accepted.
        authorities: PathBuf,
    },
}

/// At least 32 bytes that all nodes of a cluster share and nobody else knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The fewest bytes a secret may have. A node shows a certificate signed with it to anyone who asks, so that a
    /// weak one could be guessed without talking to the cluster again.
    pub const LENGTH_MIN: usize = 32;
    /// The most bytes a secret may have.
    pub const LENGTH_MAX: usize = 1_024;

    /// Makes a secret from 32 random bytes.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// Makes a secret from bytes.
    ///
    /// # Errors
    /// When there are too few or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < Self::LENGTH_MIN {
            return Err(Error::fatal(format!(
                "secret of {} bytes is shorter than the least length of {} bytes; `quorate keygen` makes one",
                bytes.len(),
                Self::LENGTH_MIN
            )));
        }
        if bytes.len() > Self::LENGTH_MAX {
            return Err(Error::fatal(format!(
                "secret of {} bytes is longer than the limit of {} bytes",
                bytes.len(),
                Self::LENGTH_MAX
            )));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Reads the text form: hexadecimal digits, two for each byte, with blanks around them ignored.
    ///
    /// # Errors
    /// When the text is not hexadecimal, or the secret is too short or too long.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let digits = text.trim().as_bytes();
        let wrong = || {
            Error::fatal(
                "secret is not an even number of hexadecimal digits; `quorate keygen` makes one",
            )
        };
        if !digits.len().is_multiple_of(2) {
            return Err(wrong());
        }
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        Self::from_bytes(&bytes.ok_or_else(wrong)?)
    }

    /// Reads the text form from a file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no secret; the text names the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let in_file =
            |what: String| Error::fatal(format!("secret file {}: {what}", path.display()));
        let size = std::fs::metadata(path).map_err(|e| in_file(e.to_string()))?.len();
        if size > 4 * Self::LENGTH_MAX as u64 {
            return Err(in_file(format!("{size} bytes are too many for a secret")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| in_file(e.to_string()))?;
        Self::from_text(&text).map_err(|e| in_file(e.to_string()))
    }

    /// Gives the text form that [`Secret::from_text`] reads, to be written to a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_survives_its_text_form() {
        let secret = Secret::generate([0xa7; 32]);
        assert_eq!(secret.to_text().len(), 64);
        assert_eq!(Secret::from_text(&format!(" {}\n", secret.to_text())).unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "Secret(32 bytes)");
    }

    #[test]
    fn short_secret_is_refused_with_both_numbers() {
        let text = Secret::from_bytes(&[1; 31]).unwrap_err().to_string();
        assert!(text.contains("31 bytes") && text.contains("32 bytes"), "{text}");
        let text = Secret::from_bytes(&[1; 1_025]).unwrap_err().to_string();
        assert!(text.contains("1025 bytes") && text.contains("1024 bytes"), "{text}");
        for wrong in ["", "a", "correct horse battery staple!!!!", "é", &"0g".repeat(32)] {
            assert!(Secret::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secret_file_errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(Secret::read(&path).unwrap_err().to_string().contains("secret file"));
        std::fs::write(&path, "00ff\n").unwrap();
        let text = Secret::read(&path).unwrap_err().to_string();
        assert!(text.contains(&*path.to_string_lossy()) && text.contains("2 bytes"), "{text}");
        std::fs::write(&path, format!("{}\n", Secret::generate([3; 32]).to_text())).unwrap();
        assert_eq!(Secret::read(&path).unwrap(), Secret::generate([3; 32]));
    }
}
