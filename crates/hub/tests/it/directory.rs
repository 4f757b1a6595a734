//! Data directories and settings that a hub does not start with.

use std::path::Path;

use strait_hub::{Hub, StartError};
use strait_types::Report;

use crate::harness::{TestHub, config, context};

/// Starts a hub that must not start, and returns why as the operator reads it.
async fn refused(change: impl FnOnce(&mut strait_hub::Config), directory: &Path) -> String {
    let mut config = config(directory);
    change(&mut config);
    let error: StartError = match Hub::start(&config, context()).await {
        Err(error) => error,
        Ok(hub) => {
            hub.stop().await;
            panic!("the hub started");
        }
    };
    Report(&error).to_string()
}

#[tokio::test]
async fn a_directory_of_a_newer_release_is_refused_and_left_as_it_is() {
    let mut hub = TestHub::start().await;
    let directory = hub.stop().await;
    let version = directory.path().join("VERSION");
    let text = std::fs::read_to_string(&version).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 2");
    assert_ne!(text, newer);
    std::fs::write(&version, &newer).unwrap();
    let before = std::fs::read(directory.path().join("store.db")).unwrap();
    let why = refused(|_| (), directory.path()).await;
    assert_eq!(
        why,
        format!(
            "{} has format 2, this release reads 1: use a newer release of strait",
            directory.path().display()
        )
    );
    assert_eq!(std::fs::read(directory.path().join("store.db")).unwrap(), before);
    assert_eq!(std::fs::read_to_string(&version).unwrap(), newer);
    // With its own release it goes on.
    std::fs::write(&version, &text).unwrap();
    TestHub::start_in(directory).await.admin().get("/api").await.expect(200);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_its_user_goes_on() {
    let hub = TestHub::start().await;
    let why = refused(|_| (), hub.directory()).await;
    assert!(why.contains(&format!("is in use by process {}", std::process::id())), "{why}");
    hub.admin().get("/api").await.expect(200);
}

#[tokio::test]
async fn a_directory_of_another_role_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let version = r#"{"format": 1, "role": "agent", "id": "x"}"#;
    std::fs::write(directory.path().join("VERSION"), version).unwrap();
    let why = refused(|_| (), directory.path()).await;
    assert!(why.contains("is not the data directory of a hub"), "{why}");
    // So is one that holds a store but does not say whose.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store.db"), "something").unwrap();
    let why = refused(|_| (), directory.path()).await;
    assert!(why.contains("is not the data directory of a hub"), "{why}");
    let left = std::fs::read_to_string(directory.path().join("store.db")).unwrap();
    assert_eq!(left, "something");
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_name() {
    let hub = TestHub::start().await;
    let taken = hub.hub().address();
    let directory = tempfile::tempdir().unwrap();
    let why = refused(|config| config.listen = taken, directory.path()).await;
    let expected =
        format!("cannot listen on {taken}: choose another with --listen, or end what uses it");
    assert!(why.starts_with(&expected), "{why}");
    // Nothing was made that would keep another start from succeeding.
    let directory = std::sync::Arc::new(directory);
    TestHub::start_in(directory).await.admin().get("/api").await.expect(200);
}

#[test]
fn a_wildcard_without_an_address_to_tell_others_is_a_mistake() {
    let mut config = config(Path::new("x"));
    config.listen = "0.0.0.0:6443".parse().unwrap();
    let [mistake] = &*config.mistakes() else {
        panic!("one mistake");
    };
    assert!(mistake.starts_with("--advertise: required where --listen is a wildcard"), "{mistake}");
    config.advertise = vec!["hub.example:6443".to_owned()];
    assert!(config.mistakes().is_empty());
}
