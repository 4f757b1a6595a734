//! What the builtin tables say of the place that is being merged.

use super::{Refused, unclassified};
use crate::builtin::{Member, Message, Table, Type};
use crate::go_text::quoted;

/// The type of a place.
#[derive(Clone, Copy)]
pub(super) struct Shape<'t> {
    table: &'t Table,
    go: Go<'t>,
    pointer: bool,
}

/// A Go type, as far as merging asks.
#[derive(Clone, Copy)]
enum Go<'t> {
    Struct(&'t Message),
    /// A struct with a JSON form of its own, and so without members to look up.
    Opaque(&'static str),
    /// No struct; the kind of its type.
    Other(&'static str),
}

/// A member, and how it is merged.
pub(super) struct Field<'t> {
    /// Its type; of a list that of the elements.
    pub(super) shape: Shape<'t>,
    strategy: &'static str,
    /// The member of its elements that tells them apart; empty for scalars.
    pub(super) merge_key: &'static str,
}

impl Field<'_> {
    /// Whether a list is merged by element; it is replaced otherwise.
    pub(super) fn merges(&self) -> bool {
        self.has("merge")
    }

    /// Whether an object is replaced; it is merged otherwise.
    pub(super) fn replaces(&self) -> bool {
        self.has("replace")
    }

    /// The other strategy there is, `retainKeys`, is for those who make patches.
    fn has(&self, strategy: &str) -> bool {
        self.strategy.split(',').any(|word| word == strategy)
    }
}

impl<'t> Shape<'t> {
    pub(super) const fn of_message(table: &'t Table, message: &'t Message) -> Self {
        Self { table, go: Go::Struct(message), pointer: false }
    }

    fn of(table: &'t Table, ty: &'t Type, pointer: bool) -> Self {
        let go = match ty {
            Type::Message(at) => Go::Struct(&table.messages[*at]),
            Type::Time => Go::Opaque("Time"),
            Type::MicroTime => Go::Opaque("MicroTime"),
            Type::FieldsV1 => Go::Opaque("FieldsV1"),
            Type::RawExtension => Go::Opaque("RawExtension"),
            Type::IntOrString => Go::Opaque("IntOrString"),
            Type::String(_) => Go::Other("string"),
            Type::Bool => Go::Other("bool"),
            Type::Int32 => Go::Other("int32"),
            Type::Int64 => Go::Other("int64"),
            Type::Bytes | Type::List(_) | Type::Strings(_) => Go::Other("slice"),
            Type::Map(_) => Go::Other("map"),
        };
        Self { table, go, pointer }
    }

    /// The member of that name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn member(&self, name: &str) -> Result<Field<'t>, Refused> {
        let member = self.look_up(name)?;
        Ok(self.field(member, Self::of(self.table, &member.ty, member.pointer)))
    }

    /// The list of that name.
    ///
    /// # Errors
    /// There is none, or it is no list.
    pub(super) fn list(&self, name: &str) -> Result<Field<'t>, Refused> {
        let member = self.look_up(name)?;
        let other = |kind| Self { table: self.table, go: Go::Other(kind), pointer: false };
        let elements = match &member.ty {
            Type::List(items) if is_list(items) && !member.pointer => {
                return Err(unclassified("unexpected slice of slice"));
            }
            Type::List(items) => Self::of(self.table, items, false),
            Type::Strings(_) => other("string"),
            Type::Bytes => other("uint8"),
            ty if member.pointer => Self::of(self.table, ty, false),
            _ => {
                let kind = self.kind();
                return Err(unclassified(format!("expected slice or array type, but got: {kind}")));
            }
        };
        Ok(self.field(member, elements))
    }

    /// The word of Go's `reflect`.
    pub(super) const fn kind(&self) -> &'static str {
        match self.go {
            _ if self.pointer => "ptr",
            Go::Struct(_) | Go::Opaque(_) => "struct",
            Go::Other(kind) => kind,
        }
    }

    const fn field(&self, member: &'t Member, shape: Self) -> Field<'t> {
        Field { shape, strategy: member.patch_strategy, merge_key: member.patch_merge_key }
    }

    fn look_up(&self, name: &str) -> Result<&'t Member, Refused> {
        let (members, holder): (&[Member], _) = match self.go {
            Go::Struct(message) => (&message.members, message.name()),
            Go::Opaque(name) => (&[], name),
            Go::Other(kind) => {
                return Err(unclassified(format!(
                    "merging an object in json but data type is not struct, instead is: {kind}"
                )));
            }
        };
        let at = members.binary_search_by(|member| member.name.cmp(name)).map_err(|_| {
            let name = quoted(name);
            unclassified(format!(
                "unable to find api field in struct {holder} for the json field {name}"
            ))
        })?;
        Ok(&members[at])
    }
}

const fn is_list(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Strings(_) | Type::Bytes)
}
