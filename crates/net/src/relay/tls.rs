//! By which certificate a relay is known: the one that its address names, or one
//! that the usual authorities vouch for. Certificates protect ids and tokens on
//! the way to the relay, not what devices say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::tls::CaTlsConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::RelayAddress;

/// What a certificate is known by.
pub(super) fn pin_of(certificate: &[u8]) -> [u8; 32] {
    blake3::derive_key("ccpeer 2026 relay certificate", certificate)
}

/// The certificates that addresses have named, by host.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<BTreeMap<String, BTreeSet<[u8; 32]>>>);

impl Pins {
    fn pins(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<[u8; 32]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, address: &RelayAddress) {
        if let Some((host, pin)) = address.pin() {
            self.pins().entry(host_key(&host)).or_default().insert(pin);
        }
    }

    /// For every encrypted connection to a relay.
    pub(super) fn config(self: &Arc<Self>) -> CaTlsConfig {
        let pins = Arc::clone(self);
        CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| {
            Ok(Arc::new(Verifier::new(Arc::clone(&pins), provider)?))
        }))
    }

    fn of(&self, host: &str) -> Option<BTreeSet<[u8; 32]>> {
        self.pins().get(&host_key(host)).cloned()
    }
}

fn host_key(host: &str) -> String {
    host.trim_matches(|c| matches!(c, '[' | ']'))
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

#[derive(Debug)]
struct Verifier {
    pins: Arc<Pins>,
    public: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(pins: Arc<Pins>, provider: Arc<CryptoProvider>) -> io::Result<Self> {
        let public = CaTlsConfig::embedded().server_cert_verifier(Arc::clone(&provider))?;
        Ok(Self {
            pins,
            public,
            provider,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.pins.of(&server_name.to_str()) {
            Some(pins) if pins.contains(&pin_of(end_entity)) => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            None => self.public.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
