//! Reads the tables: `types.txt` and `kinds.txt` say what stands where.

use std::collections::HashMap;

use super::model::{FieldLabel, Kind, Member, Message, Subresource, Table, Type};
use crate::names::NameRule;
use crate::schema::ListType;

/// A line of a table cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {line}")]
pub(crate) struct BadLine {
    what: &'static str,
    line: &'static str,
}

/// What can be done with most kinds, sorted.
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A message whose members' types are still text.
struct Draft {
    message: Message,
    types: HashMap<&'static str, &'static str>,
}

/// Reads both tables.
pub(crate) fn read(types: &'static str, kinds: &'static str) -> Result<Table, BadLine> {
    let mut drafts = read_messages(types)?;
    drafts.sort_by_key(|draft| draft.message.id);
    let index: HashMap<_, _> =
        drafts.iter().enumerate().map(|(at, draft)| (draft.message.id, at)).collect();
    let mut table = Table::default();
    for mut draft in drafts {
        for member in &mut draft.message.members {
            let text = draft.types[member.name];
            member.pointer = text.starts_with('*');
            member.ty = read_type(text.trim_start_matches('*'), &index)?;
        }
        draft.message.members.sort_by_key(|member| member.name);
        table.messages.push(draft.message);
    }
    table.kinds = read_kinds(kinds, &index)?;
    Ok(table)
}

/// Lines that say something, with their indentation.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn read_messages(text: &'static str) -> Result<Vec<Draft>, BadLine> {
    let mut packages = HashMap::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for line in lines(text) {
        let (facts, description) = line.split_once('|').unwrap_or((line, ""));
        let mut words = facts.split_whitespace();
        let mut word = || words.next().ok_or(BadLine { what: "too few words", line });
        let first = word()?;
        if line.starts_with(' ') {
            let draft = drafts.last_mut().ok_or(BadLine { what: "no message", line })?;
            let number = word()?.parse().map_err(|_| BadLine { what: "not a number", line })?;
            draft.types.insert(first, word()?);
            let mut member = member(first, number, description.trim());
            words.try_for_each(|flag| set_flag(&mut member, flag, line))?;
            draft.message.members.push(member);
        } else if first == "package" {
            packages.insert(word()?, word()?);
        } else {
            let id = word()?;
            let package = id.split('.').next().unwrap_or(id);
            let prefix = packages.get(package).ok_or(BadLine { what: "unknown package", line })?;
            drafts.push(draft(id, prefix, words.collect(), description.trim()));
        }
    }
    Ok(drafts)
}

fn draft(
    id: &'static str,
    prefix: &'static str,
    flags: Vec<&str>,
    description: &'static str,
) -> Draft {
    let mut message = Message {
        id,
        prefix,
        description,
        atomic: flags.contains(&"atomic"),
        members: Vec::new(),
        schema: std::sync::OnceLock::new(),
    };
    let mut types = HashMap::new();
    if flags.contains(&"object") {
        for (name, description) in [
            ("apiVersion", "Group and version that the object is written in."),
            ("kind", "What the object is. Cannot be changed."),
        ] {
            message.members.push(member(name, 0, description));
            types.insert(name, "string");
        }
    }
    Draft { message, types }
}

const fn member(name: &'static str, number: u32, description: &'static str) -> Member {
    Member {
        name,
        number,
        ty: Type::Bool,
        pointer: false,
        keep: false,
        omit_zero: false,
        required: false,
        enumeration: "",
        list_type: ListType::Atomic,
        patch_strategy: "",
        patch_merge_key: "",
        description,
    }
}

fn set_flag(member: &mut Member, flag: &'static str, line: &'static str) -> Result<(), BadLine> {
    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
    match name {
        "keep" => member.keep = true,
        "omitzero" => member.omit_zero = true,
        "required" => member.required = true,
        "enum" => member.enumeration = value,
        "set" => member.list_type = ListType::Set,
        "map" => member.list_type = ListType::Map(value.split(',').map(Into::into).collect()),
        "patch" => {
            (member.patch_strategy, member.patch_merge_key) =
                value.split_once(':').unwrap_or((value, ""));
        }
        _ => {
            return Err(BadLine { what: "unknown flag", line });
        }
    }
    Ok(())
}

fn read_type(text: &'static str, index: &HashMap<&'static str, usize>) -> Result<Type, BadLine> {
    if let Some(items) = text.strip_prefix("[]") {
        return Ok(Type::List(Box::new(read_type(items, index)?)));
    }
    if let Some(values) = text.strip_prefix("map[string]") {
        return Ok(Type::Map(Box::new(read_type(values, index)?)));
    }
    Ok(match text.split_once('/').unwrap_or((text, "")) {
        ("string", "") => Type::String(None),
        ("string", name) => Type::String(Some(name)),
        ("strings", name) => Type::Strings(name),
        ("bool", _) => Type::Bool,
        ("int32", _) => Type::Int32,
        ("int64", _) => Type::Int64,
        ("bytes", _) => Type::Bytes,
        ("Time", _) => Type::Time,
        ("MicroTime", _) => Type::MicroTime,
        ("FieldsV1", _) => Type::FieldsV1,
        ("RawExtension", _) => Type::RawExtension,
        ("IntOrString", _) => Type::IntOrString,
        _ => {
            let at = index.get(text).ok_or(BadLine { what: "unknown type", line: text })?;
            Type::Message(*at)
        }
    })
}

fn read_kinds(
    text: &'static str,
    index: &HashMap<&'static str, usize>,
) -> Result<Vec<Kind>, BadLine> {
    let mut kinds: Vec<Kind> = Vec::new();
    for line in lines(text) {
        let words: Vec<_> = line.split_whitespace().collect();
        if line.starts_with(' ') {
            let kind = kinds.last_mut().ok_or(BadLine { what: "no kind", line })?;
            set_property(kind, words[0], &words[1..], line)?;
            continue;
        }
        let [_, id, group_version, plural, rest @ ..] = &words[..] else {
            return Err(BadLine { what: "too few words", line });
        };
        let message = *index.get(id).ok_or(BadLine { what: "unknown message", line })?;
        let (group, version) =
            group_version.split_once('/').ok_or(BadLine { what: "no version", line })?;
        let name = id.rsplit_once('.').map_or(*id, |(_, name)| name);
        kinds.push(Kind {
            group: if group == "-" { "" } else { group },
            version,
            kind: name,
            plural,
            singular: name.to_ascii_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: rest.contains(&"namespaced"),
            verbs: VERBS.into(),
            subresources: Vec::new(),
            fields: Vec::new(),
            naming: NameRule::default(),
            create_on_update: false,
            unconditional_update: true,
            message,
        });
    }
    Ok(kinds)
}

fn set_property(
    kind: &mut Kind,
    name: &str,
    words: &[&'static str],
    line: &'static str,
) -> Result<(), BadLine> {
    match (name, words) {
        ("names", _) => kind.short_names = words.into(),
        ("categories", _) => kind.categories = words.into(),
        ("verbs", _) => kind.verbs = words.into(),
        ("fields", _) => kind.fields = words.iter().map(|word| field_label(word)).collect(),
        ("create-on-update", []) => kind.create_on_update = true,
        ("conditional-update", []) => kind.unconditional_update = false,
        ("naming", ["label"]) => kind.naming = NameRule::Label,
        ("naming", ["path"]) => kind.naming = NameRule::PathSegment,
        ("subresource", [name, verbs @ ..]) => {
            kind.subresources.push(Subresource { name, verbs: verbs.into() });
        }
        _ => {
            return Err(BadLine { what: "unknown property", line });
        }
    }
    Ok(())
}

fn field_label(word: &'static str) -> FieldLabel {
    let (label, paths) = word.split_once('=').unwrap_or((word, word));
    FieldLabel { label, paths: paths.split(',').map(|path| path.split('.').collect()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &str = "
# a comment
package p io.example.v1
message p.A object atomic | An A.
  b 2 *p.B | Its B.
  c 1 []string/v1.C keep required set patch=merge:x | Some Cs.
message p.B | A B.
  m 1 map[string]bytes |
";

    #[test]
    fn messages_know_their_members() {
        let table = read(TYPES, "kind p.A g/v1 as namespaced\n  fields x y=a.b,c\n").unwrap();
        let a = table.message("p.A").unwrap();
        assert_eq!((a.definition().as_str(), a.go_type().as_str()), ("io.example.v1.A", "v1.A"));
        assert!(a.atomic);
        let names: Vec<_> = a.members.iter().map(|member| member.name).collect();
        assert_eq!(names, ["apiVersion", "b", "c", "kind"]);
        let [_, b, c, _] = &a.members[..] else { panic!("four members") };
        assert_eq!((b.number, b.pointer, b.description), (2, true, "Its B."));
        assert_eq!(b.ty, Type::Message(1));
        assert!(c.keep && c.required && !c.pointer);
        assert_eq!(c.list_type, ListType::Set);
        assert_eq!((c.patch_strategy, c.patch_merge_key), ("merge", "x"));
        assert_eq!(c.ty.go_type(&table), "[]v1.C");
        let kind = &table.kinds[0];
        assert_eq!(
            (kind.group, kind.kind, &*kind.singular, kind.namespaced),
            ("g", "A", "a", true)
        );
        assert_eq!(kind.fields[1].label, "y");
        assert_eq!(kind.fields[1].paths, [vec!["a", "b"], vec!["c"]]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (types, kinds, what) in [
            ("message x.A |", "", "unknown package"),
            ("  a 1 string |", "", "no message"),
            ("package p q\nmessage p.A |\n  a x string", "", "not a number"),
            ("package p q\nmessage p.A |\n  a 1 p.B", "", "unknown type"),
            ("package p q\nmessage p.A |\n  a 1 string loud", "", "unknown flag"),
            ("package p q\nmessage p.A |\n  a 1", "", "too few words"),
            ("", "kind p.A g/v1 as", "unknown message"),
            ("", "  names x", "no kind"),
        ] {
            assert_eq!(read(types, kinds).unwrap_err().what, what);
        }
    }
}
