//! TLS of the management listener and its client.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::TlsFiles;
use crate::problem::Problem;

const HINT: &str =
    "name PEM files: the certificate with those that vouch for it, and its private key";

/// What a server shows.
///
/// # Errors
///
/// Which file cannot be used, and why.
pub(super) fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, Problem> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| cannot("private key", &files.key, &error))?;
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            let files = format!(
                "{} and {}",
                files.certificate.display(),
                files.key.display()
            );
            Problem::invalid(format!("cannot use {files} for TLS: {error}"), HINT)
        })?;
    Ok(config.into())
}

/// What a client trusts: servers whom a certificate of this file vouches for.
///
/// # Errors
///
/// Why the file cannot be used.
pub(crate) fn client(trusted: &Path) -> Result<Arc<ClientConfig>, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted)? {
        roots
            .add(certificate)
            .map_err(|error| cannot("certificate", trusted, &error))?;
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::failed(format!("TLS cannot be used: {error}"), ""))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config.into())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(cannot("certificate", path, &"there is none in it")),
        Err(error) => Err(cannot("certificate", path, &error)),
    }
}

fn cannot(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Problem {
    Problem::invalid(
        format!("cannot read the {what} in {}: {error}", path.display()),
        HINT,
    )
}
