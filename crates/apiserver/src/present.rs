//! Stored objects in the form that a version serves.

use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_types::Revision;

use crate::catalog::{Definition, Resource};

impl Resource {
    /// `apiVersion` and `kind` that objects are stored with.
    #[must_use]
    pub fn stored_type(&self) -> (String, String) {
        match &self.definition {
            Definition::Builtin(kind) => {
                let stored = kind.stored_as();
                (stored.group_version().to_string(), stored.kind.to_owned())
            }
            Definition::Custom(_) => (self.api_version(), self.kind().to_owned()),
        }
    }

    /// Whether objects are stored in another form than this version serves.
    #[must_use]
    pub fn is_converted(&self) -> bool {
        match &self.definition {
            Definition::Builtin(kind) => !std::ptr::eq(kind.stored_as(), *kind),
            Definition::Custom(_) => false,
        }
    }

    /// A stored tree in the form that this version serves.
    ///
    /// # Errors
    /// 500: the stored object cannot be converted.
    pub fn served_form(&self, stored: Value) -> Result<Value, Status> {
        match &self.definition {
            Definition::Builtin(kind) if self.is_converted() => {
                let served = kind.from_stored(stored);
                served.map_err(|_| Status::internal("a stored object cannot be converted"))
            }
            _ => Ok(stored),
        }
    }

    /// The bytes of an object as this version serves it, at a revision.
    ///
    /// # Errors
    /// 500: the stored object cannot be converted.
    pub fn served_bytes(&self, object: &Object, revision: Revision) -> Result<Vec<u8>, Status> {
        if self.is_converted() {
            return Ok(self.served_form(object.body.to_value(revision))?.to_bytes());
        }
        let mut bytes = Vec::new();
        object.body.write_at(revision, &mut bytes);
        Ok(bytes)
    }
}
