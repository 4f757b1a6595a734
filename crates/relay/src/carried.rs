//! Fields of messages that the tunnel carried.

use bytes::Bytes;
use strait_net::fields::Fields;

/// Those of a head; `block`: the bytes that they are in.
pub(crate) fn fields_of(carried: strait_tunnel::Fields<'_>, block: &Bytes) -> Fields {
    let mut fields = Fields::within(block.clone());
    for field in carried {
        // A head has at most 64 KiB.
        let _ = fields.carry(field);
    }
    fields
}
