//! People who may less than an administrator: what they are told, and when what they have ends.

use std::fs;
use std::time::{Duration, Instant};

use super::origin::Origin;
use super::site::{Site, eventually, program};
use crate::harness::{Output, Process};

/// What a revocation may take until the last byte.
const CUT_MAX: Duration = Duration::from_secs(2);

/// Somebody with a certificate of the hub's, and a kubeconfig with it.
pub(super) struct Person<'a> {
    site: &'a Site,
    name: &'static str,
}

impl<'a> Person<'a> {
    pub(super) fn new(site: &'a Site, name: &'static str) -> Self {
        let person = Self { site, name };
        let authority = site.hub.data().join("pki");
        let key = person.file("key");
        let mut openssl = program("openssl");
        openssl.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args(["-subj", &format!("/CN={name}"), "-keyout", &key]);
        openssl.args(["-out", &person.file("csr"), "-sha256"]);
        Process::start(&mut openssl).finish().succeeded();
        fs::write(person.file("extensions"), "extendedKeyUsage=clientAuth\n").unwrap();
        let mut openssl = program("openssl");
        openssl.args(["x509", "-req", "-days", "1", "-in", &person.file("csr"), "-sha256"]);
        openssl.args(["-set_serial", "77", "-extfile", &person.file("extensions")]);
        openssl
            .arg("-CA")
            .arg(authority.join("ca.crt"))
            .arg("-CAkey")
            .arg(authority.join("ca.key"));
        Process::start(openssl.args(["-out", &person.file("crt")])).finish().succeeded();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
             clusters: [{{name: hub, cluster: {{server: '{}/clusters/root', certificate-authority: {}}}}}]\n\
             users: [{{name: own, user: {{client-certificate: {}, client-key: {key}}}}}]\n\
             contexts: [{{name: own, context: {{cluster: hub, user: own}}}}]\n",
            site.hub.server(),
            site.authority().display(),
            person.file("crt"),
        );
        fs::write(person.file("kubeconfig"), kubeconfig).unwrap();
        person
    }

    /// Gives rights in the workspace; entering it is one of them.
    pub(super) fn may(self, rules: &str) -> Self {
        let name = self.name;
        let objects = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\n\
             rules: [{{nonResourceURLs: [/], verbs: [access]}}, {rules}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {name}}}]\n"
        );
        self.site.hub.kubectl_with(&["create"], &objects).succeeded();
        self
    }

    fn file(&self, kind: &str) -> String {
        self.site.home.path().join(format!("{}.{kind}", self.name)).display().to_string()
    }

    fn token(&self, service: &str) -> Output {
        let mut strait = self.site.hub.strait_command();
        strait.env("KUBECONFIG", self.file("kubeconfig"));
        Process::start(strait.args(["service", "token", service])).finish()
    }

    /// Asks with the certificate, by the long form of a service's path.
    fn ask(&self, service: &str) -> String {
        let url = format!(
            "https://{}/clusters/root/services/relay/smith/{service}/a",
            self.site.address()
        );
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--include", "--cacert"]);
        curl.arg(self.site.authority()).args(["--cert", &self.file("crt")]);
        Process::start(curl.args(["--key", &self.file("key")]).arg(url)).finish().succeeded()
    }
}

/// What somebody may who reads one service.
const READER: &str = "{apiGroups: [relay.strait.dev], resources: [services/connect], resourceNames: [ci.smith], verbs: [get]}, \
    {apiGroups: [relay.strait.dev], resources: [services/credentials], resourceNames: [ci.smith], verbs: [create]}";

#[test]
fn row_48_who_may_less_is_told_what_is_missing_or_nothing() {
    let origin = Origin::start();
    let site = Site::start(&format!(
        "services:\n- {{name: ci, type: http, url: \"http://{0}\"}}\n- {{name: hidden, type: http, url: \"http://{0}\"}}\n",
        origin.address
    ));
    let alice = Person::new(&site, "alice").may(READER);
    let bob = Person::new(&site, "bob").may(READER.replace("ci.smith", "other.smith").as_str());
    let token = alice.token("smith/ci").succeeded();
    let token = token.trim();
    let url = site.url("ci", "/a");
    assert!(site.curl(token, &["--fail"], &url).succeeded().contains("GET /a HTTP/1.1"));
    let forbidden = site.curl(token, &["--include", "--data", "x"], &url).succeeded();
    let wanted = ["x-strait-error: Forbidden\r\n", "alice", "create", "ci.smith"];
    assert!(wanted.iter().all(|part| forbidden.contains(part)), "{forbidden}");
    assert!(forbidden.contains(" 403 "), "{forbidden}");

    // With a certificate, too; and what one may not see is not there, in the same words.
    assert!(alice.ask("ci").contains(" 200 "));
    let changes = ["x-request-id", "audit-id", "date", "content-length"];
    let own = |text: String| -> String {
        let is_same = |line: &&str| !changes.iter().any(|name| line.starts_with(name));
        text.lines().filter(is_same).collect()
    };
    let nothing = own(alice.ask("nothing"));
    assert!(nothing.contains(" 404 ") && nothing.contains("NotFound"), "{nothing}");
    assert_eq!(own(alice.ask("hidden")).replace("hidden", "nothing"), nothing);
    assert_eq!(own(bob.ask("ci")).replace("ci.smith", "nothing.smith"), nothing);
    let refused = alice.token("smith/hidden").failed();
    let missing = alice.token("smith/nothing").failed();
    assert_eq!(refused.replace("hidden", "nothing"), missing);
    assert_eq!(origin.count("POST", "/"), 0);
}

#[test]
fn row_48_tokens_that_ended_say_so() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let short = site.hub.strait(&["service", "token", "smith/ci", "--ttl", "1s"]).succeeded();
    let told = || site.curl(short.trim(), &["--include"], &site.url("ci", "/a")).succeeded();
    eventually("its end", || told().contains(" 401 "));
    let told = told();
    assert!(told.contains("x-strait-error: CredentialExpired\r\n"), "{told}");
    assert!(told.contains(" expired ") && told.contains("lifetime 1s"), "{told}");
}

#[test]
fn row_37_one_token_or_one_persons_ends_and_no_other() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let alice = Person::new(&site, "alice").may(READER);
    let (first, second, hers) =
        (site.token("ci"), site.token("ci"), alice.token("smith/ci").succeeded());
    let follow = |token: &str| {
        let before = origin.count("GET", "/endless");
        let arguments = ["--no-buffer", "--output", "/dev/null"];
        let stream = site.start_curl(token.trim(), &arguments, &site.url("ci", "/endless"));
        eventually("the stream", || origin.count("GET", "/endless") > before);
        stream
    };
    let kept = follow(&second);
    for (token, revoke) in [
        (&first, ["service", "revoke", "smith/ci", "--token", first.trim()]),
        (&hers, ["service", "revoke", "smith/ci", "--user", "alice"]),
    ] {
        let stream = follow(token);
        let revoked = site.hub.strait(&revoke);
        let began = Instant::now();
        assert_eq!(revoked.code, Some(0), "{revoked:?}");
        let ended = stream.finish();
        assert!(began.elapsed() < CUT_MAX, "{:?}", began.elapsed());
        assert!(!matches!(ended.code, None | Some(0 | 28)), "{ended:?}");
        let refused = site.curl(token.trim(), &["--include"], &site.url("ci", "/a")).succeeded();
        assert!(refused.contains("x-strait-error: CredentialRevoked\r\n"), "{refused}");
    }
    let listed = site.hub.strait(&["stream", "list", "-o", "json"]).succeeded();
    assert_eq!(listed.matches("\"requestID\"").count(), 1, "{listed}");
    site.curl(&second, &["--fail"], &site.url("ci", "/a")).succeeded();
    drop(kept);
}
