//! Strategic merge patches: what they do to a table of a few types, what a kube-apiserver 1.34
//! did with them (`testdata/apiserver`), and what holds for all of them.

mod properties;
mod refused;

use super::*;
use crate::json::{MAX_DEPTH, STACK_BYTES, parse};

/// Types with every way of merging, in the places where Kubernetes has them.
const TYPES: &str = "
package core io.k8s.api.core.v1
message core.Pod object |
  metadata 1 core.Meta |
  spec 2 core.PodSpec |
message core.Meta |
  labels 1 map[string]string |
  finalizers 2 []string patch=merge |
  ownerReferences 3 []core.Owner patch=merge:uid |
message core.Owner |
  uid 1 string |
  name 2 string |
message core.PodSpec |
  containers 1 []core.Container patch=merge:name |
  volumes 2 []core.Volume patch=merge,retainKeys:name |
  tolerations 3 []core.Toleration |
  nodeSelector 4 map[string]string |
  selector 5 *core.Selector patch=replace |
  strategy 6 core.Strategy patch=retainKeys |
  limits 7 map[string]core.Selector |
  matrix 8 []strings/v1.Row patch=merge |
  raw 9 RawExtension |
  loose 10 []core.Owner patch=merge |
  parent 11 *core.PodSpec |
  children 12 []core.PodSpec patch=merge:name |
  name 13 string |
message core.Container |
  name 1 string |
  image 2 string |
  args 3 []string |
  env 4 []core.Env patch=merge:name |
  ports 5 []core.Port patch=merge:containerPort |
message core.Env |
  name 1 string |
  value 2 string |
message core.Port |
  containerPort 1 int32 |
  protocol 2 string |
message core.Volume |
  name 1 string |
  emptyDir 2 *core.Selector |
  hostPath 3 *core.Selector |
message core.Toleration |
  key 1 string |
message core.Selector |
  a 1 string |
  b 2 string |
message core.Strategy |
  type 1 string |
  rolling 2 *core.Selector |
";

/// The spec of a pod after a patch of it, or what was refused.
fn patched(spec: &str, patch: &str) -> Result<String, Status> {
    let table = builtin::read_table(TYPES);
    let wrap = |spec: &str| format!(r#"{{"spec":{spec}}}"#);
    let patch = StrategicPatch::decode(wrap(patch).as_bytes())?.patch;
    let pod = parse(wrap(spec).as_bytes()).unwrap();
    let pod = patch.apply_in(&table, pod, table.message("core.Pod").unwrap())?;
    Ok(pod.get("spec").map(Value::to_string).unwrap_or_default())
}

fn check(cases: &[(&str, &str, &str)]) {
    for (spec, patch, result) in cases {
        assert_eq!(patched(spec, patch).as_deref(), Ok(*result), "{spec} {patch}");
    }
}

#[test]
fn objects_are_merged_as_by_a_merge_patch() {
    check(&[
        (r#"{"nodeSelector":{"a":"1"}}"#, "{}", r#"{"nodeSelector":{"a":"1"}}"#),
        (
            r#"{"nodeSelector":{"a":"1","b":"2"}}"#,
            r#"{"nodeSelector":{"a":null,"b":"3","c":"4","d":null}}"#,
            r#"{"nodeSelector":{"b":"3","c":"4"}}"#,
        ),
        (r#"{"nodeSelector":{"a":"1"}}"#, r#"{"nodeSelector":null}"#, "{}"),
        ("{}", r#"{"selector":{"a":"1","b":null}}"#, r#"{"selector":{"a":"1"}}"#),
        (r#"{"selector":null}"#, r#"{"selector":{"a":"1"}}"#, r#"{"selector":{"a":"1"}}"#),
        (r#"{"nodeSelector":{"a":"1"}}"#, r#"{"nodeSelector":"x"}"#, r#"{"nodeSelector":"x"}"#),
        ("{}", r#"{"news":[{"x":[1]}]}"#, r#"{"news":[{"x":[1]}]}"#),
    ]);
}

#[test]
fn an_object_is_replaced_where_the_table_or_a_directive_says_so() {
    let strategy = r#"{"strategy":{"rolling":{"a":"1"},"type":"R"}}"#;
    check(&[
        (r#"{"selector":{"a":"1"}}"#, r#"{"selector":{"b":"2"}}"#, r#"{"selector":{"b":"2"}}"#),
        (
            strategy,
            r#"{"strategy":{"$patch":"replace","rolling":null,"type":"C"}}"#,
            r#"{"strategy":{"rolling":null,"type":"C"}}"#,
        ),
        (strategy, r#"{"strategy":{"$patch":"delete","type":"C"}}"#, r#"{"strategy":{}}"#),
        (
            strategy,
            r#"{"strategy":{"$retainKeys":["type"],"type":"C","rolling":null}}"#,
            r#"{"strategy":{"type":"C"}}"#,
        ),
        ("{}", r#"{"strategy":{"$patch":"delete","type":"C"}}"#, "{}"),
        ("{}", r#"{"strategy":{"$patch":null,"type":"C"}}"#, r#"{"strategy":{"type":"C"}}"#),
    ]);
}

#[test]
fn lists_are_merged_by_their_key() {
    let two = r#"{"containers":[{"image":"1","name":"a"},{"image":"2","name":"b"}]}"#;
    check(&[
        (
            two,
            r#"{"containers":[{"name":"b","image":"3"}]}"#,
            r#"{"containers":[{"image":"1","name":"a"},{"image":"3","name":"b"}]}"#,
        ),
        (
            two,
            r#"{"containers":[{"name":"c"},{"name":"a","image":null}]}"#,
            r#"{"containers":[{"name":"c"},{"name":"a"},{"image":"2","name":"b"}]}"#,
        ),
        (
            two,
            r#"{"containers":[{"name":"a","$patch":"delete"},{"name":"x","$patch":"delete"}]}"#,
            r#"{"containers":[{"image":"2","name":"b"}]}"#,
        ),
        (
            two,
            r#"{"containers":[{"name":"c"},{"$patch":"replace"}]}"#,
            r#"{"containers":[{"name":"c"}]}"#,
        ),
        (two, r#"{"containers":[{"$patch":"replace"}]}"#, r#"{"containers":[]}"#),
        (two, r#"{"containers":[]}"#, two),
        (two, r#"{"containers":null}"#, "{}"),
        (
            "{}",
            r#"{"containers":[{"name":"a","image":null},{"name":"b","$patch":"delete"}]}"#,
            r#"{"containers":[{"name":"a"}]}"#,
        ),
        // What is added to a list is taken as it is; decoding sorts it out.
        (
            two,
            r#"{"containers":[{"name":"c","image":null}]}"#,
            r#"{"containers":[{"image":null,"name":"c"},{"image":"1","name":"a"},{"image":"2","name":"b"}]}"#,
        ),
        // The first of several elements of one key is merged.
        (
            r#"{"containers":[{"name":"a","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":80,"protocol":"UDP"}]}]}"#,
            r#"{"containers":[{"name":"a","ports":[{"containerPort":80,"protocol":"SCTP"}]}]}"#,
            r#"{"containers":[{"name":"a","ports":[{"containerPort":80,"protocol":"SCTP"},{"containerPort":80,"protocol":"UDP"}]}]}"#,
        ),
        (
            r#"{"containers":[{"env":[{"name":"X","value":"1"},{"name":"Y","value":"2"}],"name":"a"}]}"#,
            r#"{"containers":[{"name":"a","env":[{"name":"Y","value":"3"},{"name":"X","$patch":"delete"}]}]}"#,
            r#"{"containers":[{"env":[{"name":"Y","value":"3"}],"name":"a"}]}"#,
        ),
        (
            r#"{"volumes":[{"emptyDir":{},"name":"v"}]}"#,
            r#"{"volumes":[{"name":"v","hostPath":{"a":"/"},"$retainKeys":["name","hostPath"]}]}"#,
            r#"{"volumes":[{"hostPath":{"a":"/"},"name":"v"}]}"#,
        ),
    ]);
}

#[test]
fn other_lists_are_replaced() {
    check(&[
        (
            r#"{"tolerations":[{"key":"a"},{"key":"b"}]}"#,
            r#"{"tolerations":[{"key":"c"}]}"#,
            r#"{"tolerations":[{"key":"c"}]}"#,
        ),
        (
            r#"{"containers":[{"args":["a","b"],"name":"x"}]}"#,
            r#"{"containers":[{"args":["b"],"name":"x"}]}"#,
            r#"{"containers":[{"args":["b"],"name":"x"}]}"#,
        ),
    ]);
}

#[test]
fn lists_of_scalars_are_merged_as_sets() {
    let with = |patch: &str| {
        let table = builtin::read_table(TYPES);
        let pod = parse(br#"{"metadata":{"finalizers":["a","b","c"]}}"#).unwrap();
        let patch = format!(r#"{{"metadata":{patch}}}"#);
        let patch = StrategicPatch::decode(patch.as_bytes()).unwrap().patch;
        let pod = patch.apply_in(&table, pod, table.message("core.Pod").unwrap()).unwrap();
        pod.array_at(&["metadata", "finalizers"]).iter().cloned().collect::<Value>().to_string()
    };
    for (patch, finalizers) in [
        (r#"{"finalizers":["d","b"]}"#, r#"["d","a","b","c"]"#),
        (r#"{"finalizers":["c","a"]}"#, r#"["b","c","a"]"#),
        (r#"{"finalizers":[]}"#, r#"["a","b","c"]"#),
        (r#"{"finalizers":null}"#, "[]"),
        (r#"{"$deleteFromPrimitiveList/finalizers":["b","x"]}"#, r#"["a","c"]"#),
        (r#"{"$deleteFromPrimitiveList/finalizers":["b"],"finalizers":["b"]}"#, r#"["b","a","c"]"#),
        (r#"{"$deleteFromPrimitiveList/finalizers":null}"#, "[]"),
        (r#"{"$deleteFromPrimitiveList/finalizers":"b"}"#, r#"["a","b","c"]"#),
        (r#"{"$deleteFromPrimitiveList/labels":["b"]}"#, r#"["a","b","c"]"#),
        (r#"{"$setElementOrder/finalizers":["c","a"]}"#, r#"["b","c","a"]"#),
        (r#"{"$setElementOrder/finalizers":["d","c"],"finalizers":["d"]}"#, r#"["d","a","b","c"]"#),
    ] {
        assert_eq!(with(patch), finalizers, "{patch}");
    }
}

/// The names of a pod's containers after a patch that orders them.
fn ordered(live: &str, given: &str, wanted: &str) -> String {
    let list = |names: &str| -> Vec<String> {
        let element = |name: &str| match name.strip_prefix('-') {
            Some(name) => format!(r#"{{"name":"{name}","$patch":"delete"}}"#),
            None => format!(r#"{{"name":"{name}"}}"#),
        };
        names.split_whitespace().map(element).collect()
    };
    let (live, given, wanted) =
        (list(live).join(","), list(given).join(","), list(wanted).join(","));
    let patch = format!(r#"{{"containers":[{given}],"$setElementOrder/containers":[{wanted}]}}"#);
    let spec = patched(&format!(r#"{{"containers":[{live}]}}"#), &patch).unwrap();
    let spec = parse(spec.as_bytes()).unwrap();
    let names = spec.array_at(&["containers"]).iter().filter_map(|it| it.str_at(&["name"]));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_stand_in_the_order_that_the_patch_sets() {
    for (live, given, wanted, result) in [
        ("a b c", "", "c b a", "c b a"),
        ("a b c", "", "c a", "b c a"),
        ("a b c", "c a", "c b a", "c b a"),
        ("a b c", "d", "a d", "a d b c"),
        ("a b c", "d", "c d", "a b c d"),
        ("a b c", "d", "d c", "d a b c"),
        // What comes in the place of something deleted stands where that stood.
        ("a injected old", "new -old", "a new", "a injected new"),
        ("a old injected", "new -old", "a new", "a injected new"),
        ("a b c", "-b", "c zz a", "c a"),
        ("a b c", "d", "d", "d a b c"),
    ] {
        assert_eq!(ordered(live, given, wanted), result, "{live} / {given} / {wanted}");
    }
}

#[test]
fn a_list_that_was_not_there_is_ordered_too() {
    check(&[
        (
            "{}",
            r#"{"volumes":[{"name":"a"},{"name":"b"}],"$setElementOrder/volumes":[{"name":"a"},{"name":"b"}]}"#,
            r#"{"volumes":[{"name":"a"},{"name":"b"}]}"#,
        ),
        ("{}", r#"{"$setElementOrder/volumes":[{"name":"a"}]}"#, "{}"),
        (r#"{"tolerations":[{"key":"a"}]}"#, r#"{"tolerations":[]}"#, r#"{"tolerations":[]}"#),
    ]);
}

#[test]
fn a_patch_prints_as_go_prints_it() {
    let decoded = StrategicPatch::decode(br#"{"data":{"a":"1","a":"2"},"x":[null,1]}"#).unwrap();
    assert_eq!(decoded.patch.to_string(), "map[data:map[a:2] x:[<nil> 1]]");
    assert_eq!(decoded.strict_errors, [r#"duplicate field "data.a""#]);
}

// Recorded from kube-apiserver 1.34.
#[test]
fn built_in_kinds_are_patched_as_upstream_patches_them() {
    for line in include_str!("../../testdata/apiserver/strategic.jsonl").lines() {
        let line = parse(line.as_bytes()).unwrap();
        let object = line.get("object").unwrap();
        let api_version = object.str_at(&["apiVersion"]).unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = builtin::kind(group, version, object.str_at(&["kind"]).unwrap()).unwrap();
        let text = line.str_at(&["patch"]).unwrap();
        let result = StrategicPatch::decode(text.as_bytes())
            .and_then(|decoded| decoded.patch.apply(object.clone(), kind.message()));
        let told = result.map(|patched| {
            let stored = |object| kind.to_stored(kind.decode(object).unwrap().object).unwrap();
            let mut new = stored(patched);
            let subresource = line.str_at(&["subresource"]).unwrap_or_default();
            kind.prepare_for_update(&mut new, &stored(object.clone()), subresource);
            kind.from_stored(new).unwrap()
        });
        match told {
            Ok(result) => assert_eq!(Some(&result), line.get("result"), "{text}"),
            Err(status) => assert_eq!(Some(&status.to_value()), line.get("status"), "{text}"),
        }
    }
}

#[test]
fn long_lists_are_merged() {
    const LENGTH: usize = 20_000;
    let list = |names: &mut dyn Iterator<Item = usize>, rest: &str| {
        names.map(|at| format!(r#"{{"name":"{at}"{rest}}}"#)).collect::<Vec<_>>().join(",")
    };
    let live = list(&mut (0..LENGTH), r#","image":"1""#);
    let given = list(&mut (LENGTH / 2..LENGTH + LENGTH / 2), r#","image":"2""#);
    let deleted = list(&mut (0..LENGTH / 4), r#","$patch":"delete""#);
    let wanted = list(&mut (LENGTH / 2..LENGTH + LENGTH / 2), "");
    let patch =
        format!(r#"{{"containers":[{deleted},{given}],"$setElementOrder/containers":[{wanted}]}}"#);
    let spec = patched(&format!(r#"{{"containers":[{live}]}}"#), &patch).unwrap();
    let spec = parse(spec.as_bytes()).unwrap();
    let containers = spec.array_at(&["containers"]);
    let names = containers.iter().filter_map(|it| it.str_at(&["name"])?.parse::<usize>().ok());
    assert!(names.eq(LENGTH / 4..LENGTH + LENGTH / 2));
}

#[test]
fn the_deepest_patch_fits_the_stack() {
    let nested = |open: &str, close: &str, times: usize, inner: &str| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let parents = |inner: &str| nested(r#"{"parent":"#, "}", MAX_DEPTH - 2, inner);
    let unknown = |inner: &str| nested(r#"{"x":["#, "]}", MAX_DEPTH / 2 - 1, inner);
    let children = |order: &str, inner: &str| {
        let open = format!(r#"{{"name":"a",{order}"children":["#);
        nested(&open, "]}", MAX_DEPTH / 2 - 1, inner)
    };
    let order = r#""$setElementOrder/children":[{"name":"a"}],"#;
    for (spec, patch) in [
        (parents(r#"{"name":"1"}"#), parents(r#"{"name":"2"}"#)),
        (children("", r#"{"name":"a"}"#), children(order, r#"{"name":"a","x":1}"#)),
        ("{}".into(), parents(r#"{"$patch":"delete"}"#)),
        ("{}".into(), unknown("null")),
    ] {
        let apply = move || patched(&spec, &patch).map(|spec| spec.len());
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(apply).unwrap();
        assert!(thread.join().unwrap().is_ok_and(|length| length > 3 * MAX_DEPTH));
    }
}
