//! Patches that cannot be applied.

use super::patched;

#[test]
fn what_cannot_be_applied_is_told_in_upstreams_words() {
    let spec = r#"{"containers":[{"name":"a"}],"limits":{"x":{"a":"1"}},"loose":[{"uid":"u"}],"matrix":[["a"]],"parent":{},"raw":{"a":{}},"volumes":[]}"#;
    for (patch, code, message) in [
        (r#"{"$retainKeys":5}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"$retainKeys":[{}]}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"$retainKeys":[],"volumes":[]}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"$deleteFromPrimitiveList":[]}"#, 400, "invalid patch format of primitive list"),
        (r#"{"$setElementOrders/x":[]}"#, 400, "invalid patch format of setElementOrder list"),
        (r#"{"containers":[{"name":{}}]}"#, 400, "merge key name is not a scalar: map[]"),
        (
            r#"{"$setElementOrder/tolerations":[{}],"tolerations":[{}]}"#,
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            r#"{"volumes":[["b"]]}"#,
            422,
            "the server rejected our request due to an error in our request",
        ),
        (r#"{"matrix":[["b"]]}"#, 500, "unexpected slice of slice"),
        (
            r#"{"containers":[{"image":"1"}]}"#,
            500,
            "map: map[image:1] does not contain declared merge key: name",
        ),
        (
            r#"{"containers":["a"]}"#,
            500,
            "list element types are not identical: [[map[name:a]] [a]]",
        ),
        (r#"{"volumes":[null]}"#, 500, "list element types are not identical: [[] [<nil>]]"),
        (
            r#"{"volumes":[],"$setElementOrder/volumes":[]}"#,
            500,
            "no elements in any of the given slices",
        ),
        (
            r#"{"containers":[{"$patch":"merge"}]}"#,
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (r#"{"$patch":5}"#, 500, "unknown patch type: %!s(int64=5) in map: map[$patch:5]"),
        (
            r#"{"$setElementOrder/containers":[1],"containers":[{"name":"a"}]}"#,
            500,
            "expected a map[string]interface {}, but received a int64",
        ),
        (
            r#"{"$setElementOrder/strategy":[]}"#,
            500,
            "expected slice or array type, but got: struct",
        ),
        (
            r#"{"parent":{"$setElementOrder/strategy":[]}}"#,
            500,
            "expected slice or array type, but got: ptr",
        ),
        (
            r#"{"limits":{"x":{}}}"#,
            500,
            "merging an object in json but data type is not struct, instead is: map",
        ),
        (
            r#"{"raw":{"a":{}}}"#,
            500,
            r#"unable to find api field in struct RawExtension for the json field "a""#,
        ),
        (r#"{"loose":[{}]}"#, 500, "cannot merge lists without merge key for struct"),
        (
            r#"{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"c"}]}"#,
            500,
            "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
    ] {
        let status = patched(spec, patch).unwrap_err();
        assert_eq!((status.code, &*status.message), (code, message), "{patch}");
    }
}
