//! Rules as tables; globs against their regular expressions.

use proptest::prelude::*;
use strait_api::private::{Documents, Private, Source, read};

use super::*;

fn policy(rules: &str) -> Policy {
    let text = format!(
        "apiVersion: requests.strait.dev/v1alpha1\nkind: RequestPolicy\n\
         metadata: {{name: p}}\nspec: {{rules: [{rules}]}}\n"
    );
    let Documents { located: documents, mistakes, .. } =
        read(&[Source { file: "p.yaml", text: &text }]);
    assert_eq!(mistakes, []);
    let Private::RequestPolicy(document) = &documents[0].document else {
        panic!("{documents:?}");
    };
    let mut policy = Policy::default();
    policy.extend(&document.spec, |error| panic!("{error}"));
    policy
}

/// What a policy says of a request in `root:demo`, by alice, class sign, key release.
fn decide(policy: &Policy, workspace: Workspace<'_>) -> String {
    let params = parse(br#"{"keyName":"release","list":[1,2]}"#).unwrap();
    let cluster = ClusterName::new("37qd").unwrap();
    let facts = Facts {
        cluster: &cluster,
        namespace: Some("default"),
        user: Some("alice"),
        class: "sign",
        params: &params,
    };
    match policy.decide(&facts, workspace) {
        Decision::Allow(rule) => format!("allow {rule}"),
        Decision::Deny(rule) => format!("deny {}", rule.as_deref().unwrap_or("-")),
        Decision::NeedsPath => "path".to_owned(),
    }
}

#[test]
fn without_an_allowing_rule_everything_is_rejected() {
    let demo = WorkspacePath::new("root:demo").unwrap();
    let confirmed = Workspace::Confirmed(&demo);
    for (rules, expected) in [
        ("", "deny -"),
        ("{name: a, effect: allow}", "allow a"),
        ("{name: d, effect: deny}, {name: a, effect: allow}", "deny d"),
        ("{name: a, effect: allow}, {name: d, effect: deny}", "allow a"),
        ("{name: a, effect: allow, match: {logicalClusters: [37qd]}}", "allow a"),
        ("{name: a, effect: allow, match: {logicalClusters: [other]}}", "deny -"),
        ("{name: a, effect: allow, match: {namespaces: [x, default]}}", "allow a"),
        ("{name: a, effect: allow, match: {namespaces: [x]}}", "deny -"),
        ("{name: a, effect: allow, match: {users: [alice]}}", "allow a"),
        ("{name: a, effect: allow, match: {users: [ALICE, alice2]}}", "deny -"),
        ("{name: a, effect: allow, match: {classes: [sign]}}", "allow a"),
        ("{name: a, effect: allow, match: {workspaces: ['root:*']}}", "allow a"),
        ("{name: a, effect: allow, match: {workspaces: ['root:demo:*']}}", "deny -"),
        ("{name: a, effect: allow, match: {users: [alice], classes: [x]}}", "deny -"),
    ] {
        assert_eq!(decide(&policy(rules), confirmed), expected, "{rules}");
    }
}

#[test]
fn parameters_are_compared_as_json() {
    for (condition, holds) in [
        ("{path: /keyName, equals: release}", true),
        ("{path: /keyName, equals: [release]}", false),
        ("{path: /list, equals: [1, 2]}", true),
        ("{path: /list/1, in: [2, 3]}", true),
        ("{path: /list/1, in: ['2']}", false),
        ("{path: /keyName, pattern: 're.*'}", true),
        ("{path: /keyName, pattern: 'eleas'}", false),
        ("{path: /keyName, pattern: 'x|release'}", true),
        ("{path: /keyName, pattern: 'release|x'}", true),
        ("{path: /list, pattern: '.*'}", false),
        ("{path: /absent, pattern: '.*'}", false),
    ] {
        let rules = format!("{{name: a, effect: allow, match: {{params: [{condition}]}}}}");
        let expected = if holds { "allow a" } else { "deny -" };
        assert_eq!(decide(&policy(&rules), Workspace::NotAsked), expected, "{condition}");
    }
}

#[test]
fn a_path_is_asked_for_only_when_it_decides() {
    let by_path = |effect: &str, rest: &str| {
        format!("{{name: w, effect: {effect}, match: {{workspaces: ['root:demo'] {rest}}}}}")
    };
    for (rules, asked, unconfirmed) in [
        (by_path("allow", ""), "path", "deny -"),
        (by_path("allow", ", classes: [other]"), "deny -", "deny -"),
        (by_path("deny", "") + ", {name: a, effect: allow}", "path", "deny w"),
        ("{name: a, effect: allow}, ".to_owned() + &by_path("deny", ""), "allow a", "allow a"),
    ] {
        assert_eq!(decide(&policy(&rules), Workspace::NotAsked), asked, "{rules}");
        assert_eq!(decide(&policy(&rules), Workspace::Unconfirmed), unconfirmed, "{rules}");
    }
}

#[test]
fn an_unknown_requester_fulfils_no_allowing_rule_and_every_denying_one() {
    let cluster = ClusterName::new("37qd").unwrap();
    let facts = Facts {
        cluster: &cluster,
        namespace: None,
        user: None,
        class: "sign",
        params: &Value::Null,
    };
    let decide = |rules| policy(rules).decide(&facts, Workspace::NotAsked);
    let allowing = "{name: a, effect: allow, match: {users: [alice]}}";
    assert_eq!(decide(allowing), Decision::Deny(None));
    let denying = "{name: d, effect: deny, match: {users: [alice]}}, {name: a, effect: allow}";
    assert_eq!(decide(denying), Decision::Deny(Some("d".into())));
}

#[test]
fn patterns_of_paths() {
    for (pattern, path, matches) in [
        ("root", "root", true),
        ("root:demo", "root:demo", true),
        ("root:demo", "root:demo2", false),
        ("root:*", "root:a", true),
        ("root:*", "root", false),
        ("root:*", "root:a:b", false),
        ("root:team-*:prod", "root:team-a:prod", true),
        ("root:team-*:prod", "root:team:prod", false),
        ("root:a*b*c", "root:axxbxxbc", true),
        ("root:a*b*c", "root:abxd", false),
        ("root:**", "root:a", true),
        ("root:**", "root:a:b:c", true),
        ("root:**", "root", false),
        ("*:**", "root:a", true),
    ] {
        assert_eq!(PathPattern::new(pattern).unwrap().matches(path), matches, "{pattern} {path}");
    }
    for pattern in ["", "**", ":", "root:", "root:**:a", "root:a**", "Root", "root:a.b"] {
        assert!(PathPattern::new(pattern).is_none(), "{pattern}");
    }
}

#[test]
fn wrong_rules_are_told_with_their_place() {
    let text = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RequestPolicy
metadata: {name: p}
spec:
  rules:
  - name: a
    effect: allow
    match:
      workspaces: ['root:a**']
      logicalClusters: ['root:demo']
      params:
      - {path: /x, pattern: '('}
";
    let documents = read(&[Source { file: "p.yaml", text }]).located;
    let Private::RequestPolicy(document) = &documents[0].document else {
        panic!("{documents:?}");
    };
    let mut places = Vec::new();
    Policy::default().extend(&document.spec, |error| places.push(error.path.to_string()));
    places.sort();
    assert_eq!(
        places,
        [
            "spec.rules[0].match.logicalClusters[0]",
            "spec.rules[0].match.params[0].pattern",
            "spec.rules[0].match.workspaces[0]",
        ]
    );
}

proptest! {
    #[test]
    fn a_glob_agrees_with_its_regular_expression(
        pattern in "[ab*]{0,6}", text in "[ab]{0,8}",
    ) {
        let expression = format!("^{}$", pattern.replace('*', ".*"));
        let expected = Pattern::new(&expression).unwrap().is_match(&text);
        prop_assert_eq!(glob(&pattern, &text), expected);
    }
}
