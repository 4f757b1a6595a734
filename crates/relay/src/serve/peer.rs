//! Peers that ask in their own name: agents, of their hub.
//!
//! What such a peer says of who asks, and from where, is replaced by what its certificate proved
//! before anything is decided by it.

use std::net::SocketAddr;

use strait_tunnel::{HeadError, OpenHead, RawHead, Request, RequestParts, Tlvs};

/// A peer whose certificate was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Who it is: an identity, JSON.
    pub identity: &'a [u8],
    /// Where it is.
    pub address: SocketAddr,
}

impl Peer<'_> {
    /// An opening of the peer's as it counts.
    ///
    /// # Errors
    /// With who it is, it is too large.
    pub(super) fn head(&self, said: &OpenHead) -> Result<OpenHead, HeadError> {
        match said {
            OpenHead::Http(request) => {
                let parts = request.parts();
                let parts = RequestParts { tlvs: self.tlvs(parts.tlvs), ..parts };
                Request::new(&parts, request.fields()).map(OpenHead::Http)
            }
            OpenHead::Raw(raw) => RawHead::new(&self.tlvs(raw.tlvs())).map(OpenHead::Raw),
            OpenHead::Control => Ok(OpenHead::Control),
        }
    }

    fn tlvs<'t>(&'t self, said: Tlvs<'t>) -> Tlvs<'t> {
        Tlvs { identity: self.identity, client: Some(self.address), forwarded: "", ..said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_say_who_it_is() {
        let address = "192.0.2.7:4000".parse().unwrap();
        let peer = Peer { identity: br#"{"user":"smith"}"#, address };
        let said = Tlvs {
            service: "front50",
            identity: br#"{"user":"admin"}"#,
            client: Some("198.51.100.1:1".parse().unwrap()),
            forwarded: "198.51.100.2",
            request_id: "r-1",
            ..Tlvs::default()
        };
        let method = strait_tunnel::Method::new("GET").unwrap();
        let parts = RequestParts { method, authority: "a", path: "/x", tlvs: said };
        let request = OpenHead::Http(Request::new(&parts, []).unwrap());
        let raw = OpenHead::Raw(RawHead::new(&said).unwrap());
        for head in [request, raw] {
            let head = peer.head(&head).unwrap();
            let tlvs = match &head {
                OpenHead::Http(request) => request.parts().tlvs,
                OpenHead::Raw(raw) => raw.tlvs(),
                OpenHead::Control => unreachable!(),
            };
            assert_eq!((tlvs.identity, tlvs.client), (peer.identity, Some(address)));
            assert_eq!((tlvs.forwarded, tlvs.service, tlvs.request_id), ("", "front50", "r-1"));
        }
    }
}
