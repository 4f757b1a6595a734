//! Protocols that are more than requests and answers.

use super::origin::Origin;
use super::site::Site;
use super::wire::Wire;

#[test]
fn row_14_another_protocol_passes_both_ways_to_its_end() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let auth = format!("Host: h\r\nAuthorization: Bearer {}\r\n", site.token("ci"));
    let asks = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let mut wire = Wire::connect(site.address(), &site.authority());
    // Some of the other protocol comes with the request.
    wire.write(
        format!("GET /services/relay/smith/ci/echo-bytes HTTP/1.1\r\n{auth}{asks}\x01: early\n")
            .as_bytes(),
    );
    let head = wire.read_head();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("upgrade: websocket"),
        "{head}"
    );
    assert_eq!(wire.read(9), b"\x01: early\n");
    for size in [1, 100, 70_000] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        wire.write(&bytes);
        assert_eq!(wire.read(bytes.len()), bytes);
    }
    wire.write(b"last");
    wire.finish();
    assert_eq!(wire.read_to_end(), "last", "each direction has its own end");

    // Refused by the service: what came behind the request is no request.
    let mut wire = Wire::connect(site.address(), &site.authority());
    let hidden = format!("GET /services/relay/smith/ci/hidden HTTP/1.1\r\n{auth}\r\n");
    wire.write(
        format!("GET /services/relay/smith/ci/plain HTTP/1.1\r\n{auth}{asks}{hidden}").as_bytes(),
    );
    let said = wire.read_to_end();
    assert!(
        said.starts_with("HTTP/1.1 200 ") && said.matches("HTTP/1.1 200").count() == 1,
        "{said}"
    );
    assert_eq!(origin.count("GET", "/hidden"), 0);
}
