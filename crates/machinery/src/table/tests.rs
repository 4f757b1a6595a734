//! Tables against what a kube-apiserver 1.34 printed (`testdata/apiserver`).

use super::*;
use crate::builtin::{kind, kinds};
use crate::json::parse;

fn recorded(bytes: &str) -> Value {
    parse(bytes.as_bytes()).unwrap()
}

fn time_at(value: &Value) -> Timestamp {
    parse_time(value.str_at(&["now"]).unwrap(), Layout::Seconds).unwrap()
}

fn kind_of(object: &Value) -> &'static Kind {
    let version = object.str_at(&["apiVersion"]).unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    kind(group, version, object.str_at(&["kind"]).unwrap()).unwrap()
}

#[test]
fn built_in_kinds_have_the_cells_that_upstream_prints() {
    for table in recorded(include_str!("../../testdata/apiserver/tables.json")).as_array().unwrap()
    {
        let now = time_at(table);
        let rows = table.array_at(&["rows"]);
        let kind = kind_of(rows[0].get("object").unwrap());
        let printer = Printer::of_builtin(kind).unwrap();
        let mut columns = printer.columns.clone();
        if let Value::Array(columns) = &mut columns {
            for column in columns {
                assert!(!column.str_at(&["description"]).unwrap().is_empty());
                column.remove(&["description"]);
            }
        }
        assert_eq!(Some(&columns), table.get("columns"), "{}", kind.plural);
        for row in rows {
            let object = kind.to_stored(row.get("object").unwrap().clone()).unwrap();
            assert_eq!(Some(&printer.cells(&object, now)), row.get("cells"), "{}", kind.plural);
        }
    }
}

#[test]
fn declared_columns_have_the_cells_that_upstream_prints() {
    let recording = recorded(include_str!("../../testdata/apiserver/columns.json"));
    let now = time_at(&recording);
    let object = recording.get("object").unwrap();
    for column in recording.array_at(&["columns"]) {
        let text = |name: &str| column.str_at(&[name]).unwrap();
        let custom = CustomColumn::new(text("name"), text("type"), text("path")).unwrap();
        assert_eq!(Some(&custom.cell(object, now)), column.get("cell"), "{}", text("path"));
    }
}

#[test]
fn custom_kinds_without_columns_show_name_and_age() {
    let printer = Printer::of_custom(Vec::new());
    let names: Vec<_> =
        printer.columns.as_array().unwrap().iter().map(|column| column.str_at(&["name"])).collect();
    assert_eq!(names, [Some("Name"), Some("Age")]);
    let object =
        object! {"metadata": object!{"name": "w", "creationTimestamp": "2026-01-01T00:00:00Z"}};
    let now = parse_time("2026-01-01T00:01:00Z", Layout::Seconds).unwrap();
    assert_eq!(printer.cells(&object, now).to_string(), r#"["w","60s"]"#);
}

#[test]
fn reviews_are_not_tables() {
    for kind in kinds() {
        let stored = kind.verbs.contains(&"list");
        assert_eq!(Printer::of_builtin(kind).is_some(), stored, "{}", kind.plural);
    }
}

#[test]
fn a_list_is_written_row_by_row() {
    let config_map = kind("", "v1", "ConfigMap").unwrap();
    let printer = Printer::of_builtin(config_map).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let list =
        ListMeta { resource_version: "7".into(), continue_token: "c".into(), remaining: Some(3) };
    let mut out = Vec::new();
    printer.begin(&list, &mut out);
    for (at, name) in ["a", "b"].into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let object = object! {"metadata": object!{"name": name}, "data": object!{"x": "1"}};
        printer.row(&object, IncludeObject::Metadata, now, &mut out);
    }
    end(&mut out);
    let mut table = parse(&out).unwrap();
    assert_eq!(table.remove(&["columnDefinitions"]).unwrap().as_array().unwrap().len(), 3);
    assert_eq!(
        table.to_string(),
        r#"{"apiVersion":"meta.k8s.io/v1","kind":"Table","metadata":{"continue":"c","remainingItemCount":3,"resourceVersion":"7"},"rows":[{"cells":["a",1,"<unknown>"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"a"}}},{"cells":["b",1,"<unknown>"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"b"}}}]}"#
    );
}

#[test]
fn an_event_of_a_watch_is_a_table_of_one_row() {
    let event = kind("events.k8s.io", "v1", "Event").unwrap();
    let printer = Printer::of_builtin(event).unwrap();
    let stored = event
        .to_stored(
            event
                .decode(object! {"metadata": object!{"name": "e", "resourceVersion": "9"}})
                .unwrap()
                .object,
        )
        .unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let first = parse(&printer.single(&stored, true, IncludeObject::None, now)).unwrap();
    assert_eq!(first.array_at(&["columnDefinitions"]).len(), 10);
    assert_eq!(first.str_at(&["metadata", "resourceVersion"]), Some("9"));
    assert_eq!(first.array_at(&["rows"])[0].get("object"), Some(&Value::Null));
    let next = parse(&printer.single(&stored, false, IncludeObject::Object, now)).unwrap();
    assert_eq!(next.get("columnDefinitions"), Some(&Value::Null));
    let object = next.array_at(&["rows"])[0].get("object").unwrap();
    assert_eq!(object.str_at(&["apiVersion"]), Some("events.k8s.io/v1"));
}

#[test]
fn the_parameter_is_one_of_three_words() {
    assert_eq!(IncludeObject::parse(""), Ok(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse("None"), Ok(IncludeObject::None));
    assert_eq!(
        IncludeObject::parse("Bad").unwrap_err().message,
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Bad\": must be 'Metadata', 'Object', 'None', or empty"
    );
}
