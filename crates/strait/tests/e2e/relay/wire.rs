//! TLS to the hub, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::site::PATIENCE;

/// One connection to the hub.
pub(super) struct Wire(StreamOwned<ClientConnection, TcpStream>);

impl Wire {
    /// Connects for HTTP/1.1.
    pub(super) fn connect(address: SocketAddr, authority: &Path) -> Self {
        let config = Arc::new(trust(authority));
        let name = ServerName::from(address.ip());
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        // A server that has refused the beginning need not read the rest.
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }

    /// Reads exactly so many bytes.
    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads a head, its empty line included.
    pub(super) fn read_head(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.extend(self.read(1));
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads an answer with a length: its head and its body.
    pub(super) fn read_answer(&mut self) -> (String, String) {
        let head = self.read_head();
        let lower = head.to_lowercase();
        let length =
            lower.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let body = self.read(length.map_or(0, |text| text.parse().unwrap()));
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until the server closes.
    pub(super) fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = self.0.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
    }
}

/// What a client of the hub trusts.
pub(super) fn trust(authority: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}
