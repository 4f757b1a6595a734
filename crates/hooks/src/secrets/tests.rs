//! Files that change while they are in use.

use std::fs;
use std::os::unix::fs::symlink;

use http::{HeaderMap, HeaderValue};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn load(scheme: Scheme, places: &[Place]) -> Result<Secrets, Vec<String>> {
    let variable = |name: &str| match name {
        "SET" => Some("from the environment".to_owned()),
        "EMPTY" => Some(String::new()),
        "LONG" => Some("x".repeat(MAX_SECRET + 1)),
        _ => None,
    };
    Secrets::load(scheme, places.to_vec(), variable, at(0))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn one_newline_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let places = [Place::File(path.clone())];
    for (text, expected) in [
        ("s", "s"),
        ("s\n", "s"),
        ("s\r\n", "s"),
        ("s\n\n", "s\n"),
        (" s ", " s "),
        ("a\nb\n", "a\nb"),
    ] {
        fs::write(&path, text).unwrap();
        let secrets = load(Scheme::Github, &places).unwrap();
        assert_eq!(secrets.current().secrets(), [secret(expected)], "{text:?}");
    }
}

#[test]
fn every_unusable_secret_refuses_by_name_and_without_its_value() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, text) in [("empty", ""), ("newline", "\n"), ("canary", "canary!")] {
        fs::write(path(name), text).unwrap();
    }
    fs::write(path("long"), "x".repeat(MAX_SECRET + 1)).unwrap();
    let files =
        ["empty", "newline", "long", "missing", "canary"].map(|name| Place::File(path(name)));
    let others = ["EMPTY", "LONG", "UNSET"].map(|name| Place::Variable(name.to_owned()));
    let places: Vec<_> =
        files.into_iter().chain([Place::File(directory.path().to_owned())]).chain(others).collect();
    let errors = load(Scheme::Standard, &places).unwrap_err();
    assert_eq!(errors.len(), places.len(), "{errors:#?}");
    for (error, why) in errors.iter().zip([
        "is empty",
        "is empty",
        "cannot be read",
        "cannot be read",
        "is not base64",
        "is not a file",
        "is empty",
        "is too long",
        "is not set",
    ]) {
        assert!(error.contains(why), "{error}: {why}");
        assert!(!error.contains("canary!"), "{error}");
    }
    assert_eq!(load(Scheme::Github, &[]).unwrap_err(), ["secret of the source is not named"]);
    assert!(load(Scheme::None, &[]).unwrap().current().secrets().is_empty());
    let set = [Place::Variable("SET".to_owned())];
    let secrets = load(Scheme::Github, &set).unwrap();
    assert_eq!(secrets.current().secrets(), [secret("from the environment")]);
    assert!(!format!("{secrets:?} {:?}", secrets.current()).contains("environment"));
}

#[test]
fn a_swapped_volume_is_noticed() {
    // As kubelet writes it: files are links into ..data, which is a link to a directory.
    let volume = tempfile::tempdir().unwrap();
    let fill = |generation: &str, current: &str, previous: &str| {
        let directory = volume.path().join(generation);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("current"), current).unwrap();
        fs::write(directory.join("previous"), previous).unwrap();
        symlink(generation, volume.path().join("..tmp")).unwrap();
        fs::rename(volume.path().join("..tmp"), volume.path().join("..data")).unwrap();
    };
    fill("..1", "one", "zero");
    let places = ["current", "previous"].map(|name| {
        symlink(format!("..data/{name}"), volume.path().join(name)).unwrap();
        Place::File(volume.path().join(name))
    });
    let secrets = load(Scheme::Github, &places).unwrap();
    let begun = secrets.current();
    assert_eq!(secrets.refresh(at(10)), Refreshed::default());
    assert_eq!(secrets.current().age(at(20)), Duration::from_secs(20));

    fill("..2", "two", "one");
    assert_eq!(secrets.refresh(at(30)), Refreshed { changed: true, failures: vec![] });
    let now = secrets.current();
    assert_eq!(now.secrets(), [secret("two"), secret("one")]);
    assert_eq!(now.age(at(31)), Duration::from_secs(1));
    assert_eq!(now.age(at(0)), Duration::ZERO, "a clock that goes back");
    assert_eq!(begun.secrets(), [secret("one"), secret("zero")]);
    assert_eq!(begun.fingerprints()[0], now.fingerprints()[1]);
    assert_ne!(now.fingerprints()[0], now.fingerprints()[1]);
}

#[test]
fn what_cannot_be_read_again_keeps_its_last_good_secret_and_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let [current, previous] = ["current", "previous"].map(|name| directory.path().join(name));
    fs::write(&current, "one").unwrap();
    fs::write(&previous, "zero").unwrap();
    let places = [&current, &previous].map(|path| Place::File(path.clone()));
    let secrets = load(Scheme::Github, &places).unwrap();

    fs::write(&current, "").unwrap();
    fs::write(&previous, "one").unwrap();
    let refreshed = secrets.refresh(at(1));
    assert!(refreshed.changed);
    let texts: Vec<_> = refreshed.failures.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [format!("secret of file {} is empty", current.display())]);
    assert_eq!(secrets.current().secrets(), [secret("one"), secret("one")]);

    fs::remove_file(&current).unwrap();
    let refreshed = secrets.refresh(at(2));
    assert_eq!((refreshed.changed, refreshed.failures.len()), (false, 1));

    fs::write(&current, "two\n").unwrap();
    assert_eq!(secrets.refresh(at(3)), Refreshed { changed: true, failures: vec![] });
    assert_eq!(secrets.current().secrets(), [secret("two"), secret("one")]);
}

#[test]
fn verifications_under_way_keep_their_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "It's a Secret to Everybody").unwrap();
    let secrets = load(Scheme::Github, &[Place::File(path.clone())]).unwrap();
    let mut headers = HeaderMap::new();
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    headers.insert("x-hub-signature-256", HeaderValue::from_static(signature));
    let begin = || Scheme::Github.begin(&headers, secrets.current().secrets(), at(0)).unwrap();
    let finish = |mut verifier: crate::signature::Verifier| {
        verifier.update(b"Hello, World!");
        verifier.finish().is_ok()
    };

    let under_way = begin();
    fs::write(&path, "another").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(secrets.refresh(at(1)).changed));
    });
    assert!(finish(under_way));
    assert!(!finish(begin()));
}
